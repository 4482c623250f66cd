//! Secrets in logs are found, wherever they come from.

use std::{fs, path::Path, process::Command};

use stockroom::availability::Availability;
use tempfile::TempDir;

/// Looks through a folder of logs as the whole run does.
fn look(folder: &TempDir) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/secrets.sh");
    let output = Command::new(script).arg(folder.path()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_secret_that_was_planted_in_a_log_is_found_and_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("serve.log");
    let clean = "listening address=127.0.0.1:7777\ncannot connect to postgres://db:5432/shop\n";
    fs::write(folder.path().join(".secrets"), "c0ffee5ec2e7c0ffee\n").unwrap();
    fs::write(&log, clean).unwrap();
    assert_eq!(look(&folder), (true, String::new()));
    for secret in [
        "c0ffee5ec2e7c0ffee",
        "canary-4711",
        "postgres://shop:hunter2@db:5432/shop",
        "rediss://:hunter2@cache/",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "sr_0123456789ab_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJzaG9wIn0.c2lnbmF0dXJl",
        "-----BEGIN PRIVATE KEY-----",
    ] {
        fs::write(&log, format!("{clean}cannot do it: '{secret}' is wrong\n")).unwrap();
        let (fine, said) = look(&folder);
        assert!(!fine && said.contains("serve.log:3"), "{secret}: {said}");
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn an_address_of_redis_is_not_told_be_it_right_or_wrong() {
    let wrong = [
        "redis://shop:canary@cache:port",
        "redis://shop:canary@cache/base",
        "redis://shop:canary@",
        "rediss://shop:canary@cache/#canary",
        "canary://cache",
    ];
    for url in wrong {
        let fault = Availability::new(url, "shop").unwrap_err();
        let told = format!("{} {fault:?}", fault.chain());
        assert!(told.contains("cannot read the address of Redis"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
    let right = Availability::new("redis://shop:canary@127.0.0.1:1/", "shop").unwrap();
    let fault = right.ping().await.unwrap_err();
    let told = format!("{right:?} {} {fault:?}", fault.chain());
    assert!(!told.contains("canary"), "{told}");
}
