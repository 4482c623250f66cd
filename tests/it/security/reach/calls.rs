//! One call and more of every unary method, about the same names.

use prost::Message;
use stockroom::api::proto::{self, *};

use crate::{
    harness::{movements::sale, reservations::line},
    security::{
        reach::promises::{promises, steps, store_steps},
        scene::SKU,
    },
};

/// What a call is about; empty: nothing in particular, which is everything.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub location_id: String,
    pub channel_id: String,
    pub reservation_id: String,
    pub hold_id: String,
    pub webhook_id: String,
}

impl Names {
    pub fn all(&self) -> [&str; 5] {
        // What contains another one comes first.
        let Names { location_id, channel_id, reservation_id, hold_id, webhook_id } = self;
        [webhook_id, location_id, channel_id, reservation_id, hold_id]
    }

    fn locations(&self) -> Vec<String> {
        Some(self.location_id.clone()).filter(|id| !id.is_empty()).into_iter().collect()
    }

    fn channels(&self) -> Vec<String> {
        Some(self.channel_id.clone()).filter(|id| !id.is_empty()).into_iter().collect()
    }
}

/// Method and message.
pub type Call = (&'static str, Vec<u8>);

/// At least one call of each.
pub fn calls(names: &Names) -> Vec<Call> {
    [
        facts(names),
        availability(names),
        network(names),
        items(),
        promises(names),
        store_steps(names),
        steps(names),
        events(names),
    ]
    .concat()
}

pub(super) fn to(method: &'static str, message: impl Message) -> Call {
    (method, message.encode_to_vec())
}

fn facts(names: &Names) -> Vec<Call> {
    let location_id = names.location_id.clone();
    let pair = PositionRef { location_id: location_id.clone(), sku: SKU.to_owned() };
    let rejected_movement_id = "01890000-0000-7000-8000-000000000000".to_owned();
    vec![
        to(
            "LedgerService/ListEntries",
            ListEntriesRequest { location_id: location_id.clone(), ..Default::default() },
        ),
        to(
            "LedgerService/ListEntries",
            ListEntriesRequest { sku: SKU.to_owned(), ..Default::default() },
        ),
        to(
            "LedgerService/GetPosition",
            GetPositionRequest {
                location_id: location_id.clone(),
                sku: SKU.to_owned(),
                ..Default::default()
            },
        ),
        to(
            "LedgerService/BatchGetPositions",
            BatchGetPositionsRequest { positions: vec![pair], ..Default::default() },
        ),
        to(
            "LedgerService/ListRejectedMovements",
            ListRejectedMovementsRequest { location_id, ..Default::default() },
        ),
        to(
            "LedgerService/ResubmitMovement",
            ResubmitMovementRequest {
                rejected_movement_id: rejected_movement_id.clone(),
                ..Default::default()
            },
        ),
        to(
            "LedgerService/DismissRejectedMovement",
            DismissRejectedMovementRequest { rejected_movement_id, ..Default::default() },
        ),
        to(
            "MovementService/RecordMovements",
            RecordMovementsRequest {
                source: "till".to_owned(),
                sent_at: None,
                movements: vec![Movement {
                    note: "\u{7}".to_owned(),
                    ..sale("x", &names.location_id, SKU, 1)
                }],
            },
        ),
        to(
            "ReportService/GetReport",
            GetReportRequest {
                from: Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 }),
                location_ids: names.locations(),
                channel_ids: names.channels(),
                ..Default::default()
            },
        ),
    ]
}

fn availability(names: &Names) -> Vec<Call> {
    let (channel_id, sku) = (names.channel_id.clone(), SKU.to_owned());
    vec![
        to(
            "AvailabilityService/CheckAvailability",
            CheckAvailabilityRequest {
                channel_id: channel_id.clone(),
                skus: vec![sku.clone()],
                location_ids: names.locations(),
                ..Default::default()
            },
        ),
        to(
            "AvailabilityService/ExplainAvailability",
            ExplainAvailabilityRequest {
                channel_id: channel_id.clone(),
                location_id: names.location_id.clone(),
                sku: sku.clone(),
            },
        ),
        to(
            "AvailabilityService/FindPickupLocations",
            FindPickupLocationsRequest {
                channel_id,
                latitude: Some(52.5),
                longitude: Some(13.4),
                lines: vec![line(SKU, 1)],
                ..Default::default()
            },
        ),
    ]
}

fn network(names: &Names) -> Vec<Call> {
    let (location_id, channel_id) = (names.location_id.clone(), names.channel_id.clone());
    let policy = ChannelPolicy { channel_id: channel_id.clone(), ..Default::default() };
    let quota = Quota {
        channel_id: channel_id.clone(),
        sku: SKU.to_owned(),
        location_id: location_id.clone(),
        units: 2,
        ..Default::default()
    };
    let location = Location {
        location_id: location_id.clone(),
        latitude: Some(52.5),
        longitude: Some(13.4),
        pickup_enabled: true,
        ..Default::default()
    };
    let channel = proto::Channel { channel_id: channel_id.clone(), name: String::new() };
    vec![
        to("NetworkService/PutLocation", PutLocationRequest { location: Some(location) }),
        to("NetworkService/GetLocation", GetLocationRequest { location_id: location_id.clone() }),
        to("NetworkService/ListLocations", ListLocationsRequest::default()),
        to(
            "NetworkService/SetLocationStatus",
            SetLocationStatusRequest {
                location_id: location_id.clone(),
                status: 1,
                ..Default::default()
            },
        ),
        // Of a location that has stock: refused where it exists.
        to(
            "NetworkService/CloseLocation",
            CloseLocationRequest { location_id: location_id.clone() },
        ),
        to("NetworkService/PutChannel", PutChannelRequest { channel: Some(channel) }),
        to("NetworkService/GetChannel", GetChannelRequest { channel_id: channel_id.clone() }),
        to("NetworkService/ListChannels", ListChannelsRequest::default()),
        to(
            "NetworkService/PutChannelPolicy",
            PutChannelPolicyRequest { policy: Some(policy.clone()), ..Default::default() },
        ),
        to(
            "NetworkService/GetChannelPolicy",
            GetChannelPolicyRequest { channel_id: channel_id.clone() },
        ),
        to("NetworkService/ListChannelPolicies", ListChannelPoliciesRequest::default()),
        to(
            "NetworkService/PreviewChannelPolicy",
            PreviewChannelPolicyRequest {
                policy: Some(policy),
                skus: vec![SKU.to_owned()],
                location_ids: names.locations(),
            },
        ),
        to(
            "NetworkService/ListChannelPolicyVersions",
            ListChannelPolicyVersionsRequest { channel_id, ..Default::default() },
        ),
        to("NetworkService/PutQuotas", PutQuotasRequest { quotas: vec![quota] }),
        to("NetworkService/ListQuotas", ListQuotasRequest { location_id, ..Default::default() }),
    ]
}

fn items() -> Vec<Call> {
    vec![
        to(
            "NetworkService/PutItem",
            PutItemRequest { item: Some(Item { sku: SKU.to_owned(), ..Default::default() }) },
        ),
        to(
            "NetworkService/BlockItem",
            BlockItemRequest { sku: "nut".to_owned(), ..Default::default() },
        ),
        to("NetworkService/UnblockItem", UnblockItemRequest { sku: "nut".to_owned() }),
        to("NetworkService/GetItem", GetItemRequest { sku: SKU.to_owned() }),
        to("NetworkService/ListItems", ListItemsRequest::default()),
    ]
}

fn events(names: &Names) -> Vec<Call> {
    let webhook_id = || names.webhook_id.clone();
    let webhook = Webhook {
        webhook_id: webhook_id(),
        url: "http://127.0.0.1:9/put".to_owned(),
        location_ids: names.locations(),
        ..Default::default()
    };
    let all = |webhook_id: &str| ListDeadLettersRequest {
        webhook_id: webhook_id.to_owned(),
        ..Default::default()
    };
    vec![
        to(
            "EventService/PutWebhook",
            PutWebhookRequest { webhook: Some(webhook), ..Default::default() },
        ),
        to("EventService/GetWebhook", GetWebhookRequest { webhook_id: webhook_id() }),
        to("EventService/ListWebhooks", ListWebhooksRequest::default()),
        to("EventService/ListDeadLetters", all(&names.webhook_id)),
        to("EventService/ListDeadLetters", all("nats")),
        to(
            "EventService/ReplayDeadLetters",
            ReplayDeadLettersRequest { webhook_id: webhook_id(), ..Default::default() },
        ),
        to(
            "EventService/DismissDeadLetters",
            DismissDeadLettersRequest {
                webhook_id: webhook_id(),
                event_ids: vec!["1-1-1-1".to_owned()],
            },
        ),
        to("EventService/DeleteWebhook", DeleteWebhookRequest { webhook_id: webhook_id() }),
    ]
}
