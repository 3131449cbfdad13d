//! What the command does. Clocks, threads, signals and files are here, and only here: nothing of
//! them reaches a run.

pub(crate) mod failure;
pub(crate) mod many;
pub(crate) mod one;
mod pool;
pub(crate) mod scale;
mod summary;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use plurix_sim::Story;

#[allow(
    clippy::disallowed_methods,
    reason = "how fast the simulator is, is not part of what it simulates"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Reads `90s`, `3m`, `1h`, or seconds without a unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => {
            return Err(format!(
                "{text:?} has no unit that is known here: s, m or h"
            ));
        }
    };
    let count: u64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is no whole number with a unit: 90s, 3m, 1h"))?;
    let seconds = count.checked_mul(seconds).ok_or("that is too long")?;
    Ok(Duration::from_secs(seconds))
}

/// Reads the name of a trace's file, which says its format; `-` is no file.
pub(crate) fn parse_trace(text: &str) -> Result<PathBuf, String> {
    let extension = Path::new(text).extension().and_then(|e| e.to_str());
    match extension {
        Some("html" | "svg" | "txt") => Ok(text.into()),
        _ if text == "-" => Ok(text.into()),
        _ => Err("its name says no format; end it in .html, .svg or .txt".to_owned()),
    }
}

/// Writes the story in the format that the file's name asks for.
pub(crate) fn write_story(story: &Story, file: &Path) -> anyhow::Result<()> {
    let extension = file.extension().and_then(|e| e.to_str());
    let text = match extension {
        Some("html") => story.html(),
        Some("svg") => story.svg(),
        _ => story.text(),
    };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("3m", 180), ("1h", 3600)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "m", "3x", "-1s", "1.5h", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
