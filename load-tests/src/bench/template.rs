//! Fills figures into Markdown: `{{a.0.b}}` is the member `b` of the first element of the member
//! `a` of a result.

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The text with every figure in its place.
///
/// # Errors
/// A figure is missing, which it names, or a brace is not closed.
pub fn fill(template: &str, result: &Value) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (path, after) = after.split_once("}}").context("a figure is not closed")?;
        filled.push_str(before);
        filled.push_str(&figure(result, path.trim())?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn figure(result: &Value, path: &str) -> anyhow::Result<String> {
    let mut found = result;
    for name in path.split('.') {
        let member = match name.parse::<usize>() {
            Ok(index) if found.is_array() => found.get(index),
            _ => found.get(name),
        };
        found = member.with_context(|| format!("the figure {path:?} is missing"))?;
    }
    match found {
        Value::Number(number) => {
            Ok(readable(number.as_f64().with_context(|| format!("{path:?} is no number"))?))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok("-".to_owned()),
        Value::Bool(yes) => Ok(if *yes { "yes" } else { "no" }.to_owned()),
        _ => bail!("{path:?} is not a single figure"),
    }
}

/// As people read it: `12,345`, `67.8`, `9.01`.
fn readable(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if value.fract() == 0.0 => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{size:.digits$}");
    let (whole, part) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{grouped}{part}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_found_by_their_path_and_read_well() {
        let result =
            json!({ "hot": { "per_s": 1_234_567.4, "name": "a", "kept": true }, "n": [-7, null] });
        let template = "{{hot.per_s}}/s of {{ hot.name }}: {{n.0}}, {{n.1}}, {{hot.kept}}";
        assert_eq!(fill(template, &result).unwrap(), "1,234,567/s of a: -7, -, yes");
    }

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let small = [(0.0, "0"), (0.584, "0.58"), (9.999, "10.00"), (45.26, "45.3")];
        let large = [(999.6, "1,000"), (100.4, "100"), (12_345.0, "12,345"), (-0.5, "-0.50")];
        for (value, expected) in small.into_iter().chain(large) {
            assert_eq!(readable(value), expected);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let result = json!({ "a": { "b": [1] } });
        for (template, named) in [("{{a.c}}", "a.c"), ("{{a.b}}", "a.b"), ("{{a", "not closed")] {
            let error = fill(template, &result).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
