//! The table of what became of the orders.
use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Replay, Stage, audit::Standing, clock, fate::Became};

/// What became of the orders.
#[derive(Debug)]
pub(in crate::cli::import) struct Report {
    orders: u64,
    lines: u64,
    became: BTreeMap<Became, Count>,
    standing: Standing,
    /// Units of the sales that were no orders.
    sold: i64,
    compress: u32,
    elapsed: Duration,
    expired_late_max: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    orders: u64,
    units: i64,
}

impl Report {
    /// When everything is over; `sold` are the units of all other sales.
    pub(super) fn new(replay: &Replay<'_>, sold: i64, standing: Standing) -> Self {
        let mut became: BTreeMap<Became, Count> = BTreeMap::new();
        for (order, state) in replay.plan.orders.iter().zip(&replay.states) {
            // Whatever is not done by now shows as open in the standing.
            if let Stage::Done(end) = state.stage() {
                let count = became.entry(end).or_default();
                count.orders += 1;
                count.units += order.units;
            }
        }
        let late = replay.expired_late_max.load(std::sync::atomic::Ordering::Relaxed);
        Self {
            orders: replay.plan.orders.len() as u64,
            lines: replay.plan.ordered_lines() as u64,
            became,
            standing,
            sold,
            compress: replay.clock.compress(),
            elapsed: replay.clock.elapsed(),
            expired_late_max: Duration::from_micros(late.unsigned_abs()),
        }
    }

    /// Whether every reservation is in a final state, and nothing is left aside.
    pub(in crate::cli::import) fn is_settled(&self) -> bool {
        let done: u64 = self.became.values().map(|count| count.orders).sum();
        self.standing.open == 0 && self.standing.aside == 0 && done == self.orders
    }

    /// Units that must be sellable now if so many were received before.
    fn left(&self, received: i64) -> i64 {
        let gone = |(end, count): (&Became, &Count)| {
            let orders = i64::try_from(count.orders).unwrap_or(i64::MAX);
            let (taken, lost) = end.gone(orders, count.units);
            let back = if *end == Became::Returned { taken } else { 0 };
            taken + lost - back
        };
        received - self.sold - self.became.iter().map(gone).sum::<i64>()
    }

    /// For programs; `received` are the units of the opening stock, where there was one.
    pub(in crate::cli::import) fn to_json(&self, received: Option<i64>) -> Value {
        let became = self.became.iter().map(|(end, count)| {
            (end.name().to_owned(), json!({ "orders": count.orders, "units": count.units }))
        });
        let mut report = json!({
            "compress": self.compress,
            "orders": self.orders,
            "lines": self.lines,
            "became": became.collect::<serde_json::Map<_, _>>(),
            "by_state": self.standing.by_state,
            "open": self.standing.open,
            "units_aside": self.standing.aside,
            "settled": self.is_settled(),
            "expired_late_ms_max": millis(self.expired_late_max),
        });
        if let Some(received) = received {
            report["sellable"] = self.left(received).into();
        }
        report
    }

    /// For people: names and numbers, row by row.
    pub(in crate::cli::import) fn rows(&self, received: Option<i64>) -> Vec<(String, i64)> {
        let count = |end: Became| self.became.get(&end).copied().unwrap_or_default();
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let refused = count(Became::Refused);
        let made = self.orders - refused.orders;
        let mut rows = vec![
            ("click and collect, baskets".to_owned(), number(self.orders)),
            (format!("  {}", Became::Refused.told()), number(refused.orders)),
            ("  reserved".to_owned(), number(made)),
        ];
        for end in Became::ALL.into_iter().skip(1) {
            let count = count(end);
            if count.orders > 0 {
                rows.push((format!("    {}", end.told()), number(count.orders)));
            }
        }
        rows.push(("reservations in the ledger".to_owned(), number(self.reservations())));
        for (state, count) in &self.standing.by_state {
            rows.push((format!("  {state}"), number(*count)));
        }
        rows.push(("  not in a final state".to_owned(), number(self.standing.open)));
        rows.push(("  units still set aside".to_owned(), self.standing.aside));
        if let Some(received) = received {
            rows.push(("units that must be left to sell".to_owned(), self.left(received)));
        }
        let ttl = clock::ttl(self.compress);
        rows.push(("clock compressed, times".to_owned(), i64::from(self.compress)));
        rows.push(("seven days to collect, in ms".to_owned(), number(millis(ttl))));
        rows.push(("all of it took, in ms".to_owned(), number(millis(self.elapsed))));
        let late = number(millis(self.expired_late_max));
        rows.push(("latest expiry after its deadline, in ms".to_owned(), late));
        rows
    }

    fn reservations(&self) -> u64 {
        self.standing.by_state.values().sum()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
