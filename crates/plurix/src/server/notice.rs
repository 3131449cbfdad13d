//! What a running page server has to say to whoever looks after its machine.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plurix_store::Space;

/// Something that a person should know, though the page server goes on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// There is no room for the next segment of the log. Commits go on until the present one is
    /// full; then they are refused.
    LogShort {
        /// Where the log is.
        log: PathBuf,
        /// What the file system says.
        why: Arc<io::Error>,
    },
    /// There is room again.
    LogHasRoom {
        /// Where the log is.
        log: PathBuf,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogShort { log, why } => write!(
                f,
                "warning: no room for the next segment of the log in {}: {why}; make room there: \
                 when the present segment is full, commits must wait for it",
                log.display()
            ),
            Self::LogHasRoom { log } => write!(f, "the log in {} has room again", log.display()),
        }
    }
}

/// Tells notices, each once.
#[derive(Default)]
pub(super) struct Notices {
    tell: Option<Box<dyn FnMut(Notice) + Send>>,
    is_short: bool,
}

impl Notices {
    pub(super) fn set(&mut self, tell: impl FnMut(Notice) + Send + 'static) {
        self.tell = Some(Box::new(tell));
    }

    /// Tells when room becomes short, and when it is there again. In between the store tries again
    /// and again.
    pub(super) fn space(&mut self, space: &Space, log: &Path) {
        let notice = match space {
            Space::Short(why) if !self.is_short => Notice::LogShort {
                log: log.to_owned(),
                why: Arc::clone(why),
            },
            Space::Ample if self.is_short => Notice::LogHasRoom {
                log: log.to_owned(),
            },
            Space::Ample | Space::Preparing | Space::Short(_) => return,
        };
        self.is_short = !self.is_short;
        if let Some(tell) = &mut self.tell {
            tell(notice);
        }
    }
}
