//! Holds that come to nothing: who takes many of them, and makes reservations of hardly any, takes few.
//!
//! Most carts are left behind, so a shop that sells makes a reservation or a sale of one hold in a few. Who
//! makes one of fewer than a twentieth of many holds wants something else.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::api::{
    budget::{Allowance, Budget},
    guard::{AbuseLimits, Who, recent::Recent},
};

/// Callers of whom it is known what became of their holds.
const CALLERS_MAX: usize = 20_000;
/// One hold in so many has to become something.
const ONE_IN: u64 = 20;
/// Holds that are left to who is limited: so many at once, and so many in each span.
const HOLDS_AT_ONCE: u32 = 10;
const HOLDS_PER_SPAN: u32 = 100;

/// What becomes of the holds of each caller.
#[derive(Debug)]
pub(super) struct Ratio {
    limits: AbuseLimits,
    past: Mutex<Recent<Who, Past>>,
    few: Budget<Who>,
}

/// What became of the holds of a caller; of those before the last span each time half as many.
#[derive(Debug)]
struct Past {
    since: Instant,
    /// Taken in this span, and not ended yet.
    open: u64,
    /// The same in the span before; at its end they have come to nothing.
    open_before: u64,
    in_vain: u64,
    /// A reservation was made of them, or what they promised was sold.
    became: u64,
}

impl Ratio {
    pub(super) fn new(limits: AbuseLimits) -> Ratio {
        let few = Allowance { burst: HOLDS_AT_ONCE, every: limits.span / HOLDS_PER_SPAN };
        Ratio { limits, past: Mutex::new(Recent::new(CALLERS_MAX)), few: Budget::new(few) }
    }

    /// Whether it may take one more hold; else how long it may not.
    pub(super) fn check(&self, who: &Who, now: Instant) -> Result<(), Duration> {
        let most = u64::from(self.limits.holds_in_vain_max);
        let bad =
            |past: &Past| past.in_vain >= most && past.became * ONE_IN < past.in_vain + past.became;
        if most == 0 || self.of_known(who, now, |past| bad(past)) != Some(true) {
            return Ok(());
        }
        self.few.check(who, now)?;
        self.few.spend(who.clone(), now);
        Ok(())
    }

    /// It took a hold.
    pub(super) fn taken(&self, who: &Who, now: Instant) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || Past { since: now, open: 0, open_before: 0, in_vain: 0, became: 0 };
        let past = past.get_or(who.clone(), begin);
        past.go_on(now, self.limits.span);
        past.open += 1;
    }

    /// It gave a hold back.
    pub(super) fn given_back(&self, who: &Who, now: Instant) {
        self.of_known(who, now, |past| {
            if past.end_one() {
                past.in_vain += 1;
            }
        });
    }

    /// Something became of a hold of its.
    pub(super) fn became(&self, who: &Who, now: Instant) {
        self.of_known(who, now, |past| {
            if !past.end_one() {
                past.in_vain = past.in_vain.saturating_sub(1);
            }
            past.became += 1;
        });
    }

    fn of_known<T>(&self, who: &Who, now: Instant, look: impl FnOnce(&mut Past) -> T) -> Option<T> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let past = past.get(who)?;
        past.go_on(now, self.limits.span);
        Some(look(past))
    }
}

impl Past {
    /// Goes on to the span in which we are.
    fn go_on(&mut self, now: Instant, span: Duration) {
        // After so many spans nothing is left, however much there was.
        for _ in 0..u64::BITS {
            if now < self.since + span {
                return;
            }
            self.since += span;
            self.in_vain = self.in_vain / 2 + self.open_before;
            self.became = self.became.div_ceil(2);
            self.open_before = std::mem::take(&mut self.open);
        }
        self.since = now;
    }

    /// Whether a hold was open; then one less is.
    fn end_one(&mut self) -> bool {
        let open = if self.open_before > 0 { &mut self.open_before } else { &mut self.open };
        let some = *open > 0;
        *open = open.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(600);
    const LIMITS: AbuseLimits = AbuseLimits { holds_in_vain_max: 100, amounts_max: 0, span: SPAN };

    fn caller(id: &str) -> Who {
        Who::Caller(id.to_owned())
    }

    /// Takes so many holds and ends each.
    fn take(ratio: &Ratio, who: &Who, count: usize, now: Instant, end: fn(&Ratio, &Who, Instant)) {
        for number in 0..count {
            assert_eq!(ratio.check(who, now), Ok(()), "{number}");
            ratio.taken(who, now);
            end(ratio, who, now);
        }
    }

    /// How many more it may take at once.
    fn left(ratio: &Ratio, who: &Who, now: Instant) -> usize {
        (0..1_000).take_while(|_| ratio.check(who, now).is_ok()).count()
    }

    #[test]
    fn whose_holds_come_to_nothing_takes_few_until_that_is_long_ago() {
        let (ratio, now, bot) = (Ratio::new(LIMITS), Instant::now(), caller("bot"));
        take(&ratio, &bot, 100, now, Ratio::given_back);
        assert_eq!(left(&ratio, &bot, now), 10);
        assert_eq!(ratio.check(&bot, now), Err(Duration::from_secs(6)));
        assert_eq!(left(&ratio, &caller("shop"), now), 1_000, "another caller");
        let minute = now + Duration::from_secs(60);
        assert_eq!(left(&ratio, &bot, minute), 10, "ten a minute");
        assert_eq!(left(&ratio, &bot, now + SPAN), 1_000);
    }

    #[test]
    fn who_lets_them_expire_is_found_out_when_they_have() {
        let (ratio, now, bot) = (Ratio::new(LIMITS), Instant::now(), caller("bot"));
        take(&ratio, &bot, 100, now, |_, _, _| ());
        assert_eq!(left(&ratio, &bot, now), 1_000, "reservations may still be made of them");
        assert_eq!(left(&ratio, &bot, now + SPAN), 1_000);
        assert_eq!(left(&ratio, &bot, now + 2 * SPAN), 10);
        for _ in 0..6 {
            ratio.became(&bot, now + 2 * SPAN);
        }
        assert_eq!(left(&ratio, &bot, now + 2 * SPAN), 1_000, "they were late");
    }

    #[test]
    fn a_shop_that_sells_more_than_one_in_twenty_is_never_limited() {
        let (ratio, now, shop) = (Ratio::new(LIMITS), Instant::now(), caller("shop"));
        for number in 0..20_000_u32 {
            let now = now + number * Duration::from_millis(500);
            assert_eq!(ratio.check(&shop, now), Ok(()), "{number}");
            ratio.taken(&shop, now);
            if number % 18 == 0 { ratio.became(&shop, now) } else { ratio.given_back(&shop, now) }
        }
    }

    #[test]
    fn without_a_limit_nobody_is_limited() {
        let limits = AbuseLimits { holds_in_vain_max: 0, ..LIMITS };
        let (ratio, now, bot) = (Ratio::new(limits), Instant::now(), caller("bot"));
        take(&ratio, &bot, 1_000, now, Ratio::given_back);
    }
}
