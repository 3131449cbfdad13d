//! The benchmarks, one file each, in the order in which issue and documentation list them.

mod access;
mod bank;
pub(crate) mod cells;
mod checkpoint;
mod collections;
mod commit;
mod counters;
mod durable;
mod fault_bare;
pub(crate) mod lines;
mod miss;
mod ordered;
mod parts;
mod postgres;
pub(crate) mod programs;
mod raytrace;
pub(crate) mod recovery;
mod replay;
mod rings;
mod scan;
mod sequencer;
mod start;
pub(crate) mod team;
mod wake;

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
        name: "collections",
        what: "maps and counters in the heap, and how rarely stations conflict on them",
        run: collections::run,
    },
    Benchmark {
        name: "ordered",
        what: "vectors, ordered maps and queues in the heap, against the standard library's",
        run: ordered::run,
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
        name: "wake",
        what: "from a commit to the next attempt of a transaction that waits for it",
        run: wake::run,
    },
    Benchmark {
        name: "scan",
        what: "a heap read from first to last, here or not, and one of 16 times the cache",
        run: scan::run,
    },
    Benchmark {
        name: "rings",
        what: "a raw round trip through shared memory",
        run: rings::run,
    },
    Benchmark {
        name: "fault-bare",
        what: "page faults on a view of shared pages, by each mechanism, without a message",
        run: fault_bare::run,
    },
    Benchmark {
        name: "team",
        what: "faults, barriers and locks of two stations of a team, against a raw round trip",
        run: team::run,
    },
    Benchmark {
        name: "programs",
        what: "whole programs of two stations, against two threads of one process",
        run: programs::run,
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
        what: "durable commits: one station against its disk, 16 against PostgreSQL",
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
    Benchmark {
        name: "checkpoint-latency",
        what: "a bank at work while checkpoints are taken, against between them",
        run: checkpoint::latency::run,
    },
    Benchmark {
        name: "checkpoint-bytes",
        what: "what a checkpoint of 5 % of the heap writes, against the changed pages",
        run: checkpoint::bytes::run,
    },
    Benchmark {
        name: "checkpoint-speed",
        what: "a checkpoint of the whole heap, against O_DIRECT and fdatasync",
        run: checkpoint::speed::run,
    },
    Benchmark {
        name: "checkpoint-overhead",
        what: "raytrace and bank with a checkpoint each second, against without",
        run: checkpoint::overhead::run,
    },
    Benchmark {
        name: "station-death",
        what: "from the kill of a station to its successor's first commit",
        run: recovery::station::run,
    },
    Benchmark {
        name: "silence",
        what: "from the silence or death of a station to its work on another one",
        run: recovery::silence::run,
    },
    Benchmark {
        name: "boot",
        what: "from a checkpoint to the first commit, and until the whole heap is read",
        run: recovery::boot::run,
    },
    Benchmark {
        name: "failover",
        what: "from the kill of the page server until stations commit again",
        run: recovery::failover::run,
    },
    Benchmark {
        name: "lines-overhead",
        what: "a team's program with a recovery line each second, against without",
        run: lines::overhead::run,
    },
    Benchmark {
        name: "lines-stop",
        what: "how long a team's workers stop at a cut, and their first stores behind it",
        run: lines::stop::run,
    },
    Benchmark {
        name: "lines-speed",
        what: "a recovery line of the whole memory, against a socket and the disk",
        run: lines::speed::run,
    },
    Benchmark {
        name: "lines-death",
        what: "from the kill of a team's station until all compute again",
        run: lines::death::run,
    },
];
