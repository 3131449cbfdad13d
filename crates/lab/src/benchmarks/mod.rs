//! The benchmarks, one file each, in the order in which issue and documentation list them.

mod access;
pub(crate) mod cells;
mod commit;
mod counters;
mod durable;
mod miss;
mod parts;
mod postgres;
mod raytrace;
mod replay;
mod rings;
mod sequencer;
mod start;

use anyhow::Result;

use crate::figure::Figure;
use crate::rounds::Plan;

/// One benchmark; it may give several figures.
#[derive(Debug)]
pub(crate) struct Benchmark {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Plan) -> Result<Vec<Figure>>,
}

/// All of them.
pub(crate) const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "access",
        what: "get and get_mut of cached objects, and a transaction that only reads",
        run: access::run,
    },
    Benchmark {
        name: "commit",
        what: "an update transaction, against a raw round trip of the same bytes",
        run: commit::run,
    },
    Benchmark {
        name: "parts",
        what: "what a commit costs beside the sockets, part by part",
        run: parts::run,
    },
    Benchmark {
        name: "miss",
        what: "a miss on a page, against a raw round trip with a 4 KiB reply",
        run: miss::run,
    },
    Benchmark {
        name: "rings",
        what: "a raw round trip through shared memory",
        run: rings::run,
    },
    Benchmark {
        name: "sequencer",
        what: "the leader's state machine alone, on one processor",
        run: sequencer::run,
    },
    Benchmark {
        name: "counters",
        what: "increments of random counters by two processes, against Redis",
        run: counters::run,
    },
    Benchmark {
        name: "durable",
        what: "durable commits of 16 stations, against PostgreSQL",
        run: durable::run,
    },
    Benchmark {
        name: "start",
        what: "from the start of a station's process to its first commit",
        run: start::run,
    },
    Benchmark {
        name: "replay",
        what: "reading the log again, by the store alone and by the leader",
        run: replay::run,
    },
    Benchmark {
        name: "raytrace",
        what: "the ray tracer with two stations, against one",
        run: raytrace::run,
    },
];
