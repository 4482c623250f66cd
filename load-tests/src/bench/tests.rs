use super::*;

fn names(chosen: &[&str]) -> Vec<&'static str> {
    let chosen: Vec<_> = chosen.iter().map(|name| (*name).to_owned()).collect();
    super::chosen(&chosen).unwrap().iter().map(|part| part.name).collect()
}

#[test]
fn parts_that_take_long_run_only_if_they_are_named() {
    assert!(!names(&[]).contains(&"growth"));
    assert_eq!(names(&["all"]).len(), PARTS.len());
    assert_eq!(names(&["growth"]), ["machine", "growth"]);
    assert_eq!(names(&["none"]), [""; 0]);
    assert!(super::chosen(&["grwoth".to_owned()]).is_err());
}

/// The figures that a section asks for.
fn figures(section: &str) -> Vec<&str> {
    let parts = section.split("{{").skip(1);
    parts.filter_map(|part| part.split_once("}}")).map(|(path, _)| path.trim()).collect()
}

/// A result that has every figure of a section.
fn result_for(section: &str) -> Value {
    let mut result = json!({});
    for path in figures(section) {
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
    let mut results = serde_json::Map::new();
    assert!(document(&results).is_err());
    results.insert("machine".to_owned(), result_for(HEAD));
    let head = document(&results).unwrap();
    for part in PARTS.iter().filter(|part| !part.section.is_empty()) {
        results.insert(part.name.to_owned(), result_for(part.section));
    }
    let whole = document(&results).unwrap();
    assert!(whole.starts_with(&head));
    assert_eq!(whole.matches("\n## ").count(), PARTS.len() - 1);
    assert!(!whole.contains("{{") && !whole.contains("}}"));
}

#[test]
fn every_section_says_when_and_how_it_was_measured() {
    for part in PARTS.iter().filter(|part| !part.section.is_empty()) {
        let figures = figures(part.section);
        assert!(figures.contains(&"measured.day"), "{}", part.name);
        assert!(figures.len() > 3, "{}", part.name);
        let lines = part.section.lines().filter(|line| !line.starts_with('|'));
        let long = lines.clone().find(|line| line.len() > 110);
        assert_eq!(long, None, "{}", part.name);
    }
}

#[test]
fn a_figure_that_a_part_does_not_tell_is_named_with_its_part() {
    let mut results = serde_json::Map::new();
    results.insert("machine".to_owned(), result_for(HEAD));
    results.insert("single".to_owned(), json!({ "measured": { "day": "x" } }));
    let error = format!("{:#}", document(&results).unwrap_err());
    assert!(error.contains("section of single") && error.contains("missing"), "{error}");
}
