//! TLS: certificates that change while connections live, handshakes that are slow, and settings that
//! cannot be meant.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use futures::FutureExt as _;
use stockroom::config::TlsConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{
    binary::{Binary, free_address},
    certificates::{Authority, Files, Shown, alert, connect, shake_hands},
    credentials::{Guard, lists, shows},
    server::{Server, eventually, migrated_database},
};

/// Handshakes that may be under way at once.
const HANDSHAKES_MAX: usize = 512;

/// A server that shows a certificate and asks for none.
async fn start(files: &Files, shown: &Shown) -> Server {
    let tls = TlsConfig {
        tls_certificate: Some(files.put("certificate.pem", &shown.pem)),
        tls_key: Some(files.put("key.pem", &shown.key)),
        ..TlsConfig::default()
    };
    Server::start_for(&Guard { tls, ..Guard::default() }).await
}

async fn serves(address: SocketAddr, authority: &Authority) -> Option<()> {
    let mut health = HealthClient::new(connect(address, authority, None));
    health.check(HealthCheckRequest::default()).await.ok().map(|_| ())
}

#[tokio::test]
async fn certificates_change_without_a_restart_and_streams_live_on() {
    let (old, new, files) = (Authority::new(), Authority::new(), Files::new());
    let server = start(&files, &old.server()).await;
    let mut client = HealthClient::new(connect(server.address, &old, None));
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let told = stream.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::Serving);
    assert!(serves(server.address, &new).await.is_none());

    // One file after the other: in between nothing fits, and the old ones stay.
    let renewed = new.server();
    files.put("key.pem", &renewed.key);
    assert!(serves(server.address, &old).await.is_some());
    files.put("certificate.pem", &renewed.pem);
    eventually("the new certificate is shown", || serves(server.address, &new)).await;
    assert!(serves(server.address, &old).await.is_none());

    // The stream, and its connection, are still those of the old certificate.
    assert!(stream.message().now_or_never().is_none(), "the stream ended");
    client.check(HealthCheckRequest::default()).await.unwrap();
    drop((stream, client));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_keeps_nobody_waiting() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority.server()).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX + 20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(serves(server.address, &authority).await.is_some());
    // The oldest made room, long before its time was over.
    let mut bytes = [0; 1];
    let read = first.read(&mut bytes).now_or_never();
    assert!(matches!(read, Some(Ok(0) | Err(_))), "{read:?}");
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn plain_text_is_not_served_where_there_is_a_certificate() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority.server()).await;
    let mut plain = HealthClient::new(server.connection());
    plain.check(HealthCheckRequest::default()).await.unwrap_err();
    // Nor are other protocols than those that there are.
    assert_eq!(alert(server.address, &authority, None).await, None);
    let other = shake_hands(server.address, &authority, None, b"spdy/3").await;
    assert!(other.is_err_and(|error| error.to_string().contains("NoApplicationProtocol")));

    let head = "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\nconnection: close\r\n\
        content-length: 5\r\n\r\n\0\0\0\0\0";
    let mut web = shake_hands(server.address, &authority, None, b"http/1.1").await.unwrap();
    web.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    web.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("grpc-status:0"), "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_serves_both_of_its_addresses_over_tls() {
    let (authority, files) = (Authority::new(), Files::new());
    let shown = authority.server();
    let path = |name: &str, text: &str| files.put(name, text).to_str().unwrap().to_owned();
    let http = free_address().await;
    let (certificate, key) = (path("certificate.pem", &shown.pem), path("key.pem", &shown.key));
    let ca = path("ca.pem", &authority.pem());
    let settings = ["--tls-certificate", &certificate, "--tls-key", &key, "--tls-client-ca", &ca];
    let http_listen = http.to_string();
    let more = [&settings[..], &["--http-listen", &http_listen]].concat();
    let server = Binary::start_and(&migrated_database().await, &more, &[]).await;

    // A terminal is served; who shows no certificate is not even connected.
    let till = authority.client(&["stockroom://terminal/berlin/till-1"]);
    let connection = connect(server.address, &authority, Some(&till));
    lists(&shows(connection, &[])).await.unwrap();
    let told = alert(server.address, &authority, None).await.unwrap_or_default();
    assert!(told.contains("CertificateRequired"), "{told}");

    // Probes and metrics are asked for none.
    for (path, expected) in [
        ("/live", "\"live\":true"),
        ("/metrics", "stockroom_tls_certificate_end_timestamp_seconds"),
    ] {
        let mut stream = shake_hands(http, &authority, None, b"http/1.1").await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
    }
}

#[test]
fn settings_that_contradict_each_other_or_the_network_are_refused_with_64() {
    let pair = ["--tls-certificate", "a", "--tls-key", "b"];
    let issuer = ["--jwt-issuer", "https://a", "--jwt-audience", "b"];
    let open = ["--listen", "0.0.0.0:0"];
    let refused: [&[&str]; 13] = [
        &open,
        &["--listen", "0.0.0.0:0", "--api-keys"],
        // Encrypted, but open to everybody.
        &[&open[..], &pair].concat(),
        &["--http-listen", "0.0.0.0:0"],
        &pair[..2],
        &pair[2..],
        &["--tls-client-ca", "c"],
        &[&pair[..], &["--tls-client-crl", "d"]].concat(),
        &["--jwks-file", "e"],
        &issuer,
        &[&issuer[..], &["--jwks-file", "e", "--jwks-url", "https://a/keys"]].concat(),
        &[&issuer[..], &["--jwks-url", "http://a/keys"]].concat(),
        &[&issuer[..], &["--jwks-file", "e", "--jwks-ca", "f"]].concat(),
    ];
    for settings in refused {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command.arg("serve").args(settings).args(["--data-dir", "/nonexistent"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let ended = command.output().unwrap();
        let why = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(64), "{settings:?}: {why}");
    }
}
