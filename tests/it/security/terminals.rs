//! Terminals say who they are with a certificate.

use rcgen::CertificateParams;
use stockroom::config::{CredentialConfig, TlsConfig};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{
    certificates::{Authority, Files, Shown, alert, connect},
    credentials::{Guard, bearer, key, lists, shows},
    errors::explained,
    server::{Server, eventually},
};

pub(super) const TILL: &str = "stockroom://terminal/berlin/till-1";

/// A server that asks for certificates.
pub(super) async fn start(files: &Files, authority: &Authority, api_keys: bool) -> Server {
    let shown = authority.server();
    let tls = TlsConfig {
        tls_certificate: Some(files.put("certificate.pem", &shown.pem)),
        tls_key: Some(files.put("key.pem", &shown.key)),
        tls_client_ca: Some(files.put("ca.pem", &authority.pem())),
        tls_client_crl: Some(files.put("crl.pem", &authority.revokes(&[]))),
    };
    let credentials = CredentialConfig { api_keys, ..CredentialConfig::default() };
    Server::start_for(&Guard { tls, credentials }).await
}

#[tokio::test]
async fn a_terminal_is_known_by_its_certificate_and_nobody_else_comes_in() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority, false).await;
    let till = authority.client(&[TILL]);
    lists(&shows(connect(server.address, &authority, Some(&till)), &[])).await.unwrap();
    assert_eq!(alert(server.address, &authority, Some(&till)).await, None);

    let ends = async |shown: Option<&Shown>, why: &str| {
        let told = alert(server.address, &authority, shown).await.unwrap_or_default();
        assert!(told.contains(why), "{told} instead of {why}");
    };
    ends(None, "CertificateRequired").await;
    ends(Some(&authority.client_of_the_past(&[TILL])), "CertificateExpired").await;
    ends(Some(&Authority::new().client(&[TILL])), "UnknownCA").await;
    // A server's certificate is nobody's to call with.
    ends(Some(&authority.server()), "Certificate").await;
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_names_no_terminal_is_worth_nothing_by_itself() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority, true).await;
    let key = key(&server.ledger, "erp", None).await;
    let slash = "stockroom://terminal/de%2Fberlin/till-1";
    lists(&shows(connect(server.address, &authority, Some(&authority.client(&[slash]))), &[]))
        .await
        .unwrap();
    let other = "spiffe://shop.example/till-1";
    for uris in [&[][..], &[other], &[TILL, slash], &["stockroom://terminal/berlin"]] {
        let connection = connect(server.address, &authority, Some(&authority.client(uris)));
        let answer = lists(&shows(connection.clone(), &[])).await.unwrap_err();
        let metadata = explained(&answer, Code::Unauthenticated, "CREDENTIAL_INVALID");
        assert_eq!(metadata["flaw"], "no_terminal", "{uris:?}");
        // With a credential of another kind it is not asked what it names.
        lists(&shows(connection.clone(), &[&*bearer(&key)])).await.unwrap();
        HealthClient::new(connection).check(HealthCheckRequest::default()).await.unwrap();
    }
    // Where there are other credentials nobody needs a certificate.
    let without = connect(server.address, &authority, None);
    lists(&shows(without.clone(), &[&*bearer(&key)])).await.unwrap();
    let answer = lists(&shows(without, &[])).await.unwrap_err();
    explained(&answer, Code::Unauthenticated, "CREDENTIAL_MISSING");
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_taken_back_ends_its_calls_at_once_and_its_connections_for_good() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority, false).await;
    let (lost, kept) = (authority.client(&[TILL]), authority.client(&[TILL]));
    let holder = |shown: &Shown| shows(connect(server.address, &authority, Some(shown)), &[]);
    let (lost_holder, kept_holder) = (holder(&lost), holder(&kept));
    lists(&lost_holder).await.unwrap();
    lists(&kept_holder).await.unwrap();

    files.put("crl.pem", &authority.revokes(&[&lost]));
    let answer = eventually("it is refused", || async { lists(&lost_holder).await.err() }).await;
    explained(&answer, Code::Unauthenticated, "CREDENTIAL_REVOKED");
    let told = alert(server.address, &authority, Some(&lost)).await.unwrap_or_default();
    assert!(told.contains("CertificateRevoked"), "{told}");
    lists(&kept_holder).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_connection_does_not_outlive_the_certificate_that_it_was_made_with() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority, false).await;
    let soon = authority.client_with(&[TILL], |params: &mut CertificateParams| {
        params.not_after =
            (std::time::SystemTime::now() + std::time::Duration::from_secs(4)).into();
    });
    let holder = shows(connect(server.address, &authority, Some(&soon)), &[]);
    lists(&holder).await.unwrap();
    let answer = eventually("it has expired", || async { lists(&holder).await.err() }).await;
    explained(&answer, Code::Unauthenticated, "CREDENTIAL_EXPIRED");
    server.stop().await;
}
