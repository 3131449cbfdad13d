//! The baton of a member under `loom`: workers, the service and a peer, in every order of their steps.
//! Nobody looks twice before sleeping and nobody's nap ends by itself, so that whoever is not woken sleeps
//! for ever: that is a deadlock, which loom finds.
//!
//! Beneath is a kernel of one lock, with one connection: over a socket, or through shared memory, where
//! the socket is for wake-ups alone. (That the rings themselves lose no wake-up is checked beside them.)

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;
use plurix_memory::exploration::{explore_within, objection};

use super::*;

/// What a peer may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// What a worker waits for.
    Told,
    /// What is to be answered.
    Asked,
}

/// How the two sides speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Socket,
    SharedMemory,
}

/// The kernel of both sides, and the memory that they may share.
struct World {
    way: Way,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the peer has said and nobody has looked at.
    sent: Vec<Message>,
    answers: u32,
    /// This side has said in the shared memory that it sleeps.
    is_dozing: bool,
    /// The socket has been written to, to wake this side.
    is_signalled: bool,
    is_armed: bool,
    is_rung: bool,
}

impl World {
    fn new(way: Way) -> Arc<Self> {
        Arc::new(Self {
            way,
            state: Mutex::new(State {
                is_armed: true,
                ..State::default()
            }),
            changed: Condvar::new(),
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap())
    }

    /// What the peer does.
    fn say(&self, message: Message) {
        self.with(|state| {
            state.sent.push(message);
            state.is_signalled |= std::mem::take(&mut state.is_dozing);
            self.changed.notify_all();
        });
    }

    /// What the peer does who has asked.
    fn await_answer(&self) {
        let mut state = self.state.lock().unwrap();
        while state.answers == 0 {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn is_readable(&self, state: &State) -> bool {
        match self.way {
            Way::Socket => !state.sent.is_empty(),
            Way::SharedMemory => state.is_signalled,
        }
    }
}

impl Gate for Arc<World> {
    fn arm(&self) {
        self.with(|state| {
            state.is_armed = true;
            self.changed.notify_all();
        });
    }

    fn disarm(&self) {
        self.with(|state| state.is_armed = false);
    }

    fn sleep(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        while !(state.is_rung || state.is_armed && self.is_readable(&state)) {
            state = self.changed.wait(state).unwrap();
        }
        if self.is_readable(&state) {
            state.is_armed = false;
        }
        true
    }

    fn ring(&self) {
        self.with(|state| {
            state.is_rung = true;
            self.changed.notify_all();
        });
    }
}

/// What is driven.
struct Member {
    world: Arc<World>,
    /// What was read and not yet taken.
    input: Vec<Message>,
    told: u32,
    asked: u32,
    has_failed: bool,
}

impl Member {
    fn look(&mut self) {
        let world = Arc::clone(&self.world);
        world.with(|state| self.input.append(&mut state.sent));
    }

    /// A wait for `count` messages; nothing if the member has failed.
    fn told(&mut self, count: u32) -> Option<Result<(), ()>> {
        self.flush();
        if self.has_failed {
            return Some(Err(()));
        }
        (self.told >= count).then_some(Ok(()))
    }

    fn flush(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if asked > 0 {
            self.world.with(|state| {
                state.answers += asked;
                self.world.changed.notify_all();
            });
        }
    }
}

impl Drive for Member {
    type Gate = Arc<World>;
    type Patience = ();

    fn patience(&self) {}

    fn is_patient(&mut self, (): &mut ()) -> bool {
        false
    }

    fn has_come(&mut self) -> bool {
        self.look();
        !self.input.is_empty()
    }

    fn pump(&mut self) {
        for message in self.input.drain(..) {
            match message {
                Message::Told => self.told += 1,
                Message::Asked => self.asked += 1,
            }
        }
    }

    fn answer(&mut self) {
        self.look();
        self.pump();
        self.flush();
    }

    fn attend(&mut self) {
        self.world.with(|state| state.is_signalled = false);
        self.answer();
    }

    fn take_news(&mut self) -> bool {
        false
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn may_wake(&self) -> bool {
        self.world.way == Way::Socket
    }

    fn want(&mut self, _gate: &Arc<World>) {}

    fn doze(&self) -> bool {
        self.world.way == Way::Socket
            || self.world.with(|state| {
                state.is_dozing = state.sent.is_empty();
                state.is_dozing
            })
    }

    fn rouse(&self) {
        if self.world.way == Way::SharedMemory {
            self.world.with(|state| state.is_dozing = false);
        }
    }
}

type Team = Baton<Member>;
/// What the service does.
type Serve = fn(&Team);

/// A station whose service does `serve`; `life` is what its first worker and others do. Then the service is
/// ended.
fn station(way: Way, serve: Serve, life: impl FnOnce(&Arc<Team>, &Arc<World>)) {
    let world = World::new(way);
    let member = Member {
        world: Arc::clone(&world),
        input: Vec::new(),
        told: 0,
        asked: 0,
        has_failed: false,
    };
    let team = Arc::new(Baton::new(member, Arc::clone(&world), Duration::ZERO));
    // A station notes its handler of faults first: from then on it dozes while nobody looks.
    team.with(|_| ());
    let service = beside(&team, serve);
    life(&team, &world);
    team.end();
    service.join().unwrap();
}

/// Another thread that uses what is shared.
fn beside<T: Send + Sync + 'static>(
    shared: &Arc<T>,
    act: impl FnOnce(&T) + Send + 'static,
) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || act(&shared))
}

fn peer(world: &Arc<World>, says: &'static [Message]) -> thread::JoinHandle<()> {
    beside(world, move |world: &World| {
        says.iter().for_each(|message| world.say(*message))
    })
}

fn awaits(team: &Team, count: u32) {
    team.wait(|member| member.told(count)).unwrap();
}

/// One worker waits for what the peer says.
fn one_waits(way: Way, serve: Serve) {
    station(way, serve, |team, world| {
        let peer = peer(world, &[Message::Told]);
        awaits(team, 1);
        peer.join().unwrap();
    });
}

/// It waits for one thing, then for the next.
fn one_waits_twice(way: Way, serve: Serve) {
    station(way, serve, |team, world| {
        let peer = peer(world, &[Message::Told, Message::Told]);
        awaits(team, 1);
        awaits(team, 2);
        peer.join().unwrap();
    });
}

/// Two workers wait for the same.
fn two_wait(way: Way, serve: Serve) {
    station(way, serve, |team, world| {
        let other = beside(team, |team: &Team| awaits(team, 1));
        let peer = peer(world, &[Message::Told]);
        awaits(team, 1);
        other.join().unwrap();
        peer.join().unwrap();
    });
}

/// One worker waits, while another takes the baton for a moment.
fn one_waits_and_one_looks(way: Way, serve: Serve) {
    one_waits_while(way, serve, |team| team.with(|_| ()));
}

/// One worker waits, while another thread does something.
fn one_waits_while(way: Way, serve: Serve, act: fn(&Team)) {
    station(way, serve, |team, world| {
        let other = beside(team, act);
        let peer = peer(world, &[Message::Told]);
        awaits(team, 1);
        other.join().unwrap();
        peer.join().unwrap();
    });
}

/// The worker computes, and the peer asks.
fn one_is_asked(way: Way, serve: Serve) {
    station(way, serve, |_, world| {
        world.say(Message::Asked);
        world.await_answer();
    });
}

/// The worker waits for what the peer says after it has got an answer.
fn one_is_asked_while_it_waits(way: Way, serve: Serve) {
    station(way, serve, |team, world| {
        let peer = beside(world, |world: &World| {
            world.say(Message::Asked);
            world.await_answer();
            world.say(Message::Told);
        });
        awaits(team, 1);
        peer.join().unwrap();
    });
}

/// The worker has waited and computes, and the peer asks.
fn one_is_asked_after_it_has_waited(way: Way, serve: Serve) {
    station(way, serve, |team, world| {
        let peer = beside(world, |world: &World| {
            world.say(Message::Told);
            world.say(Message::Asked);
            world.await_answer();
        });
        awaits(team, 1);
        peer.join().unwrap();
    });
}

/// One worker waits for what never comes, and another gives up.
fn one_gives_up(way: Way, serve: Serve) {
    station(way, serve, |team, _| {
        let other = beside(team, |team: &Team| {
            assert_eq!(team.wait(|member| member.told(1)), Err(()));
        });
        team.fail(|member| member.has_failed = true);
        other.join().unwrap();
    });
}

fn holds(preemptions: usize, what: &str, model: fn(Way, Serve)) {
    for (way, through) in [(Way::Socket, "socket"), (Way::SharedMemory, "memory")] {
        let name = format!("team, {what}, by {through}");
        explore_within(preemptions, &name, move || model(way, Team::serve));
    }
}

#[test]
fn a_worker_is_woken_by_what_it_waits_for() {
    holds(3, "one waits", one_waits);
    holds(3, "one waits twice", one_waits_twice);
}

#[test]
fn two_workers_are_woken_by_what_both_wait_for() {
    holds(2, "two wait", two_wait);
}

#[test]
fn who_takes_the_baton_for_a_moment_leaves_nobody_asleep() {
    holds(2, "one waits, one looks", one_waits_and_one_looks);
}

#[test]
fn who_asks_is_answered() {
    holds(3, "one is asked while it computes", one_is_asked);
    holds(
        2,
        "one is asked while it waits",
        one_is_asked_while_it_waits,
    );
    holds(
        2,
        "one is asked after its wait",
        one_is_asked_after_it_has_waited,
    );
}

#[test]
fn a_team_that_is_given_up_ends() {
    holds(3, "one gives up", one_gives_up);
}

/// A service that does not wait for the baton sleeps while a worker takes the gate for open.
#[test]
fn a_service_that_finds_the_baton_taken_and_sleeps_is_not_woken_again() {
    let hasty: Serve = |team| {
        while !team.is_over.load(Ordering::Acquire) {
            team.gate.sleep();
            if let Ok(held) = team.shared.try_lock() {
                held.driven.rouse();
                team.attend(held);
            }
        }
    };
    for way in [Way::Socket, Way::SharedMemory] {
        let objection = objection(move || one_waits(way, hasty));
        assert!(objection.starts_with("deadlock"), "{way:?}: {objection}");
    }
}

/// What comes while the baton is put down may be what a worker sleeps for.
#[test]
fn who_does_not_announce_what_kept_it_from_dozing_leaves_a_worker_asleep() {
    let silent = |team: &Team| {
        let mut held = team.take();
        if !held.is_driven {
            while !held.driven.doze() {
                held.driven.rouse();
                held.driven.answer();
            }
            team.open(&mut held);
        }
    };
    let objection = objection(move || one_waits_while(Way::SharedMemory, Team::serve, silent));
    assert!(objection.starts_with("deadlock"), "{objection}");
}
