//! Tokens: each way in which one is not taken, and where the keys come from.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stockroom::config::{CredentialConfig, TlsConfig};
use tonic::{Code, Status};

use crate::harness::{
    certificates::{Authority, Files, Shown, connect},
    credentials::{Guard, bearer, key, lists, shows},
    errors::explained,
    server::{Server, eventually},
    tokens::{AUDIENCE, ISSUER, Keys, Signer, but, claims, jwks, message, seconds},
};

fn from_file(path: PathBuf) -> CredentialConfig {
    CredentialConfig {
        jwks_file: Some(path),
        jwt_issuer: Some(ISSUER.to_owned()),
        jwt_audience: Some(AUDIENCE.to_owned()),
        ..CredentialConfig::default()
    }
}

async fn start(credentials: CredentialConfig) -> Server {
    Server::start_for(&Guard { credentials, ..Guard::default() }).await
}

async fn shown(server: &Server, token: &str) -> Result<(), Status> {
    lists(&server.shows(&format!("Bearer {token}"))).await
}

/// Why a token is not taken: the reason, and what is wrong where it is just not good.
async fn refusal(server: &Server, token: &str) -> String {
    let status = shown(server, token).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    for reason in ["CREDENTIAL_EXPIRED", "CREDENTIAL_NOT_YET_VALID", "CREDENTIAL_REPLAYED"] {
        if status.details().windows(reason.len()).any(|part| part == reason.as_bytes()) {
            explained(&status, Code::Unauthenticated, reason);
            return reason.to_owned();
        }
    }
    explained(&status, Code::Unauthenticated, "CREDENTIAL_INVALID").remove("flaw").unwrap()
}

#[tokio::test]
async fn tokens_of_both_algorithms_are_taken_and_every_other_one_is_refused() {
    let files = Files::new();
    let (ed, ec) = (Signer::ed("ed"), Signer::ec("ec"));
    let server = start(from_file(files.put("keys.json", &jwks(&[&ed, &ec])))).await;
    for signer in [&ed, &ec] {
        let token = signer.token(&claims());
        // The second time it is remembered.
        shown(&server, &token).await.unwrap();
        shown(&server, &token).await.unwrap();
        let several = but("aud", json!(["other", AUDIENCE]));
        shown(&server, &signer.token(&several)).await.unwrap();

        let refused = async |claims: Value, why: &str| {
            let token = signer.token(&claims);
            for _ in 0..2 {
                assert_eq!(refusal(&server, &token).await, why, "{claims}");
            }
        };
        refused(but("exp", json!(seconds(-61))), "CREDENTIAL_EXPIRED").await;
        refused(but("nbf", json!(seconds(61))), "CREDENTIAL_NOT_YET_VALID").await;
        refused(but("iss", json!("https://other.example")), "issuer").await;
        refused(but("iss", json!([ISSUER])), "malformed").await;
        refused(but("aud", json!("other")), "audience").await;
        refused(but("aud", json!(["other"])), "audience").await;
        refused(but("sub", json!("")), "subject").await;
        refused(but("sub", json!("a b")), "subject").await;
        refused(but("cnf", json!({ "jkt": "x" })), "malformed").await;
        for (claim, why) in
            [("exp", "malformed"), ("iss", "issuer"), ("aud", "audience"), ("sub", "subject")]
        {
            let told = refusal(&server, &signer.token(&but(claim, Value::Null))).await;
            assert!(told == why || told == "malformed", "{claim}: {told}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_key_says_the_algorithm_and_never_the_token() {
    let files = Files::new();
    let (ed, ec, stranger) = (Signer::ed("ed"), Signer::ec("ec"), Signer::ed("ed"));
    let server = start(from_file(files.put("keys.json", &jwks(&[&ed, &ec])))).await;
    for none in ["none", "None", "NONE"] {
        let unsigned = message(&json!({ "alg": none, "kid": "ed" }), &claims());
        assert_eq!(refusal(&server, &format!("{unsigned}.")).await, "algorithm");
    }
    // The public key, which everybody has, as a secret that two share.
    for signer in [&ed, &ec] {
        let signed = message(&json!({ "alg": "HS256", "kid": signer.id }), &claims());
        let mut mac = Hmac::<Sha256>::new_from_slice(signer.public()).unwrap();
        mac.update(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        assert_eq!(refusal(&server, &format!("{signed}.{signature}")).await, "algorithm");
    }
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    let token = |signer: &Signer, header: Value| signer.token_with(&header, &claims());
    assert_eq!(refusal(&server, &token(&ed, header("ES256", "ed"))).await, "algorithm");
    assert_eq!(refusal(&server, &token(&ec, header("EdDSA", "ec"))).await, "algorithm");
    assert_eq!(refusal(&server, &token(&ec, header("RS256", "ec"))).await, "algorithm");
    assert_eq!(refusal(&server, &token(&ed, header("EdDSA", "gone"))).await, "key_unknown");
    assert_eq!(refusal(&server, &token(&ed, json!({ "alg": "EdDSA" }))).await, "key_unknown");
    assert_eq!(refusal(&server, &stranger.token(&claims())).await, "signature");
    let critical = json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"] });
    assert_eq!(refusal(&server, &token(&ed, critical)).await, "malformed");
    // A key that the token brings along is nobody's.
    let own = json!({ "alg": "EdDSA", "kid": "mine", "jwk": { "kty": "OKP" } });
    assert_eq!(refusal(&server, &token(&stranger, own)).await, "key_unknown");

    let good = ed.token(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut changed = good.clone();
    changed.replace_range(60..61, if &good[60..61] == "A" { "B" } else { "A" });
    for bad in [&changed, signed, &format!("{signed}."), &format!("{good}."), "a.b.c", "...", "x"] {
        let why = refusal(&server, bad).await;
        let known = ["malformed", "signature", "algorithm", "key_unknown"].contains(&&*why);
        assert!(known, "{bad}: {why}");
    }
    assert_eq!(refusal(&server, &format!("{signed}.AAAA{signature}")).await, "signature");
    assert_eq!(refusal(&server, &format!("{}{good}", "a".repeat(8_192))).await, "malformed");
    server.stop().await;
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_and_a_broken_one_is_not() {
    let files = Files::new();
    let (old, new) = (Signer::ed("old"), Signer::ec("new"));
    let mut config = from_file(files.put("keys.json", &jwks(&[&old])));
    config.api_keys = true;
    let server = start(config).await;
    let (of_old, of_new) = (old.token(&claims()), new.token(&claims()));
    shown(&server, &of_old).await.unwrap();
    assert_eq!(refusal(&server, &of_new).await, "key_unknown");
    // Both sources are asked, each for its own.
    lists(&server.shows(&bearer(&key(&server.ledger, "erp", None).await))).await.unwrap();

    files.put("keys.json", "{");
    shown(&server, &of_old).await.unwrap();
    files.put("keys.json", &jwks(&[&new]));
    eventually("the new key is read", || async { shown(&server, &of_new).await.ok() }).await;
    // What was remembered was verified by a key that is gone.
    assert_eq!(refusal(&server, &of_old).await, "key_unknown");
    server.stop().await;
}

#[tokio::test]
async fn an_address_of_keys_is_asked_when_one_is_missing_but_not_again_and_again() {
    let (authority, files) = (Authority::new(), Files::new());
    let (old, new) = (Signer::ed("old"), Signer::ec("new"));
    let keys = Keys::tell(&authority.server(), jwks(&[&old])).await;
    let server = start(CredentialConfig {
        jwks_url: Some(keys.url.parse().unwrap()),
        jwks_ca: Some(files.put("ca.pem", &authority.pem())),
        jwks_file: None,
        ..from_file(PathBuf::new())
    })
    .await;
    shown(&server, &old.token(&claims())).await.unwrap();
    assert_eq!(keys.asked(), 1);
    keys.change(jwks(&[&old, &new]));
    shown(&server, &new.token(&claims())).await.unwrap();
    assert_eq!(keys.asked(), 2);
    for id in 0..10 {
        let token = Signer::ed(&format!("unknown-{id}")).token(&claims());
        assert_eq!(refusal(&server, &token).await, "key_unknown");
    }
    assert_eq!(keys.asked(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_token_without_keys_to_verify_it_is_to_be_sent_again() {
    let (authority, files) = (Authority::new(), Files::new());
    let keys = Keys::tell(&authority.server(), "no keys".to_owned()).await;
    let server = start(CredentialConfig {
        jwks_url: Some(keys.url.parse().unwrap()),
        jwks_ca: Some(files.put("ca.pem", &authority.pem())),
        jwks_file: None,
        ..from_file(PathBuf::new())
    })
    .await;
    let signer = Signer::ed("ed");
    let status = shown(&server, &signer.token(&claims())).await.unwrap_err();
    explained(&status, Code::Unavailable, "CREDENTIALS_UNAVAILABLE");
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_nobody_elses() {
    let (authority, files) = (Authority::new(), Files::new());
    let signer = Signer::ed("ed");
    let shown = authority.server();
    let tls = TlsConfig {
        tls_certificate: Some(files.put("certificate.pem", &shown.pem)),
        tls_key: Some(files.put("key.pem", &shown.key)),
        tls_client_ca: Some(files.put("authority.pem", &authority.pem())),
        tls_client_crl: None,
    };
    let credentials = from_file(files.put("keys.json", &jwks(&[&signer])));
    let server = Server::start_for(&Guard { credentials, tls }).await;
    let (owner, thief) = (authority.client(&[]), authority.client(&[]));
    let bound_to = URL_SAFE_NO_PAD.encode(owner.sha256);
    let token = signer.token(&but("cnf", json!({ "x5t#S256": bound_to })));
    let over = async |shown: Option<&Shown>, token: &str| {
        let connection = connect(server.address, &authority, shown);
        lists(&shows(connection, &[&*format!("Bearer {token}")])).await
    };
    over(Some(&owner), &token).await.unwrap();
    for other in [Some(&thief), None] {
        let status = over(other, &token).await.unwrap_err();
        explained(&status, Code::Unauthenticated, "CREDENTIAL_REPLAYED");
    }
    over(Some(&owner), &token).await.unwrap();
    // One that is bound to nothing is taken over any connection.
    let free = signer.token(&claims());
    over(Some(&thief), &free).await.unwrap();
    over(None, &free).await.unwrap();
    server.stop().await;
}
