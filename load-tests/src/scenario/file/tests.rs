use super::*;

const GOOD: &str = r#"
about = "a test"
warm_up_seconds = 1.0
[stock]
units = 1000
scarce_items = 2
scarce_units = 5
[[phase]]
seconds = 2.0
[[phase]]
seconds = 2.0
factor = 3.0
[[flow]]
name = "reads"
does = { read = { items = 20, locations = 5 } }
per_s = 30.0
[[flow]]
name = "orders"
does = { reserve = {} }
choice = "scarce"
per_s = 10.0
"#;

fn refused(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let error = Scenario::parse(&GOOD.replacen(from, to, 1)).unwrap_err();
    format!("{error:#}")
}

#[test]
fn every_scenario_of_the_project_can_be_read() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"));
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        Scenario::read(&file).unwrap();
    }
}

#[test]
fn a_rate_and_a_duration_keep_the_proportions() {
    let scenario = Scenario::parse(GOOD).unwrap();
    assert_eq!(scenario.seconds(), 4.0);
    let scenario = scenario.adjusted(Some(4.0), Some(8.0)).unwrap();
    let rates: Vec<_> = scenario.flows.iter().map(|flow| flow.per_s).collect();
    assert_eq!(rates, [3.0, 1.0]);
    let stretches = scenario.stretches(&scenario.flows[1]);
    let stretch = |seconds, per_s| Stretch { seconds, per_s };
    assert_eq!(stretches, [stretch(1.0, 1.0), stretch(4.0, 1.0), stretch(4.0, 3.0)]);
}

#[test]
fn what_a_run_cannot_do_is_refused() {
    let scenario = Scenario::parse(GOOD).unwrap();
    assert!(scenario.clone().adjusted(Some(400_000.0), None).is_err());
    assert!(scenario.clone().adjusted(None, Some(SECONDS_MAX)).is_err());
    assert!(scenario.adjusted(Some(-1.0), None).is_err());
    let cases = [
        ("about", "abuot", "unknown field `abuot`"),
        ("units = 1000", "units = 0", "the stock has"),
        ("scarce_items = 2", "scarce_items = 0", "scarce items"),
        ("scarce_units = 5", "scarce_units = 1001", "scarce items"),
        ("scarce_items = 2\nscarce_units = 5", "", "no item of the stock is scarce"),
        ("seconds = 2.0", "seconds = 0.0", "a phase lasts some time"),
        ("seconds = 2.0", "seconds = nan", "a phase lasts some time"),
        ("factor = 3.0", "factor = -1.0", "a phase lasts some time"),
        ("warm_up_seconds = 1.0", "warm_up_seconds = -1.0", "must not be negative"),
        ("items = 20", "items = 626", "out of bounds"),
        ("locations = 5", "locations = 17", "out of bounds"),
        ("read = { items = 20, locations = 5 }", "dream = {}", "unknown variant `dream`"),
        ("reserve = {}", "reserve = { lines = 2 }", "unexpected keys in table: lines"),
        ("reserve = {}", "hold = { seconds = 3601 }", "out of bounds"),
        ("reserve = {}", "sell = { lines_max = 1001 }", "out of bounds"),
        ("per_s = 30.0", "per_s = 0.0", "its rate must be above 0"),
        ("per_s = 30.0", "per_s = nan", "its rate must be above 0"),
        ("per_s = 30.0", "per_s = 1.0\ndeadline_ms = 0", "deadline_ms"),
        ("\"orders\"", "\"reads\"", "two flows are named"),
        ("\"orders\"", "\"<b>\"", "a name is"),
    ];
    for (from, to, expected) in cases {
        let error = refused(from, to);
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn a_file_without_flows_or_phases_is_refused() {
    let (head, _) = GOOD.split_once("[[flow]]").unwrap();
    assert!(Scenario::parse(&format!("{head}\nflow = []")).is_err());
    let stock = "about = \"x\"\nphase = []\n[stock]\nunits = 1\n";
    let flow = "[[flow]]\nname = \"x\"\ndoes = { reserve = {} }\nper_s = 1.0\n";
    let error = Scenario::parse(&format!("{stock}{flow}")).unwrap_err();
    assert!(error.to_string().contains("there must be a phase"), "{error}");
}
