//! Alerts and the dashboard name what there is, and every alert has its page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use stockroom::telemetry::metrics::METRICS;

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../../deploy/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/stockroom.json");

/// What looks like the name of a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("stockroom_") || word.starts_with("process_")).collect()
}

fn is_a_metric(name: &str) -> bool {
    let series = ["_bucket", "_sum", "_count"].map(|end| name.strip_suffix(end));
    let known = |name: &str, buckets| {
        METRICS.iter().any(|metric| metric.name == name && metric.buckets.is_empty() != buckets)
    };
    known(name, false)
        || known(name, true)
        || series.into_iter().flatten().any(|of| known(of, true))
}

/// The page of each alert.
fn alerts() -> BTreeMap<&'static str, &'static str> {
    let lines = || ALERTS.lines().map(str::trim_start);
    let names = lines().filter_map(|line| line.strip_prefix("- alert: "));
    let pages = lines().filter_map(|line| line.strip_prefix("runbook: "));
    assert_eq!(names.clone().count(), pages.clone().count(), "every alert names its page");
    names.zip(pages).collect()
}

#[test]
fn alerts_and_the_dashboard_name_metrics_that_there_are() {
    for (file, text) in [("alerts", ALERTS), ("tests", ALERTS_TEST), ("dashboard", DASHBOARD)] {
        let named = metrics_in(text);
        assert!(named.len() > 15, "{file}: {named:?}");
        let unknown: Vec<_> = named.into_iter().filter(|name| !is_a_metric(name)).collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{file}");
    }
}

#[test]
fn every_panel_of_the_dashboard_has_a_unit() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 40);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("docs/alerts")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<_> = files.map(|file| format!("docs/alerts/{file}")).collect();
    let alerts = alerts();
    let pages: BTreeSet<_> = alerts.values().map(|&page| page.to_owned()).collect();
    assert_eq!(files, pages);
    for (alert, page) in alerts {
        let text = fs::read_to_string(root.join(page)).unwrap();
        assert!(text.starts_with(&format!("# {alert}\n")), "{page}");
        for heading in ["\n## What to look at\n", "\n## What to do\n"] {
            assert!(text.contains(heading), "{page}");
        }
        for tried in ["goes off", "stays quiet"] {
            assert!(ALERTS_TEST.contains(&format!("name: {alert} {tried}\n")), "{alert} {tried}");
        }
    }
}
