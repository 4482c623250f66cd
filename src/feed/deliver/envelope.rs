//! Events as they are sent: CloudEvents 1.0 in structured JSON. Pure; docs/events.md explains the fields.

use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};

use crate::{
    ledger::{outbox::StepRead, queries::Names},
    stock::{
        entry::Entry,
        event::{Event, EventType, Level, Threshold},
        ids::{ChannelNo, ItemNo},
        kind::StockState,
        reservation::{Reservation, State},
        time::Timestamp,
    },
};

/// What the type of every event begins with.
pub const TYPE_PREFIX: &str = "stockroom.";
/// Reservations that the event of a shortfall names.
pub const PROMISES_MAX: usize = 100;

/// For whom availability is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// What counts as available to them.
    pub threshold: Threshold,
    /// Their channel.
    pub channel: Option<(ChannelNo, String)>,
}

/// Everything that an event is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "each says by its type what it is")]
pub struct Told<'t> {
    /// The `source` of every event of this ledger.
    pub source: &'t str,
    pub event: &'t Event,
    pub entry: &'t Entry<'t>,
    pub checksum: i64,
    pub names: &'t Names,
    pub reader: &'t Reader,
    /// The entry that made the others necessary.
    pub cause: &'t Entry<'t>,
    pub step: Option<&'t StepRead>,
    /// The codes of items of reservations.
    pub skus: &'t FxHashMap<ItemNo, String>,
    /// Of a shortfall, whom it hits and by how many units, newest first.
    pub unserved: &'t [(Reservation, i64)],
    /// Of a transfer, units that are still on their way.
    pub open: i64,
}

/// The same for the same entry and reader, whoever sends it and however often; another one where the
/// ledger lost the entry and gave its number to another.
pub fn event_id(
    entry: &Entry<'_>,
    checksum: i64,
    event_type: EventType,
    reader: &Reader,
) -> String {
    let (partition, seq, number) = (entry.partition.0, entry.seq, event_type as i16);
    let mut id = format!("{partition}-{seq}-{checksum:016x}-{number}");
    let availability =
        [EventType::OutOfStock, EventType::LowStock, EventType::BackInStock].contains(&event_type);
    if let Some((channel, _)) = reader.channel.as_ref().filter(|_| availability) {
        id.push_str(&format!("-c{}", channel.0));
    }
    if event_type == EventType::LowStock {
        id.push_str(&format!("-l{}", reader.threshold.low_units));
    }
    id
}

impl Told<'_> {
    /// Its id and its text.
    pub fn envelope(&self) -> (String, String) {
        let event_type = self.event.event_type;
        let id = event_id(self.entry, self.checksum, event_type, self.reader);
        let envelope = json!({
            "specversion": "1.0",
            "id": id,
            "source": self.source,
            "type": format!("{TYPE_PREFIX}{}", event_type.name()),
            "subject": self.subject(),
            "time": text(self.entry.recorded_at),
            "datacontenttype": "application/json",
            "data": self.data(),
        });
        (id, envelope.to_string())
    }

    fn subject(&self) -> String {
        match self.step.filter(|_| self.event.event_type.of_reservation()) {
            Some(_) => self.entry.reservation_id.to_string(),
            None => format!("{}/{}", self.location_id(), self.sku()),
        }
    }

    fn location_id(&self) -> &str {
        name(&self.names.locations, self.entry.location.0)
    }

    fn sku(&self) -> &str {
        name(&self.names.items, self.entry.item.0)
    }

    fn data(&self) -> Value {
        let mut data = Map::new();
        data.insert("location_id".to_owned(), json!(self.location_id()));
        data.insert("entry".to_owned(), self.about(self.entry));
        if !self.event.event_type.of_reservation() {
            data.insert("sku".to_owned(), json!(self.sku()));
        }
        let more = match self.event.event_type {
            EventType::OutOfStock | EventType::LowStock | EventType::BackInStock => {
                self.availability()
            }
            EventType::Shortfall => self.shortfall(),
            EventType::CountVariance => self.variance(),
            EventType::OverReturn => json!({
                "quantity": self.entry.quantity,
                "original": self.original(),
            }),
            EventType::PromiseUnknown => json!({
                "quantity": self.entry.quantity,
                "reservation_id": or_null(&self.entry.reservation_id),
                "hold_id": or_null(&self.entry.hold_id),
            }),
            EventType::Recall | EventType::RecalledSold => {
                json!({ "quantity": self.entry.quantity })
            }
            EventType::TransferOverdue => self.transfer(),
            _ => self.reservation(),
        };
        if let Value::Object(more) = more {
            data.extend(more);
        }
        Value::Object(data)
    }

    /// What every event says of an entry. Nothing of who decided, and no free text: it might name people.
    fn about(&self, entry: &Entry<'_>) -> Value {
        let channel = entry.channel.map(|channel| name(&self.names.channels, channel.0));
        json!({
            "partition": entry.partition.0,
            "seq": entry.seq,
            "kind": entry.kind.name(),
            "source": name(&self.names.sources, entry.source.0),
            "key": entry.key,
            "channel_id": channel,
            "reason": or_null(&entry.reason),
            "document": or_null(&entry.document),
            "occurred_at": text(entry.occurred_at),
            "effective_at": text(entry.effective_at),
        })
    }

    fn availability(&self) -> Value {
        let Reader { threshold, channel } = self.reader;
        let (key, before, after) = (self.entry.position(), self.event.before, self.event.after);
        let level = match threshold.level(key, after) {
            Level::Out => "out_of_stock",
            Level::Low => "low",
            Level::In => "in_stock",
        };
        json!({
            "level": level,
            "available": threshold.available(key, after),
            "available_before": threshold.available(key, before),
            "sellable": after.sellable,
            "reserved": after.reserved,
            "channel_id": channel.as_ref().map(|(_, channel_id)| channel_id),
            "low_stock_units": threshold.low_units,
        })
    }

    fn shortfall(&self) -> Value {
        let (before, after) = (self.event.before, self.event.after);
        let named = self.unserved.iter().take(PROMISES_MAX).map(|(made, lacking)| {
            json!({
                "reservation_id": made.id.to_string(),
                "lacking": lacking,
                "order_ref": or_null(&made.order_ref),
                "created_at": text(made.created_at),
            })
        });
        json!({
            "shortfall": after.shortfall(),
            "shortfall_before": before.shortfall(),
            "sellable": after.sellable,
            "reserved": after.reserved,
            "reservations": named.collect::<Vec<_>>(),
        })
    }

    fn variance(&self) -> Value {
        json!({
            "change": self.entry.leg(StockState::Sellable),
            "sellable": self.entry.sellable_after,
            "count_seq": self.entry.refers_to,
            "cause": self.about(self.cause),
        })
    }

    fn transfer(&self) -> Value {
        let from = self.entry.counter.map(|counter| counter.place.location.0);
        json!({
            "from_location_id": from.map(|number| name(&self.names.locations, number)),
            "quantity": self.entry.quantity,
            "in_transit": self.open,
            "expected_at": self.entry.expected_at.map(text),
        })
    }

    fn original(&self) -> Value {
        if self.entry.original_key.is_empty() {
            return Value::Null;
        }
        json!({ "source": self.entry.original_source, "key": self.entry.original_key })
    }

    fn reservation(&self) -> Value {
        let before = self.event.state_before.map(State::name);
        let id = &*self.entry.reservation_id;
        let state = self.entry.reservation_state.map(State::name);
        let known = json!({ "reservation_id": id, "state": state, "state_before": before });
        let Some(made) = self.step.and_then(|step| step.after.as_ref()) else { return known };
        let line = |line: &crate::stock::reservation::Line| {
            json!({
                "sku": self.skus.get(&line.item),
                "quantity": line.quantity,
                "picked": line.picked,
                "collected": line.collected,
            })
        };
        json!({
            "reservation_id": id,
            "state": state,
            "state_before": before,
            "order_ref": or_null(&made.order_ref),
            "lines": made.lines.iter().map(line).collect::<Vec<_>>(),
            "ready_by": text(made.ready_by),
            "collect_by": text(made.expires_at),
            "reason": or_null(&made.reason),
            "successor_id": made.successor.map(|id| id.to_string()),
            "predecessor_id": made.predecessor.map(|id| id.to_string()),
        })
    }
}

/// A moment in RFC 3339.
pub(super) fn text(at: Timestamp) -> Value {
    let time = jiff::Timestamp::from_microsecond(at.0);
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}

fn name(names: &std::collections::HashMap<i32, String>, number: i32) -> &str {
    names.get(&number).map_or("", String::as_str)
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}
