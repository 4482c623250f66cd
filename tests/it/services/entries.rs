//! ListEntries: filters, pages over partitions, times.

use std::collections::BTreeSet;

use stockroom::api::proto::{Entry, ListEntriesRequest, Movement};

use crate::harness::{
    movements::{Became as _, at, receipt, sale},
    server::Server,
};

const LOCATIONS: [&str; 6] = ["berlin", "paris", "rome", "madrid", "vienna", "prague"];

/// Two items at every location, sold on ten days of March 2024.
async fn chain() -> Server {
    let server = Server::start().await;
    server.put_locations(&LOCATIONS).await;
    let mut movements = Vec::new();
    for location in LOCATIONS {
        for day in 1..=10 {
            let sku = if day % 2 == 0 { "even" } else { "odd" };
            movements.push(Movement {
                occurred_at: Some(at(&format!("2024-03-{day:02}T12:00:00Z"))),
                document: format!("day-{day}"),
                ..sale(&format!("{location}/{day}"), location, sku, 1)
            });
        }
    }
    for result in server.record(movements).await.results {
        result.recorded();
    }
    server
}

async fn list(server: &Server, request: ListEntriesRequest) -> Vec<Entry> {
    let page = server.ledger().list_entries(request).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, "");
    page.entries
}

fn any() -> ListEntriesRequest {
    ListEntriesRequest { page_size: 1_000, ..ListEntriesRequest::default() }
}

#[tokio::test]
async fn pages_cover_every_partition_once_and_in_order() {
    let server = chain().await;
    let all = server.entries().await;
    let partitions: BTreeSet<_> = all.iter().map(|entry| entry.partition).collect();
    assert!(partitions.len() > 2, "or this test shows little: {partitions:?}");
    assert_eq!(all.len(), 60);
    assert!(all.is_sorted_by_key(|entry| (entry.partition, entry.seq)));
    for page_size in [1, 7, 20, 60] {
        let (mut paged, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListEntriesRequest { page_size, page_token, ..any() };
            let page = server.ledger().list_entries(request).await.unwrap().into_inner();
            assert!(page.entries.len() <= page_size as usize);
            paged.extend(page.entries);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, all, "pages of {page_size}");
    }
}

#[tokio::test]
async fn filters_hold_alone_and_together() {
    let server = chain().await;
    let berlin = ListEntriesRequest { location_id: "berlin".into(), ..any() };
    assert_eq!(list(&server, berlin.clone()).await.len(), 10);
    let even = ListEntriesRequest { sku: "even".into(), ..any() };
    assert_eq!(list(&server, even).await.len(), 30);
    let day = ListEntriesRequest { document: "day-3".into(), ..any() };
    assert_eq!(list(&server, day).await.len(), 6);
    let both = ListEntriesRequest { sku: "odd".into(), document: "day-3".into(), ..berlin.clone() };
    let entries = list(&server, both).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].key, "berlin/3");
    let none = ListEntriesRequest { sku: "even".into(), document: "day-3".into(), ..berlin };
    assert_eq!(list(&server, none).await, []);
    let unheard = ListEntriesRequest { sku: "unheard of".into(), ..any() };
    assert_eq!(list(&server, unheard).await, []);
}

#[tokio::test]
async fn times_bound_what_took_effect() {
    let server = chain().await;
    let from_to = |from: &str, until: &str| ListEntriesRequest {
        effective_from: Some(at(from)),
        effective_until: Some(at(until)),
        ..any()
    };
    let entries = list(&server, from_to("2024-03-03T12:00:00Z", "2024-03-05T12:00:00Z")).await;
    let documents: BTreeSet<_> = entries.iter().map(|entry| &*entry.document).collect();
    assert_eq!(documents, ["day-3", "day-4"].into(), "from is inclusive, until is not");
    assert_eq!(entries.len(), 12);
    // What was recorded later is found although it took effect earlier.
    let late = Movement {
        occurred_at: Some(at("2024-03-04T09:00:00Z")),
        ..receipt("late", "berlin", "even", 1)
    };
    server.record_one(late).await.recorded();
    let entries = list(&server, from_to("2024-03-03T12:00:00Z", "2024-03-05T12:00:00Z")).await;
    assert_eq!(entries.len(), 13);
    let recently = ListEntriesRequest { effective_from: Some(at("2025-01-01T00:00:00Z")), ..any() };
    assert_eq!(list(&server, recently).await, []);
}

#[tokio::test]
async fn an_entry_shows_everything_that_was_sent() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.put_channel("web").await;
    let sent = Movement {
        occurred_at: Some(at("2024-03-01T12:00:00.123456Z")),
        utc_offset_minutes: 60,
        channel_id: "web".into(),
        reason: "gift".into(),
        document: "bon 7".into(),
        document_line: 3,
        note: "größer".into(),
        reservation_id: "res".into(),
        hold_id: "hold".into(),
        group: "g".into(),
        ..sale("s", "berlin", "A", 2)
    };
    server.record_one(sent.clone()).await.recorded();
    let entry = server.entries().await.remove(0);
    let shown = Movement {
        key: entry.key,
        kind: entry.kind,
        location_id: entry.location_id,
        sku: entry.sku,
        quantity: entry.quantity,
        occurred_at: entry.occurred_at,
        utc_offset_minutes: entry.utc_offset_minutes,
        channel_id: entry.channel_id,
        reason: entry.reason,
        document: entry.document,
        document_line: entry.document_line,
        note: entry.note,
        reservation_id: entry.reservation_id,
        hold_id: entry.hold_id,
        group: entry.group,
        ..Movement::default()
    };
    assert_eq!(shown, sent);
    assert_eq!((entry.from_state, entry.to_state), (1, 6));
    assert_eq!((entry.sellable_after, entry.seq, entry.source.as_str()), (-2, 1, "till-1"));
    assert_eq!(entry.flags, [3], "there is no such promise");
}
