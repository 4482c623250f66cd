use super::*;

fn sections() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benchmarks"))
}

fn names(chosen: &[&str]) -> Vec<String> {
    let chosen: Vec<_> = chosen.iter().map(|name| (*name).to_owned()).collect();
    let parts = read(sections()).unwrap();
    super::chosen(&parts, &chosen).unwrap().iter().map(|part| part.name.clone()).collect()
}

#[test]
fn parts_that_take_long_run_only_if_they_are_named() {
    let parts = read(sections()).unwrap();
    assert_eq!(names(&["all"]).len(), parts.len());
    assert!(!names(&[]).contains(&"growth".to_owned()));
    assert!(names(&[]).contains(&"ingest".to_owned()));
    assert_eq!(names(&["growth"]), ["machine", "growth"]);
    assert_eq!(names(&["none"]), [""; 0]);
    assert!(super::chosen(&parts, &["grwoth".to_owned()]).is_err());
}

#[test]
fn every_part_is_called_as_the_program_can_be() {
    use clap::Parser as _;
    for part in read(sections()).unwrap() {
        for call in [&part.call, &part.quick] {
            let words = ["load-tests"].into_iter().chain(call.split(' '));
            crate::Command::try_parse_from(words).unwrap();
        }
    }
}

/// The figures that a section asks for.
fn figures(section: &str) -> Vec<&str> {
    let parts = section.split("{{").skip(1);
    parts.filter_map(|part| part.split_once("}}")).map(|(path, _)| path.trim()).collect()
}

/// A result that has every figure of a section.
fn result_for(name: &str) -> Value {
    let section = fs::read_to_string(sections().join(format!("{name}.md"))).unwrap();
    let mut result = json!({});
    for path in figures(&section) {
        let mut at = &mut result;
        for name in path.split('.') {
            at = &mut at[name];
        }
        *at = json!(1);
    }
    result
}

#[test]
fn the_document_has_a_section_for_every_part_with_a_result() {
    let parts = read(sections()).unwrap();
    let mut results = BTreeMap::new();
    assert!(document(sections(), &parts, &results).is_err());
    results.insert(MACHINE.to_owned(), result_for(MACHINE));
    let head = document(sections(), &parts, &results).unwrap();
    for part in &parts {
        results.insert(part.name.clone(), result_for(&part.name));
    }
    let whole = document(sections(), &parts, &results).unwrap();
    assert!(whole.starts_with(&head) && head.starts_with("# Benchmarks\n"));
    assert_eq!(whole.matches("\n## ").count(), parts.len() - 1);
    assert!(!whole.contains("{{") && !whole.contains("}}"));
}

#[test]
fn every_section_says_when_it_was_measured() {
    for part in read(sections()).unwrap().iter().skip(1) {
        let section = fs::read_to_string(sections().join(format!("{}.md", part.name))).unwrap();
        let figures = figures(&section);
        assert!(figures.contains(&"measured.day"), "{}", part.name);
        assert!(figures.len() > 3, "{}", part.name);
    }
}

#[test]
fn a_figure_that_a_part_does_not_tell_is_named_with_its_part() {
    let parts = read(sections()).unwrap();
    let mut results = BTreeMap::from([(MACHINE.to_owned(), result_for(MACHINE))]);
    results.insert("single".to_owned(), json!({ "measured": { "day": "x" } }));
    let error = format!("{:#}", document(sections(), &parts, &results).unwrap_err());
    assert!(error.contains("section of single") && error.contains("missing"), "{error}");
}
