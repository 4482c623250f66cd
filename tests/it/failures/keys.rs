//! F17 and F18: what is sent twice.

use stockroom::api::proto::{Movement, MovementKind, MovementStatus};

use crate::harness::{
    movements::{Became as _, at, count, movement, receipt, sale},
    server::{SOURCE, Server},
};

async fn shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    server.put_channel("web").await;
    server.record_one(receipt("r", "berlin", "A", 10)).await.recorded();
    server
}

#[tokio::test]
async fn f17_a_resend_is_answered_with_the_first_answer() {
    let server = shop().await;
    let first = server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
    server.record_one(sale("other", "berlin", "A", 3)).await.recorded();
    server.record_one(count("c", "berlin", "A", 1)).await.recorded();
    let again = server.record_one(sale("s", "berlin", "A", 1)).await.duplicate();
    assert_eq!(again, first, "whatever happened since");
    assert_eq!(server.sellable("berlin", "A").await, 1);
}

#[tokio::test]
async fn f17_a_genuine_double_scan_is_two_units() {
    let server = shop().await;
    server.record(vec![sale("s/1", "berlin", "A", 1), sale("s/2", "berlin", "A", 1)]).await;
    assert_eq!(server.sellable("berlin", "A").await, 8);
}

#[tokio::test]
async fn f17_the_same_key_twice_in_one_request_is_one_unit() {
    let server = shop().await;
    let line = sale("s", "berlin", "A", 1);
    let results = server.record(vec![line.clone(), line.clone(), line]).await.results;
    let first = results[0].recorded();
    assert_eq!(results[1].duplicate(), first);
    assert_eq!(results[2].duplicate(), first);
    assert_eq!(server.sellable("berlin", "A").await, 9);
}

#[tokio::test]
async fn f17_resends_that_race_are_recorded_once() {
    let server = shop().await;
    let sends = (0..20).map(|_| server.record_one(sale("s", "berlin", "A", 1)));
    let results = futures::future::join_all(sends).await;
    let recorded = results.iter().filter(|r| r.status() == MovementStatus::Recorded).count();
    assert_eq!(recorded, 1);
    assert!(results.windows(2).all(|pair| pair[0].entry == pair[1].entry), "one answer for all");
    assert_eq!(server.sellable("berlin", "A").await, 9);
}

#[tokio::test]
async fn f17_a_key_belongs_to_its_source_and_its_location() {
    let server = shop().await;
    server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
    server.record_as("till-2", vec![sale("s", "berlin", "A", 1)]).await.results[0].recorded();
    server.record_one(sale("s", "paris", "A", 1)).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 8);
    assert_eq!(server.sellable("paris", "A").await, -1);
}

#[tokio::test]
async fn f18_another_content_under_a_used_key_has_no_effect() {
    let server = shop().await;
    let first =
        Movement { occurred_at: Some(at("2024-03-01T12:00:00Z")), ..sale("s", "berlin", "A", 1) };
    let posted = server.record_one(first.clone()).await.recorded();
    let others = [
        ("kind", Movement { kind: MovementKind::ShipOut as i32, ..first.clone() }),
        ("sku", Movement { sku: "B".to_owned(), ..first.clone() }),
        ("quantity", Movement { quantity: 2, ..first.clone() }),
        (
            "occurred_at",
            Movement { occurred_at: Some(at("2024-03-01T12:00:01Z")), ..first.clone() },
        ),
        ("channel_id", Movement { channel_id: "web".to_owned(), ..first.clone() }),
        ("reason", Movement { reason: "gift".to_owned(), ..first.clone() }),
        ("document", Movement { document: "D".to_owned(), ..first.clone() }),
        ("document_line", Movement { document_line: 7, ..first.clone() }),
        ("note", Movement { note: "n".to_owned(), ..first.clone() }),
        ("from_state", Movement { from_state: 2, ..first.clone() }),
    ];
    for (field, other) in others {
        let error = server.record_one(other).await.rejected("KEY_REUSED");
        assert_eq!((error.code, &*error.metadata["field"]), (6, field), "ALREADY_EXISTS");
    }
    assert_eq!(server.sellable("berlin", "A").await, 9);
    assert_eq!(server.position("berlin", "B").await.version, 0);
    assert_eq!(server.record_one(first).await.duplicate(), posted);
}

#[tokio::test]
async fn f18_a_default_that_is_spelled_out_is_the_same_content() {
    let server = shop().await;
    let line = movement(MovementKind::Sale, "s", "berlin", "A", 1);
    server.record_one(line.clone()).await.recorded();
    // Nothing else can be said of a field at its default: it is not sent at all.
    let same = Movement { note: String::new(), document_line: 0, ..line };
    server.record_one(same).await.duplicate();
}

#[tokio::test]
async fn f18_what_was_refused_does_not_use_up_its_key() {
    let server = shop().await;
    server.record_one(sale("s", "nowhere", "A", 1)).await.rejected("LOCATION_UNKNOWN");
    server.record_one(sale("s", "berlin", "A", 0)).await.rejected("QUANTITY_OUT_OF_RANGE");
    server.record_one(sale("s", "berlin", "A", 4)).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 6);
}

#[tokio::test]
async fn f18_what_was_refused_for_its_key_stays_on_the_list() {
    let server = shop().await;
    server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
    server.record_one(sale("s", "berlin", "A", 2)).await.rejected("KEY_REUSED");
    server.record_one(sale("t", "berlin", "A", 1)).await.recorded();
    server.record_one(sale("t", "berlin", "A", 0)).await.rejected("QUANTITY_OUT_OF_RANGE");
    let open = server.rejected().await;
    let kept: Vec<_> =
        open.iter().map(|row| (&*row.source, row.movement.as_ref().unwrap().quantity)).collect();
    assert_eq!(kept, [(SOURCE, 2), (SOURCE, 0)], "an earlier movement of that key says nothing");
}
