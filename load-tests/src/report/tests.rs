use super::*;
use crate::latency::Latency;
use crate::open::Slot;

fn slot(due: u64, ms: u64) -> Slot {
    let mut latency = Latency::coarse().unwrap();
    latency.record(Duration::from_millis(ms));
    Slot { counts: Counts { due, done: due, good: due, ..Counts::default() }, latency }
}

fn report() -> Report {
    let mut latency = Latency::new().unwrap();
    (1..=1_000).for_each(|ms| latency.record(Duration::from_millis(ms)));
    let counts = Counts { due: 30, done: 27, good: 27, failed: 3, ..Counts::default() };
    let turned_away = Latency::new().unwrap();
    let record = Record { counts, latency, turned_away, slots: vec![slot(10, 1), slot(20, 2)] };
    let window = Window { warm_up: Duration::ZERO, measured: Duration::from_millis(1_500) };
    let usage = |ms| Usage {
        server: Duration::from_millis(ms),
        postgres: Duration::from_millis(2 * ms),
        redis: Duration::ZERO,
        load: Duration::from_millis(ms),
        memory: 1_048_576 * ms,
    };
    let samples = [0, 1_000, 1_500].map(|ms| (Duration::from_millis(ms), usage(ms)));
    let unknown = || "<unknown>".to_owned();
    Report {
        scenario: "test".to_owned(),
        about: "reads & more".to_owned(),
        machine: Machine {
            measured_at: unknown(),
            cores: 2,
            cpu: unknown(),
            memory_gib: 1.0,
            system: unknown(),
            kernel: unknown(),
            postgres: unknown(),
            redis: unknown(),
            rustc: unknown(),
            commit: unknown(),
        },
        seconds: 1.5,
        slot_seconds: 1.0,
        flows: vec![FlowReport::new("reads", &record, window)],
        resources: Resources::new(&samples, 27),
        checks: vec![Check { holds: "all is well", found: "0 < 1".to_owned() }],
    }
}

#[test]
fn a_slot_that_is_shorter_counts_by_its_own_length() {
    let report = report();
    let series = &report.flows[0].series;
    assert_eq!([series[0].good_per_s, series[1].good_per_s], [10.0, 40.0]);
    assert_eq!(report.resources.cores, [[1.0, 2.0, 0.0, 1.0], [1.0, 2.0, 0.0, 1.0]]);
    assert_eq!(report.memory_mib_max(), 1_500.0);
    assert!((report.resources.cpu.server_us - 55_555.56).abs() < 0.01);
}

#[test]
fn percentiles_and_losses_are_summed_up() {
    let report = report();
    let summary = report.summary();
    let flow = &summary["flows"]["reads"];
    assert!((flow["p99_ms"].as_f64().unwrap() - 990.0).abs() < 1.0, "{flow}");
    assert!((flow["max_ms"].as_f64().unwrap() - 1_000.0).abs() < 1.0, "{flow}");
    assert_eq!(flow["lost"], 3);
    assert_eq!(summary["lost_percent"], 10.0);
}

#[test]
fn the_page_needs_no_other_file_and_escapes_what_it_is_told() {
    let page = html::page(&report());
    assert!(!page.contains("http") && !page.contains("src="), "{page}");
    assert!(page.contains("reads &amp; more") && page.contains("0 &lt; 1"), "{page}");
    assert!(page.contains("&lt;unknown&gt;") && !page.contains("<unknown>"), "{page}");
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn both_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    report().write(&folder.path().join("new")).unwrap();
    let json = fs::read(folder.path().join("new/test.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["flows"][0]["counts"]["failed"], 3);
    assert!(folder.path().join("new/test.html").exists());
}
