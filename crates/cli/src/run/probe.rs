//! Asks the leader how it stands while something heals, so that a report can say when the first
//! commit came. It is no member: a question is a connection of its own, which needs nothing of what
//! is broken, and changes nothing in the heap.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{JoinHandle, park_timeout, sleep};
use std::time::{Duration, Instant};

use plurix::net::{Address, Credentials};

use super::event::Event;

/// The pause between two questions while something heals, which is how exactly the first commit is
/// known. A question takes the leader a tenth of that.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// The pause at other times.
const PAUSE_AT_REST: Duration = Duration::from_millis(100);

const AT_REST: u8 = 0;
const EAGER: u8 = 1;
const OVER: u8 = 2;

/// The thread that asks.
#[derive(Debug)]
pub(super) struct Probe {
    mood: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

impl Probe {
    pub(super) fn spawn(
        address: Address,
        credentials: Credentials,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let mood = Arc::new(AtomicU8::new(AT_REST));
        let of_thread = Arc::clone(&mood);
        let thread = std::thread::Builder::new()
            .name("plurix-probe".to_owned())
            .spawn(move || ask(&address, &credentials, &events, &of_thread))?;
        Ok(Self { mood, thread })
    }

    /// Whether something heals now.
    pub(super) fn set_eager(&self, is_eager: bool) {
        let mood = if is_eager { EAGER } else { AT_REST };
        if self.mood.swap(mood, Ordering::Relaxed) != mood && is_eager {
            self.thread.thread().unpark();
        }
    }

    /// No more questions; one that is being asked is not waited for.
    pub(super) fn end(&self) {
        self.mood.store(OVER, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

fn ask(address: &Address, credentials: &Credentials, events: &Sender<Event>, mood: &AtomicU8) {
    loop {
        let asked = Instant::now();
        // A leader that is away is asked again.
        if let Ok(status) = plurix::status(address, credentials) {
            let at = Instant::now();
            let status = Box::new(status);
            if events.send(Event::Probe { asked, at, status }).is_err() {
                return;
            }
        }
        match mood.load(Ordering::Relaxed) {
            OVER => return,
            EAGER => sleep(PAUSE),
            _ => park_timeout(PAUSE_AT_REST),
        }
    }
}
