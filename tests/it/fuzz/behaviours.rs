//! What inputs came to, by name.

use std::collections::BTreeSet;

use stockroom::stock::machine::Outcome;

use crate::stock::memory::Memory;

/// What one input showed.
#[derive(Debug, Default)]
pub struct Behaviours(pub BTreeSet<String>);

impl Behaviours {
    pub fn saw(&mut self, behaviour: impl Into<String>) {
        self.0.insert(behaviour.into());
    }

    /// What became of commands.
    pub fn outcomes(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Recorded(posted) => self.saw(format!("recorded {}", posted.flags.0)),
                Outcome::Duplicate(_) => self.saw("duplicate"),
                Outcome::Stepped(after) => self.saw(format!("stepped {}", after.state.name())),
                Outcome::Refused(refusal) => self.saw(refusal.reason()),
            }
        }
    }

    /// Which entries follow each other in a log: a rough map of the paths that were taken.
    pub fn paths(&mut self, memory: &Memory) {
        for log in memory.logs.values() {
            for pair in log.windows(2) {
                let [before, after] = [&pair[0], &pair[1]].map(|entry| {
                    let state = entry.reservation_state.map_or("", |state| state.name());
                    format!("{} {state}", entry.kind.name())
                });
                self.saw(format!("{before} then {after}"));
            }
        }
    }
}
