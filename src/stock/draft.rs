//! A movement as it was sent, and the static rules that it must keep: everything that can be judged
//! without looking at any state.

use crate::stock::{
    hash::StableHash,
    ids::{is_identifier, is_key, is_reason, is_sku, is_text},
    kind::{Kind, StockState},
    refusal::Refusal,
    time::Timestamp,
};

/// Largest quantity of one movement.
pub const QUANTITY_MAX: i64 = 1_000_000_000;
/// Largest offset of local time from UTC, in minutes.
pub const UTC_OFFSET_MINUTES_MAX: i32 = 1_080;
/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 500;
/// Largest line number within a document.
pub const DOCUMENT_LINE_MAX: u32 = 1_000_000_000;

/// A movement as it was sent: nothing about it is certain yet. An empty text, a zero and `None`
/// mean "not stated".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Movement")]
pub struct Draft {
    pub key: String,
    pub kind: i32,
    pub location_id: String,
    pub sku: String,
    pub quantity: i64,
    pub occurred_at: Option<Timestamp>,
    pub utc_offset_minutes: i32,
    pub channel_id: String,
    pub reason: String,
    pub document: String,
    pub document_line: u32,
    pub note: String,
    pub from_state: i32,
    pub to_state: i32,
    pub to_location_id: String,
    pub reservation_id: String,
    pub hold_id: String,
    pub original: Option<(String, String)>,
    pub expected_at: Option<Timestamp>,
    pub group: String,
}

impl Draft {
    /// The static rules: everything that can be judged without looking at any state.
    ///
    /// # Errors
    /// The first refusal in order of precedence.
    pub fn check(&self) -> Result<Kind, Refusal> {
        if !is_key(&self.key) {
            return Err(Refusal::KeyInvalid);
        }
        let kind = Kind::of_draft(self.kind).ok_or(Refusal::KindInvalid { kind: self.kind })?;
        if !is_identifier(&self.location_id) {
            return Err(Refusal::LocationIdInvalid);
        }
        if !is_sku(&self.sku) {
            return Err(Refusal::SkuInvalid);
        }
        self.check_fields(kind)?;
        let quantity_min = i64::from(!matches!(kind, Kind::Count | Kind::Correct));
        if !(quantity_min..=QUANTITY_MAX).contains(&self.quantity) {
            return Err(Refusal::QuantityOutOfRange { quantity: self.quantity });
        }
        let (from, to) = (StockState::of(self.from_state), StockState::of(self.to_state));
        kind.legs(from, to).ok_or(Refusal::StateInvalid)?;
        let reason_required = match kind {
            Kind::Adjust => self.reason.is_empty(),
            Kind::Return => self.reason.is_empty() && self.original.is_none(),
            Kind::Correct => !matches!(&*self.reason, "did_not_occur" | "incorrect_data"),
            _ => false,
        };
        if reason_required {
            return Err(Refusal::ReasonRequired);
        }
        if kind == Kind::Correct && self.original.is_none() {
            return Err(Refusal::OriginalRequired);
        }
        let receiver_fits = match kind {
            Kind::TransferShip => {
                is_identifier(&self.to_location_id) && self.to_location_id != self.location_id
            }
            _ => self.to_location_id.is_empty(),
        };
        if !receiver_fits {
            return Err(Refusal::ToLocationInvalid);
        }
        Ok(kind)
    }

    /// Over the canonical fields; a field at its default counts as left out, however it was encoded.
    pub fn fingerprint(&self) -> i64 {
        let mut hash = StableHash::new("movement");
        hash.number(i64::from(self.kind));
        for text in [&self.location_id, &self.sku, &self.channel_id, &self.reason, &self.document] {
            hash.text(text);
        }
        for text in [&self.note, &self.to_location_id, &self.reservation_id, &self.hold_id] {
            hash.text(text);
        }
        hash.text(&self.group);
        hash.number(self.quantity);
        hash.optional(self.occurred_at.map(|at| at.0));
        hash.number(i64::from(self.utc_offset_minutes));
        hash.number(i64::from(self.document_line));
        hash.number(i64::from(self.from_state));
        hash.number(i64::from(self.to_state));
        hash.optional(self.expected_at.map(|at| at.0));
        if let Some((source, key)) = &self.original {
            hash.text(source);
            hash.text(key);
        }
        hash.finish_i64()
    }

    fn check_fields(&self, kind: Kind) -> Result<(), Refusal> {
        let empty_or = |text: &String, rule: fn(&str) -> bool| text.is_empty() || rule(text);
        let state_known = |state: i32| state == 0 || StockState::of(state).is_some();
        let original_fits = match (&self.original, kind) {
            (None, _) => true,
            (Some((source, key)), Kind::Correct | Kind::Return | Kind::TransferReceive) => {
                is_identifier(source) && is_key(key)
            }
            (Some(_), _) => false,
        };
        let fields = [
            (
                "utc_offset_minutes",
                self.utc_offset_minutes.abs_diff(0) <= UTC_OFFSET_MINUTES_MAX as u32,
            ),
            ("channel_id", empty_or(&self.channel_id, is_identifier)),
            ("reason", empty_or(&self.reason, is_reason)),
            ("document", empty_or(&self.document, is_key)),
            ("document_line", self.document_line <= DOCUMENT_LINE_MAX),
            ("note", is_text(&self.note, NOTE_CHARS_MAX)),
            ("from_state", state_known(self.from_state)),
            ("to_state", state_known(self.to_state)),
            ("reservation_id", empty_or(&self.reservation_id, is_identifier)),
            ("hold_id", empty_or(&self.hold_id, is_identifier)),
            ("original", original_fits),
            (
                "expected_at",
                self.expected_at.is_none_or(|at| {
                    matches!(kind, Kind::Expect | Kind::TransferShip) && at.is_storable()
                }),
            ),
            ("group", empty_or(&self.group, is_key)),
        ];
        match fields.into_iter().find(|(_, fits)| !fits) {
            Some((field, _)) => Err(Refusal::FieldInvalid { field }),
            None => Ok(()),
        }
    }
}
