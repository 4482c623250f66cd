//! Who is told bands and wants the number: amounts are tried until they tell it, and they do not.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::time::Duration;

use futures::future::join_all;
use stockroom::api::{
    guard::AbuseLimits,
    proto::{
        BatchCreateReservationsRequest, ChannelPolicy, CreateReservationRequest,
        FindPickupLocationsRequest, HoldStockRequest, Line, LinePolicy, Location,
        PutLocationRequest, ReplaceHoldRequest, Visibility,
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    errors::explained,
    holds::{hold, replace},
    movements::{Became as _, receipt},
    reservations::{basket, create, line, seconds},
    server::{Server, eventually},
};

/// What is there of each item.
const UNITS: i64 = 617;
/// Up to so many are few.
const FEW: i64 = 3;
/// Amounts that may be tried.
const AMOUNTS: i64 = 5;
/// Ways to ask whether there is as much; each has an item of its own.
const WAYS: [&str; 7] = ["hold", "per-line", "replace", "reserve", "basket", "amend", "search"];

/// What an attempt told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Enough,
    Short,
    Limited,
}

/// A shop with everything, whose web channel is told bands.
async fn shop(limits: AbuseLimits) -> Server {
    let server = Server::start_set(|api| api.with_abuse_limits(limits)).await;
    let location = Location {
        location_id: "berlin".to_owned(),
        latitude: Some(52.0),
        longitude: Some(13.0),
        pickup_enabled: true,
        ..Location::default()
    };
    let request = PutLocationRequest { location: Some(location) };
    server.network().put_location(request).await.unwrap();
    for (sku, units) in WAYS.map(|way| (way, UNITS)).into_iter().chain([("few", 2), ("other", 9)]) {
        server.record_one(receipt(sku, "berlin", sku, units)).await.recorded();
    }
    let policy = ChannelPolicy {
        channel_id: web(),
        visibility: Visibility::Band as i32,
        few_left_max: FEW,
        ..ChannelPolicy::default()
    };
    server.put_policy(policy).await.unwrap();
    server.holds_kept("berlin", "other").await;
    server
}

fn web() -> String {
    "web".to_owned()
}

fn held(key: &str, lines: Vec<Line>) -> HoldStockRequest {
    HoldStockRequest { channel_id: web(), ..hold(key, "berlin", lines) }
}

fn reserved(key: &str, lines: Vec<Line>) -> CreateReservationRequest {
    CreateReservationRequest { channel_id: web(), ..create(key, "berlin", lines) }
}

fn is_limited(status: &Status) {
    explained(status, Code::ResourceExhausted, "PROBES_LIMITED");
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!wait.is_zero() && wait <= Duration::from_secs(600), "{wait:?}");
}

fn refusal(status: &Status) -> Told {
    if status.code() == Code::ResourceExhausted {
        is_limited(status);
        return Told::Limited;
    }
    explained(status, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert!(!format!("{status:?}").contains(&UNITS.to_string()), "{status:?}");
    Told::Short
}

/// Asks whether there is as much of an item that is named like the way to ask, and gives it back.
async fn ask(server: &Server, way: &str, units: i64, number: usize) -> Told {
    let key = |what: &str| format!("{what}-{way}-{number}");
    let lines = vec![line(way, units)];
    let done = match way {
        "hold" => give_back(server, &key("r"), server.hold(held(&key("k"), lines)).await).await,
        "per-line" => {
            let lines = vec![line("other", 1), line(way, units)];
            let line_policy = LinePolicy::PerLine as i32;
            let request = HoldStockRequest { line_policy, ..held(&key("k"), lines) };
            let made = server.hold(request).await;
            let left_out = made.as_ref().is_ok_and(|(hold, _)| hold.lines.len() == 1);
            match give_back(server, &key("r"), made).await {
                Ok(()) if left_out => return Told::Short,
                done => done,
            }
        }
        "replace" => {
            let (first, _) = server.hold(held(&key("k"), vec![line(way, 1)])).await.unwrap();
            let request =
                ReplaceHoldRequest { channel_id: web(), ..replace(&key("o"), &first, lines) };
            let done = server.replace_hold(request).await.map(|_| ());
            server.release_hold(&key("r"), &first.hold_id).await.unwrap();
            done
        }
        "reserve" => match server.create(reserved(&key("k"), lines)).await {
            Ok(made) => server.cancel(&key("x"), &made.reservation_id).await.map(|_| ()),
            Err(refused) => Err(refused),
        },
        "basket" => {
            let parts = basket(&key("k"), &[("berlin", way, units)]);
            let request = BatchCreateReservationsRequest { channel_id: web(), ..parts };
            match server.batch(request).await {
                Ok(made) => server.cancel(&key("x"), &made[0].reservation_id).await.map(|_| ()),
                Err(refused) => Err(refused),
            }
        }
        "amend" => {
            let made = server.create(reserved(&key("k"), vec![line(way, 1)])).await.unwrap();
            let done = server.amend(&key("a"), &made.reservation_id, lines).await.map(|_| ());
            server.cancel(&key("x"), &made.reservation_id).await.unwrap();
            done
        }
        _ => match search(server, way, units).await {
            Ok(true) => Ok(()),
            Ok(false) => return Told::Short,
            Err(refused) => Err(refused),
        },
    };
    done.map_or_else(|refused| refusal(&refused), |()| Told::Enough)
}

async fn give_back(
    server: &Server,
    key: &str,
    made: crate::harness::holds::Held,
) -> Result<(), Status> {
    server.release_hold(key, &made?.0.hold_id).await
}

/// Whether the shop is proposed to who wants as much.
async fn search(server: &Server, sku: &str, units: i64) -> Result<bool, Status> {
    let request = FindPickupLocationsRequest {
        channel_id: web(),
        lines: vec![line(sku, units)],
        latitude: Some(52.0),
        longitude: Some(13.0),
        ..FindPickupLocationsRequest::default()
    };
    let found = server.availability().find_pickup_locations(request).await?.into_inner();
    Ok(!found.locations.is_empty())
}

#[tokio::test]
async fn who_bisects_for_the_number_does_not_find_it_whatever_it_asks_with() {
    let server = shop(AbuseLimits::default()).await;
    for way in WAYS {
        let (mut enough, mut short) = (1, 1_000);
        let mut tries = 0;
        loop {
            let middle = (enough + short) / 2;
            match ask(&server, way, middle, tries).await {
                Told::Enough => enough = middle,
                Told::Short => short = middle,
                Told::Limited => break,
            }
            tries += 1;
            assert!(tries < 30, "{way} is never limited");
        }
        assert!(tries as i64 <= AMOUNTS, "{way}: {tries}");
        assert!(short - enough > 10, "{way}: {enough} to {short} after {tries}");
        for (number, units) in [2 * FEW, UNITS - 1, UNITS + 1, 100_000].into_iter().enumerate() {
            let told = ask(&server, way, units, 100 + number).await;
            assert_eq!(told, Told::Limited, "{way}: {units}, there or not");
        }
    }
}

#[tokio::test]
async fn who_climbs_to_the_number_or_asks_for_all_at_once_does_not_find_it() {
    let server = shop(AbuseLimits::default()).await;
    let mut known = 0;
    while ask(&server, "hold", known + 100, known as usize).await == Told::Enough {
        known += 100;
    }
    assert_eq!(known, 100 * AMOUNTS, "every promise that is given up tells as much as a refusal");

    for number in 0..=AMOUNTS {
        let lines = vec![line("basket", 10 + number)];
        let brief =
            CreateReservationRequest { ttl: seconds(60), ..reserved(&format!("b{number}"), lines) };
        let made = server.create(brief).await;
        assert_eq!(made.is_ok(), number < AMOUNTS, "{number}: it ends as soon as a hold");
    }

    let calls = (700..900).map(|units| {
        let request = reserved(&format!("k{units}"), vec![line("reserve", units)]);
        server.create(request)
    });
    let answers = join_all(calls).await;
    let told = answers.iter().map(|answer| refusal(answer.as_ref().unwrap_err()));
    let short = told.filter(|told| *told == Told::Short).count();
    assert!((1..=AMOUNTS as usize).contains(&short), "{short}");
}

#[tokio::test]
async fn a_basket_that_is_short_of_something_else_tells_as_little() {
    let server = shop(AbuseLimits::default()).await;
    let mut tries = 0;
    loop {
        let lines = vec![line("gone", 1), line("hold", 100 + tries)];
        let refused = server.create(reserved(&format!("k{tries}"), lines)).await.unwrap_err();
        if refusal(&refused) == Told::Limited {
            break;
        }
        tries += 1;
    }
    assert_eq!(tries, AMOUNTS);
}

#[tokio::test]
async fn what_tells_no_more_than_the_band_is_free_and_so_is_what_is_bought() {
    let server = shop(AbuseLimits::default()).await;
    for number in 0..20 {
        let key = |what: &str| format!("{what}{number}");
        let out = server.hold(held(&key("o"), vec![line("gone", 5)])).await.unwrap_err();
        assert_eq!(refusal(&out), Told::Short, "it is out");
        let few = server.hold(held(&key("f"), vec![line("few", FEW + 1)])).await.unwrap_err();
        assert_eq!(refusal(&few), Told::Short, "few are left");
        assert_eq!(ask(&server, "hold", FEW, number).await, Told::Enough, "a small cart");
        assert!(search(&server, "search", FEW).await.unwrap());

        let (cart, _) = server.hold(held(&key("c"), vec![line("reserve", 10)])).await.unwrap();
        let hold_id = cart.hold_id;
        server
            .create(CreateReservationRequest { hold_id, ..reserved(&key("b"), Vec::new()) })
            .await
            .expect("a large cart that is bought");
        server.create(reserved(&key("d"), vec![line("basket", 20)])).await.expect("an order");
        let exact = hold(&key("e"), "berlin", vec![line("amend", 1_000 + number as i64)]);
        let refused = server.hold(exact).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(told["available"], UNITS.to_string(), "who is told numbers knows them");
    }
}

#[tokio::test]
async fn a_live_hold_is_bought_though_no_amount_may_be_tried_any_more() {
    let server = shop(AbuseLimits::default()).await;
    let mut holds = Vec::new();
    for number in 0..AMOUNTS {
        let request = held(&format!("h{number}"), vec![line("hold", 10)]);
        holds.push(server.hold(request).await.unwrap().0);
    }
    is_limited(&server.hold(held("more", vec![line("hold", 10)])).await.unwrap_err());
    server.hold(held("one", vec![line("hold", 1)])).await.expect("one unit tells nothing");
    server.hold(held("other", vec![line("replace", 10)])).await.expect("another item");
    let buy = |key: &str, hold_id: &str, lines: Vec<Line>| {
        let hold_id = hold_id.to_owned();
        server.create(CreateReservationRequest { hold_id, ..reserved(key, lines) })
    };
    is_limited(&buy("a", &holds[0].hold_id, vec![line("hold", 11)]).await.unwrap_err());
    buy("b", &holds[0].hold_id, vec![line("hold", 10)]).await.unwrap();
    buy("c", &holds[1].hold_id, Vec::new()).await.unwrap();
    server.hold(held("again", vec![line("hold", 10)])).await.expect("two were bought");
}

#[tokio::test]
async fn one_more_amount_may_be_tried_with_time_and_any_where_nothing_is_limited() {
    let span = Duration::from_secs(5);
    let server = shop(AbuseLimits { amounts_max: 1, span, ..AbuseLimits::default() }).await;
    assert_eq!(ask(&server, "hold", 1_000, 0).await, Told::Short);
    assert_eq!(ask(&server, "hold", 900, 1).await, Told::Limited);
    eventually("it may try again", || async {
        (ask(&server, "hold", 900, 2).await == Told::Short).then_some(())
    })
    .await;

    let server = shop(AbuseLimits { amounts_max: 0, ..AbuseLimits::default() }).await;
    for number in 0..20 {
        assert_eq!(ask(&server, "hold", 900 - number as i64, number).await, Told::Short);
    }
}
