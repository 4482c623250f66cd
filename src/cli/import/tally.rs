//! What became of the lines, counted.
use std::{collections::BTreeMap, fmt::Write as _};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::{click_and_collect::Report, feed::Unreadable};
use crate::api::proto::{MovementKind, MovementResult, MovementStatus};

/// Unreadable lines that are shown one by one; the rest is only counted.
const UNREADABLE_SHOWN_MAX: usize = 20;

/// Counts of answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines that are in the ledger.
    pub(crate) posted: u64,
    /// Lines and resends that were in the ledger before.
    pub(crate) duplicates: u64,
    /// Posted lines by kind.
    pub(crate) by_kind: BTreeMap<&'static str, u64>,
    /// Lines that are not in the ledger, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one answer; false if it says neither that the line is in the ledger nor why it is
    /// not. The answer to a resend says nothing that is not counted already, except that it was a
    /// duplicate.
    pub(crate) fn count(
        &mut self,
        kind: MovementKind,
        result: &MovementResult,
        resend: bool,
    ) -> bool {
        match (result.status(), &result.error) {
            (MovementStatus::Rejected, Some(error)) if !error.reason.is_empty() => {
                if !resend {
                    *self.rejected.entry(error.reason.clone()).or_default() += 1;
                }
            }
            (MovementStatus::Rejected | MovementStatus::Unspecified, _) => return false,
            (status, _) => {
                self.duplicates += u64::from(status == MovementStatus::Duplicate);
                if !resend {
                    self.posted += 1;
                    *self.by_kind.entry(kind_name(kind)).or_default() += 1;
                }
            }
        }
        true
    }

    /// Adds what another stream counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.posted += other.posted;
        self.duplicates += other.duplicates;
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        for (reason, count) in other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
    }
}

/// The result of an import.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Lines of the file, all of them.
    pub(crate) lines: u64,
    /// What became of those that were sent.
    pub(crate) tally: Tally,
    /// What became of the opening stock, and its units, where there is one.
    pub(crate) opening: Option<(Tally, i64)>,
    /// Lines left out on purpose.
    pub(crate) dropped: Option<u64>,
    /// Lines that could not be read.
    pub(crate) unreadable: Vec<Unreadable>,
    /// What became of the baskets that were sent as reservations.
    pub(crate) orders: Option<Report>,
}

impl Summary {
    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let tally = &self.tally;
        let mut summary = json!({
            "lines": self.lines,
            "posted": tally.posted,
            "duplicates": tally.duplicates,
            "by_kind": tally.by_kind,
            "rejected": tally.rejected,
            "unreadable": self.unreadable.len(),
        });
        if let Some((tally, units)) = &self.opening {
            summary["opening"] = json!({
                "posted": tally.posted,
                "duplicates": tally.duplicates,
                "rejected": tally.rejected,
                "units": units,
            });
        }
        if let Some(dropped) = self.dropped {
            summary["dropped"] = dropped.into();
        }
        if let Some(orders) = &self.orders {
            summary["click_and_collect"] = orders.to_json(self.received());
        }
        summary
    }

    /// Units of the opening stock.
    fn received(&self) -> Option<i64> {
        self.opening.as_ref().map(|(_, units)| *units)
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |name: String, count: u64| {
            table.add_row([name, grouped(count)]);
        };
        row("lines".into(), self.lines);
        if let Some((opening, units)) = &self.opening {
            row("opening stock, receipts".into(), opening.posted);
            row("opening stock, units".into(), u64::try_from(*units).unwrap_or_default());
            for (reason, count) in &opening.rejected {
                row(format!("opening stock, rejected {reason}"), *count);
            }
        }
        row("posted".into(), self.tally.posted);
        for (kind, count) in &self.tally.by_kind {
            row(format!("  {kind}"), *count);
        }
        row("rejected".into(), self.tally.rejected.values().sum());
        for (reason, count) in &self.tally.rejected {
            row(format!("  {reason}"), *count);
        }
        row("duplicates".into(), self.tally.duplicates);
        if let Some(dropped) = self.dropped {
            row("dropped, not in the catalogue".into(), dropped);
        }
        if !self.unreadable.is_empty() {
            row("unreadable".into(), self.unreadable.len() as u64);
        }
        for (name, number) in self.orders.iter().flat_map(|orders| orders.rows(self.received())) {
            let sign = if number < 0 { "-" } else { "" };
            table.add_row([name, format!("{sign}{}", grouped(number.unsigned_abs()))]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = table.trim_fmt();
        for Unreadable { line, problem } in self.unreadable.iter().take(UNREADABLE_SHOWN_MAX) {
            // Writing into a string cannot fail.
            let _ = write!(text, "\nline {line}: {problem}");
        }
        let hidden = self.unreadable.len().saturating_sub(UNREADABLE_SHOWN_MAX);
        if hidden > 0 {
            let _ = write!(text, "\nand {hidden} more lines that cannot be read");
        }
        text
    }
}

/// A kind without the prefix of the contract.
fn kind_name(kind: MovementKind) -> &'static str {
    kind.as_str_name().trim_start_matches("MOVEMENT_KIND_")
}

/// With commas between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::MovementError;

    #[test]
    fn a_resend_counts_as_a_duplicate_only() {
        let answer = |status: MovementStatus, reason: &str| MovementResult {
            status: status.into(),
            error: Some(MovementError { reason: reason.into(), ..MovementError::default() }),
            ..MovementResult::default()
        };
        let mut tally = Tally::default();
        let sale = MovementKind::Sale;
        assert!(tally.count(sale, &answer(MovementStatus::Recorded, ""), false));
        assert!(tally.count(sale, &answer(MovementStatus::Duplicate, ""), false));
        assert!(tally.count(sale, &answer(MovementStatus::Duplicate, ""), true));
        assert!(tally.count(sale, &answer(MovementStatus::Rejected, "A"), false));
        assert!(tally.count(sale, &answer(MovementStatus::Rejected, "A"), true));
        assert!(!tally.count(sale, &answer(MovementStatus::Rejected, ""), false));
        assert!(!tally.count(sale, &answer(MovementStatus::Unspecified, ""), false));
        assert_eq!((tally.posted, tally.duplicates), (2, 2));
        assert_eq!(tally.by_kind, BTreeMap::from([("SALE", 2)]));
        assert_eq!(tally.rejected, BTreeMap::from([("A".to_owned(), 1)]));
    }

    #[test]
    fn thousands_are_grouped() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (5_646_104, "5,646,104")] {
            assert_eq!(grouped(count), text);
        }
    }
}
