//! F14 to F16: tills that were offline, and clocks that are wrong.

use std::collections::HashMap;

use futures::StreamExt as _;
use prost_types::Timestamp;
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    EntryFlag, Movement, MovementKind, MovementStatus, SyncMovementsResponse,
};

use crate::harness::{
    movements::{
        Became as _, at, count, linked_return, receipt, sale, seconds_from_now, sync_request,
    },
    server::{SOURCE, Server},
};

/// A till sells this often in three days.
const SALES: usize = 120;

fn occurred(movement: Movement, occurred_at: Timestamp) -> Movement {
    Movement { occurred_at: Some(occurred_at), ..movement }
}

/// What a till did in three days, in order: a receipt, then sales, each with its own time.
fn three_days() -> Vec<Movement> {
    let sold = |number: usize| {
        let ago = (SALES - number) as i64 * 2_000;
        let key = format!("s{number}");
        occurred(sale(&key, "berlin", &format!("A{}", number % 7), 1), seconds_from_now(-ago))
    };
    let arrived = |number: usize| {
        let key = format!("r{number}");
        occurred(receipt(&key, "berlin", &format!("A{number}"), 100), seconds_from_now(-300_000))
    };
    (0..7).map(arrived).chain((0..SALES).map(sold)).collect()
}

async fn sync(server: &Server, batches: Vec<Vec<Movement>>) -> Vec<SyncMovementsResponse> {
    let requests = batches.into_iter().map(|movements| sync_request(SOURCE, movements));
    let requests = futures::stream::iter(requests.collect::<Vec<_>>());
    let stream = server.movements().sync_movements(requests).await.unwrap().into_inner();
    stream.map(|response| response.unwrap()).collect().await
}

#[tokio::test]
async fn f14_three_days_offline_arrive_shuffled_and_twice_and_count_once() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let facts = three_days();
    let mut delivered = facts.clone();
    delivered.extend(facts.iter().step_by(3).cloned());
    delivered.shuffle(&mut ChaCha8Rng::seed_from_u64(14));
    let batches: Vec<Vec<_>> = delivered.chunks(13).map(<[_]>::to_vec).collect();
    let responses = sync(&server, batches.clone()).await;

    let statuses = responses.iter().flat_map(|response| &response.results);
    let recorded = statuses.filter(|result| result.status() == MovementStatus::Recorded).count();
    assert_eq!(recorded, facts.len(), "each once");
    for (response, batch) in responses.iter().zip(&batches) {
        let answered: Vec<_> = response.results.iter().map(|result| &result.key).collect();
        let sent: Vec<_> = batch.iter().map(|movement| &movement.key).collect();
        assert_eq!(answered, sent, "in the order of the request");
        assert_eq!(response.resume_key, **sent.last().unwrap());
    }
    for item in 0..7 {
        let sold = (0..SALES).filter(|number| number % 7 == item).count() as i64;
        assert_eq!(server.sellable("berlin", &format!("A{item}")).await, 100 - sold);
    }
    let own_times: HashMap<_, _> =
        facts.into_iter().map(|movement| (movement.key, movement.occurred_at)).collect();
    let entries = server.entries().await;
    assert_eq!(entries.len(), own_times.len());
    for entry in entries {
        assert_eq!(entry.occurred_at, own_times[&entry.key], "its own time");
        assert_eq!(entry.effective_at, entry.occurred_at);
    }
}

#[tokio::test]
async fn f14_a_till_that_lost_its_place_asks_where_and_may_send_everything_again() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let facts = three_days();
    let fresh = sync(&server, vec![Vec::new()]).await;
    assert_eq!(fresh[0].resume_key, "", "nothing is known of it yet");
    let (before, after) = facts.split_at(50);
    sync(&server, vec![before.to_vec()]).await;

    let resumed = sync(&server, vec![Vec::new()]).await.remove(0);
    assert_eq!(resumed.resume_key, before.last().unwrap().key);
    assert!(resumed.results.is_empty());
    let rest = sync(&server, vec![after.to_vec()]).await;
    assert!(rest[0].results.iter().all(|result| result.status() == MovementStatus::Recorded));
    let again = sync(&server, vec![facts.clone()]).await.remove(0);
    assert!(again.results.iter().all(|result| result.status() == MovementStatus::Duplicate));
    assert_eq!(server.entries().await.len(), facts.len());
}

#[tokio::test]
async fn f15_sales_from_before_a_count_do_not_change_it() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let time = |minute: u32| at(&format!("2024-03-01T13:{minute:02}:00Z"));
    server.record_one(occurred(receipt("r", "berlin", "A", 100), time(0))).await.recorded();
    server.record_one(occurred(count("c", "berlin", "A", 95), time(30))).await.recorded();
    for (key, minute) in [("s1", 20), ("s2", 21)] {
        let late = server.record_one(occurred(sale(key, "berlin", "A", 1), time(minute))).await;
        assert_eq!(late.recorded().flags, [EntryFlag::BeforeCount as i32]);
        assert_eq!(server.sellable("berlin", "A").await, 95, "the count holds");
    }
    server.record_one(occurred(sale("s3", "berlin", "A", 1), time(40))).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 94, "later facts are laid on top");
    let variances: i64 = server
        .entries_of("berlin", "A")
        .await
        .iter()
        .filter(|entry| entry.kind() == MovementKind::CountVariance)
        .map(|entry| if entry.to_state == 1 { entry.quantity } else { -entry.quantity })
        .sum();
    assert_eq!(variances, -3, "five were missing, of which two had been sold");
}

#[tokio::test]
async fn f15_a_count_that_arrives_late_holds_at_its_own_time() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let time = |minute: u32| at(&format!("2024-03-01T13:{minute:02}:00Z"));
    server.record_one(occurred(receipt("r", "berlin", "A", 100), time(0))).await.recorded();
    server.record_one(occurred(sale("s1", "berlin", "A", 2), time(20))).await.recorded();
    server.record_one(occurred(sale("s2", "berlin", "A", 3), time(40))).await.recorded();
    server.record_one(occurred(count("c", "berlin", "A", 90), time(30))).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 87);
}

#[tokio::test]
async fn f15_every_order_of_arrival_ends_the_same() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let time = |minute: u32| at(&format!("2024-03-01T13:{minute:02}:00Z"));
    for order in 0..24_usize {
        let sku = format!("A{order}");
        let key = |name: &str| format!("{name}{order}");
        let mut left = vec![
            occurred(receipt(&key("r"), "berlin", &sku, 100), time(0)),
            occurred(sale(&key("s"), "berlin", &sku, 7), time(20)),
            occurred(count(&key("c"), "berlin", &sku, 90), time(30)),
            occurred(linked_return(&key("b"), "berlin", &sku, 2, (SOURCE, &key("s"))), time(40)),
        ];
        let mut picks = order;
        while !left.is_empty() {
            let next = left.remove(picks % left.len());
            picks /= left.len() + 1;
            server.record_one(next).await.recorded();
        }
        assert_eq!(server.sellable("berlin", &sku).await, 92, "order {order}");
    }
}

#[tokio::test]
async fn f16_a_clock_that_is_far_off_is_kept_for_review() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let wrong = [
        ("1970", at("1970-01-01T00:00:00Z")),
        ("1999", at("1999-12-31T23:59:59Z")),
        ("ahead", seconds_from_now(400)),
        ("2106", at("2106-02-07T06:28:15Z")),
        ("no calendar has it", Timestamp { seconds: i64::MAX, nanos: 0 }),
    ];
    for (key, time) in wrong {
        let line = occurred(sale(key, "berlin", "A", 1), time);
        let error = server.record_one(line).await.rejected("OCCURRED_AT_OUT_OF_RANGE");
        assert!(error.metadata.contains_key("occurred_at_us"), "{error:?}");
    }
    assert_eq!(server.entries().await, [], "never silently believed");
    let kept = server.rejected().await;
    let keys: Vec<_> = kept.iter().map(|row| &*row.movement.as_ref().unwrap().key).collect();
    assert_eq!(keys, wrong.map(|(key, _)| key), "never dropped");
    for (row, (_, time)) in kept.iter().zip(wrong).take(4) {
        assert_eq!(row.movement.as_ref().unwrap().occurred_at, Some(time), "as it was sent");
    }
    server
        .record_one(occurred(sale("a bit", "berlin", "A", 1), seconds_from_now(200)))
        .await
        .recorded();
}

#[tokio::test]
async fn f16_the_hour_that_exists_twice_keeps_both_times() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    // Berlin, 2024-10-27: 02:30 came at +120 minutes and an hour later again at +60.
    let twice = [("summer", "2024-10-27T00:30:00Z", 120), ("winter", "2024-10-27T01:30:00Z", 60)];
    for (key, time, utc_offset_minutes) in twice {
        let line = occurred(sale(key, "berlin", "A", 1), at(time));
        server.record_one(Movement { utc_offset_minutes, ..line }).await.recorded();
    }
    let entries = server.entries_of("berlin", "A").await;
    for (entry, (_, time, utc_offset_minutes)) in entries.iter().zip(twice) {
        assert_eq!(entry.occurred_at, Some(at(time)));
        assert_eq!(entry.utc_offset_minutes, utc_offset_minutes);
    }
    assert_eq!(entries.len(), 2);
}

#[tokio::test]
async fn f16_a_clock_that_says_how_far_it_is_off_is_corrected() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    // The till is an hour behind, and sold something a minute ago by its own clock.
    let line = occurred(sale("s", "berlin", "A", 1), seconds_from_now(-3_660));
    server.record_at(seconds_from_now(-3_600), line.clone()).await.recorded();
    let entry = server.entries_of("berlin", "A").await.remove(0);
    assert_eq!(entry.occurred_at, line.occurred_at, "what it said is kept");
    let (effective, recorded) = (entry.effective_at.unwrap(), entry.recorded_at.unwrap());
    let ago = recorded.seconds - effective.seconds;
    assert!((58..=70).contains(&ago), "{ago} s ago");
}

#[tokio::test]
async fn f16_a_clock_ahead_cannot_write_into_the_future() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let line = occurred(sale("s", "berlin", "A", 1), seconds_from_now(250));
    let posted = server.record_one(line.clone()).await.recorded();
    assert_eq!(posted.effective_at, posted.recorded_at);
    let entry = server.entries_of("berlin", "A").await.remove(0);
    assert_eq!(entry.occurred_at, line.occurred_at);
}
