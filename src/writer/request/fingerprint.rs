//! Fingerprints: another content under the same key is told by them.

use crate::{
    stock::{hash::StableHash, reservation::ReservationId},
    writer::request::{Ask, NewPromise, Wish},
};

fn common(ask: &Ask, what: &str) -> StableHash {
    let mut hash = StableHash::new(what);
    for text in [&ask.channel_id, &ask.actor, &ask.reason] {
        hash.text(text);
    }
    hash
}

fn add_lines(hash: &mut StableHash, lines: &[(String, i64)]) {
    hash.number(lines.len() as i64);
    for (sku, quantity) in lines {
        hash.text(sku);
        hash.number(*quantity);
    }
}

/// Over everything that was asked for.
pub(super) fn fingerprint_of_creations(ask: &Ask, promises: &[NewPromise]) -> i64 {
    let mut hash = common(ask, "create");
    for promise in promises {
        hash.text(&promise.location_id);
        add_lines(&mut hash, &promise.lines);
        hash.text(&promise.hold.map_or_else(String::new, |hold| hold.to_string()));
        hash.optional(promise.ttl);
        hash.number(i64::from(promise.per_line));
        hash.number(promise.settlement as i64);
        hash.text(&promise.order_ref);
        hash.text(&promise.customer_ref);
    }
    hash.finish_i64()
}

/// The same for holds.
pub(in crate::writer) fn fingerprint_of_hold(ask: &Ask, what: &str, promise: &NewPromise) -> i64 {
    let mut hash = StableHash::new(what);
    hash.text(&ask.channel_id);
    hash.text(&promise.location_id);
    add_lines(&mut hash, &promise.lines);
    hash.optional(promise.ttl);
    hash.number(i64::from(promise.per_line));
    hash.text(&promise.customer_ref);
    hash.finish_i64()
}

impl Wish {
    /// Over everything that was asked for.
    pub(super) fn fingerprint(&self, ask: &Ask, id: &ReservationId) -> i64 {
        let mut hash = common(ask, self.name());
        hash.text(&id.to_string());
        match self {
            Wish::Amend(lines) => add_lines(&mut hash, lines),
            Wish::Extend(ttl) => hash.number(*ttl),
            Wish::Move(location_id) => hash.text(location_id),
            Wish::Cancel(by) => hash.number(*by as i64),
            Wish::ReportPick(found) => {
                for (sku, units, cause) in found {
                    hash.text(sku);
                    hash.number(*units);
                    hash.text(cause.reason());
                }
            }
            Wish::Collect(lines, code) => {
                add_lines(&mut hash, lines);
                hash.text(code);
            }
            Wish::ConfirmPayment | Wish::StartPicking | Wish::MarkReady | Wish::ReturnToShelf => {}
        }
        hash.finish_i64()
    }

    fn name(&self) -> &'static str {
        match self {
            Wish::Amend(_) => "amend",
            Wish::Extend(_) => "extend",
            Wish::ConfirmPayment => "confirm_payment",
            Wish::Move(_) => "move",
            Wish::Cancel(_) => "cancel",
            Wish::StartPicking => "start_picking",
            Wish::ReportPick(_) => "report_pick",
            Wish::MarkReady => "mark_ready",
            Wish::Collect(..) => "collect",
            Wish::ReturnToShelf => "return_to_shelf",
        }
    }
}
