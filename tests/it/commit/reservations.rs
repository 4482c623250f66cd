//! `kill -9` of a server between any two steps of a request, and the same request once more: one effect,
//! and the first answer.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::api::proto::{
    CreateReservationRequest, HoldStockRequest, MoveReservationRequest, Reservation,
    reservation_service_client::ReservationServiceClient,
};
use tonic::{Code, Status, transport::Channel as Connection};

use crate::harness::{
    binary::Binary,
    errors::explained,
    holds::hold,
    movements::{Became as _, receipt},
    proxy::{Cut, Proxy},
    redis::Redis,
    reservations::{collection, create, line},
    server::{Server, eventually, migrated_database},
};

/// Where the server is killed: after it has sent this, which arrives or does not.
const CRASHES: [Option<(&str, Cut)>; 4] = [
    Some(("begin; set local lock_timeout", Cut::Hold)),
    Some(("COMMIT", Cut::Hold)),
    Some(("COMMIT", Cut::AfterAndClose)),
    // After its answer.
    None,
];

/// What is asked for under the key "k".
#[derive(Clone, Debug)]
enum Asked {
    LastUnit,
    FromHold(String),
    Move(String),
    Collect(String),
}

impl Asked {
    async fn of(self, connection: Connection) -> Result<Reservation, Status> {
        let mut client = ReservationServiceClient::new(connection);
        let made = match self {
            Asked::LastUnit => {
                let request = create("k", "shop", vec![line("jam", 1)]);
                client.create_reservation(request).await?.into_inner().reservation
            }
            Asked::FromHold(hold_id) => {
                let request = create("k", "shop", Vec::new());
                let request = CreateReservationRequest { hold_id, ..request };
                client.create_reservation(request).await?.into_inner().reservation
            }
            Asked::Move(id) => {
                let request = MoveReservationRequest {
                    request_id: "k".to_owned(),
                    reservation_id: id,
                    location_id: "other".to_owned(),
                    reason: String::new(),
                };
                client.move_reservation(request).await?.into_inner().reservation
            }
            Asked::Collect(id) => {
                let request = collection("k", &id, "");
                client.collect_reservation(request).await?.into_inner().reservation
            }
        };
        Ok(made.unwrap())
    }
}

/// A server that only looks on, over one unit in each of two shops.
async fn watcher() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["shop", "other"]).await;
    for location in ["shop", "other"] {
        server.record_one(receipt("r", location, "jam", 1)).await.recorded();
    }
    server.caught_up().await;
    server
}

/// Asks a server that is killed at this point, and then another one, twice.
async fn crashed(watcher: &Server, crash: Option<(&str, Cut)>, asked: &Asked) -> Reservation {
    let url = &watcher.database_url;
    let proxy = Proxy::start(url).await;
    let mut doomed = Binary::start(&proxy.url(url)).await;
    let connection = doomed.connection();
    let first = match crash {
        Some((text, cut)) => {
            proxy.trap(text, cut, 1);
            let answer = tokio::spawn(asked.clone().of(connection));
            eventually("the trap springs", || async { (proxy.sprung() == 1).then_some(()) }).await;
            doomed.kill();
            proxy.close();
            let lost = answer.await.unwrap();
            assert!(lost.is_err(), "{asked:?} {crash:?}: it was killed before {lost:?}");
            None
        }
        None => {
            let first = asked.clone().of(connection).await.unwrap();
            doomed.kill();
            Some(first)
        }
    };
    let next = Binary::start(url).await;
    let again = asked.clone().of(next.connection()).await.unwrap();
    if let Some(first) = first {
        assert_eq!(again, first, "{asked:?}: the first answer");
    }
    let once_more = asked.clone().of(next.connection()).await.unwrap();
    assert_eq!(once_more, again, "{asked:?} {crash:?}: the first answer");
    let entries = watcher.entries().await;
    let answers = entries.iter().filter(|entry| entry.key == "k");
    let answers = answers.filter(|entry| entry.seq == again.version).count();
    assert_eq!(answers, 1, "{asked:?} {crash:?}");
    again
}

#[tokio::test]
async fn the_last_unit_is_reserved_once_wherever_the_server_is_killed() {
    for crash in CRASHES {
        let watcher = watcher().await;
        let made = crashed(&watcher, crash, &Asked::LastUnit).await;
        assert_eq!(watcher.get(&made.reservation_id).await, made, "{crash:?}");
        assert_eq!(watcher.balances("shop", "jam").await, (1, 0, 1), "{crash:?}");
        let refused = watcher.reserve("other", "shop", "jam", 1).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        let keys = watcher.entries_of("shop", "jam").await;
        assert_eq!(keys.len(), 2, "{crash:?}: a receipt and a promise");
    }
}

#[tokio::test]
async fn a_hold_is_consumed_once_wherever_the_server_is_killed() {
    for crash in CRASHES {
        let watcher = watcher().await;
        let kept = watcher.holds_kept("shop", "jam").await;
        let request = hold("h", "shop", vec![line("jam", 1)]);
        let (held, durability) = watcher.hold(HoldStockRequest { ..request }).await.unwrap();
        assert_eq!(durability, kept);
        let made = crashed(&watcher, crash, &Asked::FromHold(held.hold_id.clone())).await;
        assert_eq!((&made.hold_id, made.lines[0].quantity), (&held.hold_id, 1), "{crash:?}");
        assert_eq!(watcher.balances("shop", "jam").await, (1, 0, 1), "{crash:?}");
        let twice = create("other", "shop", vec![line("jam", 1)]);
        let twice = CreateReservationRequest { hold_id: held.hold_id, ..twice };
        let refused = watcher.create(twice).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_CONSUMED");
        watcher.cancel("c", &made.reservation_id).await.unwrap();
        assert_eq!(watcher.available("shop", "jam").await, 1, "{crash:?}: nothing is left of it");
    }
}

#[tokio::test]
async fn a_move_happens_at_both_shops_or_at_none_wherever_the_server_is_killed() {
    for crash in CRASHES {
        let watcher = watcher().await;
        let old = watcher.reserve("made", "shop", "jam", 1).await.unwrap();
        let made = crashed(&watcher, crash, &Asked::Move(old.reservation_id.clone())).await;
        assert_eq!((&made.predecessor_id, &*made.location_id), (&old.reservation_id, "other"));
        assert_eq!(watcher.balances("shop", "jam").await, (1, 0, 0), "{crash:?}");
        assert_eq!(watcher.balances("other", "jam").await, (1, 0, 1), "{crash:?}");
    }
}

#[tokio::test]
async fn goods_are_handed_over_once_wherever_the_server_is_killed() {
    for crash in CRASHES {
        let watcher = watcher().await;
        let old = watcher.reserve("made", "shop", "jam", 1).await.unwrap();
        let made = crashed(&watcher, crash, &Asked::Collect(old.reservation_id)).await;
        assert_eq!(made.lines[0].collected, 1);
        assert_eq!(watcher.balances("shop", "jam").await, (0, 0, 0), "{crash:?}");
    }
}

/// The connection is lost and the server lives: it finds out by itself what became of the batch.
#[tokio::test]
async fn every_step_whose_commit_was_lost_is_taken_once() {
    for cut in [Cut::Before, Cut::After] {
        let url = migrated_database().await;
        let proxy = Proxy::start(&url).await;
        let reached = Redis::Absent.reach("").await;
        let server = Server::start_with(&url, &proxy.url(&url), reached).await;
        server.put_locations(&["shop", "other"]).await;
        for location in ["shop", "other"] {
            server.record_one(receipt("r", location, "jam", 5)).await.recorded();
        }
        let mut sprung = 0;
        let mut lost = || {
            sprung += 1;
            proxy.trap("COMMIT", cut, 1);
            sprung
        };
        lost();
        let (held, _) = server.hold_one("h", "shop", "jam", 5).await.unwrap();
        lost();
        let own = create("k0", "shop", vec![line("jam", 5)]);
        let own = CreateReservationRequest { hold_id: held.hold_id, ..own };
        let made = server.create(own.clone()).await.unwrap();
        lost();
        let moved = server.move_to("k1", &made.reservation_id, "other").await.unwrap();
        let id = &moved.reservation_id;
        lost();
        server.amend("k2", id, vec![line("jam", 4)]).await.unwrap();
        lost();
        server.start_picking("k3", id).await.unwrap();
        lost();
        server.report_pick("k4", id, &[("jam", 3, "mismatch")]).await.unwrap();
        lost();
        server.mark_ready("k5", id).await.unwrap();
        lost();
        server.cancel("k6", id).await.unwrap();
        let last = lost();
        server.return_to_shelf("k7", id).await.unwrap();
        assert_eq!(proxy.sprung(), last, "{cut:?}");
        assert_eq!(server.balances("shop", "jam").await, (5, 0, 0), "{cut:?}");
        assert_eq!(server.balances("other", "jam").await, (5, 0, 0), "{cut:?}");
        assert_eq!(server.create(own).await.unwrap(), made, "{cut:?}");
        assert_eq!(server.move_to("k1", &made.reservation_id, "other").await.unwrap(), moved);
    }
}
