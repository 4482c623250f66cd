//! What must hold after a run: nothing promised that was not there, and every answer in the ledger,
//! once.
#![expect(clippy::disallowed_types, reason = "looks into the ledger itself")]

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use anyhow::ensure;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use super::{
    file::{Does, Scenario},
    flow::{Caller, Effects},
};
use crate::{
    sales::{ITEMS, LOCATIONS},
    server::Server,
};

/// How long the whole ledger may take to be worked out again.
const VERIFY_MAX: Duration = Duration::from_secs(900);

/// Something that was to hold, and did.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// In a sentence.
    pub holds: &'static str,
    /// The numbers.
    pub found: String,
}

/// What all flows were answered together.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    reserved: i64,
    held_in_ledger: i64,
    recorded: i64,
    unknown_reserved: i64,
    unknown_held: i64,
    unknown_recorded: i64,
}

impl Answered {
    fn of(callers: &[&Caller]) -> Answered {
        let sum = |counter: fn(&Effects) -> &AtomicI64| {
            callers.iter().map(|caller| counter(&caller.effects).load(Ordering::Relaxed)).sum()
        };
        Answered {
            reserved: sum(|effects| &effects.reserved),
            held_in_ledger: sum(|effects| &effects.held_in_ledger),
            recorded: sum(|effects| &effects.recorded),
            unknown_reserved: sum(|effects| &effects.unknown_reserved),
            unknown_held: sum(|effects| &effects.unknown_held),
            unknown_recorded: sum(|effects| &effects.unknown_recorded),
        }
    }
}

/// What the ledger says.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct Found {
    /// Entries of facts.
    facts: i64,
    /// Rows of keys.
    requests: i64,
    /// Units of reservations.
    reserved: i64,
    /// Lines of reservations.
    lines: i64,
    /// Holds that were taken in the ledger.
    holds: i64,
    /// Positions of which more was promised than ever came in.
    overpromised: i64,
}

impl Found {
    async fn read(url: &str) -> anyhow::Result<Found> {
        let found = sqlx::query_as(
            "with promised as (
                 select partition, r.location, l.item, r.held_as is not null as held, l.quantity
                 from reservation r join reservation_line l using (partition, no)
             ), of_position as (
                 select partition, location, item, sum(quantity) as units from promised
                 where not held group by 1, 2, 3
             ), arrived as (
                 select partition, location, item, sum(quantity) as units from ledger_entry
                 where kind < 100 and to_state = 1 group by 1, 2, 3
             )
             select (select count(*) from ledger_entry where kind < 100) as facts,
                 (select count(*) from request) as requests,
                 (select coalesce(sum(quantity), 0)::bigint from promised where not held)
                     as reserved,
                 (select count(*) from promised where not held) as lines,
                 (select count(*) from reservation where held_as is not null) as holds,
                 (select count(*)
                  from of_position p left join arrived a using (partition, location, item)
                  where p.units > coalesce(a.units, 0)) as overpromised",
        );
        Ok(found.fetch_one(&mut PgConnection::connect(url).await?).await?)
    }
}

/// Checks all that a run of these callers must have left behind.
///
/// # Errors
/// The first of them that does not hold.
pub async fn check(
    server: &Server,
    scenario: &Scenario,
    callers: &[&Caller],
) -> anyhow::Result<Vec<Check>> {
    let receives = scenario.flows.iter().any(|flow| matches!(flow.does, Does::Receive { .. }));
    let effects: Vec<_> = callers.iter().map(|caller| &caller.effects).collect();
    // What comes in during the run is in the ledger, and judged there.
    let most = |item| if receives { i64::MAX } else { scenario.stock.of(item) };
    let granted = at_most(&effects, most)?;
    let answered = Answered::of(callers);
    let found = Found::read(&server.database_url).await?;
    let opening = (LOCATIONS * ITEMS) as i64;
    let mut checks = judge(answered, found, opening)?;
    checks.push(Check {
        holds: "holds and reservations that were granted are no more than the stock was",
        found: format!("{granted} units"),
    });
    let verified = server.verify(VERIFY_MAX).await?;
    checks.push(Check {
        holds: "verify works the whole ledger out again, and Redis with it, and nothing differs",
        found: format!("{} entries, {} positions", verified["entries"], verified["positions"]),
    });
    Ok(checks)
}

/// Units that were granted in all; `stock` says how many of an item each shop had.
fn at_most(effects: &[&Effects], stock: impl Fn(usize) -> i64) -> anyhow::Result<i64> {
    let units = |granted: &AtomicI64| granted.load(Ordering::Relaxed);
    let mut all = 0;
    for position in 0..LOCATIONS * ITEMS {
        let of = |effects: &&Effects| effects.granted.get(position).map(units);
        let granted: i64 = effects.iter().filter_map(of).sum();
        let (shop, item, most) = (position / ITEMS, position % ITEMS, stock(position % ITEMS));
        ensure!(granted <= most, "{granted} of {most} were granted: shop {shop}, item {item}");
        all += granted;
    }
    Ok(all)
}

fn judge(answered: Answered, found: Found, opening: i64) -> anyhow::Result<Vec<Check>> {
    let Found { facts, requests, reserved, lines, holds, overpromised } = found;
    ensure!(overpromised == 0, "{overpromised} positions have promised more than ever came in");
    let within = |what: &str, count: i64, least: i64, unknown: i64| {
        let most = least + unknown;
        ensure!((least..=most).contains(&count), "{count} {what}, not {least} to {most}");
        Ok(format!("{count} {what}; {least} were answered, of {unknown} nobody knows"))
    };
    let units = within("units", reserved, answered.reserved, answered.unknown_reserved)?;
    let recorded = opening + answered.recorded;
    let entries = within("entries of facts", facts, recorded, answered.unknown_recorded)?;
    let in_ledger = within("holds", holds, answered.held_in_ledger, answered.unknown_held)?;
    let keys = facts + lines + holds;
    // The end of a hold that was taken in the ledger has a key of its own.
    let right = (keys..=keys + holds).contains(&requests);
    ensure!(right, "{requests} keys for {facts} facts, {lines} lines, {holds} holds");
    let check = |holds, found| Check { holds, found };
    Ok(vec![
        check("no position has promised more than ever came in", "0 positions".to_owned()),
        check("every reservation that was answered is in the ledger, once", units),
        check("every movement that was answered is in the ledger, once", entries),
        check("every hold that was answered as taken in the ledger is there, once", in_ledger),
        check("every effect has one key", format!("{requests} keys")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Found =
        Found { facts: 110, requests: 117, reserved: 5, lines: 5, holds: 2, overpromised: 0 };
    const ANSWERED: Answered = Answered {
        reserved: 5,
        held_in_ledger: 2,
        recorded: 10,
        unknown_reserved: 0,
        unknown_held: 0,
        unknown_recorded: 0,
    };

    #[test]
    fn what_was_answered_must_be_there_once() {
        assert_eq!(judge(ANSWERED, FOUND, 100).unwrap().len(), 5);
        let wrong = [
            Found { facts: 111, requests: 118, ..FOUND },
            Found { facts: 109, requests: 116, ..FOUND },
            Found { reserved: 6, ..FOUND },
            Found { reserved: 4, ..FOUND },
            Found { holds: 3, requests: 118, ..FOUND },
            Found { requests: 116, ..FOUND },
            Found { requests: 120, ..FOUND },
            Found { overpromised: 1, ..FOUND },
        ];
        for found in wrong {
            judge(ANSWERED, found, 100).unwrap_err();
        }
    }

    #[test]
    fn no_more_is_granted_of_a_position_than_there_was() {
        let effects = |position: usize, units: i64| {
            let mut granted: Vec<_> = (0..LOCATIONS * ITEMS).map(|_| AtomicI64::new(0)).collect();
            *granted[position].get_mut() = units;
            Effects { granted, ..Effects::default() }
        };
        let (last, other) = (LOCATIONS * ITEMS - 1, ITEMS - 1);
        let all = [effects(last, 3), effects(last, 4), effects(other, 9)];
        let all: Vec<_> = all.iter().collect();
        let stock = |of_last| move |item| if item == ITEMS - 1 { of_last } else { 0 };
        assert_eq!(at_most(&all, stock(9)).unwrap(), 16);
        assert!(at_most(&all, stock(8)).unwrap_err().to_string().starts_with("9 of 8"));
        assert!(at_most(&all[..2], stock(6)).unwrap_err().to_string().contains("shop 15"));
    }

    #[test]
    fn what_nobody_knows_may_be_there_or_not() {
        let answered = Answered { unknown_recorded: 2, ..ANSWERED };
        for (facts, fits) in [(109, false), (110, true), (112, true), (113, false)] {
            let found = Found { facts, requests: facts + 7, ..FOUND };
            assert_eq!(judge(answered, found, 100).is_ok(), fits, "{facts}");
        }
    }
}
