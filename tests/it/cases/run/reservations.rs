//! Steps that ask for promises, and take them through their life.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::api::proto::{
    BatchCreateReservationsRequest, CancelledBy, CollectReservationRequest,
    CreateReservationRequest, HoldStockRequest, LinePolicy, Reservation, ReservationDraft,
};
use tonic::Status;

use super::{Answered, Scene, pair};
use crate::{
    cases::table::Step,
    harness::{
        holds::{hold, replace},
        reservations::{create, line, seconds},
    },
};

/// Of a step that answers with something else.
fn plain<T>(answer: Result<T, Status>) -> Answered {
    answered(answer.map(|_| "GRANTED"))
}

fn answered(answer: Result<&'static str, Status>) -> Answered {
    match answer {
        Ok(word) => Answered::Done(word),
        Err(status) => Answered::Refused(Box::new(status)),
    }
}

fn key_of<'t>(step: &Step<'t>) -> &'t str {
    match step.word(0) {
        super::EMPTY => "",
        key => key,
    }
}

impl Scene<'_> {
    /// `VERB KEY SUBJECT ...`; the subject is a location or what a key made.
    pub(super) async fn act(&self, step: &Step<'_>) -> Answered {
        let (server, key) = (self.server, key_of(step));
        let id = self.id(step.words.get(1).unwrap_or(&super::EMPTY));
        match step.verb {
            "reserve" => answered(self.reserve(step).await),
            "basket" => answered(self.basket(step).await),
            "hold" => answered(self.hold(step).await),
            "replace" => {
                let held = stockroom::api::proto::Hold { hold_id: id, ..Default::default() };
                plain(server.replace_hold(replace(key, &held, self.lines(step, 2))).await)
            }
            "release" => plain(server.release_hold(key, &id).await),
            "cancel" => plain(server.cancel(key, &id).await),
            "refuse" => plain(server.cancel_by(CancelledBy::Store, "closed", key, &id).await),
            "pay" => plain(server.confirm_payment(key, &id).await),
            "extend" => {
                let ttl = super::number(step.word(2), step.line);
                plain(server.extend(key, &id, ttl).await)
            }
            "amend" => plain(server.amend(key, &id, self.lines(step, 2)).await),
            "move" => plain(self.moved(step).await),
            "pick" => plain(server.start_picking(key, &id).await),
            "found" => {
                let lines = self.lines(step, 2);
                let reason = step.option("reason").unwrap_or_default();
                let found = lines.iter().map(|line| (&*line.sku, line.quantity, reason));
                plain(server.report_pick(key, &id, &found.collect::<Vec<_>>()).await)
            }
            "ready" => plain(server.mark_ready(key, &id).await),
            "collect" => plain(
                server
                    .hand_over(CollectReservationRequest {
                        request_id: key.to_owned(),
                        reservation_id: id,
                        lines: self.lines(step, 2),
                        ..CollectReservationRequest::default()
                    })
                    .await,
            ),
            "shelve" => plain(server.return_to_shelf(key, &id).await),
            verb => panic!("line {}: no verb {verb}", step.line),
        }
    }

    async fn reserve(&self, step: &Step<'_>) -> Result<&'static str, Status> {
        let key = key_of(step);
        let policy = match step.option("lines") {
            Some("each") => LinePolicy::PerLine,
            _ => LinePolicy::Unspecified,
        };
        let request = CreateReservationRequest {
            channel_id: step.option("channel").map_or(String::new(), |name| self.location(name)),
            hold_id: step.option("hold").map_or(String::new(), |key| self.id(key)),
            order_ref: step.option("order").unwrap_or_default().to_owned(),
            customer_ref: step.option("customer").unwrap_or_default().to_owned(),
            ttl: step.number("ttl").and_then(seconds),
            line_policy: policy as i32,
            ..create(key, &self.location(step.word(1)), self.lines(step, 2))
        };
        let made = self.server.create(request).await?;
        Ok(self.made(key, made.reservation_id))
    }

    /// `basket KEY a/x:10 b/x:3`; the reservations are then called `KEY.a` and `KEY.b`.
    async fn basket(&self, step: &Step<'_>) -> Result<&'static str, Status> {
        let key = key_of(step);
        let mut drafts: Vec<(&str, ReservationDraft)> = Vec::new();
        for word in &step.words[1..] {
            let (location, rest) = word.split_once('/').unwrap();
            let (item, quantity) = pair(rest, step.line);
            let wanted = line(&self.sku(item), quantity);
            match drafts.iter_mut().find(|(known, _)| *known == location) {
                Some((_, draft)) => draft.lines.push(wanted),
                None => drafts.push((
                    location,
                    ReservationDraft {
                        location_id: self.location(location),
                        lines: vec![wanted],
                        hold_id: String::new(),
                    },
                )),
            }
        }
        let names: Vec<_> = drafts.iter().map(|(name, _)| format!("{key}.{name}")).collect();
        let request = BatchCreateReservationsRequest {
            request_id: key.to_owned(),
            reservations: drafts.into_iter().map(|(_, draft)| draft).collect(),
            ttl: step.number("ttl").and_then(seconds),
            ..BatchCreateReservationsRequest::default()
        };
        let made = self.server.batch(request).await?;
        let words = names.iter().zip(made).map(|(name, made)| self.made(name, made.reservation_id));
        Ok(words.last().unwrap_or("EMPTY"))
    }

    async fn hold(&self, step: &Step<'_>) -> Result<&'static str, Status> {
        let key = key_of(step);
        let plain = hold(key, &self.location(step.word(1)), self.lines(step, 2));
        let request = HoldStockRequest {
            channel_id: step.option("channel").map_or(String::new(), |name| self.location(name)),
            ttl: step.number("ttl").map_or(plain.ttl, seconds),
            ..plain
        };
        let (made, _) = self.server.hold(request).await?;
        Ok(self.made(key, made.hold_id))
    }

    /// `move KEY RESERVATION LOCATION`; the successor is then called `KEY`.
    async fn moved(&self, step: &Step<'_>) -> Result<Reservation, Status> {
        let to = self.location(step.word(2));
        let moved = self.server.move_to(key_of(step), &self.id(step.word(1)), &to).await?;
        self.made(step.word(0), moved.reservation_id.clone());
        Ok(moved)
    }
}
