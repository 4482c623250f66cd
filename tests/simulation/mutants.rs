//! Which deliberate defects there are: those in the code, and those that are made of the scripts when
//! they are loaded. Each must be found by a run, or by the walk over the reservation layer alone.

use std::collections::BTreeMap;

use stockroom::mutants::Mutant;

use crate::{
    layer,
    run::{Report, Scenario, run},
    tail,
};

/// Seeds in which a defect may show itself before it counts as a survivor.
const SEEDS_MAX: u64 = 1_000;

/// A change of the text of a script: a defect.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    pub from: &'static str,
    pub to: &'static str,
}

/// One defect.
#[derive(Clone, Debug)]
pub struct Defect {
    pub name: String,
    mutant: Option<Mutant>,
    rewrite: Option<Rewrite>,
}

/// What found it.
#[derive(Clone, Debug)]
pub struct Caught {
    pub seed: u64,
    pub by: String,
}

/// Name, and what is replaced in the scripts.
const REWRITES: [(&str, Rewrite); 17] = [
    (
        "OwnHoldCountsAgainstItsOwner",
        Rewrite { from: "own[line.at.name] or 0", to: "0 * (own[line.at.name] or 0)" },
    ),
    (
        "HoldBringsTwice",
        Rewrite { from: "now = hold and not is_in_use(hold, '')", to: "now = hold" },
    ),
    (
        "CursorNotCompared",
        Rewrite {
            from: "    if there[i] ~= ARGV[i] then return 0 end\nend\nwrite_rows",
            to: "end\nwrite_rows",
        },
    ),
    ("TokenNotDropped", Rewrite { from: "if token ~= '' then drop_token(token) end", to: "" }),
    (
        "CheckpointWithoutCompareAndSet",
        Rewrite { from: "or at.epoch ~= epoch or at.seq ~= from or to < from then", to: "then" },
    ),
    (
        "SettleMovesOverAGap",
        Rewrite { from: "at and to and at.seq == from", to: "at and to and at.seq < to" },
    ),
    (
        "OlderRowsOverwrite",
        Rewrite { from: "old_epoch == epoch and old_seq < seq", to: "old_epoch == epoch" },
    ),
    ("OtherClaimsDoNotCount", Rewrite { from: "held_now + at.claimed", to: "held_now" }),
    (
        "ReleasedWhileInUse",
        Rewrite {
            from: "if is_in_use(hold, '') then return cmsgpack.pack('in_use') end\nbury",
            to: "bury",
        },
    ),
    (
        "ExtendedWhileInUse",
        Rewrite {
            from: "if is_in_use(hold, '') then return cmsgpack.pack('in_use') end\nlocal tick",
            to: "local tick",
        },
    ),
    ("PurgeWithoutBound", Rewrite { from: "PURGE_MAX = 64", to: "PURGE_MAX = 100000" }),
    (
        "ExpiredHoldsCount",
        Rewrite { from: "if some_expired and units > 0 then", to: "if false then" },
    ),
    (
        "EpochOfTheCheckpointIgnored",
        Rewrite {
            from: "if epoch ~= '' and tonumber(epoch) ~= at.epoch then",
            to: "if false then",
        },
    ),
    ("RowsOfADeadEpochCount", Rewrite { from: "row_epoch == epoch and {", to: "row_epoch and {" }),
    (
        "LinesOfAHoldNotSummed",
        Rewrite { from: "local line = by_name[at.name]", to: "local line = nil" },
    ),
    (
        "PartOfAHoldGranted",
        Rewrite { from: "if not per_line and #short > 0 then return 'short' end", to: "" },
    ),
    (
        "HeldByTheKeyOfAnother",
        Rewrite {
            from: "if known.fingerprint ~= fingerprint then return cmsgpack.pack('key_reused') end",
            to: "",
        },
    ),
];

/// All defects.
pub fn all() -> Vec<Defect> {
    let code = Mutant::ALL.into_iter().map(|mutant| Defect {
        name: format!("{mutant:?}"),
        mutant: Some(mutant),
        rewrite: None,
    });
    let scripts = REWRITES.into_iter().map(|(name, rewrite)| Defect {
        name: name.to_owned(),
        mutant: None,
        rewrite: Some(rewrite),
    });
    code.chain(scripts).collect()
}

impl Defect {
    /// Looks for a seed that shows it.
    ///
    /// # Panics
    /// The text that a rewrite replaces is in no script.
    pub fn hunt(&self) -> Option<Caught> {
        let mut rewritten = 0;
        for seed in 1..=SEEDS_MAX {
            let (mutant, rewrite) = (self.mutant, self.rewrite);
            let scenario = Scenario { seed, mutant, rewrite, prints: false };
            for report in [layer::run(scenario), tail::run(scenario), run(scenario)] {
                rewritten += report.rewritten;
                if let Some(by) = first(report) {
                    assert!(
                        self.rewrite.is_none() || rewritten > 0,
                        "{} changes nothing",
                        self.name
                    );
                    return Some(Caught { seed, by });
                }
            }
        }
        assert!(self.rewrite.is_none() || rewritten > 0, "{} changes nothing", self.name);
        None
    }
}

fn first(report: Report) -> Option<String> {
    report.violations.into_iter().next()
}

/// What all reports together have seen.
pub fn sum(seen: &mut BTreeMap<&'static str, u64>, report: &Report) {
    for (what, times) in &report.seen {
        *seen.entry(what).or_default() += times;
    }
}
