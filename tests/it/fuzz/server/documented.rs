//! The refusals that `docs/errors.md` knows.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use stockroom::api::proto::MovementError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::errors::explained;

/// Neither may ever come of what a caller sends: these are defects.
const NEVER: [&str; 2] = ["INTERNAL", "TRANSPORT"];

/// Reasons, and the codes that each comes with.
pub struct Documented(BTreeMap<String, BTreeSet<String>>);

impl Documented {
    pub fn read() -> Documented {
        let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let rows = include_str!("../../../../docs/errors.md").lines();
        for row in rows.filter_map(|line| line.strip_prefix("| ")) {
            let mut cells = row.split('|').map(str::trim);
            let (Some(names), Some(code)) = (cells.next(), cells.next()) else { continue };
            for name in names.split(", ") {
                reasons.entry(name.to_owned()).or_default().insert(code.replace('_', ""));
            }
        }
        assert!(reasons.len() > 60, "{reasons:?}");
        Documented(reasons)
    }

    /// Fails unless it is a documented refusal; returns its name, and the field that it names.
    pub fn judge(&self, status: &Status) -> String {
        let info = status.get_details_error_info();
        let reason = info.unwrap_or_else(|| panic!("no ErrorInfo: {status:?}")).reason;
        let metadata = explained(status, status.code(), &reason);
        self.judge_reason(&reason, status.code());
        judge_message(status.message(), &metadata);
        format!("{reason} {}", metadata.get("field").cloned().unwrap_or_default())
    }

    /// The same of one line of several.
    pub fn judge_line(&self, error: &MovementError) {
        self.judge_reason(&error.reason, Code::from(error.code));
        judge_message(&error.message, &error.metadata);
    }

    fn judge_reason(&self, reason: &str, code: Code) {
        assert!(!NEVER.contains(&reason), "{reason}");
        let codes = self.0.get(reason).unwrap_or_else(|| panic!("{reason} is not documented"));
        let code = format!("{code:?}").to_uppercase();
        assert!(codes.contains(&code), "{reason} comes with {code}, documented is {codes:?}");
    }
}

/// What a message quotes is in the metadata too, for those who do not read messages.
fn judge_message(message: &str, metadata: &HashMap<String, String>) {
    let mut values: Vec<_> = metadata.values().map(|value| format!("{value:?}")).collect();
    values.sort_by_key(|value| Reverse(value.len()));
    let rest = values.iter().fold(message.to_owned(), |rest, value| rest.replace(value, ""));
    assert!(!rest.contains('"'), "{message} quotes what is not in {metadata:?}");
}
