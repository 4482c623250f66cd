//! What was found about each invariant.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

/// An invariant that a history decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Invariant {
    /// Every granted request had the stock in the state before it.
    I1 = 1,
    /// An acknowledged effect is in the ledger after any fault of its durability class.
    I2,
    /// At most one effect per key in its scope.
    I3,
    /// An unanswered request is wholly in or wholly out, a refused one is out.
    I4,
    /// Requests of several lines, groups and transfers are all or nothing.
    I5,
    /// Sequences are dense, after-values add up, positions are their entries' sums.
    I6,
    /// Legal lives of reservations, and no expiry before its deadline.
    I7,
    /// Acknowledged before another started: the smaller sequence number.
    I8,
    /// Every read equals some state of the ledger, never goes back, and covers its token.
    I9,
    /// Every read is at most as old as promised, or flagged.
    I10,
    /// A refusal for lack of stock is justified by some state.
    I11,
    /// Soon after the last fault Redis equals PostgreSQL and goodput is back.
    I12,
}

/// What was found about one.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Cases that were judged.
    pub judged: u64,
    /// Cases of these that violate it.
    pub violations: u64,
    /// The first of these.
    pub witnesses: Vec<String>,
    /// Cases that were not judged, by the reason.
    pub not_judged: BTreeMap<&'static str, u64>,
}

/// What was found about all.
#[derive(Clone, Debug)]
pub struct Verdicts {
    by_invariant: BTreeMap<Invariant, Verdict>,
    witnesses_max: usize,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 12] = [
        Invariant::I1,
        Invariant::I2,
        Invariant::I3,
        Invariant::I4,
        Invariant::I5,
        Invariant::I6,
        Invariant::I7,
        Invariant::I8,
        Invariant::I9,
        Invariant::I10,
        Invariant::I11,
        Invariant::I12,
    ];

    fn sentence(self) -> &'static str {
        match self {
            Invariant::I1 => "no oversell",
            Invariant::I2 => "what was acknowledged is there",
            Invariant::I3 => "one effect a key",
            Invariant::I4 => "unanswered: wholly in or out",
            Invariant::I5 => "all or nothing",
            Invariant::I6 => "dense, and everything adds up",
            Invariant::I7 => "legal lives, none ends early",
            Invariant::I8 => "real-time order",
            Invariant::I9 => "reads are states",
            Invariant::I10 => "reads are fresh",
            Invariant::I11 => "refusals are justified",
            Invariant::I12 => "heals in time",
        }
    }
}

impl Verdict {
    /// `holds`, `violated`, or `not_judged`.
    pub fn name(&self) -> &'static str {
        match (self.violations, self.judged) {
            (0, 0) => "not_judged",
            (0, _) => "holds",
            _ => "violated",
        }
    }
}

impl Verdicts {
    /// Nothing was judged yet.
    pub fn new(witnesses_max: usize) -> Verdicts {
        let empty = |invariant| (invariant, Verdict::default());
        Verdicts { by_invariant: Invariant::ALL.map(empty).into(), witnesses_max }
    }

    /// What was found about one.
    #[cfg(test)]
    pub fn of(&self, invariant: Invariant) -> Verdict {
        self.by_invariant.get(&invariant).cloned().unwrap_or_default()
    }

    /// Judges a case; one that does not hold is told by its witness.
    pub fn expect(&mut self, invariant: Invariant, holds: bool, witness: impl FnOnce() -> String) {
        let witnesses_max = self.witnesses_max;
        let verdict = self.by_invariant.entry(invariant).or_default();
        verdict.judged += 1;
        if !holds {
            verdict.violations += 1;
            if verdict.witnesses.len() < witnesses_max {
                verdict.witnesses.push(witness());
            }
        }
    }

    /// Leaves a case out.
    pub fn skip(&mut self, invariant: Invariant, why: &'static str) {
        let verdict = self.by_invariant.entry(invariant).or_default();
        *verdict.not_judged.entry(why).or_default() += 1;
    }

    /// Over all invariants.
    pub fn violations(&self) -> u64 {
        self.by_invariant.values().map(|verdict| verdict.violations).sum()
    }

    /// For people.
    pub fn as_text(&self) -> String {
        let mut text = String::new();
        for (invariant, verdict) in &self.by_invariant {
            let Verdict { judged, violations, witnesses, not_judged } = verdict;
            let name = format!("{invariant:?}");
            let (sentence, found) = (invariant.sentence(), verdict.name());
            // Writing into a text cannot fail.
            let _ = writeln!(
                text,
                "{name:4} {sentence:30} {found:10} {judged:8} judged, {violations} violations"
            );
            for (why, cases) in not_judged {
                let _ = writeln!(text, "         {cases} not judged: {why}");
            }
            for witness in witnesses {
                let _ = writeln!(text, "         {witness}");
            }
        }
        text
    }

    /// For programs.
    pub fn as_json(&self) -> Value {
        let verdicts = self.by_invariant.iter().map(|(invariant, verdict)| {
            let found = json!({
                "verdict": verdict.name(),
                "judged": verdict.judged,
                "violations": verdict.violations,
                "witnesses": verdict.witnesses,
                "not_judged": verdict.not_judged,
            });
            (format!("{invariant:?}"), found)
        });
        let invariants: serde_json::Map<_, _> = verdicts.collect();
        json!({ "invariants": invariants, "violations": self.violations() })
    }
}
