//! Amounts that are tried: how often an answer may tell a caller more of a position than its band does.
//!
//! A bisection needs a few answers for each number, so few are given. What calls under way will be told
//! counts already, or many at once would be told everything.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    api::guard::{AbuseLimits, Who, recent::Recent},
    stock::ids::LocationNo,
};

/// Positions that are known, of all callers; of the others nothing was told lately.
const POSITIONS_MAX: usize = 100_000;
/// Amounts of one position that may be searched for again.
const SEARCHED_MAX: usize = 32;
/// How long to wait for calls under way.
const MOMENT: Duration = Duration::from_secs(1);

/// Who tries what: an item by its code, at a location or, in a search, anywhere.
pub(crate) type Position = (Who, Option<LocationNo>, String);

/// What was told of each position.
#[derive(Debug)]
pub(super) struct Tries {
    limits: AbuseLimits,
    known: Mutex<Recent<Position, Known>>,
}

#[derive(Debug)]
struct Known {
    /// When everything that was told is forgiven, each amount after one span.
    forgiven_at: Instant,
    /// Amounts that calls under way try, each with how many do.
    under_way: Vec<(i64, u32)>,
    /// Amounts that were searched for and are not forgiven.
    searched: Vec<i64>,
}

impl Tries {
    pub(super) fn new(limits: AbuseLimits) -> Tries {
        Tries { limits, known: Mutex::new(Recent::new(POSITIONS_MAX)) }
    }

    /// Whether anything is limited.
    pub(super) fn is_on(&self) -> bool {
        self.limits.amounts_max > 0
    }

    /// Begins to try amounts of positions, each named once: all or none. Calls that try the same amount at
    /// the same time are told the same.
    pub(super) fn begin(&self, tried: &[(Position, i64)], now: Instant) -> Result<(), Duration> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, amount) in tried {
            if let Some(known) = all.get(position) {
                let more = known.under_way.iter().all(|(other, _)| other != amount);
                let amounts = known.under_way.len() + usize::from(more);
                self.check(known, amounts, now)?;
            }
        }
        for (position, amount) in tried {
            let known = all.get_or(position.clone(), || Known::new(now));
            match known.under_way.iter_mut().find(|(other, _)| other == amount) {
                Some((_, calls)) => *calls += 1,
                None => known.under_way.push((*amount, 1)),
            }
        }
        Ok(())
    }

    /// Ends what was begun; `told`: by then the caller knows more than before.
    pub(super) fn end(&self, (position, amount): &(Position, i64), told: bool, now: Instant) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(position) {
            for (_, calls) in known.under_way.iter_mut().filter(|(other, _)| other == amount) {
                *calls -= 1;
            }
            known.under_way.retain(|(_, calls)| *calls > 0);
        }
        if told {
            let known = all.get_or(position.clone(), || Known::new(now));
            known.tell(self.limits, now);
        }
    }

    /// The caller knows more of a position than before.
    pub(super) fn told(&self, position: Position, now: Instant) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_or(position, || Known::new(now)).tell(self.limits, now);
    }

    /// What was told was worth it: that is forgiven.
    pub(super) fn forgive(&self, position: &Position, now: Instant) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(position) {
            known.forgiven_at = known.forgiven_at.checked_sub(self.limits.span).unwrap_or(now);
        }
    }

    /// Searches for amounts, each item named once: all or none. Those that were searched for before tell
    /// nothing more.
    pub(super) fn search(&self, tried: &[(Position, i64)], now: Instant) -> Result<(), Duration> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, amount) in tried {
            if let Some(known) = all.get(position) {
                if known.forgiven_at <= now || known.searched.len() >= SEARCHED_MAX {
                    known.searched.clear();
                }
                if !known.searched.contains(amount) {
                    self.check(known, 1, now)?;
                }
            }
        }
        for (position, amount) in tried {
            let known = all.get_or(position.clone(), || Known::new(now));
            if !known.searched.contains(amount) {
                known.searched.push(*amount);
                known.tell(self.limits, now);
            }
        }
        Ok(())
    }

    /// Whether so many amounts may be told of a position; else how long they may not.
    fn check(&self, known: &Known, amounts: usize, now: Instant) -> Result<(), Duration> {
        let AbuseLimits { amounts_max, span, .. } = self.limits;
        let wait = |left: u32| known.forgiven_at.saturating_duration_since(now + left * span);
        let alone = wait(amounts_max.saturating_sub(1));
        if !alone.is_zero() {
            return Err(alone);
        }
        let amounts = u32::try_from(amounts).unwrap_or(u32::MAX);
        match amounts_max.checked_sub(amounts) {
            Some(left) if wait(left).is_zero() => Ok(()),
            _ => Err(MOMENT),
        }
    }
}

impl Known {
    fn new(now: Instant) -> Known {
        Known { forgiven_at: now, under_way: Vec::new(), searched: Vec::new() }
    }

    /// No more than all of it is ever owed, so that one more may be told after a span.
    fn tell(&mut self, AbuseLimits { amounts_max, span, .. }: AbuseLimits, now: Instant) {
        let told = self.forgiven_at.max(now) + span;
        self.forgiven_at = told.min(now + amounts_max * span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(600);
    const LIMITS: AbuseLimits = AbuseLimits { holds_in_vain_max: 0, amounts_max: 3, span: SPAN };

    fn jam(caller: &str, amount: i64) -> [(Position, i64); 1] {
        let who = Who::Caller(caller.to_owned());
        [((who, Some(LocationNo(1)), "jam".to_owned()), amount)]
    }

    /// Tries an amount and is told something.
    fn try_out(tries: &Tries, amount: i64, now: Instant) -> Result<(), Duration> {
        let tried = jam("web", amount);
        tries.begin(&tried, now)?;
        tries.end(&tried[0], true, now);
        Ok(())
    }

    #[test]
    fn few_answers_are_given_and_more_with_time() {
        let (tries, now) = (Tries::new(LIMITS), Instant::now());
        for amount in [64, 32, 48] {
            assert_eq!(try_out(&tries, amount, now), Ok(()));
        }
        assert_eq!(try_out(&tries, 40, now), Err(SPAN));
        assert_eq!(try_out(&tries, 48, now), Err(SPAN), "neither the same again");
        assert_eq!(tries.begin(&jam("app", 40), now), Ok(()), "another caller");
        assert_eq!(try_out(&tries, 40, now + SPAN), Ok(()));
        assert!(try_out(&tries, 40, now + SPAN).is_err());
        tries.forgive(&jam("web", 0)[0].0, now + SPAN);
        assert_eq!(try_out(&tries, 40, now + SPAN), Ok(()), "what was bought is forgiven");
        for _ in 0..3 {
            assert_eq!(try_out(&tries, 40, now + 9 * SPAN), Ok(()), "in the end all is");
        }
        assert!(try_out(&tries, 40, now + 9 * SPAN).is_err());
    }

    #[test]
    fn what_tells_nothing_is_free() {
        let (tries, now) = (Tries::new(LIMITS), Instant::now());
        for amount in 0..100 {
            let tried = jam("web", amount);
            assert_eq!(tries.begin(&tried, now), Ok(()));
            tries.end(&tried[0], false, now);
        }
    }

    #[test]
    fn many_amounts_at_once_are_not_told_more() {
        let (tries, now) = (Tries::new(LIMITS), Instant::now());
        for amount in [2, 3, 2, 4, 3] {
            assert_eq!(tries.begin(&jam("web", amount), now), Ok(()), "{amount}");
        }
        assert_eq!(tries.begin(&jam("web", 5), now), Err(MOMENT));
        tries.end(&jam("web", 2)[0], false, now);
        assert!(tries.begin(&jam("web", 5), now).is_err(), "another call tries 2");
        tries.end(&jam("web", 2)[0], false, now);
        assert_eq!(tries.begin(&jam("web", 5), now), Ok(()));
    }

    #[test]
    fn a_search_for_the_same_again_is_free() {
        let (tries, now) = (Tries::new(LIMITS), Instant::now());
        for amount in [10, 20, 30, 10, 20, 30] {
            assert_eq!(tries.search(&jam("web", amount), now), Ok(()), "{amount}");
        }
        assert_eq!(tries.search(&jam("web", 25), now), Err(SPAN));
        assert_eq!(tries.search(&jam("web", 25), now + SPAN), Ok(()));
    }

    #[test]
    fn only_so_many_positions_are_remembered() {
        let (tries, now) = (Tries::new(LIMITS), Instant::now());
        for number in 0..POSITIONS_MAX + 10 {
            let [((who, location, _), _)] = jam("web", 1);
            tries.told((who, location, number.to_string()), now);
        }
        assert!(tries.known.lock().unwrap().len() <= POSITIONS_MAX);
    }
}
