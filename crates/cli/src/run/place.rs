//! Where a run keeps its heap and its socket.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use plurix::net::Address;
use tempfile::TempDir;

/// The kernel takes no longer path for a Unix socket.
const SOCKET_PATH_MAX: usize = 107;

/// The directories of a run; temporary ones are removed with it.
#[derive(Debug)]
pub(super) struct Place {
    /// The page server's directory.
    pub(super) heap: PathBuf,
    /// Where it listens.
    pub(super) listen: Address,
    /// Whether the heap outlives the run.
    pub(super) is_kept: bool,
    _temporary: Vec<TempDir>,
}

impl Place {
    pub(super) fn new(dir: Option<PathBuf>, listen: Option<Address>) -> anyhow::Result<Self> {
        let mut temporary = Vec::new();
        let is_kept = dir.is_some();
        let heap = match dir {
            Some(dir) => dir,
            None => {
                let made = temporary_in(&std::env::temp_dir())?;
                let heap = made.path().join("heap");
                temporary.push(made);
                heap
            }
        };
        let listen = match listen {
            Some(address) => address,
            None => {
                let mut path = heap.join("socket");
                if path.as_os_str().len() > SOCKET_PATH_MAX {
                    let made = temporary_in(Path::new("/tmp"))?;
                    path = made.path().join("socket");
                    temporary.push(made);
                }
                Address::Unix(path)
            }
        };
        Ok(Self {
            heap,
            listen,
            is_kept,
            _temporary: temporary,
        })
    }
}

fn temporary_in(parent: &Path) -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new()
        .prefix("plurix-run-")
        .tempdir_in(parent);
    made.map_err(|error| {
        let parent = parent.display();
        anyhow!("cannot make a directory in {parent}: {error}; set TMPDIR, or give --dir")
    })
}
