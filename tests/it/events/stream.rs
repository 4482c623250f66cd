//! NATS JetStream, with a server of its own where there is one on this machine.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use async_nats::jetstream::{self, consumer};
use futures::StreamExt as _;
use stockroom::feed::deliver::{Delivery, Options, stream::StreamOptions};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    movements::{receipt, sale},
    receiver::quick,
    server::{Server, eventually},
};

/// `nats-server` with a folder of its own; killed when dropped.
struct Nats {
    url: String,
    port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl Nats {
    async fn start() -> Nats {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = run(port, folder.path());
        let nats = Nats { url: format!("nats://127.0.0.1:{port}"), port, folder, child };
        nats.wait().await;
        nats
    }

    async fn wait(&self) {
        eventually("nats-server accepts", || async {
            TcpStream::connect(("127.0.0.1", self.port)).await.ok()
        })
        .await;
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn start_again(&mut self) {
        self.child = run(self.port, self.folder.path());
        self.wait().await;
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(port: u16, folder: &Path) -> Child {
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("scripts/setup.sh --checks installs nats-server")
}

/// Everything in the stream: subject, id and body.
async fn messages(nats: &Nats) -> Vec<(String, String, String)> {
    let client = async_nats::connect(&nats.url).await.unwrap();
    let Ok(stream) = jetstream::new(client).get_stream("EVENTS").await else { return Vec::new() };
    let consumer = stream.create_consumer(consumer::pull::Config::default()).await.unwrap();
    let mut batch = consumer.fetch().max_messages(1_000).messages().await.unwrap();
    let mut messages = Vec::new();
    while let Some(message) = batch.next().await {
        let message = message.unwrap();
        let id = message.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap().to_string();
        let body = String::from_utf8(message.payload.to_vec()).unwrap();
        messages.push((message.subject.to_string(), id, body));
    }
    messages
}

#[tokio::test]
async fn events_are_published_once_each_in_order_though_the_stream_goes_away() {
    let (server, mut nats) = (Server::start().await, Nats::start().await);
    server.put_locations(&["berlin", "de.hamburg"]).await;
    let stream = StreamOptions {
        url: nats.url.clone(),
        subject_prefix: "shop".to_owned(),
        stream: Some("EVENTS".to_owned()),
        low_units: 2,
    };
    let mut options = Options { stream: Some(stream), ..quick() };
    options.timeout = Duration::from_millis(500);
    options.backoff.attempts_max = 50;
    let _delivery = Delivery::start(server.ledger.clone(), options).unwrap();
    eventually("it has a cursor", || async {
        let request = stockroom::api::proto::GetWebhookRequest { webhook_id: "nats".to_owned() };
        server.events().get_webhook(request).await.ok()
    })
    .await;
    let rounds = |from: usize| {
        let pair = move |n: usize| {
            let place = if n.is_multiple_of(2) { "berlin" } else { "de.hamburg" };
            [receipt(&format!("r{n}"), place, "A", 5), sale(&format!("s{n}"), place, "A", 5)]
        };
        (from..from + 10).flat_map(pair).collect::<Vec<_>>()
    };
    server.record(rounds(0)).await;
    let published = async |number: usize| {
        eventually("all are published", || async {
            let messages = messages(&nats).await;
            (messages.len() >= number).then_some(messages)
        })
        .await
    };
    published(20).await;
    nats.kill();
    server.record(rounds(10)).await;
    eventually("an attempt fails", || async {
        (server.progress("nats").await.failed_at.is_some()).then_some(())
    })
    .await;
    nats.start_again().await;
    let messages = eventually("all are published", || async {
        let messages = messages(&nats).await;
        (messages.len() >= 40).then_some(messages)
    })
    .await;
    assert_eq!(messages.len(), 40, "the stream knows what it has already");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seqs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (subject, id, body) in &messages {
        let event: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(event["id"], **id);
        *kinds.entry(subject).or_default() += 1;
        let seq = event["data"]["entry"]["seq"].as_u64().unwrap();
        seqs.entry(event["subject"].to_string()).or_default().push(seq);
    }
    assert_eq!(
        kinds,
        BTreeMap::from([
            ("shop.availability.back_in_stock.berlin", 10),
            ("shop.availability.back_in_stock.de_hamburg", 10),
            ("shop.availability.out_of_stock.berlin", 10),
            ("shop.availability.out_of_stock.de_hamburg", 10),
        ])
    );
    assert!(seqs.values().all(|seqs| seqs.is_sorted()), "{seqs:?}");
}
