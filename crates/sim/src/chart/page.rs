//! The chart as a page: zoom, hints without delay, and kinds of messages that can be hidden. It
//! loads nothing from anywhere.

use super::paper::escape;

/// A self-contained page around an SVG document.
pub(super) fn page(title: &str, svg: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{TOOLS}\n\
         <main>\n{svg}</main>\n<div id=\"hint\"></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

const TOOLS: &str = "<nav>
<button id=\"out\" title=\"smaller\">−</button><button id=\"in\" title=\"larger\">+</button>
<label><input type=\"checkbox\" data-kind=\"session\" checked> session</label>
<label><input type=\"checkbox\" data-kind=\"commit\" checked> commits and answers</label>
<label><input type=\"checkbox\" data-kind=\"stream\" checked> changes</label>
<label><input type=\"checkbox\" data-kind=\"page\" checked> pages</label>
<label><input type=\"checkbox\" data-kind=\"beat\" checked> heartbeats</label>
<a href=\"#end\" id=\"last\">to the end</a>
</nav>";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
