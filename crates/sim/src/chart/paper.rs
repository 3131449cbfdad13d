//! SVG as text: escaped, rounded to what the eye can see, in layers that lie over one another.

use std::fmt::{Display, Write as _};

/// A width of the monospaced font at which texts are set, in pixels for each character.
pub(super) const CHARACTER: f64 = 5.45;

/// What is drawn, from the lowest layer to the highest.
#[derive(Debug, Default)]
pub(super) struct Paper {
    pub(super) lanes: Layer,
    pub(super) boxes: Layer,
    pub(super) arrows: Layer,
    pub(super) labels: Layer,
}

impl Paper {
    pub(super) fn finish(self) -> String {
        [self.lanes, self.boxes, self.arrows, self.labels]
            .map(|layer| format!("<g>\n{}</g>\n", layer.0))
            .concat()
    }
}

/// One layer.
#[derive(Debug, Default)]
pub(super) struct Layer(String);

impl Layer {
    /// Everything that `draw` draws belongs together, and explains itself by `title` when pointed
    /// at.
    pub(super) fn group(&mut self, class: &str, title: &str, draw: impl FnOnce(&mut Self)) {
        let title = escape(title);
        self.put(format_args!("<g class=\"{class}\"><title>{title}</title>"));
        draw(self);
        self.0.push_str("</g>\n");
    }

    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let (x1, y1, x2, y2) = (round(x1), round(y1), round(x2), round(y2));
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>"
        ));
    }

    /// The head of an arrow that comes from `from` and points at `to`.
    pub(super) fn head(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let corner = |side: f64| {
            let x = to[0] - 8.0 * ux - side * 3.2 * uy;
            let y = to[1] - 8.0 * uy + side * 3.2 * ux;
            format!("{} {}", round(x), round(y))
        };
        let (tip, left, right) = (
            format!("{} {}", round(to[0]), round(to[1])),
            corner(1.0),
            corner(-1.0),
        );
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{tip}L{left}L{right}Z\"/>"
        ));
    }

    /// A cross: what was on its way ends here.
    pub(super) fn cross(&mut self, class: &str, [x, y]: [f64; 2]) {
        let [l, r, t, b] = [x - 4.0, x + 4.0, y - 4.0, y + 4.0].map(round);
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{l} {t}L{r} {b}M{l} {b}L{r} {t}\"/>"
        ));
    }

    pub(super) fn rectangle(&mut self, class: &str, [x, y]: [f64; 2], [w, h]: [f64; 2]) {
        let (x, y, w, h) = (round(x), round(y), round(w), round(h.max(2.0)));
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"3\"/>"
        ));
    }

    pub(super) fn dot(&mut self, class: &str, [x, y]: [f64; 2]) {
        let (x, y) = (round(x), round(y));
        self.put(format_args!(
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.2\"/>"
        ));
    }

    /// Text that begins at the point, or ends there if the class says so.
    pub(super) fn text(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        let (x, y, text) = (round(x), round(y), escape(text));
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
        ));
    }

    fn put(&mut self, what: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{what}");
    }
}

/// A tenth of a pixel is enough, and makes files small.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The beginning of a text, as far as `pixels` reach.
pub(super) fn fit(text: &str, pixels: f64) -> String {
    let most = (pixels / CHARACTER).max(4.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Breaks a text into lines of at most `pixels`, at spaces where it can.
pub(super) fn wrap(text: &str, pixels: f64) -> Vec<String> {
    let most = (pixels / CHARACTER).max(8.0) as usize;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let line = lines.last_mut().expect("there is always a line");
            let used = line.chars().count();
            let space = usize::from(used > 0);
            if used + space + rest.len() <= most {
                line.extend([' '].iter().take(space).chain(&rest));
                break;
            }
            if used == 0 {
                line.extend(rest.drain(..most));
            }
            lines.push(String::new());
        }
    }
    lines
}

/// Text as XML can hold it, between tags or in an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            // XML 1.0, section 2.2, has no way to write these.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        let escaped = escape("</title><script>\"'&\u{0}\u{1b}");
        assert!(!escaped.contains(['<', '>', '"', '\'', '\u{0}', '\u{1b}']));
        assert!(escaped.starts_with("&lt;/title&gt;&lt;script&gt;"));
    }

    #[test]
    fn lines_are_no_longer_than_asked_and_lose_nothing() {
        let text = "a wordthatistoolongforitsline and some more";
        let lines = wrap(text, 12.0 * CHARACTER);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 12),
            "{lines:?}"
        );
        let joined = lines.concat().replace(' ', "");
        assert_eq!(joined, text.replace(' ', ""));
    }
}
