//! The floor of a cold scan: somebody on the other processor sends frames, and this side takes them into
//! one buffer, and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use plurix_memory::Rings;

use crate::echo::Floor;
use crate::frames::Sizes;
use crate::machine;
use crate::process::{Place, Transport, Waiting};

/// Bytes of a request for a frame.
const REQUEST_BYTES: usize = 40;
/// Frames asked for that have not come.
const FRAMES_AHEAD: u64 = 8;

pub(super) enum Stream {
    Socket {
        floor: Box<Floor>,
        frame: usize,
    },
    Shared {
        rings: Rings,
        buffer: Vec<u8>,
        is_over: Arc<AtomicBool>,
        sender: Option<JoinHandle<Result<()>>>,
    },
}

impl Stream {
    pub(super) fn start(directory: &Path, transport: Transport, frame: usize) -> Result<Self> {
        if transport == Transport::Shared {
            return Self::share(frame);
        }
        let sizes = Sizes {
            request: REQUEST_BYTES,
            reply: frame,
        };
        let directory = tempfile::tempdir_in(directory)?;
        let floor = Floor::start(
            directory.path(),
            transport,
            Waiting::Blocking,
            sizes,
            Place::On(1),
        )?;
        let floor = Box::new(floor);
        Ok(Self::Socket { floor, frame })
    }

    fn share(frame: usize) -> Result<Self> {
        let (mut host, descriptor) = Rings::host()?;
        let rings = Rings::open(&descriptor)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let other = machine::processor(1).context("this process may use no processor")?;
        let over = is_over.clone();
        let sender = thread::spawn(move || {
            machine::pin(other)?;
            let bytes = vec![7; frame];
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                sent += host.push([&bytes[sent..]])?;
                sent %= frame;
            }
            Ok(())
        });
        Ok(Self::Shared {
            rings,
            buffer: vec![0; frame],
            is_over,
            sender: Some(sender),
        })
    }

    /// Takes so many bytes.
    pub(super) fn take(&mut self, bytes: u64) -> Result<()> {
        match self {
            Self::Socket { floor, frame } => {
                let frames = bytes.div_ceil(*frame as u64);
                floor.client.stream(frames, FRAMES_AHEAD.min(frames))?;
            }
            Self::Shared { rings, buffer, .. } => {
                let mut taken = 0;
                while taken < bytes {
                    taken += rings.pull(buffer)? as u64;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Self::Shared {
            is_over, sender, ..
        } = self
        {
            is_over.store(true, Ordering::Relaxed);
            // What failed there has failed here before.
            let _ = sender.take().map(JoinHandle::join);
        }
    }
}
