//! API keys: each way in which one is not taken, and how they are made, listed and revoked.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::{
    collections::HashMap,
    process::{Command, Output},
};

use serde_json::Value;
use stockroom::{access::KeyText, api::proto::ListLocationsRequest, stock::time::Timestamp};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{
    credentials::{Guard, bearer, key, lists, shows},
    errors::explained,
    raw,
    server::{Server, eventually},
    web,
};

fn refused(answer: Result<(), Status>, reason: &str) -> HashMap<String, String> {
    explained(&answer.unwrap_err(), Code::Unauthenticated, reason)
}

#[tokio::test]
async fn one_configured_source_turns_anonymous_access_off() {
    let open = Server::start().await;
    let request = ListLocationsRequest::default();
    open.network().list_locations(request.clone()).await.unwrap();
    let server = Server::start_for(&Guard::keys()).await;
    let anonymous = server.network().list_locations(request).await.unwrap_err();
    let metadata = explained(&anonymous, Code::Unauthenticated, "CREDENTIAL_MISSING");
    assert!(metadata.is_empty(), "{metadata:?}");

    // Nor may anybody see what there is, or call what there is not.
    for method in ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/a.B/C"] {
        let answer = raw::call_stream(server.connection(), method, Vec::new()).await;
        explained(&answer.unwrap_err(), Code::Unauthenticated, "CREDENTIAL_MISSING");
    }
    let method = "/stockroom.v1.NetworkService/ListLocations";
    let answer = web::call(server.address, method, &[], None).await;
    assert_eq!(answer.headers["grpc-status"], "16", "{answer:?}");

    // Probes have no credential.
    let mut health = HealthClient::new(server.connection());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    server.stop().await;
    open.stop().await;
}

#[tokio::test]
async fn a_key_is_taken_by_every_server_as_soon_as_it_is_made_and_until_it_is_revoked() {
    let server = Server::start_for(&Guard::keys()).await;
    let key = key(&server.ledger, "erp", None).await;
    let holder = server.shows(&bearer(&key));
    lists(&holder).await.unwrap();
    // The scheme is written in any way.
    lists(&server.shows(&format!("bearer  {key}"))).await.unwrap();

    assert!(server.ledger.revoke_api_key(key.prefix()).await.unwrap());
    eventually("it is refused", || async { lists(&holder).await.err() }).await;
    refused(lists(&holder).await, "CREDENTIAL_REVOKED");
    assert!(!server.ledger.revoke_api_key("000000000000").await.unwrap());
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_key_of_this_server_is_told_what_is_wrong_with_it_and_no_more() {
    let server = Server::start_for(&Guard::keys()).await;
    let good = key(&server.ledger, "erp", None).await;
    lists(&server.shows(&bearer(&good))).await.unwrap();
    let flaw = async |authorization: &str| {
        let answer = lists(&server.shows(authorization)).await;
        refused(answer, "CREDENTIAL_INVALID").remove("flaw").unwrap()
    };
    let mut other = good.to_string();
    other.replace_range(16..20, "AAAA");
    assert_eq!(flaw(&format!("Bearer {other}")).await, "unknown_key");
    // Made by nobody: a prefix that is not known is told the same as a wrong secret, every time.
    let stranger = bearer(&KeyText::new([0xff; 6], [1; 32]));
    for _ in 0..3 {
        assert_eq!(flaw(&stranger).await, "unknown_key");
    }
    assert_eq!(flaw("Bearer sr_").await, "unknown_key");
    assert_eq!(flaw(&format!("Basic {good}")).await, "scheme");
    assert_eq!(flaw(&good.to_string()).await, "scheme");
    assert_eq!(flaw("Bearer ").await, "scheme");
    let twice = shows(server.connection(), &[&*bearer(&good), &*bearer(&good)]);
    refused(lists(&twice).await, "CREDENTIAL_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_has_expired_is_refused_and_only_its_holder_is_told_so() {
    let server = Server::start_for(&Guard::keys()).await;
    let old = key(&server.ledger, "erp", Some(Timestamp::Y2000)).await;
    refused(lists(&server.shows(&bearer(&old))).await, "CREDENTIAL_EXPIRED");
    let mut other = old.to_string();
    other.replace_range(16..20, "AAAA");
    refused(lists(&server.shows(&format!("Bearer {other}"))).await, "CREDENTIAL_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_by_command_and_their_last_use_is_noted() {
    let server = Server::start_for(&Guard::keys()).await;
    let keys = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command.arg("keys").args(args).args(["--database-url", &server.database_url]);
        command.env_remove("STOCKROOM_DATA_DIR").output().unwrap()
    };
    let listed = || {
        let listed: Value = serde_json::from_str(&printed(&keys(&["list", "--json"]))).unwrap();
        listed["keys"][0].clone()
    };
    let create = ["create", "--name", "web-shop", "--scope", "network:read,ledger:read"];
    let made = keys(&[&create[..], &["--location", "a,b", "--expires", "90d"]].concat());
    let text = printed(&made).trim().to_owned();
    let key = KeyText::parse(&text).expect("a key");
    let known = listed();
    assert_eq!(known["prefix"], key.prefix());
    assert_eq!(known["name"], "web-shop");
    assert_eq!(known["state"], "valid");
    assert_eq!(known["scopes"], serde_json::json!(["ledger:read", "network:read"]));
    assert_eq!(known["locations"], serde_json::json!(["a", "b"]));
    assert_eq!(known["channels"], serde_json::json!(["*"]));
    assert_eq!(known["last_used_at"], Value::Null);
    assert!(!known.to_string().contains(&text[16..]), "the secret is stored");

    let holder = server.shows(&bearer(&key));
    lists(&holder).await.unwrap();
    let used = || async { listed()["last_used_at"].as_str().map(str::to_owned) };
    eventually("its last use is noted", used).await;

    assert!(keys(&["revoke", key.prefix()]).status.success());
    assert_eq!(listed()["state"], "revoked");
    eventually("it is refused", || async { lists(&holder).await.err() }).await;
    refused(lists(&holder).await, "CREDENTIAL_REVOKED");
    assert!(!keys(&["revoke", "000000000000"]).status.success());
    assert!(!keys(&["create", "--name", "x", "--scope", "everything"]).status.success());
    assert!(!keys(&["create", "--name", "a b", "--scope", "ledger:read"]).status.success());
    server.stop().await;
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
