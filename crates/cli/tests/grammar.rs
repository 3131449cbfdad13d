//! Every subcommand is known to shells and manuals, and answers in JSON where it prints.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;

use common::{json, output};

/// Commands that print nothing of their own, or text for another program.
const WITHOUT_JSON: [&str; 3] = ["completions", "shutdown", "checkpoint"];

fn text(arguments: &str) -> String {
    let output = output(arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands that the help of `command` lists.
fn subcommands(command: &str) -> Vec<String> {
    let help = text(&format!("{command} --help"));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_that_prints_answers_in_json() {
    let commands = subcommands("");
    assert!(commands.len() > 12, "{commands:?}");
    let parts = subcommands("checkpoint");
    let parts = parts.iter().map(|name| format!("checkpoint {name}"));
    for command in commands.iter().cloned().chain(parts) {
        if WITHOUT_JSON.contains(&command.as_str()) {
            continue;
        }
        let help = text(&format!("{command} --help"));
        assert!(help.contains("--json"), "{command}");
    }
}

#[test]
fn every_command_has_examples() {
    for command in subcommands("") {
        let help = text(&format!("{command} --help"));
        assert!(help.contains("Example"), "{command}");
    }
}

#[test]
fn shells_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&format!("completions {shell}"));
        for command in subcommands("") {
            assert!(script.contains(&command), "{command} in {shell}");
        }
    }
    assert_eq!(output("completions csh").status.code(), Some(2));
}

#[test]
fn manuals_have_a_page_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("man1");
    let written = json(&format!("man {} --json", at.display()));
    assert!(written["pages"].as_array().unwrap().len() > 20, "{written}");
    let main = fs::read_to_string(at.join("plurix.1")).unwrap();
    for command in subcommands("") {
        let page = fs::read_to_string(at.join(format!("plurix-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
        assert!(main.contains(&command.replace('-', "\\-")), "{command}");
    }
    for command in subcommands("checkpoint") {
        assert!(at.join(format!("plurix-checkpoint-{command}.1")).exists());
    }
}
