//! Policies of channels: defaults, versions, bounds, and what every server knows of them.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use futures::future::join_all;
use prost_types::Duration;
use stockroom::{
    api::proto::{
        Channel, ChannelPolicy, GetChannelPolicyRequest, ListChannelPoliciesRequest,
        ListChannelPolicyVersionsRequest, PutChannelPolicyRequest, PutChannelRequest,
        UnansweredAction, Visibility, channel_policy::Buffer,
    },
    stock::{
        channel_policy::{self, Policy, Unanswered},
        policy,
        time::SECOND,
    },
};
use tonic::{Code, Status};

use crate::harness::{databases::broken_by, errors::explained, policies::keep, server::Server};

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn policy(channel_id: &str) -> ChannelPolicy {
    ChannelPolicy { channel_id: channel_id.into(), ..ChannelPolicy::default() }
}

/// Every default, spelt out.
fn defaults(channel_id: &str) -> ChannelPolicy {
    ChannelPolicy {
        channel_id: channel_id.into(),
        buffer: None,
        units_per_order_max: 0,
        hold_ttl_default: seconds(900),
        hold_ttl_max: seconds(3_600),
        reservation_ttl_max: seconds(31 * 86_400),
        collect_days_paid_online: Some(7),
        collect_days_pay_in_store: Some(2),
        answer_timeout: None,
        unanswered: UnansweredAction::Reject.into(),
        version: 0,
        rules: Vec::new(),
        eligible_location_ids: Vec::new(),
        visibility: Visibility::Exact.into(),
        few_left_max: 0,
    }
}

/// Nothing at its default.
fn strict(channel_id: &str) -> ChannelPolicy {
    ChannelPolicy {
        channel_id: channel_id.into(),
        buffer: Some(Buffer::BufferPercent(10)),
        units_per_order_max: 4,
        hold_ttl_default: seconds(60),
        hold_ttl_max: seconds(120),
        reservation_ttl_max: Some(Duration { seconds: 86_400, nanos: 1_000 }),
        collect_days_paid_online: Some(0),
        collect_days_pay_in_store: Some(31),
        answer_timeout: seconds(1_800),
        unanswered: UnansweredAction::Move.into(),
        visibility: Visibility::Band.into(),
        few_left_max: 9,
        ..ChannelPolicy::default()
    }
}

async fn put(
    server: &Server,
    policy: ChannelPolicy,
    expected_version: Option<u64>,
) -> Result<ChannelPolicy, Status> {
    let request =
        PutChannelPolicyRequest { policy: Some(policy), expected_version, ..Default::default() };
    let response = server.network().put_channel_policy(request).await?;
    Ok(response.into_inner().policy.unwrap())
}

async fn get(server: &Server, channel_id: &str) -> ChannelPolicy {
    let request = GetChannelPolicyRequest { channel_id: channel_id.into() };
    server.network().get_channel_policy(request).await.unwrap().into_inner().policy.unwrap()
}

#[tokio::test]
async fn a_channel_without_a_policy_has_every_default() {
    let server = Server::start().await;
    server.put_channel("web").await;
    assert_eq!(get(&server, "web").await, defaults("web"));
    let directory = server.ledger.directory();
    directory.find_channels(&["web"]).await.unwrap();
    let known = directory.known().known_channel("web").cloned().unwrap();
    let default = Policy { channel: Some(known.channel), ..Policy::default() };
    assert_eq!(*known.policy, default, "the database and the core agree");
    let put = put(&server, policy("web"), None).await.unwrap();
    assert_eq!(put, ChannelPolicy { version: 1, ..defaults("web") });
}

#[tokio::test]
async fn a_policy_is_replaced_as_a_whole_under_a_new_version() {
    let server = Server::start().await;
    server.put_channel("web").await;
    let first = put(&server, ChannelPolicy { version: 9, ..strict("web") }, None).await.unwrap();
    assert_eq!(first, ChannelPolicy { version: 1, ..strict("web") });
    let channel = Channel { channel_id: "web".into(), name: "Web".into() };
    server.network().put_channel(PutChannelRequest { channel: Some(channel) }).await.unwrap();
    assert_eq!(get(&server, "web").await, first, "a channel that is put keeps its policy");
    let units = ChannelPolicy {
        buffer: Some(Buffer::BufferUnits(3)),
        hold_ttl_max: seconds(30),
        ..policy("web")
    };
    let second = put(&server, units, None).await.unwrap();
    let expected = ChannelPolicy {
        buffer: Some(Buffer::BufferUnits(3)),
        hold_ttl_default: seconds(30),
        hold_ttl_max: seconds(30),
        version: 2,
        ..defaults("web")
    };
    assert_eq!(second, expected, "the default of a hold is never above its maximum");
    assert_eq!(get(&server, "web").await, expected);
}

#[tokio::test]
async fn a_policy_that_somebody_else_replaced_is_not_replaced() {
    let first = Server::start().await;
    let second = Server::start_on(&first.database_url).await;
    first.put_channel("web").await;
    let status = put(&first, strict("web"), Some(1)).await.unwrap_err();
    let metadata = explained(&status, Code::Aborted, "VERSION_MISMATCH");
    assert_eq!((&*metadata["channel_id"], &*metadata["version"]), ("web", "0"));
    assert_eq!(get(&first, "web").await, defaults("web"));
    put(&first, strict("web"), Some(0)).await.unwrap();
    for round in 1..=5_u64 {
        let race = (0..16).map(|number: i64| {
            let server = if number % 2 == 0 { &first } else { &second };
            let units = ChannelPolicy { units_per_order_max: number + 1, ..policy("web") };
            put(server, units, Some(round))
        });
        let answers = join_all(race).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let [won] = &*won else { panic!("{} won: {won:?}", won.len()) };
        assert_eq!(get(&first, "web").await, *won.as_ref().unwrap());
        for status in lost {
            explained(&status.unwrap_err(), Code::Aborted, "VERSION_MISMATCH");
        }
    }
    let status = put(&first, strict("web"), Some(u64::MAX)).await.unwrap_err();
    explained(&status, Code::Aborted, "VERSION_MISMATCH");
}

#[tokio::test]
async fn policies_out_of_bounds_are_refused_by_field() {
    let server = Server::start().await;
    server.put_channel("web").await;
    let web = || policy("web");
    let buffer = |buffer| ChannelPolicy { buffer: Some(buffer), ..web() };
    let cases = [
        (buffer(Buffer::BufferUnits(-1)), "policy.buffer_units"),
        (buffer(Buffer::BufferUnits(1_000_000_001)), "policy.buffer_units"),
        (buffer(Buffer::BufferPercent(101)), "policy.buffer_percent"),
        (ChannelPolicy { units_per_order_max: -1, ..web() }, "policy.units_per_order_max"),
        (ChannelPolicy { hold_ttl_max: seconds(3_601), ..web() }, "policy.hold_ttl_max"),
        (ChannelPolicy { hold_ttl_max: seconds(0), ..web() }, "policy.hold_ttl_max"),
        (ChannelPolicy { hold_ttl_max: seconds(i64::MAX), ..web() }, "policy.hold_ttl_max"),
        (ChannelPolicy { hold_ttl_default: seconds(0), ..web() }, "policy.hold_ttl_default"),
        (
            ChannelPolicy { hold_ttl_default: seconds(61), hold_ttl_max: seconds(60), ..web() },
            "policy.hold_ttl_default",
        ),
        (
            ChannelPolicy { reservation_ttl_max: seconds(31 * 86_400 + 1), ..web() },
            "policy.reservation_ttl_max",
        ),
        (
            ChannelPolicy { collect_days_paid_online: Some(32), ..web() },
            "policy.collect_days_paid_online",
        ),
        (
            ChannelPolicy { collect_days_pay_in_store: Some(u32::MAX), ..web() },
            "policy.collect_days_pay_in_store",
        ),
        (ChannelPolicy { answer_timeout: seconds(-1), ..web() }, "policy.answer_timeout"),
        (
            ChannelPolicy { answer_timeout: Some(Duration { seconds: 0, nanos: 1_000 }), ..web() },
            "policy.answer_timeout",
        ),
        (ChannelPolicy { unanswered: 3, ..web() }, "policy.unanswered"),
        (ChannelPolicy { visibility: 3, ..web() }, "policy.visibility"),
        (ChannelPolicy { few_left_max: -1, ..web() }, "policy.few_left_max"),
    ];
    for (policy, field) in cases {
        let status = put(&server, policy, None).await.expect_err(field);
        assert_eq!(explained(&status, Code::InvalidArgument, "FIELD_INVALID")["field"], field);
    }
    let status = put(&server, policy("a b"), None).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "IDENTIFIER_INVALID");
    assert_eq!(get(&server, "web").await, defaults("web"), "nothing was written");
}

/// What a defect would write past the service.
#[tokio::test]
async fn the_database_refuses_policies_out_of_bounds_too() {
    let server = Server::start().await;
    server.put_channel("web").await;
    for (set, constraint) in [
        ("buffer_units = -1", "channel_buffer"),
        ("buffer_percent = 101", "channel_buffer"),
        ("buffer_units = 1, buffer_percent = 1", "channel_buffer"),
        ("units_per_order_max = -1", "channel_units_per_order_max"),
        ("hold_ttl_max_us = 3600000001", "channel_hold_ttl"),
        ("hold_ttl_default_us = 999999", "channel_hold_ttl"),
        ("hold_ttl_max_us = 60000000", "channel_hold_ttl"),
        ("reservation_ttl_max_us = 2678400000001", "channel_reservation_ttl_max"),
        ("collect_days_paid_online = 32", "channel_collect_days"),
        ("collect_days_pay_in_store = -1", "channel_collect_days"),
        ("answer_timeout_us = 0", "channel_answer_timeout"),
        ("unanswered = 3", "channel_unanswered"),
        ("policy_version = -1", "channel_policy_version"),
        ("visibility = 3", "channel_visibility"),
        ("few_left_max = -1", "channel_few_left_max"),
        (
            "eligible_locations = array(select generate_series(1, 10001))",
            "channel_eligible_locations",
        ),
        ("policy_rules = '{}'", "channel_policy_rules"),
        (r#"policy_rules = '[{"buffer": {"units": 1, "percent": 0}}]'"#, "channel_policy_rules"),
        (r#"policy_rules = '[{"item": 1}]'"#, "channel_policy_rules"),
        (r#"policy_rules = '[{"item": 1, "units_per_order_max": -1}]'"#, "channel_policy_rules"),
        (
            r#"policy_rules = '[{"location": 1, "buffer": {"units": 1, "percent": 1}}]'"#,
            "channel_policy_rules",
        ),
    ] {
        let statement = format!("update channel set {set}");
        assert_eq!(broken_by(&server.database_url, &statement).await, constraint, "{set}");
    }
}

#[tokio::test]
async fn policies_of_unknown_channels_are_refused_and_those_that_were_put_are_listed() {
    let server = Server::start().await;
    let mut network = server.network();
    let status = put(&server, policy("web"), None).await.unwrap_err();
    assert_eq!(explained(&status, Code::NotFound, "CHANNEL_UNKNOWN")["channel_id"], "web");
    let request = GetChannelPolicyRequest { channel_id: "web".into() };
    let status = network.get_channel_policy(request).await.unwrap_err();
    explained(&status, Code::NotFound, "CHANNEL_UNKNOWN");
    for id in ["c", "a", "none", "b"] {
        server.put_channel(id).await;
    }
    for id in ["c", "a", "b"] {
        put(&server, strict(id), None).await.unwrap();
    }
    let mut page = async |page_token: String| {
        let request = ListChannelPoliciesRequest { page_size: 2, page_token };
        network.list_channel_policies(request).await.unwrap().into_inner()
    };
    let first = page(String::new()).await;
    let put = |id| ChannelPolicy { version: 1, ..strict(id) };
    assert_eq!(first.policies, [put("a"), put("b")]);
    let second = page(first.next_page_token).await;
    assert_eq!((second.policies, &*second.next_page_token), (vec![put("c")], ""));
}

#[tokio::test]
async fn every_policy_that_was_put_is_kept_with_who_when_and_why() {
    let server = Server::start().await;
    let mut network = server.network();
    server.put_locations(&["shop"]).await;
    for id in ["web", "app"] {
        server.put_channel(id).await;
    }
    let before = jiff::Timestamp::now();
    let mut expected = Vec::new();
    for (number, actor, note) in [(1, "anna", "more for the shops"), (2, "", ""), (3, "bo", "")] {
        let rules = vec![keep("", "shop", number)];
        let policy = ChannelPolicy { rules, units_per_order_max: number, ..strict("web") };
        let request = PutChannelPolicyRequest {
            policy: Some(policy),
            expected_version: None,
            actor: actor.to_owned(),
            note: note.to_owned(),
        };
        let stored = network.put_channel_policy(request).await.unwrap().into_inner().policy;
        expected.insert(0, (stored.unwrap(), actor, note));
    }
    put(&server, strict("app"), None).await.unwrap();
    put(&server, strict("web"), Some(9)).await.unwrap_err();
    let mut page = async |channel_id: &str, page_size, page_token: &str| {
        let (channel_id, page_token) = (channel_id.to_owned(), page_token.to_owned());
        let request = ListChannelPolicyVersionsRequest { channel_id, page_size, page_token };
        network.list_channel_policy_versions(request).await.map(|page| page.into_inner())
    };
    let first = page("web", 2, "").await.unwrap();
    let second = page("web", 2, &first.next_page_token).await.unwrap();
    assert_eq!(second.next_page_token, "");
    let versions: Vec<_> = first.versions.iter().chain(&second.versions).collect();
    let told = versions
        .iter()
        .map(|version| (version.policy.clone().unwrap(), &*version.actor, &*version.note));
    assert_eq!(told.collect::<Vec<_>>(), expected, "newest first");
    let times: Vec<_> = versions.iter().map(|version| version.changed_at.unwrap()).collect();
    assert!(times.is_sorted_by_key(|time| std::cmp::Reverse((time.seconds, time.nanos))));
    assert!(times.iter().all(|time| time.seconds >= before.as_second() - 1), "{times:?}");
    let refused = page("app", 2, &first.next_page_token).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let refused = page("nothing", 0, "").await.unwrap_err();
    explained(&refused, Code::NotFound, "CHANNEL_UNKNOWN");
    let wrong = PutChannelPolicyRequest {
        policy: Some(policy("web")),
        note: "\n".to_owned(),
        ..Default::default()
    };
    let refused = server.network().put_channel_policy(wrong).await.unwrap_err();
    assert_eq!(explained(&refused, Code::InvalidArgument, "FIELD_INVALID")["field"], "note");
}

/// An answer must fit into a message, however much its policies say.
#[tokio::test]
async fn a_page_ends_before_its_policies_say_too_much() {
    let server = Server::start().await;
    let names: Vec<_> = (0..1_000).map(|number| format!("{number:064}")).collect();
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    server.ledger.directory().add_items(&names).await.unwrap();
    let rules: Vec<_> = names.iter().map(|name| keep(name, "", 1)).collect();
    for number in 0..14 {
        let policy = ChannelPolicy { rules: rules.clone(), ..policy(&format!("c{number:02}")) };
        server.put_policy(policy).await.unwrap();
    }
    let mut network = server.network();
    let mut page = async |page_token: String| {
        let request = ListChannelPoliciesRequest { page_size: 0, page_token };
        network.list_channel_policies(request).await.unwrap().into_inner()
    };
    let first = page(String::new()).await;
    assert_eq!(first.policies.len(), 12);
    let second = page(first.next_page_token).await;
    assert_eq!((second.policies.len(), &*second.next_page_token), (2, ""));
}

#[tokio::test]
async fn every_server_knows_the_policy_of_a_channel() {
    let first = Server::start().await;
    let second = Server::start_on(&first.database_url).await;
    first.put_channel("web").await;
    let (own, other) = (first.ledger.directory(), second.ledger.directory());
    other.find_channels(&["web"]).await.unwrap();
    put(&first, strict("web"), None).await.unwrap();
    let channel = own.known().channel("web");
    let expected = Policy {
        channel,
        buffer: policy::Buffer { units: 0, percent: 10 },
        units_per_order_max: 4,
        hold_ttl_default: 60 * SECOND,
        hold_ttl_max: 120 * SECOND,
        reservation_ttl_max: 86_400 * SECOND + 1,
        collect_days_paid_online: 0,
        collect_days_pay_in_store: 31,
        answer_timeout: Some(1_800 * SECOND),
        unanswered: Unanswered::Move,
        visibility: channel_policy::Visibility::Band,
        few_left_max: 9,
        version: 1,
        ..Policy::default()
    };
    let known = own.known().known_channel("web").cloned().unwrap();
    assert_eq!(*known.policy, expected, "known at once where it was put");
    let seen = || other.known().channel_of(known.channel).cloned().unwrap();
    assert_eq!(*seen().policy, Policy { channel, ..Policy::default() });
    other.refresh().await.unwrap();
    assert_eq!((&*seen().policy, &*seen().channel_id), (&expected, "web"));
    let third = Server::start_on(&first.database_url).await;
    let third = third.ledger.directory();
    third.find_numbered_channels(&[known.channel]).await.unwrap();
    assert_eq!(*third.known().known_channel("web").unwrap().policy, expected);
}

#[tokio::test]
async fn items_are_known_by_number_too() {
    let first = Server::start().await;
    let second = Server::start_on(&first.database_url).await;
    first.put_item("A 1", true).await;
    let (own, other) = (first.ledger.directory(), second.ledger.directory());
    let number = own.known().item("A 1").unwrap().item;
    assert_eq!(own.known().sku_of(number).map(|sku| &**sku), Some("A 1"));
    assert!(other.known().sku_of(number).is_none());
    other.find_numbered_items(&[number]).await.unwrap();
    assert_eq!(other.known().sku_of(number).map(|sku| &**sku), Some("A 1"));
}
