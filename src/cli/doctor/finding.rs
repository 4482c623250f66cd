//! What was found, and how it is told.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Something will be worse than it could be.
    Warning,
    /// A promise of Stockroom may be broken, or it does not run.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// What was looked at.
    pub check: &'static str,
    pub level: Level,
    /// What was found.
    pub what: String,
    /// Why it matters; empty where all is well.
    pub why: &'static str,
    /// What to do; empty where all is well.
    pub advice: &'static str,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, what: String) -> Finding {
        Finding { check, level: Level::Ok, what, why: "", advice: "" }
    }

    pub(super) fn warning(
        check: &'static str,
        what: String,
        why: &'static str,
        advice: &'static str,
    ) -> Finding {
        Finding { check, level: Level::Warning, what, why, advice }
    }

    pub(super) fn error(
        check: &'static str,
        what: String,
        why: &'static str,
        advice: &'static str,
    ) -> Finding {
        Finding { check, level: Level::Error, what, why, advice }
    }

    /// As it is where `wrong`, and all is well otherwise.
    pub(super) fn only_if(self, wrong: bool) -> Finding {
        if wrong { self } else { Finding::ok(self.check, self.what) }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// For people: what is worst comes last, where it is seen.
pub(super) fn as_text(findings: &[Finding]) -> String {
    let mut findings: Vec<_> = findings.iter().collect();
    findings.sort_by_key(|finding| finding.level);
    let mut text = String::new();
    for Finding { check, level, what, why, advice } in &findings {
        let _ = writeln!(text, "{:<8} {check}: {what}", level.name());
        if *level != Level::Ok {
            let _ = writeln!(text, "         why: {why}\n         do:  {advice}");
        }
    }
    let (errors, warnings) = count(&findings);
    let _ = writeln!(text, "{errors} errors, {warnings} warnings");
    text
}

/// For programs.
pub(super) fn as_json(findings: &[Finding]) -> Value {
    let (errors, warnings) = count(&findings.iter().collect::<Vec<_>>());
    let told = findings.iter().map(|Finding { check, level, what, why, advice }| {
        json!({ "check": check, "level": level.name(), "what": what, "why": why, "do": advice })
    });
    let told: Vec<_> = told.collect();
    json!({ "ok": errors == 0, "errors": errors, "warnings": warnings, "findings": told })
}

fn count(findings: &[&Finding]) -> (usize, usize) {
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    (of(Level::Error), of(Level::Warning))
}
