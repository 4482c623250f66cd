//! Opening stock: what must have been there before the first line.
use std::sync::Arc;

use prost_types::Timestamp;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use super::feed::{Change, Effect, Lines};
use crate::api::proto::{Movement, MovementKind, StockState};

const KEY_BYTES_MAX: usize = 64;

/// How much stock is received before the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OpeningRule {
    /// None.
    None,
    /// As much as the file sells.
    Sum,
    /// The least that never goes negative in the order of the file.
    Minimal,
}

/// One RECEIPT for each location and item that needs stock. It depends on the file alone and not on
/// the order in which its lines are sent, so that a second run sends the same facts again.
pub(crate) struct Opening {
    lines: Arc<dyn Lines>,
    rows: Vec<Row>,
    seconds: Option<i64>,
}

struct Row {
    position: (u32, u32),
    units: i64,
}

impl Opening {
    /// By the rule, in the order of first appearance in the file.
    pub(crate) fn new(rule: OpeningRule, lines: Arc<dyn Lines>) -> Self {
        let of_lines = Arc::clone(&lines);
        let effects = (0..lines.count()).filter_map(|line| of_lines.effect(line));
        Self::with_effects(rule, Arc::clone(&lines), effects)
    }

    /// As [`Opening::new`], where the lines have other effects than they have by themselves.
    pub(crate) fn with_effects(
        rule: OpeningRule,
        lines: Arc<dyn Lines>,
        effects: impl Iterator<Item = Effect>,
    ) -> Self {
        let seconds = lines.starts_at().map(|first| first - 1);
        let rows = match rule {
            OpeningRule::None => Vec::new(),
            OpeningRule::Sum => needs(effects, Need::sell),
            OpeningRule::Minimal => needs(effects, Need::cover),
        };
        Self { lines, rows, seconds }
    }

    /// Leaves so many per cent of all units, rounded down. What is missing is spread evenly over the
    /// units in the order of the rows, as most rows have too few to take a share of each.
    pub(crate) fn keep_percent(mut self, percent: u8) -> Self {
        let kept = |units: i64| i128::from(units) * i128::from(percent) / 100;
        let mut before = 0_i64;
        for row in &mut self.rows {
            let after = before.saturating_add(row.units);
            row.units = i64::try_from(kept(after) - kept(before)).unwrap_or(row.units);
            before = after;
        }
        self.rows.retain(|row| row.units > 0);
        self
    }

    /// Units of all rows.
    pub(crate) fn units(&self) -> i64 {
        self.rows.iter().fold(0, |sum, row| sum.saturating_add(row.units))
    }
}

impl Lines for Opening {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn movement(&self, line: usize) -> Movement {
        let row = &self.rows[line];
        let sku = self.lines.sku(row.position.1);
        let mut movement = Movement {
            key: key_of(sku),
            location_id: self.lines.location_id(row.position.0).to_owned(),
            sku: sku.to_owned(),
            quantity: row.units,
            occurred_at: self.seconds.map(|seconds| Timestamp { seconds, nanos: 0 }),
            reason: "opening".to_owned(),
            ..Movement::default()
        };
        movement.set_kind(MovementKind::Receipt);
        movement.set_from_state(StockState::External);
        movement
    }

    fn location(&self, line: usize) -> u32 {
        self.rows[line].position.0
    }

    fn effect(&self, _line: usize) -> Option<Effect> {
        None
    }

    fn location_id(&self, location: u32) -> &str {
        self.lines.location_id(location)
    }

    fn sku(&self, sku: u32) -> &str {
        self.lines.sku(sku)
    }

    fn sources(&self) -> &[String] {
        self.lines.sources()
    }

    fn starts_at(&self) -> Option<i64> {
        self.seconds
    }
}

/// What one position needs, as far as the file was read.
#[derive(Default)]
struct Need {
    units: i64,
    balance: i64,
    counted: bool,
}

impl Need {
    fn sell(&mut self, effect: &Effect) {
        self.units = self.units.saturating_add(effect.sold);
    }

    /// What was counted stands whatever the opening was, so nothing after a count can ask for more.
    fn cover(&mut self, effect: &Effect) {
        match effect.change {
            Change::To(_) => self.counted = true,
            Change::By(units) if !self.counted => {
                self.balance = self.balance.saturating_add(units);
                self.units = self.units.max(self.balance.saturating_neg());
            }
            Change::By(_) => {}
        }
    }
}

fn needs(effects: impl Iterator<Item = Effect>, learn: fn(&mut Need, &Effect)) -> Vec<Row> {
    let mut numbers: FxHashMap<(u32, u32), usize> = FxHashMap::default();
    let mut needs: Vec<((u32, u32), Need)> = Vec::new();
    for effect in effects {
        let number = *numbers.entry(effect.position).or_insert_with(|| {
            needs.push((effect.position, Need::default()));
            needs.len() - 1
        });
        learn(&mut needs[number].1, &effect);
    }
    needs
        .into_iter()
        .filter(|(_, need)| need.units > 0)
        .map(|(position, need)| Row { position, units: need.units })
        .collect()
}

/// By the item; the location is part of a key's scope already.
fn key_of(sku: &str) -> String {
    let key = format!("opening:{sku}");
    if key.len() <= KEY_BYTES_MAX && key.is_ascii() {
        return key;
    }
    let digest = Sha256::digest(sku.as_bytes());
    let digest: String = digest.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    format!("opening:#{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::table;

    const FILE: &str = "key,kind,location_id,sku,quantity,occurred_at,to_state
1,RECEIPT,a,x,3,2026-01-01T09:00:00Z,
2,SALE,a,x,5,2026-01-01T10:00:00Z,
3,SALE,a,x,1,2026-01-01T11:00:00Z,
4,RETURN,a,x,4,2026-01-01T12:00:00Z,
5,SALE,a,x,3,2026-01-01T13:00:00Z,
6,SALE,b,x,7,1970-01-01T13:00:00Z,
7,COUNT,b,x,1,2026-01-02T13:00:00Z,
8,SALE,b,x,9,2026-01-02T13:00:00Z,
9,ADJUST,a,y,2,2026-01-01T10:00:00Z,EXTERNAL
10,BLOCK,a,y,1,2026-01-01T10:00:00Z,
11,RECEIPT,a,z,1,2026-01-01T10:00:00Z,
";

    fn opening(rule: OpeningRule) -> Vec<(String, String, i64)> {
        let feed = table::read(FILE.as_bytes(), "csv", "Etc/UTC").unwrap();
        let opening = Opening::new(rule, feed.lines);
        let row = |line| {
            let movement = opening.movement(line);
            assert_eq!(movement.kind(), MovementKind::Receipt);
            assert_eq!(movement.key, format!("opening:{}", movement.sku));
            // A second before the first line with a time that a server accepts.
            assert_eq!(movement.occurred_at.unwrap().seconds, 1_767_258_000 - 1);
            (movement.location_id, movement.sku, movement.quantity)
        };
        (0..opening.count()).map(row).collect()
    }

    #[test]
    fn minimal_is_the_least_that_never_goes_negative() {
        let expected = [("a", "x", 3), ("b", "x", 7), ("a", "y", 3)];
        assert_eq!(
            opening(OpeningRule::Minimal),
            expected.map(|(l, s, q)| (l.into(), s.into(), q))
        );
    }

    #[test]
    fn sum_is_what_was_sold() {
        let expected = [("a", "x", 9), ("b", "x", 16)];
        assert_eq!(opening(OpeningRule::Sum), expected.map(|(l, s, q)| (l.into(), s.into(), q)));
    }

    #[test]
    fn a_share_of_the_stock_is_that_share_of_its_units() {
        let feed = table::read(FILE.as_bytes(), "csv", "Etc/UTC").unwrap();
        let share = |percent| {
            let opening = Opening::new(OpeningRule::Sum, Arc::clone(&feed.lines));
            let opening = opening.keep_percent(percent);
            (0..opening.count()).map(|line| opening.movement(line).quantity).collect::<Vec<_>>()
        };
        assert_eq!(share(100), [9, 16]);
        // 22 of 25 units: 8.1 of the first nine, 22.5 of all.
        assert_eq!(share(90), [8, 14]);
        assert_eq!(share(10), [2], "a row without units is no receipt");
        assert!(share(0).is_empty());
    }

    #[test]
    fn a_key_fits_whatever_the_item_is_called() {
        let long = "x".repeat(64);
        assert!(key_of(&long).len() <= KEY_BYTES_MAX);
        assert_ne!(key_of(&long), key_of(&format!("{}y", &long[1..])));
    }
}
