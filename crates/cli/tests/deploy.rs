//! The files of `deploy/`: each is checked by the tool that reads it where there is one, and every command
//! line of `plurix` in them is one that the command takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{PLURIX, json};
use serde_json::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn text(name: &str) -> String {
    fs::read_to_string(deploy().join(name)).unwrap()
}

/// Whether `tool` can be run here; says so if not.
fn has(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool).arg(argument).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: {tool} is not here");
    }
    found
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &errors
}

/// Asks for help behind the arguments: the command reads them in order, so it meets a wrong one first.
#[track_caller]
fn takes<'a>(arguments: impl IntoIterator<Item = &'a str>) {
    let arguments: Vec<_> = arguments.into_iter().collect();
    assert!(arguments.len() > 2, "{arguments:?}");
    succeeds(Command::new(PLURIX).args(arguments).arg("--help"));
}

#[test]
fn systemd_takes_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["plurix-page-server.service", "plurix-station.service"] {
        let unit = text(&format!("systemd/{name}"));
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        takes(line.unwrap().split(' ').skip(1));
        if has("systemd-analyze", "--version") {
            let path = dir.path().join(name);
            fs::write(&path, unit.replace("/usr/local/bin/plurix", PLURIX)).unwrap();
            let said = succeeds(Command::new("systemd-analyze").arg("verify").arg(&path));
            // It may warn of other units of this machine.
            assert!(!said.contains(name), "{said}");
        }
    }
}

#[test]
fn the_manifests_are_yaml_with_commands_that_exist() {
    let path = deploy().join("kubernetes");
    if has("kubectl", "--help") {
        succeeds(Command::new("kubectl").arg("kustomize").arg(&path));
    }
    if !has("python3", "-cimport yaml") {
        return;
    }
    let to_json = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let mut command = Command::new("python3");
    command.args(["-c", to_json]);
    command.stdin(fs::File::open(path.join("plurix.yaml")).unwrap());
    let objects: Value = serde_json::from_str(&succeeds(&mut command)).unwrap();
    let kinds = objects
        .as_array()
        .unwrap()
        .iter()
        .map(|object| &object["kind"]);
    assert!(
        kinds.eq(["Service", "StatefulSet", "StatefulSet"]),
        "{objects}"
    );
    for set in &objects.as_array().unwrap()[1..] {
        let pod = &set["spec"]["template"];
        assert_eq!(
            set["spec"]["selector"]["matchLabels"],
            pod["metadata"]["labels"]
        );
        let volumes = |list: &Value| -> Vec<Value> {
            let list = list.as_array().unwrap().iter();
            list.map(|volume| volume["name"].clone()).collect()
        };
        let mut known = volumes(&pod["spec"]["volumes"]);
        if let Some(claims) = set["spec"]["volumeClaimTemplates"].as_array() {
            known.extend(claims.iter().map(|claim| claim["metadata"]["name"].clone()));
        }
        for part in ["initContainers", "containers"] {
            let container = &pod["spec"][part][0];
            let mounts = volumes(&container["volumeMounts"]);
            assert!(
                mounts.iter().all(|mount| known.contains(mount)),
                "{container}"
            );
        }
        let arguments = pod["spec"]["containers"][0]["args"].as_array().unwrap();
        takes(arguments.iter().map(|argument| argument.as_str().unwrap()));
    }
}

#[test]
fn the_container_file_ends_in_the_command() {
    let file = text("container/Containerfile");
    let toolchain = format!("rust:{}", rust_version());
    assert!(file.contains(&toolchain), "the image is not of {toolchain}");
    assert_eq!(file.lines().last(), Some("ENTRYPOINT [\"plurix\"]"));
}

/// The oldest Rust that the workspace is built with.
fn rust_version() -> String {
    let manifest = fs::read_to_string(deploy().join("../Cargo.toml")).unwrap();
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    line.unwrap().trim_matches('"').to_owned()
}

/// With stand-ins for Slurm's own commands, the job's script makes a cluster, runs the program, and ends all.
#[test]
fn the_job_script_runs_a_cluster_from_its_beginning_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    json(&format!("keys init {} --json", path("authority")));
    let issue = "--name n --host localhost --host 127.0.0.1 --json --out";
    json(&format!(
        "keys issue {} {issue} {}",
        path("authority"),
        path("keys")
    ));
    let stand_in = |name: &str, body: &str| {
        let file = dir.path().join(name);
        fs::write(&file, format!("#!/bin/bash\n{body}\n")).unwrap();
        succeeds(Command::new("chmod").arg("755").arg(file));
    };
    stand_in("scontrol", "echo localhost");
    stand_in("srun", "while [[ $1 == --* ]]; do shift; done; exec \"$@\"");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let script = text("slurm/plurix.sbatch").replace("7700", &port.to_string());
    let script = script.replace("0.0.0.0", "127.0.0.1");
    let bin = Path::new(PLURIX).parent().unwrap().display();
    let search = format!(
        "{}:{bin}:{}",
        dir.path().display(),
        std::env::var("PATH").unwrap()
    );
    let program = "until plurix status --join $PLURIX_ADDRESS > status 2>&1 && grep -q works status; \
                   do sleep 0.1; done; echo seen";
    let said = succeeds(
        Command::new("timeout")
            .args([
                "--kill-after=10",
                "60",
                "bash",
                "-c",
                &script,
                "plurix.sbatch",
            ])
            .args(["bash", "-c", program])
            .current_dir(dir.path())
            .env("PATH", search)
            .env("SLURM_JOB_NODELIST", "localhost"),
    );
    assert!(said.contains("seen"), "{said}");
}
