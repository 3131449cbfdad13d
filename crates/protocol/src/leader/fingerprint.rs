//! What tells two leaders apart that can behave differently: the model checker visits one of those
//! that are alike.
//!
//! Left out are the settings, the counters, buffers kept for their memory, and every time: a
//! checker freezes the clock, and lets silence, expiry and the end of a delay be actions of its own.
//! Of a time that may be unset, whether it is set counts.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use super::Leader;
use super::members::{Link, MemberState, Members};

impl Hash for Leader {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            settings: _,
            term,
            generation,
            cuts,
            number,
            logged,
            synced,
            syncing,
            room,
            incarnations,
            pages,
            history,
            undo: _,
            members,
            commands,
            urgent,
            lazy,
            lazy_due,
            leaving,
            unlogged,
            checkpointing,
            recovery_lines,
            spare_images: _,
            lost_lines: _,
            token,
            next_tick: _,
            started: _,
            counters: _,
            conflict_counts: _,
            stopping,
        } = self;
        (term, generation, cuts, number, logged, room, incarnations).hash(state);
        (synced, syncing).hash(state);
        (pages, history, members, leaving, commands, stopping).hash(state);
        // In which order members are served makes no difference to any of them.
        for list in [urgent, lazy, unlogged] {
            list.iter().collect::<BTreeSet<_>>().hash(state);
        }
        lazy_due.is_some().hash(state);
        (checkpointing, recovery_lines, token).hash(state);
    }
}

impl Hash for Members {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The other fields are indexes of this one.
        self.slots.hash(state);
    }
}

impl Hash for MemberState {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            member,
            link,
            stream,
            outcomes,
            seen,
            held,
            said: _,
            pulse,
            awaits_durable,
            watches,
            turn,
            // Compared with a number while that is handed out, and with no other.
            reached: _,
            commits: _,
            conflicts: _,
            fetches: _,
            numbers: _,
        } = self;
        (member, stream, outcomes, seen, pulse).hash(state);
        (awaits_durable, watches, turn).hash(state);
        held.iter().collect::<BTreeSet<_>>().hash(state);
        match link {
            Link::Connected {
                connection,
                heard: _,
            } => Some(connection).hash(state),
            Link::Lost { since: _ } => None::<u64>.hash(state),
        }
    }
}
