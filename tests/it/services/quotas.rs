//! Quotas: ring-fenced for a channel, whatever the others ask for and wherever they ask.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use futures::future::join_all;
use stockroom::api::proto::{
    CancelReservationRequest, ChannelPolicy, CreateReservationRequest, ExplainAvailabilityRequest,
    HoldStockRequest, ListQuotasRequest, MovementKind, PutQuotasRequest, Quota, QuotaState,
    WatchAvailabilityRequest,
};
use tonic::{Code, Status};

use crate::harness::{
    databases::execute,
    errors::{explained, patiently},
    holds::{hold, replace},
    live::{Live, watch},
    movements::{Became as _, movement, receipt},
    redis::Redis,
    reservations::{create, line, seconds},
    server::{Server, eventually},
};

const BOTH: [Redis; 2] = [Redis::Real, Redis::Absent];

fn quota(channel_id: &str, units: i64) -> Quota {
    Quota {
        channel_id: channel_id.to_owned(),
        sku: "jam".to_owned(),
        location_id: "shop".to_owned(),
        units,
        ..Quota::default()
    }
}

async fn put(server: &Server, quotas: &[Quota]) -> Result<(), Status> {
    let request = PutQuotasRequest { quotas: quotas.to_vec() };
    server.network().put_quotas(request).await.map(|_| ())
}

async fn list(server: &Server) -> Vec<QuotaState> {
    let location_id = "shop".to_owned();
    let request = ListQuotasRequest { location_id, ..ListQuotasRequest::default() };
    server.network().list_quotas(request).await.unwrap().into_inner().quotas
}

/// Used and fenced of one channel's quota.
async fn state(server: &Server, channel_id: &str) -> (i64, i64) {
    let quotas = list(server).await;
    let is_its = |state: &&QuotaState| state.quota.as_ref().unwrap().channel_id == channel_id;
    let found = quotas.iter().find(is_its).unwrap();
    (found.used, found.fenced)
}

fn through(channel_id: &str, key: &str, units: i64) -> CreateReservationRequest {
    let channel_id = channel_id.to_owned();
    CreateReservationRequest { channel_id, ..create(key, "shop", vec![line("jam", units)]) }
}

fn held(channel_id: &str, key: &str, units: i64) -> HoldStockRequest {
    let channel_id = channel_id.to_owned();
    HoldStockRequest { channel_id, ..hold(key, "shop", vec![line("jam", units)]) }
}

/// A shop with this many jam and 5 tea, and four channels.
async fn shop(redis: Redis, units: i64) -> Server {
    let server = Server::start_as(redis).await;
    server.put_locations(&["shop"]).await;
    for channel in ["web", "app", "market", "till"] {
        server.put_channel(channel).await;
    }
    for movement in [receipt("j", "shop", "jam", units), receipt("t", "shop", "tea", 5)] {
        server.record_one(movement).await.recorded();
    }
    server.holds_kept("shop", "tea").await;
    server
}

async fn verified(server: &Server) {
    assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}

/// Five hundred, fifty and five customers at once, over two servers: half of them hold it first.
#[tokio::test]
async fn f35_channels_at_unequal_load_each_get_their_quota_and_nothing_is_oversold() {
    for redis in BOTH {
        let first = shop(redis, 60).await;
        put(&first, &[quota("web", 20), quota("app", 15), quota("market", 10)]).await.unwrap();
        let reached = redis.reach(&crate::harness::databases::redis_url().await).await;
        let second = Server::start_with(&first.database_url, &first.database_url, reached).await;
        second.ledger.directory().refresh().await.unwrap();
        let buy = async |channel: &str, number: usize| {
            let server = if number.is_multiple_of(2) { &first } else { &second };
            let key = format!("{channel}-{number}");
            let mut request = through(channel, &key, 1);
            if number.is_multiple_of(4) {
                let hold = held(channel, &format!("hold-{key}"), 1);
                let taken = patiently(|| server.hold(hold.clone())).await?;
                request.hold_id = taken.0.hold_id;
            }
            patiently(|| server.create(request.clone())).await
        };
        let crowd = [("web", 500), ("app", 50), ("market", 5)];
        let all = crowd.iter().map(|&(channel, customers)| {
            let buy = &buy;
            async move {
                let answers = join_all((0..customers).map(|number| buy(channel, number))).await;
                let mut granted = 0;
                for answer in answers {
                    match answer {
                        Ok(_) => granted += 1,
                        Err(status) => {
                            explained(&status, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
                        }
                    }
                }
                granted
            }
        });
        let granted = join_all(all).await;
        let [web, app, market] = *granted else { panic!("three channels") };
        assert!(web >= 20 && app >= 15, "{redis:?}: {granted:?}");
        assert_eq!(market, 5, "{redis:?}: all that it asked for, however late");
        assert_eq!(web + app + market, 55, "{redis:?}: 5 of the market's 10 nobody asked for");
        assert_eq!(first.position("shop", "jam").await.reserved, 55, "{redis:?}");
        assert_eq!(state(&second, "market").await, (5, 5), "{redis:?}");
        verified(&first).await;
    }
}

#[tokio::test]
async fn what_others_have_fenced_is_kept_from_every_answer_and_every_grant() {
    for redis in BOTH {
        let server = shop(redis, 10).await;
        put(&server, &[quota("web", 4), quota("app", 3)]).await.unwrap();
        for (channel, available) in [("web", 7), ("app", 6), ("market", 3), ("", 3)] {
            let told = server.available_to(channel, "shop", "jam").await;
            assert_eq!(told, available, "{redis:?} {channel}");
            let short = |status: Status| {
                let told = explained(&status, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
                told["available"].clone()
            };
            let key = format!("{channel}-1");
            let refused = server.hold(held(channel, &key, available + 1)).await.unwrap_err();
            assert_eq!(short(refused), available.to_string(), "{redis:?} {channel}");
            let refused = server.create(through(channel, &key, available + 1)).await.unwrap_err();
            assert_eq!(short(refused), available.to_string(), "{redis:?} {channel}");
        }
        let request = ExplainAvailabilityRequest {
            channel_id: "app".to_owned(),
            location_id: "shop".to_owned(),
            sku: "jam".to_owned(),
        };
        let told = server.availability().explain_availability(request).await.unwrap().into_inner();
        let term = told.terms.last().unwrap();
        assert_eq!((&*term.term, term.quantity, told.sum), ("quota", -4, 6), "{redis:?}");
        let cause = &term.causes[0];
        assert_eq!((&*cause.kind, &*cause.id, cause.quantity), ("quota", "web", -4), "{redis:?}");
        // A basket with something that has no quota.
        let lines = vec![line("tea", 1), line("jam", 4)];
        let request = CreateReservationRequest {
            channel_id: "market".to_owned(),
            ..create("basket", "shop", lines)
        };
        let refused = server.create(request.clone()).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!((&*told["sku"], &*told["available"]), ("jam", "3"), "{redis:?}");
        let lines = vec![line("tea", 1), line("jam", 3)];
        server.create(CreateReservationRequest { lines, ..request }).await.unwrap();
        // A fact is never refused, and counts for the quota of its channel.
        let mut sale = movement(MovementKind::Sale, "s", "shop", "jam", 2);
        sale.channel_id = "app".to_owned();
        server.record_one(sale).await.recorded();
        assert_eq!(state(&server, "app").await, (2, 1), "{redis:?}");
        assert_eq!(server.available_to("web", "shop", "jam").await, 4, "{redis:?}");
        verified(&server).await;
    }
}

#[tokio::test]
async fn what_a_channel_gives_back_is_fenced_for_it_again() {
    for redis in BOTH {
        let server = shop(redis, 10).await;
        put(&server, &[quota("app", 5)]).await.unwrap();
        assert_eq!(state(&server, "app").await, (0, 5));
        let (taken, _) = server.hold(held("app", "h1", 2)).await.unwrap();
        assert_eq!(state(&server, "app").await, (2, 3), "{redis:?}: a hold uses it");
        let lines = vec![line("jam", 3)];
        server.replace_hold(replace("h2", &taken, lines)).await.unwrap();
        assert_eq!(state(&server, "app").await, (3, 2), "{redis:?}");
        let hold_id = taken.hold_id.clone();
        let request = CreateReservationRequest { hold_id, ..through("app", "k1", 3) };
        let made = server.create(request).await.unwrap();
        assert_eq!(state(&server, "app").await, (3, 2), "{redis:?}: the same units");
        server.mark_ready("k2", &made.reservation_id).await.unwrap_err();
        server.start_picking("k3", &made.reservation_id).await.unwrap();
        server.mark_ready("k4", &made.reservation_id).await.unwrap();
        assert_eq!(state(&server, "app").await, (3, 2), "{redis:?}: picked is used");
        server.collect("k5", &made.reservation_id).await.unwrap();
        assert_eq!(state(&server, "app").await, (3, 2), "{redis:?}: collected is used");
        let made = server.create(through("app", "k6", 2)).await.unwrap();
        assert_eq!(state(&server, "app").await, (5, 0), "{redis:?}");
        let request = CancelReservationRequest {
            request_id: "k7".to_owned(),
            reservation_id: made.reservation_id,
            ..CancelReservationRequest::default()
        };
        server.reservations().cancel_reservation(request).await.unwrap();
        assert_eq!(state(&server, "app").await, (3, 2), "{redis:?}: released is not");
        let (taken, _) = server.hold(held("app", "h3", 2)).await.unwrap();
        server.release_hold("h4", &taken.hold_id).await.unwrap();
        assert_eq!(state(&server, "app").await, (3, 2), "{redis:?}");
        assert_eq!(server.available_to("web", "shop", "jam").await, 5, "{redis:?}: 7 less 2");
        verified(&server).await;
    }
}

#[tokio::test]
async fn a_soft_quota_is_borrowed_after_its_time_and_fences_again_when_it_is_used() {
    let server = shop(Redis::Real, 10).await;
    let soft = Quota { soft: true, borrow_after: seconds(1), ..quota("market", 4) };
    put(&server, &[soft, quota("app", 3)]).await.unwrap();
    eventually("nobody used it for a second", || async {
        (server.available_to("web", "shop", "jam").await == 7).then_some(())
    })
    .await;
    server.create(through("web", "k1", 5)).await.unwrap();
    let refused = server.create(through("market", "k2", 3)).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(told["available"], "2", "what was borrowed is gone");
    server.create(through("market", "k3", 1)).await.unwrap();
    let asked = server.create(through("web", "k4", 1)).await.unwrap_err();
    explained(&asked, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    server.create(through("app", "k5", 3)).await.unwrap();
    verified(&server).await;
}

#[tokio::test]
async fn watchers_are_told_what_quotas_leave_to_their_channel() {
    let server = shop(Redis::Real, 10).await;
    let through_web = WatchAvailabilityRequest {
        channel_id: "web".to_owned(),
        ..watch(&["shop"], &["jam", "tea"])
    };
    let mut live = Live::begin(&server, through_web).await;
    assert_eq!(live.available("shop", "jam"), Some(10));
    put(&server, &[quota("app", 4)]).await.unwrap();
    live.says("shop", "jam", 6).await;
    server.create(through("app", "k1", 3)).await.unwrap();
    server.create(through("web", "k2", 1)).await.unwrap();
    live.says("shop", "jam", 5).await;
    put(&server, &[quota("app", 0)]).await.unwrap();
    live.says("shop", "jam", 6).await;
    assert_eq!(live.available("shop", "tea"), Some(5));
}

/// Redis still has it, from before anybody thought of quotas.
#[tokio::test]
async fn a_hold_of_before_is_answered_as_it_was_and_consumed_as_far_as_quotas_allow() {
    let server = shop(Redis::Real, 10).await;
    let (before, kept) = server.hold(held("web", "h1", 6)).await.unwrap();
    put(&server, &[quota("app", 5)]).await.unwrap();
    assert_eq!(server.hold(held("web", "h1", 6)).await.unwrap(), (before.clone(), kept));
    let hold_id = before.hold_id.clone();
    let request = CreateReservationRequest { hold_id, ..through("web", "k1", 6) };
    let refused = server.create(request.clone()).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let fewer = server.replace_hold(replace("h2", &before, vec![line("jam", 5)])).await.unwrap();
    assert_eq!(fewer.0.lines[0].quantity, 5, "the ledger keeps it now");
    assert_eq!(state(&server, "app").await, (0, 5));
    server
        .create(CreateReservationRequest { lines: vec![line("jam", 5)], ..request })
        .await
        .unwrap();
    assert_eq!(server.available_to("app", "shop", "jam").await, 5);
    assert_eq!(server.available_to("web", "shop", "jam").await, 0);
    verified(&server).await;
}

#[tokio::test]
async fn quotas_are_listed_replaced_and_removed() {
    let server = shop(Redis::Absent, 10).await;
    put(&server, &[quota("web", 4), quota("app", 3)]).await.unwrap();
    server.create(through("web", "k1", 3)).await.unwrap();
    let mut network = server.network();
    let mut page = async |page_token: String| {
        let location_id = "shop".to_owned();
        let request = ListQuotasRequest { location_id, page_size: 1, page_token };
        network.list_quotas(request).await.unwrap().into_inner()
    };
    let first = page(String::new()).await;
    let second = page(first.next_page_token).await;
    let third = page(second.next_page_token).await;
    assert_eq!((third.quotas, &*third.next_page_token), (vec![], ""));
    let [web, app] = [&first.quotas[0], &second.quotas[0]];
    let expected = Quota { borrow_after: seconds(3_600), ..quota("web", 4) };
    assert_eq!((web.quota.as_ref(), web.used, web.fenced), (Some(&expected), 3, 1));
    assert_eq!((app.used, app.fenced), (0, 3));
    assert!(web.used_at.unwrap().seconds >= app.used_at.unwrap().seconds);
    put(&server, &[quota("web", 4)]).await.unwrap();
    assert_eq!(state(&server, "web").await, (0, 4), "counted anew");
    put(&server, &[quota("web", 0)]).await.unwrap();
    assert_eq!(list(&server).await.len(), 1);
    assert_eq!(server.available_to("app", "shop", "jam").await, 7);
    put(&server, &[quota("app", 0)]).await.unwrap();
    assert_eq!(server.available("shop", "jam").await, 7, "nothing is fenced any more");
    server.create(create("k2", "shop", vec![line("jam", 7)])).await.unwrap();
    verified(&server).await;
}

#[tokio::test]
async fn quotas_out_of_bounds_are_refused_by_field_and_change_nothing() {
    let server = shop(Redis::Absent, 10).await;
    let good = || quota("web", 1);
    let named = |change: fn(&mut Quota)| {
        let mut wrong = quota("app", 1);
        change(&mut wrong);
        vec![good(), wrong]
    };
    for (quotas, field) in [
        (vec![], "quotas"),
        (vec![good(); 1_001], "quotas"),
        (vec![good(), good()], "quotas[1].sku"),
        (named(|quota| quota.units = -1), "quotas[1].units"),
        (named(|quota| quota.units = 1_000_000_001), "quotas[1].units"),
        (named(|quota| quota.borrow_after = seconds(0)), "quotas[1].borrow_after"),
        (named(|quota| quota.channel_id = "a b".to_owned()), "quotas[1].channel_id"),
        (named(|quota| quota.channel_id = "nobody".to_owned()), "quotas[1].channel_id"),
        (named(|quota| quota.sku = String::new()), "quotas[1].sku"),
        (named(|quota| quota.sku = "unheard of".to_owned()), "quotas[1].sku"),
        (named(|quota| quota.location_id = "nowhere".to_owned()), "quotas[1].location_id"),
    ] {
        let status = put(&server, &quotas).await.expect_err(field);
        assert_eq!(explained(&status, Code::InvalidArgument, "FIELD_INVALID")["field"], field);
    }
    assert_eq!(list(&server).await, []);
}

#[tokio::test]
async fn verify_finds_a_quota_that_its_entries_do_not_explain() {
    let server = shop(Redis::Absent, 10).await;
    server
        .put_policy(ChannelPolicy { channel_id: "web".into(), ..Default::default() })
        .await
        .unwrap();
    put(&server, &[quota("web", 4)]).await.unwrap();
    server.create(through("web", "k1", 3)).await.unwrap();
    verified(&server).await;
    for (alter, back, found) in [
        ("used = used - 1", "used = used + 1", "used is 2, expected 3"),
        (
            "used_at = used_at - '1 s'::interval",
            "used_at = used_at + '1 s'::interval",
            "used_at is",
        ),
    ] {
        execute(&server.database_url, &format!("update quota set {alter}")).await;
        let difference = server.ledger.verify(None, |_| ()).await.unwrap().difference.unwrap();
        assert!(
            difference.starts_with("quota partition=") && difference.contains(found),
            "{difference}"
        );
        execute(&server.database_url, &format!("update quota set {back}")).await;
    }
    verified(&server).await;
}
