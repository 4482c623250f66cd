//! Connections to the databases: whom they trust, and what is said when they fail.
use std::process::Output;

use stockroom::api::proto::{
    PutLocationRequest, availability_service_client::AvailabilityServiceClient,
    movement_service_client::MovementServiceClient, network_service_client::NetworkServiceClient,
};

use crate::harness::{
    availability::check,
    binary::{Binary, run},
    databases,
    movements::{put_request, receipt},
    secured::{REDIS_PASSWORD, SecuredRedis, secured},
    server::eventually,
};

/// What comes in the place of a right password.
const WRONG: &str = "canary-wrong-5e2d";
/// Connections of the program to this database, and those of them that are encrypted.
const CONNECTIONS: &str = "select count(*) from pg_stat_activity join pg_stat_ssl using (pid)
    where datname = current_database() and application_name = 'stockroom'";

/// What a command says.
fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Fails as it should, without a password in what it says.
async fn refused(url: &str, because: &str) {
    let output = run(&["migrate", "--database-url", url], &[]).await;
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(because), "{told}");
    let password = url.split_once("://").unwrap().1.split_once(':').unwrap().1;
    assert!(!told.contains(password.split_once('@').unwrap().0), "{told}");
}

/// One unit, recorded, and asked for until Redis shows it.
async fn receives(binary: &Binary) {
    let connection = binary.connection();
    let location = stockroom::api::proto::Location {
        location_id: "berlin".to_owned(),
        ..stockroom::api::proto::Location::default()
    };
    let put = PutLocationRequest { location: Some(location) };
    NetworkServiceClient::new(connection.clone()).put_location(put).await.unwrap();
    let request = put_request("till-1", vec![receipt("r", "berlin", "A", 1)]);
    MovementServiceClient::new(connection.clone()).record_movements(request).await.unwrap();
    let asked = AvailabilityServiceClient::new(connection);
    eventually("Redis shows it", || {
        let mut asked = asked.clone();
        async move {
            let told = asked.check_availability(check("berlin", "A")).await.unwrap().into_inner();
            (!told.degraded && told.availability[0].available == 1).then_some(())
        }
    })
    .await;
}

#[tokio::test]
async fn every_connection_is_encrypted_and_every_secret_may_be_a_file() {
    let secured = secured().await;
    let redis = SecuredRedis::start(secured, "stockroom").await;
    let database_url = secured.fresh_database().await;
    let database_file = redis.keep("database", &format!("{database_url}\n"));
    let redis_file = redis.keep("redis", &redis.url());
    let files = [
        ("DATABASE_URL_FILE", database_file.to_str().unwrap()),
        ("REDIS_URL_FILE", redis_file.to_str().unwrap()),
        ("STOCKROOM_REDIS_CA", secured.authority_file.to_str().unwrap()),
    ];
    let migrated = run(&["migrate"], &files).await;
    assert!(migrated.status.success(), "{}", told(&migrated));
    let binary = Binary::start_with(&[], &files).await;
    receives(&binary).await;
    let in_plain_text = format!("{CONNECTIONS} and not ssl");
    assert!(databases::number(&database_url, CONNECTIONS).await > 0);
    assert_eq!(databases::number(&database_url, &in_plain_text).await, 0);
    let verified = run(&["verify"], &files).await;
    assert!(verified.status.success(), "{}", told(&verified));
    assert!(told(&verified).contains("Redis: 1 rows and 0 holds fit"), "{}", told(&verified));
    let log = binary.log();
    assert!(!log.contains("can be read by everybody") && !log.contains(REDIS_PASSWORD), "{log}");
}

#[tokio::test]
async fn a_database_that_a_stranger_certified_is_not_used() {
    let secured = secured().await;
    let good = secured.fresh_database().await;
    let stranger = secured.stranger_file.to_str().unwrap();
    let wrong = good.replace(secured.authority_file.to_str().unwrap(), stranger);
    refused(&wrong, "invalid peer certificate").await;
    // Nor does a server that waits for its database.
    let redis = SecuredRedis::start(secured, "stockroom").await;
    let authority = secured.authority_file.to_str().unwrap();
    let redis_url = redis.url();
    let settings = ["--redis-url", &redis_url, "--redis-ca", authority];
    let waits = Binary::spawn(&[&settings[..], &["--database-url", &wrong]].concat(), &[]).await;
    logs(&waits, "waiting for the database", "invalid peer certificate").await;
    assert!(tokio::net::TcpStream::connect(waits.address).await.is_err());

    let migrated = run(&["migrate", "--database-url", &good], &[]).await;
    assert!(migrated.status.success());
    let settings = ["--redis-url", &redis_url, "--redis-ca", stranger, "--database-url", &good];
    let without = Binary::start_with(&settings, &[]).await;
    logs(&without, "what is available is not projected", "invalid peer certificate").await;
}

#[tokio::test]
async fn plain_text_is_refused_by_both_ends() {
    let secured = secured().await;
    let url = secured.fresh_database().await;
    let plain = |mode: &str| url.replace("sslmode=verify-full", &format!("sslmode={mode}"));
    refused(&plain("disable"), "no encryption").await;
    // The server of the other tests does not speak TLS.
    let unencrypted = databases::fresh_database().await;
    let url = format!("{unencrypted}?sslmode=verify-full");
    refused(&url, "server does not support TLS").await;
    refused(&format!("{unencrypted}?sslmod=verify-full"), "is not known").await;

    let redis = SecuredRedis::start(secured, "stockroom").await;
    let plain = redis.url().replace("rediss://", "redis://");
    let settings = ["--database-url", &unencrypted, "--redis-url", &plain];
    assert!(run(&["migrate", "--database-url", &unencrypted], &[]).await.status.success());
    let without = Binary::start_with(&settings, &[]).await;
    logs(&without, "what is available is not projected", "cannot").await;
    let authority = secured.authority_file.to_str().unwrap();
    let contradicts = ["serve", "--redis-url", &plain, "--redis-ca", authority];
    let contradicts = run(&contradicts, &[("DATABASE_URL", &unencrypted)]).await;
    assert_eq!(contradicts.status.code(), Some(64), "{}", told(&contradicts));
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let secured = secured().await;
    let url = secured.fresh_database().await;
    let rest = url.split_once('@').unwrap().1;
    refused(&format!("postgres://stockroom:{WRONG}@{rest}"), "password authentication failed")
        .await;

    let redis = SecuredRedis::start(secured, "stockroom").await;
    assert!(run(&["migrate", "--database-url", &url], &[]).await.status.success());
    let (wrong, authority) =
        (redis.url_of("stockroom", WRONG), secured.authority_file.to_str().unwrap());
    let settings = ["--database-url", &url, "--redis-url", &wrong, "--redis-ca", authority];
    let without = Binary::start_with(&settings, &[]).await;
    logs(&without, "what is available is not projected", "AuthenticationFailed").await;
}

#[tokio::test]
async fn a_secret_that_is_given_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, format!("postgres://shop:{WRONG}@127.0.0.1:1/shop\n")).unwrap();
    let file = file.to_str().unwrap();
    for (value, by_file) in [("DATABASE_URL", "DATABASE_URL_FILE"), ("REDIS_URL", "REDIS_URL_FILE")]
    {
        let environment = [(value, WRONG), (by_file, file)];
        let output = run(&["serve"], &environment).await;
        let told = told(&output);
        assert_eq!(output.status.code(), Some(64), "{told}");
        assert!(told.contains("are both given") && !told.contains(WRONG), "{told}");
    }
    // As it is, everybody can read it.
    let output = run(&["migrate", "--database-url-file", file], &[]).await;
    let told = told(&output);
    assert!(told.contains("can be read by everybody") && !told.contains(WRONG), "{told}");
}

/// Waits until a line of the log says both, and then that no line has a password.
async fn logs(binary: &Binary, what: &str, why: &str) {
    let says = |line: &str| line.contains(what) && line.contains(why);
    let log = eventually(what, || {
        let log = binary.log();
        let said = log.lines().any(says);
        async move { said.then_some(log) }
    });
    let log = log.await;
    assert!(!log.contains(REDIS_PASSWORD) && !log.contains(WRONG), "{log}");
}
