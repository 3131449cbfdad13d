//! A side of two rings that sleeps, in the way that a connection sleeps on its socket: what the
//! tests between threads and the models of `loom` have in common.

use std::sync::Arc;

#[cfg(not(loom))]
use bell::Bell;
#[cfg(loom)]
use loom::sync::Notify as Bell;

use super::{Rings, Wish};

/// A side, and how the two wake each other.
pub(super) struct Sleeper {
    rings: Rings,
    /// Stands for the socket: what was sent before somebody waits is there when it does.
    bell: Arc<Bell>,
    peer: Arc<Bell>,
}

impl Sleeper {
    pub(super) fn pair((host, guest): (Rings, Rings)) -> (Self, Self) {
        let (of_host, of_guest) = <(Arc<Bell>, Arc<Bell>)>::default();
        let sleeper = |rings, bell: &Arc<Bell>, peer: &Arc<Bell>| Self {
            rings,
            bell: Arc::clone(bell),
            peer: Arc::clone(peer),
        };
        (
            sleeper(host, &of_host, &of_guest),
            sleeper(guest, &of_guest, &of_host),
        )
    }

    fn sleep(&self, wish: Wish) {
        if self.rings.doze(wish) {
            self.bell.wait();
            self.rings.rouse();
        }
    }

    fn wake(&self, done: Wish) {
        if self.rings.must_wake(done) {
            self.peer.notify();
        }
    }

    /// Pushes all of `bytes`, waiting for room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at += self.rings.push([&bytes[at..]]).unwrap();
            self.wake(Wish::Input);
            if at < bytes.len() {
                self.sleep(Wish::InputOrRoom);
            }
        }
    }

    /// Pulls what is there, waiting for something.
    pub(super) fn pull(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            let count = self.rings.pull(buffer).unwrap();
            if count > 0 {
                self.wake(Wish::InputOrRoom);
                return count;
            }
            self.sleep(Wish::Input);
        }
    }
}

/// What `loom` has of its own. There no time passes, and a wake-up that was lost is a deadlock.
#[cfg(not(loom))]
mod bell {
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[derive(Default)]
    pub(super) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(super) fn notify(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }

        pub(super) fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                let limit = Duration::from_secs(20);
                let waited = self.changed.wait_timeout(rung, limit).unwrap();
                assert!(!waited.1.timed_out(), "a wake-up was lost");
                rung = waited.0;
            }
            *rung = false;
        }
    }
}
