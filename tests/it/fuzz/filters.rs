//! Filters of lists, availability and positions in the past, over gRPC, against what a naive reader
//! makes of everything that there is.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::cmp::Reverse;

use prost_types::Timestamp;
use stockroom::api::proto::{
    CheckAvailabilityRequest, Entry, GetPositionRequest, ListEntriesRequest,
    ListReservationsRequest, Reservation,
};
use tokio::runtime::Builder;
use tonic::{Code, Status};

use super::{
    behaviours::Behaviours,
    numbers::Numbers,
    runner::{Target, fuzz},
};
use crate::harness::{
    errors::explained,
    movements::{count, receipt, sale, seconds_from_now},
    reservations::{create, line, micros},
    server::Server,
};

const SHOPS: [&str; 3] = ["shop-0", "shop-1", "shop-2"];
const ITEMS: [&str; 3] = ["item-0", "item-1", "item-2"];
/// Typed in place of a code, besides those that were given out.
const CODES: [&str; 6] = ["-", " ", "--- -", "O", "AAAAAAAA", "é"];

/// Everything that there is; nothing changes any more.
struct Scene {
    server: Server,
    entries: Vec<Entry>,
    reservations: Vec<Reservation>,
}

impl Scene {
    async fn start() -> Scene {
        let server = Server::start_honest().await;
        server.put_locations(&SHOPS).await;
        for (n, shop) in SHOPS.into_iter().enumerate() {
            for (m, item) in ITEMS.into_iter().enumerate().skip(n % 2) {
                let key = |what: &str| format!("{what}-{m}");
                let mut late = sale(&key("s"), shop, item, 2);
                late.occurred_at = Some(seconds_from_now(-3_600 * (m as i64 + 1)));
                late.document = format!("doc-{}", m % 2);
                server.record(vec![receipt(&key("r"), shop, item, 9), late]).await;
                server.record(vec![count(&key("c"), shop, item, 6 + m as i64)]).await;
                let mut asked = create(&key("k"), shop, vec![line(item, 1)]);
                asked.order_ref = format!("order-{m}");
                asked.customer_ref = if n == 0 { "customer".to_owned() } else { String::new() };
                let made = server.create(asked).await.unwrap();
                if m == 1 {
                    server.cancel(&key("x"), &made.reservation_id).await.unwrap();
                }
            }
        }
        server.caught_up().await;
        let entries = server.entries().await;
        let mut reservations = Vec::new();
        for entry in entries.iter().filter(|entry| entry.reserved_change > 0) {
            reservations.push(server.get(&entry.reservation_id).await);
        }
        Scene { server, entries, reservations }
    }
}

#[test]
fn filters() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::start());
    let ramp = |kind: u8, step: usize| {
        let ramp = (0..60).map(move |at| (at * step % 251) as u8);
        [kind].into_iter().chain(ramp).collect()
    };
    let ramps = (0..4).flat_map(|kind| [1, 7, 31, 97].map(|step| ramp(kind, step)));
    // By each code alone, at each location.
    let codes = 0..(scene.reservations.len() + CODES.len()) as u8;
    let by_code = codes.flat_map(|code| [0, 1, 2].map(|shop| vec![1, shop, 0, code, 4, 3]));
    let seeds = ramps.chain(by_code).collect();
    let target = Target { name: "filters", seeds, words: &[], message: false, floor: 60 };
    fuzz(target, |input, seen| {
        let mut numbers = Numbers(input);
        let kind = numbers.byte() % 4;
        let scene = &scene;
        match kind {
            0 => runtime.block_on(entries(scene, &mut numbers, seen)),
            1 => runtime.block_on(reservations(scene, &mut numbers, seen)),
            2 => runtime.block_on(available(scene, &mut numbers, seen)),
            _ => runtime.block_on(past(scene, &mut numbers, seen)),
        }
    });
    runtime.block_on(scene.server.stop());
}

/// One of these texts, none, or one that nobody ever heard of.
fn some(texts: &[&str], numbers: &mut Numbers<'_>) -> String {
    let at = usize::from(numbers.byte()) % (texts.len() + 3);
    match texts.get(at) {
        Some(text) => (*text).to_owned(),
        None if at == texts.len() => "unheard-of".to_owned(),
        None => String::new(),
    }
}

/// None, the moment of an entry or one beside it.
fn moment(scene: &Scene, numbers: &mut Numbers<'_>) -> Option<Timestamp> {
    let entry = scene.entries.get(usize::from(numbers.byte()) % (scene.entries.len() + 9))?;
    let mut at = entry.effective_at?;
    at.seconds += [0, 0, 1, -1][usize::from(numbers.byte()) % 4];
    Some(at)
}

async fn entries(scene: &Scene, numbers: &mut Numbers<'_>, seen: &mut Behaviours) {
    let request = ListEntriesRequest {
        location_id: some(&SHOPS, numbers),
        sku: some(&ITEMS, numbers),
        document: some(&["doc-0", "doc-1"], numbers),
        effective_from: moment(scene, numbers),
        effective_until: moment(scene, numbers),
        page_size: 1_000,
        page_token: String::new(),
    };
    let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    let at = |time: Option<Timestamp>| time.map(|time| micros(Some(time)));
    let wanted = scene.entries.iter().filter(|entry| {
        let effective = micros(entry.effective_at);
        is(&request.location_id, &entry.location_id)
            && is(&request.sku, &entry.sku)
            && is(&request.document, &entry.document)
            && at(request.effective_from).is_none_or(|from| effective >= from)
            && at(request.effective_until).is_none_or(|until| effective < until)
    });
    let wanted: Vec<_> = wanted.cloned().collect();
    match scene.server.ledger().list_entries(request.clone()).await {
        Ok(response) => assert_eq!(response.into_inner().entries, wanted, "{request:?}"),
        Err(status) => unheard_of(&status, &request.location_id),
    }
    let set = [&request.location_id, &request.sku, &request.document].map(|text| !text.is_empty());
    let times = [request.effective_from, request.effective_until].map(|time| time.is_some());
    seen.saw(format!("some entries {} by {set:?} {times:?}", !wanted.is_empty()));
}

/// A location that does not exist is told; nothing else is wrong with such a question.
fn unheard_of(status: &Status, location_id: &str) {
    explained(status, Code::NotFound, "LOCATION_UNKNOWN");
    assert_eq!(location_id, "unheard-of");
}

async fn reservations(scene: &Scene, numbers: &mut Numbers<'_>, seen: &mut Behaviours) {
    let codes: Vec<_> = scene.reservations.iter().map(|made| &*made.pickup_code).collect();
    let request = ListReservationsRequest {
        location_id: some(&SHOPS, numbers),
        states: (0..numbers.byte() % 3).map(|_| i32::from(numbers.byte() % 10)).collect(),
        pickup_code: some(&[&codes[..], &CODES[..]].concat(), numbers),
        order_ref: some(&["order-0", "order-1"], numbers),
        customer_ref: some(&["customer"], numbers),
        page_size: 1_000,
        page_token: String::new(),
    };
    let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    let any = request.states.is_empty() || request.states.contains(&0);
    let wanted = scene.reservations.iter().filter(|made| {
        let code = request.pickup_code.is_empty()
            || (request.pickup_code == made.pickup_code && made.state != 5);
        is(&request.location_id, &made.location_id)
            && code
            && (any || request.states.contains(&made.state))
            && is(&request.order_ref, &made.order_ref)
            && is(&request.customer_ref, &made.customer_ref)
    });
    let name = |made: &Reservation| made.reservation_id.clone();
    let mut wanted: Vec<_> = wanted.map(name).collect();
    match scene.server.list(request.clone()).await {
        Ok(response) => {
            let mut told: Vec<_> = response.reservations.iter().map(name).collect();
            told.sort();
            wanted.sort();
            assert_eq!(told, wanted, "{request:?}");
            let texts = [&request.location_id, &request.pickup_code, &request.order_ref];
            let set = texts.map(|text| !text.is_empty());
            seen.saw(format!("some reservations {} by {set:?} {any}", !wanted.is_empty()));
        }
        Err(status) => {
            match status.code() {
                Code::InvalidArgument | Code::NotFound => {}
                _ => guessed_too_often(&status, &request),
            }
            seen.saw(format!("reservations {}", status.message()));
        }
    }
}

/// Only codes that are tried at a location are limited.
fn guessed_too_often(status: &Status, request: &ListReservationsRequest) {
    explained(status, Code::ResourceExhausted, "PICKUP_LOOKUPS_LIMITED");
    let tried = !request.pickup_code.is_empty() && SHOPS.contains(&&*request.location_id);
    assert!(tried, "{request:?}: {status:?}");
}

async fn available(scene: &Scene, numbers: &mut Numbers<'_>, seen: &mut Behaviours) {
    let mut chosen = |texts: &[&str]| -> Vec<String> {
        let count = usize::from(numbers.byte() % 4);
        (0..count).map(|_| some(texts, numbers)).filter(|text| !text.is_empty()).collect()
    };
    let request = CheckAvailabilityRequest {
        skus: chosen(&ITEMS),
        location_ids: chosen(&SHOPS),
        ..CheckAvailabilityRequest::default()
    };
    let response = match scene.server.availability().check_availability(request.clone()).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            seen.saw(format!("availability {}", status.message()));
            let empty = request.skus.is_empty() && status.code() == Code::InvalidArgument;
            let unheard = request.location_ids.iter().any(|id| id == "unheard-of");
            assert!(empty || unheard, "{request:?}: {status:?}");
            return;
        }
    };
    let locations = match request.location_ids.is_empty() {
        true => SHOPS.map(str::to_owned).to_vec(),
        false => request.location_ids.clone(),
    };
    assert_eq!(response.availability.len(), locations.len() * request.skus.len());
    for told in &response.availability {
        let of_position =
            |entry: &&Entry| (&entry.location_id, &entry.sku) == (&told.location_id, &told.sku);
        let last = scene.entries.iter().rfind(of_position);
        let left = last.map_or(0, |entry| (entry.sellable_after - entry.reserved_after).max(0));
        let version = last.map_or(0, |entry| entry.seq);
        assert_eq!((told.available, told.version, told.known), (left, version, last.is_some()));
    }
    seen.saw(format!("{} pairs", response.availability.len()));
}

/// A position as it stood when some entry was recorded.
async fn past(scene: &Scene, numbers: &mut Numbers<'_>, seen: &mut Behaviours) {
    let picked = &scene.entries[usize::from(numbers.byte()) % scene.entries.len()];
    let request = GetPositionRequest {
        location_id: SHOPS[usize::from(numbers.byte()) % SHOPS.len()].to_owned(),
        sku: ITEMS[usize::from(numbers.byte()) % ITEMS.len()].to_owned(),
        as_of: picked.recorded_at,
        token: String::new(),
    };
    let of_position = scene.entries.iter().filter(|entry| {
        (&entry.location_id, &entry.sku) == (&request.location_id, &request.sku)
            && micros(entry.recorded_at) <= micros(picked.recorded_at)
    });
    let last = of_position.min_by_key(|entry| Reverse(entry.seq));
    let wanted = last.map_or((0, 0), |entry| (entry.sellable_after, entry.reserved_after));
    let response = scene.server.ledger().get_position(request.clone()).await.unwrap();
    let told = response.into_inner().position.unwrap();
    assert_eq!((told.sellable, told.reserved), wanted, "{request:?}");
    seen.saw(format!("was {wanted:?}"));
}
