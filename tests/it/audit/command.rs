//! The command, and the servers that export for it.

use std::{fs, process::Command};

use serde_json::Value;
use stockroom::stock::ids::Partition;

use super::{busy, connect, filled, go_on, run};
use crate::harness::{binary::Binary, server::eventually};

pub fn stockroom(args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
    for variable in ["DATABASE_URL", "REDIS_URL", "STOCKROOM_DATA_DIR"] {
        command.env_remove(variable);
    }
    let output = command.args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn the_command_compares_with_what_servers_exported_and_names_what_was_altered() {
    let (url, mixture) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors.jsonl");
    let file = path.to_str().unwrap();
    let every = ["--anchor-every-seconds", "1", "--anchor-file", file];
    let server = Binary::start_and(&url, &every, &[]).await;
    let lines = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    eventually("anchors are exported", || async { Some(()).filter(|()| lines() > 1) }).await;
    let before = lines();
    go_on(&mixture, "more").await;
    eventually("more are exported", || async { Some(()).filter(|()| lines() > before) }).await;
    drop(server);

    let audit = ["audit", "--database-url", &url];
    let (code, text) = stockroom(&[&audit[..], &["--anchors", file]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("anchors fit") && !text.contains("\n0 anchors"), "{text}");
    assert!(text.ends_with("everything is as it was recorded\n"), "{text}");

    let (Partition(partition), last) = busy(&url).await;
    let connection = &mut connect(&url).await;
    let alter = format!(
        "update ledger_entry set note = 'nothing' where partition = {partition} and seq = {last}"
    );
    run(connection, &alter).await;
    let (code, text) = stockroom(&audit);
    assert_eq!(code, 1, "{text}");
    let name = format!("altered: ledger_entry partition={partition} seq={last}: ");
    assert!(text.contains(&name), "{text}");
    let (code, text) = stockroom(&[&audit[..], &["--json", "--anchors", file]].concat());
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &told["ok"]), (1, &Value::Bool(false)), "{text}");
    assert_eq!(told["differences"][0]["partition"], partition);
    assert_eq!(told["differences"][0]["seq"], last);

    let nothing = folder.path().join("nothing");
    fs::write(&nothing, "{}\n").unwrap();
    let (code, text) = stockroom(&[&audit[..], &["--anchors", nothing.to_str().unwrap()]].concat());
    assert_eq!(code, 1);
    assert!(text.contains("there is no anchor in "), "{text}");
}
