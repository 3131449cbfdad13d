//! Every target without libFuzzer: what once failed, the committed seeds, and inputs that are
//! random but always the same.

use std::fs;
use std::path::{Path, PathBuf};

use plurix_fuzz::mutate::{self, SplitMix64};
use plurix_fuzz::{TARGETS, Target};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Inputs for each target.
const INPUTS: u64 = 2_000;
/// No input of a few kilobytes may make anybody ask for so much memory.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Makes an allocation out of all proportion fail, which ends the test.
fn limit_memory() {
    let limit = Rlimit {
        current: Some(MEMORY_BYTES_MAX),
        maximum: getrlimit(Resource::Data).maximum,
    };
    setrlimit(Resource::Data, limit).expect("a limit can be lowered");
}

/// The files of `kind` for `target`, by name.
fn files(kind: &str, target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(kind)
        .join(target.name);
    let Ok(entries) = fs::read_dir(&directory) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the directory can be listed").path())
        .map(|path| (path.clone(), fs::read(path).expect("a file of bytes")))
        .collect();
    files.sort();
    files
}

#[test]
fn what_once_failed_and_the_corpus_pass() {
    limit_memory();
    for target in TARGETS {
        for kind in ["regressions", "corpus"] {
            for (path, bytes) in files(kind, target) {
                println!("{}", path.display());
                (target.check)(&bytes);
            }
        }
    }
}

#[test]
fn the_corpus_is_of_the_newest_format() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let corpus = files("corpus", target);
        assert_eq!(corpus.len(), seeds.len(), "{}", target.name);
        for (name, bytes) in seeds {
            let found = corpus.iter().find(|(path, _)| path.ends_with(name));
            let stale = found.is_none_or(|(_, found)| *found != bytes);
            assert!(
                !stale,
                "corpus/{}/{name} is stale: cargo run -p plurix-fuzz --example seeds",
                target.name
            );
        }
    }
}

#[test]
fn mutations_of_the_corpus_pass() {
    limit_memory();
    for (index, target) in TARGETS.iter().enumerate() {
        let seeds: Vec<Vec<u8>> = (target.seeds)().into_iter().map(|(_, seed)| seed).collect();
        for number in 0..INPUTS {
            let mut random = SplitMix64::new((index as u64) << 32 | number);
            let input = mutate::input(&mut random, &seeds, target.input_bytes_max);
            let report = Report(target, number, &input);
            (target.check)(&input);
            drop(report);
        }
    }
}

/// Says of an input, if it panics, how to keep it.
struct Report<'a>(&'a Target, u64, &'a [u8]);

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(target, number, input) = self;
            let path = std::env::temp_dir().join(format!("plurix-{}-{number}", target.name));
            let kept = fs::write(&path, input);
            eprintln!(
                "input {number} of {} fails; it is in {} ({kept:?}): move it to fuzz/regressions/{}",
                target.name,
                path.display(),
                target.name
            );
        }
    }
}
