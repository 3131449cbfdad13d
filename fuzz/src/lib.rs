//! Fuzz targets: every decoder and every state machine of Plurix, fed with what nobody honest would
//! send.
//!
//! ```text
//!   coverage-guided: targets/NAME.rs (libFuzzer) --+
//!   everywhere: tests/deterministic.rs ------------+--> run(NAME, bytes) --> the check of a target
//!     regressions/NAME/*, corpus/NAME/*, mutations of them
//! ```
//!
//! A check is an ordinary function of bytes that panics if something is wrong, so that the same
//! checks run with the stable compiler, without libFuzzer, in every build. A decoder's bytes are
//! what it decodes; a state machine's bytes decide what happens to it, step by step.
//!
//! To add a target: a check and its seeds in a module here, a line in [`TARGETS`], and a file in
//! `targets/`.

mod checkpoints;
mod diffs;
mod frames;
mod input;
mod leader;
mod log;
mod pair;
mod record;
mod scenes;
mod state;
mod station;
mod team;
mod text;
mod write_set;

pub mod mutate;

/// Something that takes bytes from outside, and how it is checked.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called on the command line and in the directories.
    pub name: &'static str,
    /// Panics if `bytes` break a rule.
    pub check: fn(&[u8]),
    /// Inputs to begin with, each under a name; made by the code under test, so that they are
    /// always of the newest format.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
    /// Longer inputs cost more than they find.
    pub input_bytes_max: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "frame_to_leader",
        check: frames::check_to_leader,
        seeds: frames::to_leader_seeds,
        input_bytes_max: 4096,
    },
    Target {
        name: "frame_to_station",
        check: frames::check_to_station,
        seeds: frames::to_station_seeds,
        input_bytes_max: 8192,
    },
    Target {
        name: "frame_to_peer",
        check: frames::check_to_peer,
        seeds: frames::to_peer_seeds,
        input_bytes_max: 8192,
    },
    Target {
        name: "handshake",
        check: frames::check_handshake,
        seeds: frames::handshake_seeds,
        input_bytes_max: 600,
    },
    Target {
        name: "write_set",
        check: write_set::check,
        seeds: write_set::seeds,
        input_bytes_max: 4096,
    },
    Target {
        name: "diffs",
        check: diffs::check,
        seeds: diffs::seeds,
        input_bytes_max: 4096,
    },
    Target {
        name: "record",
        check: record::check,
        seeds: record::seeds,
        input_bytes_max: 4096,
    },
    Target {
        name: "identity",
        check: log::check_identity,
        seeds: log::identity_seeds,
        input_bytes_max: 256,
    },
    Target {
        name: "log_segment",
        check: log::check_log,
        seeds: log::log_seeds,
        input_bytes_max: 512,
    },
    Target {
        name: "checkpoints",
        check: checkpoints::check,
        seeds: checkpoints::seeds,
        input_bytes_max: 512,
    },
    Target {
        name: "leader_state",
        check: state::check,
        seeds: state::seeds,
        input_bytes_max: 1024,
    },
    Target {
        name: "nff",
        check: scenes::check_nff,
        seeds: scenes::nff_seeds,
        input_bytes_max: 2048,
    },
    Target {
        name: "obj",
        check: scenes::check_obj,
        seeds: scenes::obj_seeds,
        input_bytes_max: 2048,
    },
    Target {
        name: "address",
        check: text::check,
        seeds: text::seeds,
        input_bytes_max: 256,
    },
    Target {
        name: "leader",
        check: leader::check,
        seeds: leader::seeds,
        input_bytes_max: 2048,
    },
    Target {
        name: "station",
        check: station::check,
        seeds: station::seeds,
        input_bytes_max: 2048,
    },
    Target {
        name: "team",
        check: team::check,
        seeds: team::seeds,
        input_bytes_max: 2048,
    },
    Target {
        name: "pair",
        check: pair::check,
        seeds: pair::seeds,
        input_bytes_max: 4096,
    },
];

/// The target called `name`.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Checks `bytes` against the target called `name`.
///
/// # Panics
/// If a rule is broken, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = target(name).expect("the target is listed in TARGETS");
    (target.check)(bytes);
}
