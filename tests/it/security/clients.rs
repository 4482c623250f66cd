//! Commands that are clients: over TLS, with a key or a certificate.

use std::process::{Command, Output};

use stockroom::config::{CredentialConfig, TlsConfig};

use crate::harness::{
    certificates::{Authority, Files},
    credentials::{Guard, key},
    server::Server,
};

const ROWS: &str = "key,kind,location_id,sku,quantity\nk1,RECEIPT,berlin,tea,3\n";

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_a_server_over_tls_and_say_who_they_are() {
    let (authority, files) = (Authority::new(), Files::new());
    let shown = authority.server();
    let tls = TlsConfig {
        tls_certificate: Some(files.put("certificate.pem", &shown.pem)),
        tls_key: Some(files.put("key.pem", &shown.key)),
        tls_client_ca: Some(files.put("ca.pem", &authority.pem())),
        tls_client_crl: None,
    };
    let credentials = CredentialConfig { api_keys: true, ..CredentialConfig::default() };
    let server = Server::start_for(&Guard { tls, credentials }).await;
    let key = key(&server.ledger, "erp", None).await.to_string();
    let path = |name: &str, text: &str| files.put(name, text).to_str().unwrap().to_owned();
    let (ca, key_file) = (path("ca.pem", &authority.pem()), path("key", &format!("{key}\n")));
    let rows = path("rows.csv", ROWS);
    let addr = format!("https://localhost:{}", server.address.port());
    let run = |args: &[&str], key: Option<&str>| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command.args(args).args(["--addr", &addr, "--ca", &ca]);
        command.env_remove("STOCKROOM_API_KEY_FILE").env_remove("STOCKROOM_API_KEY");
        command.envs(key.map(|key| ("STOCKROOM_API_KEY", key))).output().unwrap()
    };
    let good = |output: &Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    good(&run(&["import", "csv", &rows, "--api-key-file", &key_file], None));
    good(&run(&["report", "--format", "json"], Some(&key)));
    let told = run(&["report"], None);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("a credential is needed"), "{told}");
    let bad = run(&["report"], Some("sr_\n_"));
    let told = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(!bad.status.success() && !told.contains("sr_"), "{told}");

    // A certificate says it too, and then a terminal sees no figures.
    let till = authority.client(&["stockroom://terminal/berlin/till-1"]);
    let (pem, till_key) = (path("till.pem", &till.pem), path("till.key", &till.key));
    let rows = path("sale.csv", "key,kind,location_id,sku,quantity\nk2,SALE,berlin,tea,1\n");
    let shows = ["--client-certificate", &pem, "--client-key", &till_key];
    good(&run(&[&["import", "csv", &rows, "--source", "till-1"][..], &shows].concat(), None));
    assert!(!run(&["report", "--client-key", &till_key], Some(&key)).status.success());
    let open = Server::start_on(&server.database_url).await;
    assert_eq!(open.sellable("berlin", "tea").await, 2);
    open.stop().await;
    server.stop().await;
}
