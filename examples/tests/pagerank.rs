//! PageRank as a user runs it, against a plain one that pushes ranks along the lines of the file.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pagerank");
const KARATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/karate.txt");

fn pagerank(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(PROGRAM).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The nodes and ranks of the output of `--json`.
fn ranks(json: &str) -> BTreeMap<u64, f64> {
    let entry = |line: &str| {
        let (node, rank) = line.strip_prefix("    {\"node\": ")?.split_once(',')?;
        let rank = rank
            .strip_prefix(" \"rank\": ")?
            .trim_end_matches(['}', ',']);
        Some((node.parse().ok()?, rank.parse().ok()?))
    };
    json.lines().filter_map(entry).collect()
}

/// As many rounds as always suffice, without parts, heap or processes.
fn plain(graph: &str, undirected: bool) -> BTreeMap<u64, f64> {
    let mut out: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in graph.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<u64> = line
            .split_whitespace()
            .map(|f| f.parse().unwrap())
            .collect();
        out.entry(fields[0]).or_default().push(fields[1]);
        let back = out.entry(fields[1]).or_default();
        if undirected {
            back.push(fields[0]);
        }
    }
    let nodes = out.len() as f64;
    let mut ranks: BTreeMap<u64, f64> = out.keys().map(|&node| (node, 1.0 / nodes)).collect();
    for _ in 0..200 {
        let mut next: BTreeMap<u64, f64> = out.keys().map(|&node| (node, 0.15 / nodes)).collect();
        for (node, targets) in &out {
            let all: Vec<u64> = out.keys().copied().collect();
            let targets = if targets.is_empty() { &all } else { targets };
            for target in targets {
                *next.get_mut(target).unwrap() += 0.85 * ranks[node] / targets.len() as f64;
            }
        }
        ranks = next;
    }
    ranks
}

#[track_caller]
fn assert_near(found: &BTreeMap<u64, f64>, expected: &BTreeMap<u64, f64>) {
    assert!(found.keys().eq(expected.keys()));
    for (node, rank) in found {
        assert!((rank - expected[node]).abs() < 1e-8, "{node}: {rank}");
    }
}

#[test]
fn the_ranks_are_those_of_a_plain_program_and_the_officer_leads() {
    let (code, said, told) = pagerank(&["--undirected", KARATE, "--json", "--top", "34"]);
    assert_eq!(code, Some(0), "{told}");
    let found = ranks(&said);
    let graph = std::fs::read_to_string(KARATE).unwrap();
    assert_near(&found, &plain(&graph, true));
    assert!((found.values().sum::<f64>() - 1.0).abs() < 1e-9);
    let leader = found.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert_eq!(*leader.0, 34);
}

#[test]
fn nodes_without_links_give_their_rank_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("graph.txt");
    let graph = "# from to\n7\t100\n7 8\n8 100\n8 7\n2 7\n";
    std::fs::write(&path, graph).unwrap();
    let path = path.to_str().unwrap();
    let (code, said, told) = pagerank(&[path, "--json", "--tolerance", "1e-12", "--stations", "1"]);
    assert_eq!(code, Some(0), "{told}");
    assert_near(&ranks(&said), &plain(graph, false));
}

#[test]
fn a_bad_line_is_named_before_anything_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("graph.txt");
    for line in ["1 x", "1", "1 2 3", "-1 2"] {
        std::fs::write(&path, format!("# a comment\n1 2\n{line}\n")).unwrap();
        let (code, _, told) = pagerank(&[path.to_str().unwrap()]);
        assert_eq!(code, Some(1));
        assert!(!told.contains("is process"), "{told}");
        assert!(told.contains("graph.txt:3: two numbers"), "{told}");
    }
    let (code, ..) = pagerank(&[KARATE, "--damping", "1.5"]);
    assert_eq!(code, Some(2));
}

#[test]
fn a_killed_station_does_not_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("graph.txt");
    let mut graph = String::new();
    for i in 0..20_000u64 {
        writeln!(graph, "{} {}", i % 5_000, i * i * 7919 % 4_999).unwrap();
    }
    std::fs::write(&path, graph).unwrap();
    let arguments = [path.to_str().unwrap(), "--json", "--iterations", "40"];
    let (code, expected, told) = pagerank(&[&arguments[..], &["--stations", "1"]].concat());
    assert_eq!(code, Some(0), "{told}");

    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .args(["--stations", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let process = lines.find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("station 1 is process ")
            .map(|id| id.parse().unwrap())
    });
    kill_process(Pid::from_raw(process.unwrap()).unwrap(), Signal::KILL).unwrap();
    let told: Vec<String> = lines.map(Result::unwrap).collect();
    let mut said = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{told:?}");
    assert!(told.iter().any(|line| line.contains("was killed")));
    assert_eq!(said, expected);
}
