//! The history checker: reads what `history` wrote and decides which of the twelve invariants hold.
//!
//! It shares nothing with the service but the format of the history: entries are folded, calls are
//! matched with entries by their keys, and reads and refusals are held against the states that the
//! ledger went through. But for sorting by time, everything takes time linear in the history.
//!
//! A check is one-sided where a history cannot tell: it never calls right what is certainly wrong
//! at the moment that the history shows, and where the answer hangs on what nobody recorded (which
//! moment a batch was committed at, whether a hold that was left open was taken) it assumes
//! whatever excuses the service. What is not judged at all is counted, with the reason.

mod acks;
mod claims;
mod fold;
mod healing;
mod index;
mod lives;
pub mod load;
mod operation;
mod order;
mod reads;
mod refusals;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::{fs::File, io::BufReader, path::PathBuf};

use anyhow::Context as _;

use self::{claims::Claims, index::Index, load::History, verdict::Verdicts};

/// Which history.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// File that a torture wrote
    history: PathBuf,
    /// Witnesses of each violated invariant that are told
    #[arg(long, default_value_t = 5)]
    witnesses: usize,
}

/// Checks a saved history; the last line that it prints is the result.
///
/// # Errors
/// The file is no whole history, or an invariant is violated.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let name = args.history.display();
    let file = File::open(&args.history).with_context(|| format!("cannot open '{name}'"))?;
    let history = History::read(BufReader::new(file)).with_context(|| format!("in '{name}'"))?;
    let verdicts = judge(&history, args.witnesses);
    print!("{}", verdicts.as_text());
    println!("{}", verdicts.as_json());
    anyhow::ensure!(verdicts.violations() == 0, "{} violations", verdicts.violations());
    Ok(())
}

/// Decides every invariant of a history.
pub fn judge(history: &History, witnesses_max: usize) -> Verdicts {
    let mut verdicts = Verdicts::new(witnesses_max);
    let index = Index::new(history);
    fold::judge(&index, &mut verdicts);
    lives::judge(&index, &mut verdicts);
    let operations = operation::operations(&index);
    acks::judge(&index, &operations, &mut verdicts);
    order::judge(&index, &operations, &mut verdicts);
    let claims = Claims::new(&index, &operations);
    reads::judge(&index, &operations, &claims, &mut verdicts);
    refusals::judge(&index, &operations, &claims, &mut verdicts);
    healing::judge(history, &mut verdicts);
    verdicts
}
