//! What tells two stations apart that can behave differently: the model checker visits one of
//! those that are alike.
//!
//! Left out are the settings, and when something was said or heard, or is to be: they decide when
//! a heartbeat is due or a silent leader given up, which a checker turns into actions of its own.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use super::Station;

impl Hash for Station {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            settings: _,
            state: stands,
            number,
            session,
            seen,
            heap_bytes,
            cache,
            out,
            transaction,
            pipeline,
            awaited,
            missed,
            ahead,
            brought: _,
            durable,
            durable_in,
            awaits_durable,
            token,
            heard: _,
            said: _,
            told: _,
            heartbeat: _,
        } = self;
        (stands, number, session, cache, out).hash(state);
        (transaction, pipeline).hash(state);
        awaited.iter().collect::<BTreeSet<_>>().hash(state);
        (seen, heap_bytes, missed, ahead).hash(state);
        (durable, durable_in, awaits_durable, token).hash(state);
    }
}
