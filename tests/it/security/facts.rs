//! Who may report which facts, line by line.
#![expect(clippy::disallowed_types, reason = "calls services as their server does")]

use std::sync::Arc;

use stockroom::{
    access::{Caller, Reach, Scope, Scopes, Terminal},
    api::{
        Api,
        proto::{
            ListEntriesRequest, ListRejectedMovementsRequest, Movement, MovementResult,
            RecordMovementsRequest, ResubmitMovementRequest,
            movement_service_server::MovementService as _,
        },
    },
    availability::Availability,
    writer::Writer,
};
use tokio::sync::watch;
use tonic::{Code, Request, Status};

use crate::{
    harness::{
        errors::explained,
        movements::{Became as _, correction, count, movement, receipt, sale},
        server::prefix_of,
    },
    security::scene::{CHANNELS, Client, SHOPS, SKU, Scene},
};

const ALPHA: &str = SHOPS[0];
const BETA: &str = SHOPS[1];

/// Reasons of each line; empty: it was recorded.
fn reasons(results: &[MovementResult]) -> Vec<&str> {
    let errors = results.iter().map(|result| result.error.as_ref());
    errors.map(|error| error.map_or("", |error| &*error.reason)).collect()
}

/// The open list, as a caller sees it.
async fn rejected(client: &Client) -> Vec<(String, String)> {
    let request = ListRejectedMovementsRequest::default();
    let answer = client.ledger().list_rejected_movements(request).await.unwrap().into_inner();
    let row = |row: stockroom::api::proto::RejectedMovement| {
        (row.movement.unwrap().key, row.error.unwrap().reason)
    };
    answer.rejected_movements.into_iter().map(row).collect()
}

#[tokio::test]
async fn each_kind_of_fact_asks_for_its_scope_and_a_bad_line_costs_no_good_one() {
    let scene = Scene::start().await;
    let shop = scene.caller("web", &[Scope::MovementsWrite], None, None).await;
    let lines = vec![
        sale("s1", ALPHA, SKU, 1),
        count("c1", ALPHA, SKU, 0),
        correction("k1", ALPHA, SKU, ("opening", "first-shop-alpha")),
        sale("s2", ALPHA, SKU, 1),
    ];
    let answer = shop.record("web", lines.clone()).await;
    assert_eq!(reasons(&answer.results), ["", "SCOPE_MISSING", "SCOPE_MISSING", ""]);
    let error = answer.results[1].error.clone().unwrap();
    assert_eq!(error.code, Code::PermissionDenied as i32);
    assert_eq!(error.metadata["scope"], "counts:write");

    let counter = scene.caller("counter", &[Scope::CountsWrite], None, None).await;
    let answer = counter.record("counter", lines.clone()).await;
    assert_eq!(reasons(&answer.results), ["SCOPE_MISSING", "", "SCOPE_MISSING", "SCOPE_MISSING"]);
    let corrector = scene.caller("corrector", &[Scope::CorrectionsWrite], None, None).await;
    let answer = corrector.record("corrector", lines).await;
    assert_eq!(reasons(&answer.results), ["SCOPE_MISSING", "SCOPE_MISSING", "", "SCOPE_MISSING"]);
    scene.server.stop().await;
}

#[tokio::test]
async fn a_fact_of_a_location_out_of_reach_is_as_unknown_as_one_of_nowhere() {
    let scene = Scene::start().await;
    let scopes = [Scope::MovementsWrite, Scope::RejectedRead, Scope::RejectedWrite];
    let alpha = scene.caller("alpha", &scopes, Some(&[ALPHA]), None).await;
    let beta = scene.caller("beta", &scopes, Some(&[BETA]), None).await;
    // Its own bad line, then a forged one under the same source and key.
    let bad = Movement { quantity: -1, ..sale("k", BETA, SKU, 1) };
    beta.record("till-beta", vec![bad]).await;
    let forged =
        [sale("k", BETA, SKU, 1), sale("k2", "nowhere", SKU, 1), sale("k3", ALPHA, SKU, 1)];
    let answer = alpha.record("till-beta", forged.into()).await;
    assert_eq!(reasons(&answer.results), ["LOCATION_UNKNOWN", "LOCATION_UNKNOWN", ""]);
    let errors: Vec<_> = answer.results.iter().take(2).map(|r| r.error.clone().unwrap()).collect();
    assert_eq!(errors[0].code, errors[1].code);
    assert_eq!(errors[0].message.replace(BETA, "nowhere"), errors[1].message);

    // The list of the other location tells what it told before; only who sees all sees the others.
    let own = ("k".to_owned(), "QUANTITY_OUT_OF_RANGE".to_owned());
    assert_eq!(rejected(&beta).await, [own]);
    assert_eq!(rejected(&alpha).await, []);
    let all = rejected(&scene.admin).await;
    assert_eq!(all.len(), 3, "{all:?}");

    // Nor may it be resubmitted by who does not see it.
    let request = ListRejectedMovementsRequest::default();
    let rows = scene.admin.ledger().list_rejected_movements(request).await.unwrap().into_inner();
    for row in rows.rejected_movements {
        let request = ResubmitMovementRequest {
            rejected_movement_id: row.rejected_movement_id,
            movement: Some(sale("mended", ALPHA, SKU, 1)),
            actor: String::new(),
        };
        let answer = alpha.ledger().resubmit_movement(request).await.unwrap_err();
        explained(&answer, Code::NotFound, "REJECTED_MOVEMENT_UNKNOWN");
    }
    scene.server.stop().await;
}

#[tokio::test]
async fn a_barred_line_spoils_its_group_and_channels_out_of_reach_are_unknown() {
    let scene = Scene::start().await;
    let scopes = [Scope::MovementsWrite];
    let caller = scene.caller("c", &scopes, Some(&[ALPHA]), Some(&[CHANNELS[0]])).await;
    let grouped = |sent: Movement| Movement { group: "swap".to_owned(), ..sent };
    let through = |channel: &str, sent: Movement| Movement { channel_id: channel.into(), ..sent };
    let answer = caller
        .record(
            "c",
            vec![
                grouped(sale("a", ALPHA, SKU, 1)),
                grouped(sale("b", BETA, SKU, 1)),
                through(CHANNELS[0], sale("d", ALPHA, SKU, 1)),
                through(CHANNELS[1], sale("e", ALPHA, SKU, 1)),
            ],
        )
        .await;
    let expected = ["GROUP_REFUSED", "LOCATION_UNKNOWN", "", "CHANNEL_UNKNOWN"];
    assert_eq!(reasons(&answer.results), expected);
    scene.server.stop().await;
}

#[tokio::test]
async fn the_ledger_is_told_who_spoke_in_the_name_of_a_source() {
    let scene = Scene::start().await;
    let gateway = scene.caller("gateway", &[Scope::MovementsWrite], None, None).await;
    for source in ["till-7", "gateway"] {
        let answer = gateway.record(source, vec![sale("s", ALPHA, SKU, 1)]).await;
        answer.results[0].recorded();
    }
    let request = ListEntriesRequest { page_size: 1_000, ..Default::default() };
    let entries = scene.admin.ledger().list_entries(request).await.unwrap().into_inner().entries;
    let actor = |source: &str| {
        let found = entries.iter().find(|entry| entry.source == source && entry.key == "s");
        found.unwrap().actor.clone()
    };
    assert_eq!((&*actor("till-7"), &*actor("gateway")), ("gateway", ""));
    // The service's own name is nobody else's.
    let request = RecordMovementsRequest { source: "stockroom".to_owned(), ..Default::default() };
    let refused = gateway.movements().record_movements(request).await.unwrap_err();
    explained(&refused, Code::PermissionDenied, "SOURCE_FORBIDDEN");
    scene.server.stop().await;
}

/// The services as their server calls them for a caller.
struct Direct {
    api: Api,
    caller: Arc<Caller>,
}

impl Direct {
    async fn record(&self, source: &str, sent: Movement) -> Result<MovementResult, Status> {
        let source = source.to_owned();
        let movements = vec![sent];
        let mut request = Request::new(RecordMovementsRequest { source, sent_at: None, movements });
        request.extensions_mut().insert(Arc::clone(&self.caller));
        let answer = self.api.record_movements(request).await?.into_inner();
        Ok(answer.results.into_iter().next().unwrap())
    }
}

#[tokio::test]
async fn a_terminal_writes_facts_of_its_own_location_and_device_whatever_the_message_says() {
    let scene = Scene::start().await;
    let ledger = scene.server.ledger.clone();
    let prefix = prefix_of(&scene.server.database_url);
    let redis = Availability::new(&scene.server.redis.url, prefix).unwrap();
    let writer = Writer::start(ledger.clone(), redis.clone()).await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let (location_id, device_id) = (ALPHA.to_owned(), "till-7".to_owned());
    let caller = Arc::new(Caller {
        id: "shop-alpha/till-7".to_owned(),
        scopes: Scopes::ALL,
        // It may even see the other shop.
        locations: Reach::only([ALPHA, BETA]),
        channels: Reach::All,
        terminal: Some(Terminal { location_id, device_id }),
    });
    let terminal = Direct { api: Api::new(ledger, redis, writer, stopped), caller };

    let refused = terminal.record("till-8", sale("s", ALPHA, SKU, 1)).await.unwrap_err();
    explained(&refused, Code::PermissionDenied, "SOURCE_FORBIDDEN");
    let reason = async |sent: Movement| {
        let result = terminal.record("till-7", sent).await.unwrap();
        result.error.map_or_else(String::new, |error| error.reason)
    };
    assert_eq!(reason(sale("s1", BETA, SKU, 1)).await, "LOCATION_FORBIDDEN");
    assert_eq!(reason(receipt("s2", "shop-omega", SKU, 1)).await, "LOCATION_UNKNOWN");
    assert_eq!(reason(sale("s3", ALPHA, SKU, 1)).await, "");
    // Goods leave for anywhere.
    let kind = stockroom::api::proto::MovementKind::TransferShip;
    let shipped = movement(kind, "s4", ALPHA, SKU, 1);
    let shipped = Movement { to_location_id: BETA.to_owned(), ..shipped };
    assert_eq!(reason(shipped).await, "");
    drop(terminal);
    scene.server.stop().await;
}
