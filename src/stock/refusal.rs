//! Every reason for a no, in order of precedence.

mod short;

pub use self::short::Short;
use self::short::first;
use crate::stock::time::Timestamp;

/// The kind of a refusal: the canonical gRPC status codes, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Class {
    /// The request is malformed whatever the state.
    InvalidArgument = 3,
    /// Something that it names does not exist.
    NotFound = 5,
    /// The key belongs to another request.
    AlreadyExists = 6,
    /// Whoever sends it may not.
    PermissionDenied = 7,
    /// The state forbids it.
    FailedPrecondition = 9,
    /// Another line forbids it.
    Aborted = 10,
    /// A number would leave its range.
    OutOfRange = 11,
}

/// Why a movement was not recorded, or a request not granted. Where several apply, the first in this list is told; code, tests
/// and `docs/errors.md` keep the order. What was refused does not use up its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The idempotency key is empty, too long or not printable ASCII.
    #[error("key must be 1 to 64 printable ASCII characters")]
    KeyInvalid,
    /// The kind is missing, unknown, or one that only Stockroom writes.
    #[error("kind {kind} cannot be sent")]
    KindInvalid {
        /// The number that was sent.
        kind: i32,
    },
    /// The location is not an identifier.
    #[error("location_id must match [A-Za-z0-9._:/-]{{1,64}}")]
    LocationIdInvalid,
    /// The item code is malformed.
    #[error("sku must match [A-Za-z0-9._:/-]{{1,64}} with single inner spaces at most")]
    SkuInvalid,
    /// Another field is malformed.
    #[error("{field} is malformed or does not belong to this kind")]
    FieldInvalid {
        /// Name of the field.
        field: &'static str,
    },
    /// The quantity is out of bounds.
    #[error("quantity {quantity} is out of range")]
    QuantityOutOfRange {
        /// What was sent.
        quantity: i64,
    },
    /// The stock states do not belong to the kind.
    #[error("from_state and to_state do not belong to this kind")]
    StateInvalid,
    /// A reason code is mandatory, or it is not one of those that the kind allows.
    #[error("this kind needs a reason that it allows")]
    ReasonRequired,
    /// A correction must name its original.
    #[error("a correction must name the source and key of its original")]
    OriginalRequired,
    /// The receiving location of a transfer is missing, the same, or does not belong to the kind.
    #[error("to_location_id must name another location, for a shipped transfer only")]
    ToLocationInvalid,
    /// The sender may not report this kind.
    #[error("the credential has no scope {scope}")]
    ScopeMissing {
        /// The scope that the kind needs.
        scope: &'static str,
    },
    /// The sender stands at another location.
    #[error("the terminal does not stand at {location_id:?}")]
    LocationForbidden {
        /// The location, which the sender may see.
        location_id: String,
    },
    /// The location does not exist.
    #[error("location {location_id:?} is unknown; put it first")]
    LocationUnknown {
        /// The location.
        location_id: String,
    },
    /// The channel does not exist.
    #[error("channel {channel_id:?} is unknown; put it first")]
    ChannelUnknown {
        /// The channel.
        channel_id: String,
    },
    /// The key was used for another movement.
    #[error("the key was used for another movement; {field} differs")]
    KeyReused {
        /// The first field that differs.
        field: &'static str,
    },
    /// It is too old or in the future.
    #[error("occurred_at is before 2000 or more than 5 minutes ahead")]
    OccurredAtOutOfRange {
        /// What was sent.
        occurred_at: Timestamp,
    },
    /// There is no such reservation.
    #[error("reservation {reservation_id:?} is unknown")]
    ReservationUnknown {
        /// What was named.
        reservation_id: String,
    },
    /// There is no such hold any more.
    #[error("hold {hold_id:?} is unknown; hold the stock again")]
    HoldUnknown {
        /// What was named.
        hold_id: String,
    },
    /// It goes on at another location.
    #[error("the reservation was moved; {successor_id:?} continues it")]
    ReservationMoved {
        /// Its successor.
        successor_id: String,
    },
    /// No stock is kept of the item.
    #[error("no stock is kept of this item")]
    NotAStockItem,
    /// Nothing of it is promised, picked or handed over.
    #[error("item {sku:?} is recalled")]
    ItemRecalled {
        /// The item.
        sku: String,
    },
    /// The original is of another item, quantity or kind than this movement can refer to.
    #[error("the original does not fit; {field} differs")]
    OriginalMismatch {
        /// The field that does not fit.
        field: &'static str,
    },
    /// The original was corrected before.
    #[error("the original was corrected already")]
    AlreadyCorrected,
    /// It would change, or needs, what is in an archive.
    #[error("it reaches into what is archived, until {} us after 1970", until.0)]
    Archived {
        /// Until when.
        until: Timestamp,
    },
    /// It has gone too far, or not far enough, for this step.
    #[error("a reservation that is {state} cannot take this step")]
    ReservationState {
        /// How far it has come.
        state: &'static str,
    },
    /// It belongs to another location.
    #[error("the hold is at another location")]
    HoldElsewhere,
    /// Its end came before this step.
    #[error("the hold has ended; hold the stock again")]
    HoldEnded,
    /// A reservation is being made from it.
    #[error("the hold is being turned into a reservation; try again")]
    HoldInUse,
    /// Another reservation was made from it.
    #[error("another reservation was made from the hold")]
    HoldConsumed,
    /// It belongs to another reservation.
    #[error("the pickup code is not that of this reservation")]
    PickupCodeWrong,
    /// No goods are set aside.
    #[error("nothing is set aside for this reservation any more")]
    NothingAside,
    /// The reservation has no such line.
    #[error("the reservation has no line of {sku:?}")]
    LineUnknown {
        /// The item.
        sku: String,
    },
    /// More than the line has left for this step.
    #[error("only {left} of {sku:?} are left for this step")]
    LineExceeded {
        /// The item.
        sku: String,
        /// What is left.
        left: i64,
    },
    /// It is where it would be moved to.
    #[error("the reservation is at this location already")]
    SameLocation,
    /// It is not over yet.
    #[error("the deadline has not passed")]
    NotDue,
    /// The channel's policy names other locations.
    #[error("the channel may not promise stock of this location")]
    LocationNotEligible,
    /// Its status forbids new promises.
    #[error("the location is {status}; nothing more is promised there")]
    LocationNotAccepting {
        /// The status.
        status: &'static str,
    },
    /// Longer than the channel's policy allows.
    #[error("ttl is longer than the {ttl_max_ms} ms that the channel allows")]
    TtlExceeded {
        /// The longest, in milliseconds.
        ttl_max_ms: i64,
    },
    /// More of one item than the channel's policy allows in one order.
    #[error("the channel allows at most {units_max} of {sku:?} in one order")]
    UnitsPerOrderExceeded {
        /// The item.
        sku: String,
        /// The most.
        units_max: i64,
    },
    /// More would be held at once than may be.
    #[error("at most {units_max} units may be held at once, for one {of}")]
    HoldsExceeded {
        /// What is capped: item, customer or channel.
        of: &'static str,
        /// The most.
        units_max: i64,
    },
    /// There is not enough to promise.
    #[error("{} of {} is available, not {}", first(short).1, first(short).0, first(short).2)]
    InsufficientStock {
        /// Every line that is short.
        short: Vec<Short>,
    },
    /// The location has stock of more items than a snapshot may have rows.
    #[error("the location has stock of more items than a snapshot can count")]
    SnapshotTooLarge,
    /// A snapshot that looks as if the feed that made it broke.
    #[error("{to_zero} of {with_stock} items would drop to zero; confirm that this is meant")]
    SnapshotDropsTooMuch {
        /// Items that would.
        to_zero: u32,
        /// Items that have stock.
        with_stock: u32,
    },
    /// A balance would leave the range that every part of the system can represent.
    #[error("the balance would leave its range")]
    BalanceOutOfRange,
    /// Another line of the same group was refused.
    #[error("another line of group {group:?} was refused")]
    GroupRefused {
        /// The group.
        group: String,
    },
}

impl Refusal {
    /// Its canonical code.
    pub fn class(&self) -> Class {
        match self {
            Refusal::LocationUnknown { .. }
            | Refusal::ChannelUnknown { .. }
            | Refusal::ReservationUnknown { .. }
            | Refusal::HoldUnknown { .. } => Class::NotFound,
            Refusal::KeyReused { .. } => Class::AlreadyExists,
            Refusal::ScopeMissing { .. } | Refusal::LocationForbidden { .. } => {
                Class::PermissionDenied
            }
            Refusal::NotAStockItem
            | Refusal::ItemRecalled { .. }
            | Refusal::OriginalMismatch { .. }
            | Refusal::AlreadyCorrected
            | Refusal::Archived { .. }
            | Refusal::ReservationMoved { .. }
            | Refusal::ReservationState { .. }
            | Refusal::HoldEnded
            | Refusal::HoldConsumed
            | Refusal::HoldElsewhere
            | Refusal::PickupCodeWrong
            | Refusal::NothingAside
            | Refusal::LineUnknown { .. }
            | Refusal::LineExceeded { .. }
            | Refusal::SameLocation
            | Refusal::NotDue
            | Refusal::LocationNotEligible
            | Refusal::LocationNotAccepting { .. }
            | Refusal::TtlExceeded { .. }
            | Refusal::UnitsPerOrderExceeded { .. }
            | Refusal::HoldsExceeded { .. }
            | Refusal::SnapshotTooLarge
            | Refusal::SnapshotDropsTooMuch { .. }
            | Refusal::InsufficientStock { .. } => Class::FailedPrecondition,
            Refusal::BalanceOutOfRange => Class::OutOfRange,
            Refusal::HoldInUse | Refusal::GroupRefused { .. } => Class::Aborted,
            _ => Class::InvalidArgument,
        }
    }

    /// Its reason, as callers branch on it.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::KeyInvalid => "KEY_INVALID",
            Refusal::KindInvalid { .. } => "KIND_INVALID",
            Refusal::LocationIdInvalid => "LOCATION_ID_INVALID",
            Refusal::SkuInvalid => "SKU_INVALID",
            Refusal::FieldInvalid { .. } => "FIELD_INVALID",
            Refusal::QuantityOutOfRange { .. } => "QUANTITY_OUT_OF_RANGE",
            Refusal::StateInvalid => "STATE_INVALID",
            Refusal::ReasonRequired => "REASON_REQUIRED",
            Refusal::OriginalRequired => "ORIGINAL_REQUIRED",
            Refusal::ToLocationInvalid => "TO_LOCATION_INVALID",
            Refusal::ScopeMissing { .. } => "SCOPE_MISSING",
            Refusal::LocationForbidden { .. } => "LOCATION_FORBIDDEN",
            Refusal::LocationUnknown { .. } => "LOCATION_UNKNOWN",
            Refusal::ChannelUnknown { .. } => "CHANNEL_UNKNOWN",
            Refusal::KeyReused { .. } => "KEY_REUSED",
            Refusal::OccurredAtOutOfRange { .. } => "OCCURRED_AT_OUT_OF_RANGE",
            Refusal::ReservationUnknown { .. } => "RESERVATION_UNKNOWN",
            Refusal::HoldUnknown { .. } => "HOLD_UNKNOWN",
            Refusal::ReservationMoved { .. } => "RESERVATION_MOVED",
            Refusal::NotAStockItem => "NOT_A_STOCK_ITEM",
            Refusal::ItemRecalled { .. } => "ITEM_RECALLED",
            Refusal::OriginalMismatch { .. } => "ORIGINAL_MISMATCH",
            Refusal::AlreadyCorrected => "ALREADY_CORRECTED",
            Refusal::Archived { .. } => "ENTRIES_ARCHIVED",
            Refusal::ReservationState { .. } => "RESERVATION_STATE",
            Refusal::HoldElsewhere => "HOLD_ELSEWHERE",
            Refusal::HoldEnded => "HOLD_ENDED",
            Refusal::HoldInUse => "HOLD_IN_USE",
            Refusal::HoldConsumed => "HOLD_CONSUMED",
            Refusal::PickupCodeWrong => "PICKUP_CODE_WRONG",
            Refusal::NothingAside => "NOTHING_ASIDE",
            Refusal::LineUnknown { .. } => "LINE_UNKNOWN",
            Refusal::LineExceeded { .. } => "LINE_EXCEEDED",
            Refusal::SameLocation => "SAME_LOCATION",
            Refusal::NotDue => "NOT_DUE",
            Refusal::LocationNotEligible => "LOCATION_NOT_ELIGIBLE",
            Refusal::LocationNotAccepting { .. } => "LOCATION_NOT_ACCEPTING",
            Refusal::TtlExceeded { .. } => "TTL_EXCEEDED",
            Refusal::UnitsPerOrderExceeded { .. } => "UNITS_PER_ORDER_EXCEEDED",
            Refusal::HoldsExceeded { .. } => "HOLDS_EXCEEDED",
            Refusal::InsufficientStock { .. } => "INSUFFICIENT_STOCK",
            Refusal::SnapshotTooLarge => "SNAPSHOT_TOO_LARGE",
            Refusal::SnapshotDropsTooMuch { .. } => "SNAPSHOT_DROPS_TOO_MUCH",
            Refusal::BalanceOutOfRange => "BALANCE_OUT_OF_RANGE",
            Refusal::GroupRefused { .. } => "GROUP_REFUSED",
        }
    }

    /// Every dynamic value of its message, by name.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Refusal::KindInvalid { kind } => vec![("kind", kind.to_string())],
            Refusal::FieldInvalid { field }
            | Refusal::KeyReused { field }
            | Refusal::OriginalMismatch { field } => vec![("field", (*field).to_owned())],
            Refusal::QuantityOutOfRange { quantity } => vec![("quantity", quantity.to_string())],
            Refusal::ScopeMissing { scope } => vec![("scope", (*scope).to_owned())],
            Refusal::LocationForbidden { location_id }
            | Refusal::LocationUnknown { location_id } => {
                vec![("location_id", location_id.clone())]
            }
            Refusal::ChannelUnknown { channel_id } => vec![("channel_id", channel_id.clone())],
            Refusal::OccurredAtOutOfRange { occurred_at } => {
                vec![("occurred_at_us", occurred_at.0.to_string())]
            }
            Refusal::Archived { until } => vec![("until_us", until.0.to_string())],
            Refusal::GroupRefused { group } => vec![("group", group.clone())],
            Refusal::ReservationUnknown { reservation_id } => {
                vec![("reservation_id", reservation_id.clone())]
            }
            Refusal::HoldUnknown { hold_id } => vec![("hold_id", hold_id.clone())],
            Refusal::ReservationMoved { successor_id } => {
                vec![("successor_id", successor_id.clone())]
            }
            Refusal::ReservationState { state } => vec![("state", (*state).to_owned())],
            Refusal::LocationNotAccepting { status } => vec![("status", (*status).to_owned())],
            Refusal::LineUnknown { sku } | Refusal::ItemRecalled { sku } => {
                vec![("sku", sku.clone())]
            }
            Refusal::LineExceeded { sku, left } => {
                vec![("sku", sku.clone()), ("left", left.to_string())]
            }
            Refusal::TtlExceeded { ttl_max_ms } => vec![("ttl_max_ms", ttl_max_ms.to_string())],
            Refusal::UnitsPerOrderExceeded { sku, units_max } => {
                vec![("sku", sku.clone()), ("units_max", units_max.to_string())]
            }
            Refusal::HoldsExceeded { of, units_max } => {
                vec![("of", (*of).to_owned()), ("units_max", units_max.to_string())]
            }
            Refusal::SnapshotDropsTooMuch { to_zero, with_stock } => {
                vec![("to_zero", to_zero.to_string()), ("with_stock", with_stock.to_string())]
            }
            Refusal::InsufficientStock { short } => short::metadata(short),
            _ => Vec::new(),
        }
    }
}
