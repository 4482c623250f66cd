//! What each method asks of its caller.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::access::{
    Scope::{self, *},
    Scopes,
};

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: also who shows no credential may call it.
    Open,
    /// That it shows a credential, whichever.
    Identified,
    /// One of these scopes. What is done with it may ask for a particular one of them.
    AnyOf(Scopes),
}

/// The package of the product's own services.
const PACKAGE: &str = "/stockroom.v1.";

/// Every method of the product's own services, as `Service/Method`, with the scopes of which one must be
/// had. In the order of the contract.
pub const METHODS: &[(&str, &[Scope])] = &[
    ("MovementService/RecordMovements", FACTS),
    ("MovementService/SyncMovements", FACTS),
    ("MovementService/ApplySnapshot", &[CountsWrite]),
    ("LedgerService/ListEntries", &[LedgerRead]),
    ("LedgerService/GetPosition", &[LedgerRead]),
    ("LedgerService/BatchGetPositions", &[LedgerRead]),
    ("LedgerService/ExportPositions", &[LedgerRead]),
    ("LedgerService/ListRejectedMovements", &[RejectedRead]),
    ("LedgerService/ResubmitMovement", &[RejectedWrite]),
    ("LedgerService/DismissRejectedMovement", &[RejectedWrite]),
    ("AvailabilityService/CheckAvailability", &[AvailabilityRead]),
    ("AvailabilityService/WatchAvailability", &[AvailabilityRead]),
    ("AvailabilityService/ExplainAvailability", &[AvailabilityExplain]),
    ("AvailabilityService/FindPickupLocations", &[AvailabilityRead]),
    ("NetworkService/PutLocation", &[NetworkWrite]),
    ("NetworkService/GetLocation", &[NetworkRead]),
    ("NetworkService/ListLocations", &[NetworkRead]),
    ("NetworkService/SetLocationStatus", &[LocationsOperate]),
    ("NetworkService/CloseLocation", &[LocationsOperate]),
    ("NetworkService/PutChannel", &[NetworkWrite]),
    ("NetworkService/GetChannel", &[NetworkRead]),
    ("NetworkService/ListChannels", &[NetworkRead]),
    ("NetworkService/PutChannelPolicy", &[NetworkWrite]),
    ("NetworkService/GetChannelPolicy", &[NetworkRead]),
    ("NetworkService/ListChannelPolicies", &[NetworkRead]),
    ("NetworkService/PreviewChannelPolicy", &[NetworkRead]),
    ("NetworkService/ListChannelPolicyVersions", &[NetworkRead]),
    ("NetworkService/PutQuotas", &[NetworkWrite]),
    ("NetworkService/ListQuotas", &[NetworkRead]),
    ("NetworkService/PutItem", &[NetworkWrite]),
    ("NetworkService/BlockItem", &[RecallsWrite]),
    ("NetworkService/UnblockItem", &[RecallsWrite]),
    ("NetworkService/GetItem", &[NetworkRead]),
    ("NetworkService/ListItems", &[NetworkRead]),
    ("ReservationService/HoldStock", &[HoldsWrite]),
    ("ReservationService/ReplaceHold", &[HoldsWrite]),
    ("ReservationService/ExtendHold", &[HoldsWrite]),
    ("ReservationService/ReleaseHold", &[HoldsWrite]),
    ("ReservationService/CreateReservation", &[ReservationsWrite]),
    ("ReservationService/BatchCreateReservations", &[ReservationsWrite]),
    ("ReservationService/GetReservation", &[ReservationsRead]),
    ("ReservationService/ListReservations", &[ReservationsRead]),
    ("ReservationService/AmendReservation", &[ReservationsWrite]),
    ("ReservationService/ExtendReservation", &[ReservationsWrite]),
    ("ReservationService/ConfirmReservationPayment", &[ReservationsWrite]),
    ("ReservationService/MoveReservation", &[ReservationsWrite]),
    ("ReservationService/CancelReservation", &[ReservationsWrite]),
    ("ReservationService/StartPicking", &[ReservationsFulfil]),
    ("ReservationService/ReportPick", &[ReservationsFulfil]),
    ("ReservationService/MarkReady", &[ReservationsFulfil]),
    ("ReservationService/CollectReservation", &[ReservationsFulfil]),
    ("ReservationService/ReturnToShelf", &[ReservationsFulfil]),
    ("ReservationService/WatchReservations", &[ReservationsRead]),
    ("EventService/PutWebhook", &[EventsWrite]),
    ("EventService/GetWebhook", &[EventsRead]),
    ("EventService/ListWebhooks", &[EventsRead]),
    ("EventService/DeleteWebhook", &[EventsWrite]),
    ("EventService/ListDeadLetters", &[EventsRead]),
    ("EventService/ReplayDeadLetters", &[EventsWrite]),
    ("EventService/DismissDeadLetters", &[EventsWrite]),
    ("ReportService/GetReport", &[ReportsRead]),
];

/// Each line of a report of movements asks for the one that its kind needs.
const FACTS: &[Scope] = &[MovementsWrite, CountsWrite, CorrectionsWrite];

static RULES: LazyLock<FxHashMap<&str, Rule>> = LazyLock::new(|| {
    METHODS.iter().map(|(method, scopes)| (*method, Rule::AnyOf(Scopes::of(scopes)))).collect()
});

/// What the method of this path (`/package.Service/Method`) asks for; `None`: there is no such method,
/// or nobody may call it.
pub fn rule_of(path: &str) -> Option<Rule> {
    if let Some(method) = path.strip_prefix(PACKAGE) {
        return RULES.get(method).copied();
    }
    match path {
        // Probes have no credential, and are told nothing else.
        "/grpc.health.v1.Health/Check"
        | "/grpc.health.v1.Health/Watch"
        | "/grpc.health.v1.Health/List" => Some(Rule::Open),
        // What the contract says is public, but not for those who only happen to reach the port.
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        | "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => {
            Some(Rule::Identified)
        }
        _ => None,
    }
}
