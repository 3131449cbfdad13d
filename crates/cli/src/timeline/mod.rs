//! What happened when to whom, as a file: for people, a page or a picture; for tools, a trace.
//!
//! ```text
//!  supervisor, members ──events──► Timeline ──┬─► .html  a page, with the picture in it
//!                                  (model)    ├─► .svg   the picture
//!                                             └─► .json  trace events, for ui.perfetto.dev
//! ```
//!
//! Nothing here knows of processes or sockets. Who records decides what the lanes are.

mod chrome;
mod html;
mod layout;
mod model;
mod svg;

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tempfile::{Builder, NamedTempFile};

pub(crate) use model::{Details, Lane, Mark, MarkKind, Span, SpanKind, Timeline, details};

/// Readable and writable for whom the user's mask allows it, as of any new file.
const MODE: u32 = 0o666;

/// Where a timeline goes, and as what.
#[derive(Debug, Clone)]
pub(crate) struct TimelineFile {
    path: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Chrome,
    Html,
    Svg,
}

impl FromStr for TimelineFile {
    type Err = String;

    /// The ending of the name says which format it is.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => Format::Chrome,
            Some("html") => Format::Html,
            Some("svg") => Format::Svg,
            _ => {
                return Err(format!(
                    "'{text}' must end in .html (a page), .svg (a picture) or .json (a trace for \
                     ui.perfetto.dev)"
                ));
            }
        };
        Ok(Self { path, format })
    }
}

impl TimelineFile {
    /// Checks that it can be written as things are now, so that a mistake shows before the work.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.beside().map(drop).map_err(|error| self.explain(error))
    }

    /// Writes it; a file that was there is replaced as a whole.
    pub(crate) fn write(&self, timeline: &Timeline) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Chrome => chrome::trace(timeline),
            Format::Html => html::page(timeline),
            Format::Svg => svg::picture(timeline, svg::WIDTH),
        };
        self.replace(&text).map_err(|error| self.explain(error))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut file = self.beside()?;
        file.write_all(text.as_bytes())?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// A temporary file in the same directory.
    fn beside(&self) -> io::Result<NamedTempFile> {
        if self.path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let parent = self.path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        Builder::new()
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(parent.unwrap_or(Path::new(".")))
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let path = self.path.display();
        anyhow::anyhow!("cannot write the timeline to {path}: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_names_the_format() {
        for (name, format) in [
            ("a.json", Format::Chrome),
            ("b/c.html", Format::Html),
            ("d.e.svg", Format::Svg),
        ] {
            let file: TimelineFile = name.parse().unwrap();
            assert_eq!(file.format, format, "{name}");
        }
        for name in ["", "json", "a.png", "a.JSON", "a.html/"] {
            let file = name.parse::<TimelineFile>();
            assert!(file.is_err() || name.ends_with('/'), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_written_shows_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| -> TimelineFile {
            let path = directory.path().join(name);
            path.to_str().unwrap().parse().unwrap()
        };
        file("a.svg").check().unwrap();
        assert!(file("missing/a.svg").check().is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
