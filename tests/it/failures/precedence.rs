//! The order of precedence of refusals: a movement with two faults is told the earlier one.

use prost_types::Timestamp;
use stockroom::api::proto::{Movement, MovementKind};

use crate::harness::{
    databases::execute,
    movements::{Became as _, correction, movement, receipt, reference, sale},
    server::{SOURCE, Server},
};

/// What is wrong with a movement.
struct Flaw {
    reason: &'static str,
    spoil: fn(&mut Movement),
}

/// Every reason, in the order of `Refusal`.
const FLAWS: [Flaw; 19] = [
    Flaw { reason: "KEY_INVALID", spoil: |m| m.key = String::new() },
    Flaw { reason: "KIND_INVALID", spoil: |m| m.kind = MovementKind::CountVariance as i32 },
    Flaw { reason: "LOCATION_ID_INVALID", spoil: |m| m.location_id = "b erlin".to_owned() },
    Flaw { reason: "SKU_INVALID", spoil: |m| m.sku = "A  B".to_owned() },
    Flaw { reason: "FIELD_INVALID", spoil: |m| m.note = "\u{7}".to_owned() },
    Flaw { reason: "QUANTITY_OUT_OF_RANGE", spoil: |m| m.quantity = 1_000_000_001 },
    Flaw { reason: "STATE_INVALID", spoil: |m| (m.from_state, m.to_state) = (6, 6) },
    Flaw { reason: "REASON_REQUIRED", spoil: |m| m.reason = String::new() },
    Flaw { reason: "ORIGINAL_REQUIRED", spoil: |m| m.original = None },
    Flaw { reason: "TO_LOCATION_INVALID", spoil: |m| m.to_location_id = "full".to_owned() },
    Flaw { reason: "LOCATION_UNKNOWN", spoil: |m| m.location_id = "nowhere".to_owned() },
    Flaw { reason: "CHANNEL_UNKNOWN", spoil: |m| m.channel_id = "nothing".to_owned() },
    Flaw { reason: "KEY_REUSED", spoil: |m| m.key = "used".to_owned() },
    Flaw {
        reason: "OCCURRED_AT_OUT_OF_RANGE",
        spoil: |m| m.occurred_at = Some(Timestamp::default()),
    },
    Flaw { reason: "NOT_A_STOCK_ITEM", spoil: |m| m.sku = "bag".to_owned() },
    Flaw { reason: "ORIGINAL_MISMATCH", spoil: |m| m.quantity = 999 },
    Flaw {
        reason: "ALREADY_CORRECTED",
        spoil: |m| m.original = Some(reference((SOURCE, "corrected"))),
    },
    Flaw { reason: "BALANCE_OUT_OF_RANGE", spoil: |m| m.location_id = "full".to_owned() },
    Flaw { reason: "GROUP_REFUSED", spoil: |m| m.group = "spoiled".to_owned() },
];

/// A movement that every flaw can be put on.
fn good(key: &str) -> Movement {
    correction(key, "berlin", "A", (SOURCE, "sold"))
}

async fn prepared() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin", "full"]).await;
    server.put_item("bag", false).await;
    for location in ["berlin", "full"] {
        let movements = vec![
            receipt("used", location, "A", 10),
            sale("sold", location, "A", 2),
            sale("corrected", location, "A", 3),
            correction("first", location, "A", (SOURCE, "corrected")),
        ];
        for result in server.record(movements).await.results {
            result.recorded();
        }
    }
    // Nine million receipts would do the same.
    let fill = "update position set sellable = 9007199254740991 where location =
        (select location_no from location where location_id = 'full')";
    execute(&server.database_url, fill).await;
    server
}

/// Sends a movement together with what spoils the group "spoiled", and expects a reason.
async fn expect(server: &Server, movement: Movement, reason: &str) {
    let spoiler = Movement {
        group: "spoiled".to_owned(),
        occurred_at: Some(Timestamp::default()),
        ..sale("spoiler", "berlin", "A", 1)
    };
    let shown = format!("{movement:?}");
    let result = server.record(vec![spoiler, movement]).await.results.remove(1);
    let told = result.error.as_ref().map_or("nothing", |error| &*error.reason);
    assert_eq!(told, reason, "{shown}");
}

#[tokio::test]
async fn every_flaw_alone_is_told() {
    let server = prepared().await;
    for (number, flaw) in FLAWS.iter().enumerate() {
        let mut movement = good(&format!("k{number}"));
        (flaw.spoil)(&mut movement);
        expect(&server, movement, flaw.reason).await;
    }
    server.record_one(good("k")).await.recorded();
}

#[tokio::test]
async fn of_two_flaws_the_earlier_is_told() {
    let server = prepared().await;
    for (first, earlier) in FLAWS.iter().enumerate() {
        for later in &FLAWS[first + 1..] {
            let mut movement = good("k");
            (later.spoil)(&mut movement);
            (earlier.spoil)(&mut movement);
            expect(&server, movement, earlier.reason).await;
        }
    }
}

#[tokio::test]
async fn a_flaw_of_its_own_is_told_before_that_of_its_group() {
    let server = prepared().await;
    let line = |key: &str, quantity| Movement {
        group: "g".to_owned(),
        ..movement(MovementKind::Sale, key, "berlin", "A", quantity)
    };
    let results = server.record(vec![line("a", 0), line("used", 1), line("b", 1)]).await.results;
    results[0].rejected("QUANTITY_OUT_OF_RANGE");
    results[1].rejected("KEY_REUSED");
    results[2].rejected("GROUP_REFUSED");
}
