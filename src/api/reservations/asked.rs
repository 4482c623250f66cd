//! What was asked for, decoded and checked for everything that needs no look at any state.

use std::sync::Arc;

use prost_types::Duration;
use tokio::time::Instant;
use tonic::{Request, Status};

use crate::{
    access::Caller,
    api::{
        authorise::caller,
        error::{invalid, refused},
        guard::Who,
        movements::deadline,
        proto::{self, BatchCreateReservationsRequest, CreateReservationRequest, Line, LinePolicy},
        reach::{check_channel, check_location},
    },
    stock::{
        channel_policy::{HOLD_TTL_MAX, RESERVATION_TTL_MAX, TTL_MIN},
        draft::QUANTITY_MAX,
        hold::HoldId,
        ids::{is_identifier, is_key, is_reason, is_sku},
        refusal::Refusal,
        reservation::{ReservationId, Settlement},
        step::{BASKET_MAX, LINES_MAX, ShortCause},
        time::Micros,
    },
    writer::request::{Ask, NewPromise},
};

const IDENTIFIER: &str = "must match [A-Za-z0-9._:/-]{1,64}";

/// Who calls, and when it gives up.
pub(super) struct Call {
    pub caller: Arc<Caller>,
    pub who: Who,
    pub deadline: Instant,
}

/// A request about a reservation that there is.
pub(super) struct Asked {
    pub caller: Arc<Caller>,
    pub who: Who,
    pub ask: Ask,
    pub id: ReservationId,
}

impl Call {
    pub(super) fn of<T>(request: &Request<T>) -> Call {
        let who = Who::of(request.extensions());
        Call { caller: caller(request), who, deadline: deadline(request) }
    }
}

impl Asked {
    pub(super) fn new(request_id: &str, id: &str, call: Call) -> Result<Asked, Status> {
        let ask = ask(request_id, String::new(), &call)?;
        Ok(Asked { ask, id: reservation_id(id)?, caller: call.caller, who: call.who })
    }

    /// Why.
    pub(super) fn because(mut self, reason: String) -> Result<Asked, Status> {
        if !reason.is_empty() && !is_reason(&reason) {
            return Err(invalid("REASON_INVALID", "reason", "must match [a-z0-9_]{1,64}"));
        }
        self.ask.reason = reason;
        Ok(self)
    }

    /// By whom in the shop.
    pub(super) fn by(mut self, actor: String) -> Result<Asked, Status> {
        self.ask.actor = optional_identifier(actor, "actor")?;
        Ok(self)
    }
}

/// What asks for stock names its channel in [`asking`]; what is asked about something that there is has
/// none.
pub(super) fn ask(request_id: &str, channel_id: String, call: &Call) -> Result<Ask, Status> {
    if !is_key(request_id) {
        let rule = "must be 1 to 64 printable ASCII characters";
        return Err(invalid("REQUEST_ID_INVALID", "request_id", rule));
    }
    Ok(Ask {
        caller: call.caller.owner().to_owned(),
        request_id: request_id.to_owned(),
        channel_id: optional_identifier(channel_id, "channel_id")?,
        actor: String::new(),
        reason: String::new(),
        deadline: call.deadline,
    })
}

/// The same of a request for stock, which is judged by the policy of its channel.
pub(super) fn asking(request_id: &str, channel_id: String, call: &Call) -> Result<Ask, Status> {
    let ask = ask(request_id, channel_id, call)?;
    check_channel(&call.caller, &ask.channel_id)?;
    Ok(ask)
}

pub(super) fn creation(
    sent: CreateReservationRequest,
    call: &Call,
) -> Result<(Ask, NewPromise), Status> {
    let ask = asking(&sent.request_id, sent.channel_id, call)?;
    let hold = optional_hold_id(&sent.hold_id)?;
    let lines = match hold {
        Some(_) => optional_lines(sent.lines)?,
        None => lines(sent.lines)?,
    };
    let promise = NewPromise {
        location_id: reached(&call.caller, sent.location_id)?,
        lines,
        hold,
        ttl: ttl(sent.ttl, RESERVATION_TTL_MAX)?,
        per_line: per_line(sent.line_policy)?,
        settlement: settlement(sent.settlement)?,
        order_ref: optional_identifier(sent.order_ref, "order_ref")?,
        customer_ref: optional_identifier(sent.customer_ref, "customer_ref")?,
    };
    Ok((ask, promise))
}

pub(super) fn basket(
    sent: BatchCreateReservationsRequest,
    call: &Call,
) -> Result<(Ask, Vec<NewPromise>), Status> {
    let ask = asking(&sent.request_id, sent.channel_id, call)?;
    if !(1..=BASKET_MAX).contains(&sent.reservations.len()) {
        return Err(invalid("RESERVATIONS_INVALID", "reservations", "must be 1 to 20"));
    }
    let ttl = ttl(sent.ttl, RESERVATION_TTL_MAX)?;
    let settlement = settlement(sent.settlement)?;
    let order_ref = optional_identifier(sent.order_ref, "order_ref")?;
    let customer_ref = optional_identifier(sent.customer_ref, "customer_ref")?;
    let mut promises: Vec<NewPromise> = Vec::with_capacity(sent.reservations.len());
    for draft in sent.reservations {
        let location_id = reached(&call.caller, draft.location_id)?;
        if promises.iter().any(|promise| promise.location_id == location_id) {
            let rule = "must name each location once";
            return Err(invalid("LOCATION_REPEATED", "reservations.location_id", rule));
        }
        promises.push(NewPromise {
            location_id,
            lines: lines(draft.lines)?,
            hold: optional_hold_id(&draft.hold_id)?,
            ttl,
            per_line: false,
            settlement,
            order_ref: order_ref.clone(),
            customer_ref: customer_ref.clone(),
        });
    }
    Ok((ask, promises))
}

/// Which reservation; one that we never named cannot exist.
pub(crate) fn reservation_id(text: &str) -> Result<ReservationId, Status> {
    if !is_identifier(text) {
        return Err(invalid("RESERVATION_ID_INVALID", "reservation_id", IDENTIFIER));
    }
    text.parse().map_err(|_| unknown_reservation(text))
}

pub(super) fn unknown_reservation(id: &str) -> Status {
    refused(&Refusal::ReservationUnknown { reservation_id: id.to_owned() })
}

/// Which hold; one that we never named cannot exist.
pub(super) fn hold_id(text: &str) -> Result<HoldId, Status> {
    if !is_identifier(text) {
        return Err(invalid("HOLD_ID_INVALID", "hold_id", IDENTIFIER));
    }
    let unknown = || refused(&Refusal::HoldUnknown { hold_id: text.to_owned() });
    text.parse().map_err(|_| unknown())
}

pub(crate) fn optional_hold_id(text: &str) -> Result<Option<HoldId>, Status> {
    if text.is_empty() { Ok(None) } else { hold_id(text).map(Some) }
}

pub(super) fn location_id(id: String) -> Result<String, Status> {
    match is_identifier(&id) {
        true => Ok(id),
        false => Err(invalid("LOCATION_ID_INVALID", "location_id", IDENTIFIER)),
    }
}

/// A location that exists for the caller.
pub(super) fn reached(caller: &Caller, id: String) -> Result<String, Status> {
    let id = location_id(id)?;
    check_location(caller, &id)?;
    Ok(id)
}

pub(super) fn optional_identifier(id: String, field: &str) -> Result<String, Status> {
    match id.is_empty() || is_identifier(&id) {
        true => Ok(id),
        false => Err(invalid("IDENTIFIER_INVALID", field, IDENTIFIER)),
    }
}

/// 1 to 200 lines.
pub(super) fn lines(sent: Vec<Line>) -> Result<Vec<(String, i64)>, Status> {
    if sent.is_empty() {
        return Err(invalid("LINES_INVALID", "lines", "must be 1 to 200"));
    }
    optional_lines(sent)
}

/// 0 to 200 lines.
pub(in crate::api) fn optional_lines(sent: Vec<Line>) -> Result<Vec<(String, i64)>, Status> {
    if sent.len() > LINES_MAX {
        return Err(invalid("LINES_INVALID", "lines", "must be at most 200"));
    }
    let check = |line: Line| {
        check_sku(&line.sku)?;
        if !(1..=QUANTITY_MAX).contains(&line.quantity) {
            let rule = "must be 1 to 1,000,000,000";
            return Err(invalid("QUANTITY_OUT_OF_RANGE", "lines.quantity", rule));
        }
        Ok((line.sku, line.quantity))
    };
    sent.into_iter().map(check).collect()
}

/// What was found: each item once.
pub(super) fn picked(
    sent: Vec<proto::PickedLine>,
) -> Result<Vec<(String, i64, ShortCause)>, Status> {
    if !(1..=LINES_MAX).contains(&sent.len()) {
        return Err(invalid("LINES_INVALID", "lines", "must be 1 to 200"));
    }
    let mut lines: Vec<(String, i64, ShortCause)> = Vec::with_capacity(sent.len());
    for line in sent {
        check_sku(&line.sku)?;
        if lines.iter().any(|(sku, ..)| *sku == line.sku) {
            return Err(invalid("LINES_INVALID", "lines.sku", "must name each item once"));
        }
        if !(0..=QUANTITY_MAX).contains(&line.found) {
            let rule = "must be 0 to 1,000,000,000";
            return Err(invalid("QUANTITY_OUT_OF_RANGE", "lines.found", rule));
        }
        let rule = "must be not_found, damaged or mismatch";
        let cause = ShortCause::of(&line.reason)
            .ok_or_else(|| invalid("REASON_INVALID", "lines.reason", rule))?;
        lines.push((line.sku, line.found, cause));
    }
    Ok(lines)
}

pub(super) fn ttl(sent: Option<Duration>, longest: Micros) -> Result<Option<Micros>, Status> {
    let Some(sent) = sent else { return Ok(None) };
    let micros = sent.seconds.checked_mul(1_000_000);
    let micros = micros.and_then(|micros| micros.checked_add(i64::from(sent.nanos) / 1_000));
    let fits = micros.filter(|micros| (TTL_MIN..=longest).contains(micros));
    let rule =
        if longest == HOLD_TTL_MAX { "must be 1 s to 60 min" } else { "must be 1 s to 31 d" };
    fits.map(Some).ok_or_else(|| invalid("TTL_OUT_OF_RANGE", "ttl", rule))
}

pub(super) fn required_ttl(sent: Option<Duration>) -> Result<Micros, Status> {
    let required = || invalid("TTL_OUT_OF_RANGE", "ttl", "must be 1 s to 31 d");
    ttl(sent, RESERVATION_TTL_MAX)?.ok_or_else(required)
}

pub(super) fn per_line(policy: i32) -> Result<bool, Status> {
    match LinePolicy::try_from(policy) {
        Ok(LinePolicy::PerLine) => Ok(true),
        Ok(_) => Ok(false),
        Err(_) => Err(unknown_value("line_policy")),
    }
}

pub(super) fn settlement(settlement: i32) -> Result<Settlement, Status> {
    match proto::Settlement::try_from(settlement) {
        Ok(proto::Settlement::PayInStore) => Ok(Settlement::PayInStore),
        Ok(_) => Ok(Settlement::PaidOnline),
        Err(_) => Err(unknown_value("settlement")),
    }
}

pub(super) fn pickup_code(code: String) -> Result<String, Status> {
    // People write codes in groups.
    match code.is_empty() || is_sku(&code) {
        true => Ok(code),
        false => Err(invalid("IDENTIFIER_INVALID", "pickup_code", IDENTIFIER)),
    }
}

/// An enumeration has no such value.
pub(super) fn unknown_value(field: &str) -> Status {
    invalid("FIELD_INVALID", field, "is a value that the contract does not have")
}

fn check_sku(sku: &str) -> Result<(), Status> {
    let rule = "must match [A-Za-z0-9._:/-]{1,64} with single inner spaces at most";
    if is_sku(sku) { Ok(()) } else { Err(invalid("SKU_INVALID", "lines.sku", rule)) }
}
