//! The baton: who holds it drives a station. It is generic over what is driven, so that `loom` can
//! try every way in which program, service and whoever interrupts may meet (`models`, below).
//!
//! ```text
//!   program   take ── drives, sleeps ── put down ── computes ── … ── end: stop, leave, wake
//!   service             attend: held              attend: looks        attend: stopped, ends
//! ```

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

/// A lock around what is driven, and whether that has come to its end.
#[derive(Debug)]
pub(crate) struct Baton<D> {
    driver: Mutex<D>,
    stop: Flag,
}

impl<D> Baton<D> {
    pub(crate) fn new(driver: D) -> Self {
        Self {
            driver: Mutex::new(driver),
            stop: Flag::new(),
        }
    }

    /// Takes the baton, for the program.
    pub(crate) fn take(&self) -> MutexGuard<'_, D> {
        // A panic while driving leaves no half-done protocol step that a lock could hide: the
        // machines assert their own invariants.
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the service have a `look`, if nobody drives; answers whether it shall ask again.
    pub(crate) fn attend(&self, look: impl FnOnce(&mut D) -> bool) -> bool {
        let mut driver = match self.driver.try_lock() {
            Ok(driver) => driver,
            Err(TryLockError::Poisoned(driver)) => driver.into_inner(),
            // Whoever holds the baton drives; then there is nothing to do here.
            Err(TryLockError::WouldBlock) => return !self.stop.is_raised(),
        };
        // Asked with the baton in hand: before, the end could still come in between, and a look at
        // what has left would join it again.
        !self.stop.is_raised() && look(&mut driver)
    }

    /// Ends the driving by `leave`; nobody looks after that. Then `wake`s the service, so that it
    /// learns of it at once.
    pub(crate) fn end(&self, leave: impl FnOnce(&mut D), wake: impl FnOnce()) {
        self.stop.raise();
        leave(&mut self.take());
        wake();
    }
}

/// The life of the service: it `attend`s after each `pause`, until there is nothing left to attend
/// to. A pause that was cut short before it began is over at once.
pub(crate) fn serve(mut pause: impl FnMut(), mut attend: impl FnMut() -> bool) {
    pause();
    while attend() {
        pause();
    }
}

/// Raised once, by any thread; who sees it raised sees what was done before.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Each model takes the step that a flaw may be in: as it is, it must hold; with the flaw it must
/// not. `Cell` is loom's: it objects to accesses between which there is no order.
#[cfg(test)]
#[cfg(loom)]
mod models {
    use std::sync::Arc;

    use loom::cell::Cell;
    use loom::sync::Notify;
    use loom::thread;
    use plurix_memory::exploration::{explore, objection};

    use super::*;

    /// What is driven: how often it was, and whether it has left.
    #[derive(Clone)]
    struct Driven {
        steps: Arc<Cell<u32>>,
        has_left: Arc<Cell<bool>>,
    }

    impl Driven {
        fn new() -> Self {
            Self {
                steps: Arc::new(Cell::new(0)),
                has_left: Arc::new(Cell::new(false)),
            }
        }

        fn step(&mut self) {
            assert!(!self.has_left.get(), "driven after it has left");
            self.steps.set(self.steps.get() + 1);
        }

        fn leave(&mut self) {
            self.step();
            self.has_left.set(true);
        }
    }

    type Attend = fn(&Baton<Driven>, fn(&mut Driven) -> bool) -> bool;
    type End = fn(&Baton<Driven>, &dyn Fn());

    fn look(driven: &mut Driven) -> bool {
        driven.step();
        true
    }

    fn end(baton: &Baton<Driven>, wake: &dyn Fn()) {
        baton.end(Driven::leave, wake);
    }

    /// The program drives, then ends, while the service attends when a clock wakes it. Parked
    /// threads wait for ever here: were the last wake-up lost, nobody could go on.
    fn life(attend: Attend, end: End) {
        let baton = Arc::new(Baton::new(Driven::new()));
        let service = thread::spawn({
            let baton = Arc::clone(&baton);
            move || serve(thread::park, || attend(&baton, look))
        });
        let clock = thread::spawn({
            let service = service.thread().clone();
            move || service.unpark()
        });
        baton.take().step();
        end(&baton, &|| service.thread().unpark());
        service.join().unwrap();
        clock.join().unwrap();
    }

    #[test]
    fn who_drives_is_alone_and_the_service_ends_with_the_program() {
        explore("baton, a life", || life(Baton::attend, end));
    }

    #[test]
    fn a_service_that_asks_before_it_has_the_baton_drives_what_has_left() {
        let hasty: Attend = |baton, look| {
            !baton.stop.is_raised() && baton.driver.try_lock().is_ok_and(|mut d| look(&mut d))
        };
        let objection = objection(move || life(hasty, end));
        assert!(objection.contains("driven after"), "{objection}");
    }

    #[test]
    fn a_service_that_is_woken_before_the_stop_sleeps_for_ever() {
        let early: End = |baton, wake| {
            wake();
            baton.end(Driven::leave, || {});
        };
        let objection = objection(move || life(Baton::attend, early));
        assert!(objection.starts_with("deadlock"), "{objection}");
    }

    /// The program waits, baton in hand, until the service has attended.
    fn held(attend: Attend) {
        let baton = Arc::new(Baton::new(Driven::new()));
        let mut driver = baton.take();
        let service = thread::spawn({
            let baton = Arc::clone(&baton);
            move || assert!(attend(&baton, look), "it shall ask again")
        });
        driver.step();
        service.join().unwrap();
        driver.step();
        assert_eq!(driver.steps.get(), 2, "nobody else drove");
    }

    #[test]
    fn the_service_neither_waits_for_the_baton_nor_drives_without_it() {
        explore("baton, held by the program", || held(Baton::attend));
    }

    #[test]
    fn a_service_that_waits_for_the_baton_holds_up_the_program() {
        let patient: Attend = |baton, look| look(&mut baton.take());
        let objection = objection(move || held(patient));
        assert!(objection.starts_with("deadlock"), "{objection}");
    }

    /// The program looks at the flag whenever something wakes it; the last that does comes after
    /// the flag was raised.
    fn interrupted(raise: fn(&Flag, &Notify)) {
        let (flag, bell) = (Arc::new(Flag::new()), Arc::new(Notify::new()));
        let reason = Arc::new(Cell::new("none"));
        let program = thread::spawn({
            let (flag, bell, reason) = (flag.clone(), bell.clone(), reason.clone());
            move || {
                while !flag.is_raised() {
                    bell.wait();
                }
                assert_eq!(reason.get(), "a signal");
            }
        });
        reason.set("a signal");
        raise(&flag, &bell);
        program.join().unwrap();
    }

    #[test]
    fn an_interrupt_is_seen_at_the_next_look_with_what_was_done_before() {
        explore("baton, an interrupt", || {
            interrupted(|flag, bell| {
                flag.raise();
                bell.notify();
            });
        });
    }

    #[test]
    fn an_interrupt_after_the_last_look_is_lost() {
        let late = |flag: &Flag, bell: &Notify| {
            bell.notify();
            flag.raise();
        };
        let objection = objection(move || interrupted(late));
        assert!(objection.starts_with("deadlock"), "{objection}");
    }

    #[test]
    fn an_interrupt_without_release_hides_what_was_done_before() {
        let relaxed = |flag: &Flag, bell: &Notify| {
            flag.0.store(true, Ordering::Relaxed);
            bell.notify();
        };
        let objection = objection(move || interrupted(relaxed));
        assert!(objection.starts_with("Causality violation"), "{objection}");
    }
}
