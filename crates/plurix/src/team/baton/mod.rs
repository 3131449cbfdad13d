//! The baton of a member: who holds it drives the engine, and how those who wait wake each other. It is
//! generic over what is driven and over what wakes the service, so that `loom` can try every way in which
//! workers, service and peers may meet (`models`).
//!
//! ```text
//!   worker    takes the baton, drives, looks ── ready ──► announces it, puts the baton down
//!                │ too long: puts it down and sleeps until somebody announces something
//!   another   watches the one who drives, then takes its place, or sleeps
//!   service   sleeps at the gate ──► takes the baton, drives, announces, puts it down
//! ```

#[cfg(all(test, loom))]
mod models;

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[cfg(loom)]
use loom::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
#[cfg(not(loom))]
use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

/// A worker that sleeps looks again after so long, whatever happens: for the end of the process behind a
/// connection is noticed by the service, and nothing else wakes it if that has ended. In a model no time
/// passes: there a wake-up that is lost is a deadlock.
const NAP: Duration = Duration::from_millis(100);
/// Looks of a worker that another one drives for, before it offers the processor to others.
#[cfg(not(loom))]
const WATCH_LOOKS: u32 = 64;
/// Looks for the baton before sleeping on it: some microseconds.
#[cfg(not(loom))]
const TAKE_LOOKS: u32 = 100;
#[cfg(loom)]
const TAKE_LOOKS: u32 = 1;

/// What is driven: a state machine and its connections.
pub(super) trait Drive {
    /// What wakes the service when something comes.
    type Gate: Gate;
    /// For how long to look before sleeping.
    type Patience;

    /// That of a wait which begins now.
    fn patience(&self) -> Self::Patience;
    /// Nothing has come: whether to go on looking. Offers the processor to others.
    fn is_patient(&mut self, patience: &mut Self::Patience) -> bool;
    /// Looks some times whether anything has come.
    fn has_come(&mut self) -> bool;
    /// Takes what the last look has found, and maybe more.
    fn pump(&mut self);
    /// Takes what has come and sends what is due.
    fn answer(&mut self);
    /// Takes what the gate has been woken by, besides, and answers.
    fn attend(&mut self);
    /// Whether a look of one who waits has brought about what others may wait for; asked once.
    fn take_news(&mut self) -> bool;
    /// Whether it cannot go on: then nothing that comes is of interest.
    fn has_failed(&self) -> bool;
    /// Whether something may come to the gate although nobody dozes.
    fn may_wake(&self) -> bool;
    /// Has the gate wait for what is wanted.
    fn want(&mut self, gate: &Self::Gate);
    /// Says that nobody looks from here on; answers whether nothing has come meanwhile.
    fn doze(&self) -> bool;
    /// Says that somebody looks.
    fn rouse(&self);
}

/// Where the service sleeps.
pub(super) trait Gate {
    /// Lets what comes, or is there, wake the service once.
    fn arm(&self);
    /// Lets it sleep, whatever comes.
    fn disarm(&self);
    /// Sleeps until something comes, or the bell is rung; answers whether it can be told. Something that
    /// comes disarms the gate.
    fn sleep(&self) -> bool;
    /// Wakes whoever sleeps here, and will.
    fn ring(&self);
}

/// A lock around what is driven, and all that those who want it tell each other.
pub(super) struct Baton<D: Drive> {
    shared: Mutex<Shared<D>>,
    /// Somebody has driven.
    has_driven: Condvar,
    /// Who wants the baton now.
    wanting: AtomicUsize,
    /// Counts what workers may have waited for.
    progress: AtomicU64,
    /// How long to watch another one before sleeping.
    spin: Duration,
    gate: D::Gate,
    is_over: AtomicBool,
}

/// What whoever has the baton has.
pub(super) struct Shared<D> {
    driven: D,
    /// Workers that sleep until somebody has driven.
    sleepers: usize,
    /// A worker drives while it waits, and holds the baton most of the time.
    is_driven: bool,
    /// The gate is armed, or the service has been woken and is about to take the baton.
    is_open: bool,
}

type Held<'a, D> = MutexGuard<'a, Shared<D>>;

impl<D: Drive> Baton<D> {
    /// The gate is armed.
    pub(super) fn new(driven: D, gate: D::Gate, spin: Duration) -> Self {
        Self {
            shared: Mutex::new(Shared {
                driven,
                sleepers: 0,
                is_driven: false,
                is_open: true,
            }),
            has_driven: Condvar::new(),
            wanting: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            spin,
            gate,
            is_over: AtomicBool::new(false),
        }
    }

    /// Drives until `ready` answers something, or lets another worker drive who waits as well.
    pub(super) fn wait<R>(&self, mut ready: impl FnMut(&mut D) -> Option<R>) -> R {
        let mut held = self.take();
        let mut patience = held.driven.patience();
        let (mut drives, mut has_slept) = (false, false);
        loop {
            if let Some(answer) = ready(&mut held.driven) {
                held.is_driven &= !drives;
                self.announce(&held);
                self.put(held);
                return answer;
            }
            if held.driven.take_news() {
                self.announce(&held);
            }
            if held.is_driven && !drives {
                held = self.watch(held);
                continue;
            }
            if !drives {
                (drives, held.is_driven) = (true, true);
                self.shut(&mut held);
            }
            if held.driven.has_come() {
                held.driven.pump();
                self.announce(&held);
            } else if self.wanting.load(Ordering::Relaxed) > 0 {
                held = self.lend(held);
            } else if !held.driven.is_patient(&mut patience) {
                (drives, held.is_driven) = (false, false);
                if has_slept {
                    // Only those who watch: two that wake each other before they sleep never sleep.
                    self.progress.fetch_add(1, Ordering::Release);
                } else {
                    self.announce(&held);
                }
                has_slept = true;
                held = self.sleep(held);
                // Where something has come, more may follow.
                patience = held.driven.patience();
            }
        }
    }

    /// What the service does: sleeps at the gate, and drives when something comes, until the end.
    pub(super) fn serve(&self) {
        while !self.is_over.load(Ordering::Acquire) {
            if !self.gate.sleep() {
                return;
            }
            // Whoever has the baton may be about to sleep, and take the gate for open. So it is waited for:
            // who drives gives it away when it is wanted.
            self.attend(self.take());
        }
    }

    fn attend(&self, mut held: Held<'_, D>) {
        held.is_open = false;
        held.driven.attend();
        self.announce(&held);
        self.put(held);
    }

    /// Takes the baton for a moment.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut D) -> R) -> R {
        let mut held = self.take();
        let answer = look(&mut held.driven);
        self.put(held);
        answer
    }

    /// Has what is driven fail, if it has not failed already: then nobody waits any more.
    pub(super) fn fail(&self, fail: impl FnOnce(&mut D)) {
        let mut held = self.take();
        fail(&mut held.driven);
        debug_assert!(held.driven.has_failed(), "nobody would wake the service");
        self.announce(&held);
    }

    /// Ends the service.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.gate.ring();
    }

    /// Tells other workers that what they wait for may be there, or that nobody drives any more.
    fn announce(&self, held: &Shared<D>) {
        self.progress.fetch_add(1, Ordering::Release);
        if held.sleepers > 0 {
            self.has_driven.notify_all();
        }
    }

    /// Lets those have the baton for a moment who want it, while this worker drives.
    fn lend<'a>(&'a self, held: Held<'a, D>) -> Held<'a, D> {
        drop(held);
        // Were it taken again at once, who sleeps on it would hardly ever get it.
        while self.wanting.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        self.take()
    }

    /// Waits until the worker that drives has come upon something.
    fn watch<'a>(&'a self, held: Held<'a, D>) -> Held<'a, D> {
        let seen = self.progress.load(Ordering::Acquire);
        drop(held);
        let is_new = || self.progress.load(Ordering::Acquire) != seen;
        look_for(self.spin, is_new);
        let held = self.take();
        if is_new() { held } else { self.sleep(held) }
    }

    /// Takes the baton.
    fn take(&self) -> Held<'_, D> {
        self.wanting.fetch_add(1, Ordering::Relaxed);
        // Whoever drives gives it away when it sees that: that is sooner than a wake-up.
        let quick = (0..TAKE_LOOKS).find_map(|_| {
            std::hint::spin_loop();
            self.shared.try_lock().ok()
        });
        let held = match quick {
            Some(held) => held,
            None => self.shared.lock().unwrap_or_else(PoisonError::into_inner),
        };
        self.wanting.fetch_sub(1, Ordering::Relaxed);
        held.driven.rouse();
        held
    }

    /// Puts the baton down, and sees to it that the service wakes when something comes.
    fn put(&self, mut held: Held<'_, D>) {
        if held.is_driven {
            return;
        }
        while !held.driven.doze() {
            self.answer(&mut held);
            if held.driven.has_failed() {
                break;
            }
        }
        self.open(&mut held);
    }

    /// Takes what has come before one could doze, which others may sleep for.
    fn answer(&self, held: &mut Shared<D>) {
        held.driven.rouse();
        held.driven.answer();
        self.announce(held);
    }

    /// Lets the service be woken.
    fn open(&self, held: &mut Shared<D>) {
        if held.driven.has_failed() {
            return;
        }
        held.driven.want(&self.gate);
        if !std::mem::replace(&mut held.is_open, true) {
            self.gate.arm();
        }
    }

    /// Lets the service sleep, while somebody waits for an answer, if it could be woken.
    fn shut(&self, held: &mut Shared<D>) {
        if held.driven.may_wake() && std::mem::take(&mut held.is_open) {
            self.gate.disarm();
        }
    }

    /// Sleeps until somebody has driven.
    fn sleep<'a>(&'a self, mut held: Held<'a, D>) -> Held<'a, D> {
        if !held.is_driven && !held.driven.doze() {
            self.answer(&mut held);
            return held;
        }
        if !held.is_driven {
            self.open(&mut held);
        }
        held.sleepers += 1;
        let woken = self.has_driven.wait_timeout(held, NAP);
        let (mut held, _) = woken.unwrap_or_else(PoisonError::into_inner);
        held.sleepers -= 1;
        held.driven.rouse();
        held
    }
}

/// Looks for as long as `spin` whether something `is_so`.
#[cfg(not(loom))]
fn look_for(spin: Duration, is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while begin.elapsed() < spin {
        let looks = |_| {
            std::hint::spin_loop();
            is_so()
        };
        if (0..WATCH_LOOKS).any(looks) {
            return;
        }
        thread::yield_now();
    }
}

/// In a model no time passes: the look that follows is the only one.
#[cfg(loom)]
fn look_for(_spin: Duration, _is_so: impl Fn() -> bool) {}
