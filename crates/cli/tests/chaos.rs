//! `plurix run --chaos`: whatever is killed at random, the program ends with the right result, and
//! the report says what was killed and how it healed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{assert_fails, json, output};
use serde_json::Value;

fn kills(summary: &Value) -> &Vec<Value> {
    summary["chaos"]["kills"].as_array().unwrap()
}

/// What must hold of every kill, whatever the machine was doing.
fn assert_makes_sense(kill: &Value, stations: u64) {
    let station = |name: &str| {
        let number = name.strip_prefix("station ")?.parse().ok()?;
        (1..=stations).contains(&number).then_some(number)
    };
    let who = kill["who"].as_str().unwrap();
    let is_server = who == "page server";
    assert!(is_server || station(who).is_some(), "{kill}");
    assert!(kill["pid"].as_u64().unwrap() > 1 && kill["at_s"].as_f64().unwrap() >= 0.0);
    let doing = kill["doing"].as_str().unwrap();
    let active = if is_server { "leading" } else { "working" };
    assert!(
        ["starting", "recovering", active].contains(&doing),
        "{kill}"
    );
    let Some(back) = kill["back_after_ms"].as_f64() else {
        return; // The run was over before.
    };
    assert!(back > 0.0);
    let [before, after] = ["term_before", "term_after"].map(|name| kill[name].as_u64().unwrap());
    if is_server {
        assert!(
            after > before && kill["records_replayed"].is_u64(),
            "{kill}"
        );
        assert_eq!(kill["rolled_back"], false, "{kill}");
    }
    if let Some(own) = kill["own_commit_after_ms"].as_f64() {
        assert!(!is_server && own > 0.0, "{kill}");
    }
}

#[test]
fn bank_keeps_its_sum_in_chaos() {
    let mut kinds = std::collections::BTreeSet::new();
    let mut servers = 0;
    for seed in [3, 4] {
        let summary = json(&format!(
            "run bank --stations 2 --chaos 2s --chaos-every 100ms --chaos-seed {seed} --json \
             --timeout 60s"
        ));
        assert_eq!(summary["verified"], true, "{summary}");
        assert_eq!(summary["facts"]["sum"], 1_000_000);
        let chaos = &summary["chaos"];
        assert_eq!(
            (&chaos["seed"], &chaos["rollbacks"]),
            (&seed.into(), &0.into())
        );
        assert_eq!(chaos["ended_early"], false);
        // A strike may find its victim dying already.
        assert!(kills(&summary).len() >= 10, "{chaos}");
        for kill in kills(&summary) {
            assert_makes_sense(kill, 2);
            kinds.insert(kill["kind"].to_string());
            servers += u32::from(kill["who"] == "page server");
        }
        let by_kind = chaos["by_kind"].as_array().unwrap().iter();
        let counted: u64 = by_kind.map(|kind| kind["kills"].as_u64().unwrap()).sum();
        assert_eq!(counted, kills(&summary).len() as u64);
    }
    assert!(kinds.len() >= 3 && servers > 0, "{kinds:?}, {servers}");
}

#[test]
fn planned_kills_and_chaos_go_together() {
    let summary = json(
        "run bank --stations 2 --chaos 400ms --chaos-every 200ms --kill 1@0s --kill server@1ms \
         --json --timeout 60s",
    );
    assert_eq!(summary["verified"], true, "{summary}");
    let planned = kills(&summary).iter().filter(|k| k["kind"] == "planned");
    assert_eq!(planned.count(), 2, "{summary}");
    assert!(summary["chaos"]["seed"].is_u64());
}

#[test]
fn chaos_ends_with_a_program_that_has_a_fixed_amount_of_work() {
    let summary = json("run bank --transfers 10 --chaos 59min --json --timeout 60s");
    assert_eq!(summary["verified"], true, "{summary}");
    assert_eq!(summary["chaos"]["ended_early"], true);
}

#[test]
fn wrong_usage_of_chaos_is_named() {
    for (options, parts) in [
        ("--chaos 0s", ["--chaos 0.0 ms", "too short"]),
        ("--chaos 500ms", ["too short", "--chaos-every"]),
        ("--chaos 5s --chaos-every 1ms", ["--chaos-every", "50.0 ms"]),
        ("--chaos-seed 3", ["--chaos-seed", "--chaos TIME"]),
        ("--chaos 5", ["--chaos", "no time"]),
    ] {
        assert_fails(&output(&format!("run bank {options}")), 2, &parts);
    }
}
