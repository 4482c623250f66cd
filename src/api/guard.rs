//! What a caller may try: codes to collect with, and amounts that are not there.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Status, codegen::http::Extensions};

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
}

impl Who {
    pub(crate) fn of(extensions: &Extensions) -> Who {
        match extensions.get::<Arc<Caller>>().filter(|caller| !caller.is_anonymous()) {
            Some(caller) => Who::Caller(caller.id.clone()),
            None => Who::From(peer_of(extensions)),
        }
    }
}

impl Default for Guard {
    fn default() -> Guard {
        Guard { codes_at_location: Budget::new(CODES_AT_LOCATION), codes: Budget::new(CODES) }
    }
}

impl Guard {
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
}

/// Whether a code was wrong.
pub(crate) fn is_wrong_code(denial: &Denial) -> bool {
    matches!(denial, Denial::Refused(Refusal::PickupCodeWrong))
}
