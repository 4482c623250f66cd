//! A scenario runs to its end against a server of its own, and is reported.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// All that a flow can do, a few times each.
const SCENARIO: &str = r#"
about = "everything for a moment"
[stock]
units = 1000
scarce_items = 1
scarce_units = 1
[[phase]]
seconds = 2.0
[[flow]]
name = "reads"
does = { read = { items = 20, locations = 5 } }
per_s = 5.0
deadline_ms = 60000
[[flow]]
name = "holds"
does = { hold = { seconds = 120 } }
per_s = 5.0
deadline_ms = 60000
[[flow]]
name = "last-units"
does = { reserve = {} }
choice = "scarce"
per_s = 15.0
deadline_ms = 60000
even = true
[[flow]]
name = "tills"
does = { sell = { lines_max = 3 } }
per_s = 5.0
deadline_ms = 60000
[[flow]]
name = "warehouse"
does = { receive = { lines = 20 } }
per_s = 1.0
deadline_ms = 60000
even = true
[[flow]]
name = "backlog"
does = { catch_up = { lines = 5, hours = 8, twice_percent = 50 } }
per_s = 4.0
deadline_ms = 60000
"#;

fn load(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load-tests"));
    command.arg("load").args(arguments).output().unwrap()
}

#[test]
fn a_scenario_runs_is_checked_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("moment.toml"), folder.path().join("out"));
    fs::write(&file, SCENARIO).unwrap();
    let ran = load(&[&file, Path::new("--out"), &out]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let last = String::from_utf8_lossy(&ran.stdout);
    let summary: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(summary["scenario"], "moment");
    assert_eq!(summary["checks"], 7);
    let flows = summary["flows"].as_object().unwrap();
    assert_eq!(flows.len(), 6);
    for (name, flow) in flows {
        assert_eq!(flow["lost"], 0, "{name}: {said}");
        assert!(flow["p99_ms"].as_f64().unwrap() > 0.0, "{name}");
    }
    let report: Value =
        serde_json::from_slice(&fs::read(out.join("moment.json")).unwrap()).unwrap();
    let due: Vec<_> =
        report["flows"].as_array().unwrap().iter().map(|flow| &flow["counts"]["due"]).collect();
    assert!(due.iter().all(|due| due.as_u64().unwrap() > 0), "{due:?}");
    // There are 16 of them in all, one in each shop.
    let last_units = &report["flows"][2]["counts"];
    assert!(last_units["done"].as_u64().unwrap() <= 16, "{last_units}");
    assert!(last_units["refused"].as_u64().unwrap() > 0, "{last_units}");
    assert!(fs::read_to_string(out.join("moment.html")).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn a_scenario_that_cannot_be_run_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    fs::write(&file, SCENARIO.replace("units = 1000", "units = 0")).unwrap();
    let ran = load(&[&file]);
    assert!(!ran.status.success());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("wrong.toml") && said.contains("the stock has"), "{said}");
}
