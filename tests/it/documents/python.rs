//! The client in Python does what it says.

use std::{path::Path, process::Output};

use stockroom::{
    api::proto::{Location, PutLocationRequest, network_service_client::NetworkServiceClient},
    config::TlsConfig,
};
use tokio::process::Command;

use crate::harness::{
    certificates::{Authority, Files, connect},
    credentials::{Guard, bearer, key, shows},
    server::Server,
};

async fn client(environment: &[(&str, &str)]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/client/bin/python");
    assert!(python.exists(), "scripts/setup.sh --checks installs the library");
    let mut command = Command::new(python);
    for variable in ["STOCKROOM_ADDR", "STOCKROOM_CA", "STOCKROOM_API_KEY"] {
        command.env_remove(variable);
    }
    command.arg("-B").arg(root.join("examples/client.py")).args(["berlin", "MUG"]);
    command.envs(environment.iter().copied()).output().await.unwrap()
}

#[tokio::test]
async fn a_client_in_python_needs_nothing_but_the_proto_a_key_and_whom_to_trust() {
    let (authority, files) = (Authority::new(), Files::new());
    let shown = authority.server();
    let tls = TlsConfig {
        tls_certificate: Some(files.put("certificate.pem", &shown.pem)),
        tls_key: Some(files.put("key.pem", &shown.key)),
        ..TlsConfig::default()
    };
    let server = Server::start_for(&Guard { tls, ..Guard::keys() }).await;
    let key = key(&server.ledger, "python", None).await;
    let location = Location { location_id: "berlin".to_owned(), ..Location::default() };
    let put = PutLocationRequest { location: Some(location) };
    let connection = shows(connect(server.address, &authority, None), &[&bearer(&key)]);
    NetworkServiceClient::new(connection).put_location(put).await.unwrap();

    let (address, key) = (format!("https://{}", server.address), key.to_string());
    let trusted = files.put("authority.pem", &authority.pem());
    let known = [
        ("STOCKROOM_ADDR", address.as_str()),
        ("STOCKROOM_CA", trusted.to_str().unwrap()),
        ("STOCKROOM_API_KEY", &key),
    ];
    let output = client(&known).await;
    let told = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = told.lines().collect();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines[..2], ["received: MOVEMENT_STATUS_RECORDED", "available: 5"]);
    assert!(lines[2].starts_with("reserved: r"), "{told}");
    for (environment, why) in [(&known[..2], "UNAUTHENTICATED"), (&known[..1], "UNAVAILABLE")] {
        let refused = client(environment).await;
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains(why), "{told}");
    }
    server.stop().await;
}
