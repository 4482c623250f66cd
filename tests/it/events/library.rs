//! The signatures as somebody else's library sees them.

use std::{path::Path, process::Stdio};

use stockroom::api::proto::{EventType, PutWebhookRequest};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::harness::{
    binary::Binary,
    movements::{receipt, sale},
    receiver::webhook,
    server::{Server, eventually},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// The receiver in Python; killed when dropped.
async fn receiver(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, u16) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/webhooks/bin/python");
    assert!(python.exists(), "scripts/setup.sh --checks installs the library");
    let mut command = Command::new(python);
    command.arg(root.join("tests/it/events/receiver.py")).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    (child, lines, port)
}

#[tokio::test]
async fn the_library_of_standard_webhooks_accepts_the_signatures() {
    let (_child, mut verdicts, port) = receiver(&[SECRET, OTHER]).await;
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let hook = webhook("shop", &format!("http://127.0.0.1:{port}/"), &[EventType::OutOfStock]);
    let put = |secret: &str| PutWebhookRequest {
        webhook: Some(hook.clone()),
        secret: secret.to_owned(),
        ..PutWebhookRequest::default()
    };
    server.events().put_webhook(put(SECRET)).await.unwrap();
    let sell_out = async |sku: &str| {
        let (into, out) = (format!("{sku}r"), format!("{sku}s"));
        server.record(vec![receipt(&into, "berlin", sku, 1), sale(&out, "berlin", sku, 1)]).await;
    };
    sell_out("A").await;
    let delivery = server.deliver();
    let kind = "stockroom.availability.out_of_stock";
    let first = verdicts.next_line().await.unwrap().unwrap();
    assert_eq!(first, format!("{kind}|refused: No matching signature found"));
    delivery.stop().await;
    // Both secrets sign from here on.
    server.events().put_webhook(put(OTHER)).await.unwrap();
    let _delivery = server.deliver();
    sell_out("B").await;
    assert_eq!(verdicts.next_line().await.unwrap().unwrap(), format!("{kind}|{kind}"));
}

/// A certificate for `localhost` with its key, and the authority that signed it.
const CERTIFICATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/events/tls/certificate.pem");
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/events/tls/ca.pem");

#[tokio::test]
async fn a_receiver_is_called_over_tls_and_only_if_its_certificate_is_trusted() {
    let (_child, mut verdicts, port) = receiver(&[SECRET, "--tls", CERTIFICATE]).await;
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let url = format!("https://localhost:{port}/");
    let put = PutWebhookRequest {
        webhook: Some(webhook("shop", &url, &[EventType::OutOfStock])),
        secret: SECRET.to_owned(),
        ..PutWebhookRequest::default()
    };
    server.events().put_webhook(put).await.unwrap();
    server.record(vec![receipt("r", "berlin", "A", 1), sale("s", "berlin", "A", 1)]).await;
    let settings = ["--webhook-allow-private", "--event-retry-ms", "20"];
    let mut distrusts = Binary::start_and(&server.database_url, &settings, &[]).await;
    let progress = eventually("an attempt fails", || async {
        let progress = server.progress("shop").await;
        progress.failed_at.is_some().then_some(progress)
    })
    .await;
    assert_eq!(progress.failure, "the host could not be reached");
    distrusts.kill();
    let trust = [("SSL_CERT_FILE", AUTHORITY)];
    let _trusts = Binary::start_and(&server.database_url, &settings, &trust).await;
    let verdict = verdicts.next_line().await.unwrap().unwrap();
    assert_eq!(verdict, "stockroom.availability.out_of_stock");
}
