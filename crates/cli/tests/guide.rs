//! The guide's commands, typed as they stand there: each chapter's shell blocks are one session of bash in a
//! directory of its own, and what is shown below a block must be what it said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::PLURIX;

/// What a block of a chapter is, with what is in it.
#[derive(Debug)]
struct Block {
    kind: String,
    text: String,
}

fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.join("../..").canonicalize().unwrap()
}

fn chapter(name: &str) -> String {
    fs::read_to_string(root().join("docs/guide").join(name)).unwrap()
}

/// The fenced blocks of a chapter.
fn blocks(chapter: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in chapter.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(kind) => {
                inside = true;
                let (kind, text) = (kind.to_owned(), String::new());
                blocks.push(Block { kind, text });
            }
            None if inside => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// A session of bash that runs all shell blocks, each of which writes to a file of its own.
fn script(blocks: &[Block], port: u16) -> String {
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n".to_owned();
    for (index, block) in blocks.iter().enumerate() {
        match block.kind.as_str() {
            "sh" => {
                // By the same path as the workspace's own, so that it is not built again.
                let text = block
                    .text
                    .replace("../plurix", &root().display().to_string());
                let text = text.replace("7700", &port.to_string());
                script += &format!("{{\n{text}}} > $OUT/{index} 2> >(tee -a $OUT/{index} >&2)\n");
            }
            kind if kind.starts_with("rust") => {
                // The program of the first chapter; the others are documentation tests.
                script += &format!("if test -d src; then cp $OUT/{index}.rs src/main.rs; fi\n");
            }
            _ => {}
        }
    }
    script
}

/// Whether `line` is `shown`, in which each `…` stands for anything.
fn is_shown(line: &str, shown: &str) -> bool {
    let mut rest = line;
    let mut parts = shown.split('…').map(str::trim);
    let Some(after) = rest.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    rest = after;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.trim().is_empty() || shown.ends_with('…')
}

/// Checks that the output shown behind a shell block is what that one has said, some lines perhaps left out.
#[track_caller]
fn check_output(blocks: &[Block], out: &Path) {
    for (index, pair) in blocks.windows(2).enumerate() {
        let [command, shown] = pair else { continue };
        if command.kind != "sh" || shown.kind != "text out" {
            continue;
        }
        let said = fs::read_to_string(out.join(index.to_string())).unwrap();
        let mut lines = said.lines();
        for expected in shown.text.lines() {
            assert!(
                lines.any(|line| is_shown(line.trim(), expected)),
                "{expected:?} is not in this order in the output of\n{}\n{said}",
                command.text
            );
        }
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs a chapter, in a directory beside which lie the sources of Plurix.
#[track_caller]
fn run(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (out, place) = (dir.path().join("out"), dir.path().join("place"));
    fs::create_dir(&out).unwrap();
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::symlink(root(), place.join("plurix")).unwrap();
    let blocks = blocks(&chapter(name));
    for (index, block) in blocks.iter().enumerate() {
        if block.kind.starts_with("rust") {
            fs::write(out.join(format!("{index}.rs")), &block.text).unwrap();
        }
    }
    let bin = Path::new(PLURIX).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=10", "300", "bash", "-c"])
        .arg(script(&blocks, free_port()))
        .current_dir(&place)
        .env("OUT", &out)
        .env("PATH", format!("{}:{path}", bin.display()))
        // As the workspace is built, so that its dependencies are not built again.
        .env("CARGO_TARGET_DIR", bin.parent().unwrap())
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{errors}",
        output.status
    );
    check_output(&blocks, &out);
}

#[test]
fn the_first_program_is_built_and_outlives_its_processes() {
    run("first-program.md");
}

#[test]
fn the_other_chapters_do_what_they_show() {
    for name in [
        "activities.md",
        "effects.md",
        "teams.md",
        "failure.md",
        "tuning.md",
    ] {
        run(name);
    }
}

#[test]
fn machines_meet_with_the_keys_of_the_guide() {
    run("deployment.md");
}

/// A block that is neither run nor compiled must say so by being plain text, or a file's format.
#[test]
fn every_block_is_of_a_kind_that_is_tested_or_plain() {
    for entry in fs::read_dir(root().join("docs/guide")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        for block in blocks(&chapter(&name)) {
            let known = [
                "sh",
                "sh run",
                "text",
                "text out",
                "toml",
                "rust",
                "rust,no_run",
            ];
            assert!(known.contains(&block.kind.as_str()), "{name}: {block:?}");
        }
    }
}
