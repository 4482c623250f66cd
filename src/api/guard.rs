//! What a caller may try: codes to collect with, amounts that are not there, and holds that come to nothing.

mod ratio;
mod recent;
mod tries;

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Status, codegen::http::Extensions};

pub(crate) use self::tries::Position;
use self::{ratio::Ratio, tries::Tries};
use crate::{
    access::Caller,
    api::{
        budget::{Allowance, Budget},
        error::limited,
        transport::peer_of,
    },
    stock::{ids::LocationNo, refusal::Refusal},
    telemetry,
    writer::request::Denial,
};

/// Wrong codes at one location: a guess in 2^40 would take longer than a reservation lives.
const CODES_AT_LOCATION: Allowance = Allowance { burst: 20, every: Duration::from_secs(6) };
/// Wrong codes at all locations.
const CODES: Allowance = Allowance { burst: 200, every: Duration::from_secs(1) };

/// How much of what does no good a caller may do. Each server counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbuseLimits {
    /// Holds that come to nothing; beyond that, who makes reservations of hardly any takes few. 0: any
    /// number.
    pub holds_in_vain_max: u32,
    /// Amounts of an item at a location of which a channel that sees bands is told more than the band. 0:
    /// any number.
    pub amounts_max: u32,
    /// After so long one more amount may be told, and half of the holds are forgotten.
    pub span: Duration,
}

/// Who tries: by its credential, or where there is none, by where it calls from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// The caller that a credential names.
    Caller(String),
    /// Anybody from an address; none where it is not known.
    From(Option<IpAddr>),
}

/// What is left to try.
#[derive(Debug)]
pub(crate) struct Guard {
    codes_at_location: Budget<(Who, LocationNo)>,
    codes: Budget<Who>,
    ratio: Ratio,
    tries: Tries,
}

impl Default for AbuseLimits {
    fn default() -> AbuseLimits {
        let span = Duration::from_secs(600);
        AbuseLimits { holds_in_vain_max: 200, amounts_max: 5, span }
    }
}

impl Who {
    pub(crate) fn of(extensions: &Extensions) -> Who {
        match extensions.get::<Arc<Caller>>().filter(|caller| !caller.is_anonymous()) {
            Some(caller) => Who::Caller(caller.id.clone()),
            None => Who::From(peer_of(extensions)),
        }
    }
}

impl Guard {
    pub(crate) fn new(limits: AbuseLimits) -> Guard {
        Guard {
            codes_at_location: Budget::new(CODES_AT_LOCATION),
            codes: Budget::new(CODES),
            ratio: Ratio::new(limits),
            tries: Tries::new(limits),
        }
    }

    /// Whether it may try a code at a location.
    pub(crate) fn may_try_code(&self, who: &Who, location: LocationNo) -> Result<(), Status> {
        let now = Instant::now();
        let here = self.codes_at_location.check(&(who.clone(), location), now);
        let wait = match (here, self.codes.check(who, now)) {
            (Ok(()), Ok(())) => return Ok(()),
            (here, all) => here.err().max(all.err()).unwrap_or_default(),
        };
        telemetry::call_limited("pickup_lookups");
        Err(limited("PICKUP_LOOKUPS_LIMITED", "too many pickup codes were wrong", wait))
    }

    /// It tried a code that was wrong.
    pub(crate) fn code_was_wrong(&self, who: &Who, location: LocationNo) {
        let now = Instant::now();
        self.codes_at_location.spend((who.clone(), location), now);
        self.codes.spend(who.clone(), now);
    }

    /// Whether it may take one more hold.
    pub(crate) fn may_hold(&self, who: &Who) -> Result<(), Status> {
        self.ratio.check(who, Instant::now()).map_err(|wait| {
            telemetry::call_limited("holds");
            limited("HOLDS_LIMITED", "too many holds of this caller came to nothing", wait)
        })
    }

    /// It took a hold.
    pub(crate) fn hold_was_taken(&self, who: &Who) {
        self.ratio.taken(who, Instant::now());
    }

    /// It gave a hold back.
    pub(crate) fn hold_was_given_back(&self, who: &Who) {
        self.ratio.given_back(who, Instant::now());
    }

    /// A hold of its became a reservation, or what it promised was sold.
    pub(crate) fn hold_became(&self, who: &Who) {
        self.ratio.became(who, Instant::now());
    }

    /// Whether amounts are limited at all.
    pub(crate) fn watches_amounts(&self) -> bool {
        self.tries.is_on()
    }

    /// Whether amounts may be tried, which have to be ended then.
    pub(crate) fn may_try_amounts(&self, tried: &[(Position, i64)]) -> Result<(), Status> {
        self.tries.begin(tried, Instant::now()).map_err(too_many_amounts)
    }

    /// An amount was tried, and the caller was told more than the band or not.
    pub(crate) fn amount_was_tried(&self, tried: &(Position, i64), told: bool) {
        self.tries.end(tried, told, Instant::now());
    }

    /// The caller knows more of a position than the band.
    pub(crate) fn amount_was_told(&self, position: Position) {
        self.tries.told(position, Instant::now());
    }

    /// It bought what it was told of.
    pub(crate) fn amount_was_bought(&self, position: &Position) {
        self.tries.forgive(position, Instant::now());
    }

    /// Whether amounts may be searched for.
    pub(crate) fn may_search_amounts(&self, tried: &[(Position, i64)]) -> Result<(), Status> {
        self.tries.search(tried, Instant::now()).map_err(too_many_amounts)
    }
}

fn too_many_amounts(wait: Duration) -> Status {
    telemetry::call_limited("amounts");
    limited("PROBES_LIMITED", "too many amounts of an item were tried", wait)
}

/// Whether a code was wrong.
pub(crate) fn is_wrong_code(denial: &Denial) -> bool {
    matches!(denial, Denial::Refused(Refusal::PickupCodeWrong))
}
