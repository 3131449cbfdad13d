//! A timeline as one page that needs nothing else: the picture, wide enough to see what is short,
//! and below it what the run has reported.

use super::model::Timeline;
use super::svg::{self, WIDTH, escape};

/// So wide is a second, within bounds.
const SECOND: f64 = 150.0;
const WIDTH_MAX: f64 = 12_000.0;

const STYLE: &str = "\
body{margin:0;background:#f4f6f9;color:#1c2430;font:13px system-ui,sans-serif}
main{margin:20px auto;padding:0 20px}
.box{overflow-x:auto;background:#fff;border-radius:8px;box-shadow:0 1px 4px #0002}
.box svg{display:block}
#fit:checked~.box svg{width:100%;height:auto}
label{display:inline-block;margin:0 0 8px;cursor:pointer;color:#6b7484}
pre{overflow-x:auto;background:#fff;padding:16px 20px;border-radius:8px;box-shadow:0 1px 4px #0002;font:12px/1.5 ui-monospace,\"DejaVu Sans Mono\",monospace}
@media (prefers-color-scheme:dark){body{background:#0d1015;color:#e6eaf0}.box,pre{background:#14181f}}";

/// Names and title stay where they are while the picture moves under them.
const SCRIPT: &str = "\
const box=document.querySelector('.box'),still=document.querySelectorAll('.still');
const stay=()=>{const scale=box.querySelector('svg').viewBox.baseVal.width/box.querySelector('svg').clientWidth;
still.forEach(g=>g.setAttribute('transform',`translate(${box.scrollLeft*scale} 0)`))};
box.addEventListener('scroll',stay);document.querySelector('#fit').addEventListener('change',stay);";

/// The page.
pub(super) fn page(timeline: &Timeline) -> String {
    let wanted = timeline.duration().as_secs_f64() * SECOND;
    let picture = svg::picture(timeline, wanted.clamp(WIDTH, WIDTH_MAX).round());
    let title = escape(&timeline.title);
    let report = timeline.report.as_deref().map(escape);
    let report = report.map_or(String::new(), |text| format!("<pre>{text}</pre>\n"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>\n{STYLE}\n</style></head>\n<body><main>\n\
         <input type=\"checkbox\" id=\"fit\"><label for=\"fit\">fit to the window</label>\n\
         <div class=\"box\">\n{picture}</div>\n{report}</main>\n<script>\n{SCRIPT}\n</script></body>\n\
         </html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::*;

    #[test]
    fn the_page_holds_picture_and_report_and_asks_for_nothing() {
        let page = page(&example());
        assert!(page.contains("</svg>") && page.contains("<pre>x &lt; y</pre>"));
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
