//! Authorities of the test's own, what they vouch for, and connections that show it.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel as Connection, ClientTlsConfig, Endpoint, Identity};

use crate::harness::secrets;

/// How a connection of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Vouches for certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
pub struct Shown {
    pub pem: String,
    pub key: String,
    pub serial: SerialNumber,
    pub sha256: [u8; 32],
}

/// Files that are replaced in one step, as a tool that renews certificates does it.
pub struct Files(TempDir);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Two of one name would be one authority with two keys.
        let name = format!("authority {}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server of this machine.
    pub fn server(&self) -> Shown {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        self.signs(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client with these URIs.
    pub fn client(&self, uris: &[&str]) -> Shown {
        self.client_with(uris, |_| ())
    }

    /// The same, with more to say.
    pub fn client_with(&self, uris: &[&str], more: impl FnOnce(&mut CertificateParams)) -> Shown {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = uris.collect();
        more(&mut params);
        self.signs(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// For a client whose time is over.
    pub fn client_of_the_past(&self, uris: &[&str]) -> Shown {
        self.client_with(uris, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// A list of what it took back.
    pub fn revokes(&self, shown: &[&Shown]) -> String {
        let revoked = shown.iter().map(|shown| RevokedCertParams {
            serial_number: shown.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    fn signs(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Shown {
        let serial = SerialNumber::from(rand::random::<u64>() >> 1);
        params.serial_number = Some(serial.clone());
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = key.serialize_pem();
        key.lines().nth(1).into_iter().for_each(secrets::register);
        Shown {
            pem: certificate.pem(),
            key,
            serial,
            sha256: Sha256::digest(certificate.der()).into(),
        }
    }
}

impl Files {
    pub fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.path().join(name), self.0.path().join("new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }
}

/// A connection to a server for which an authority vouches, made when it is needed first.
pub fn connect(address: SocketAddr, authority: &Authority, shown: Option<&Shown>) -> Connection {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    let tls = match shown {
        Some(shown) => tls.identity(Identity::from_pem(&shown.pem, &shown.key)),
        None => tls,
    };
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", address.port())).unwrap();
    endpoint.tls_config(tls).unwrap().connect_lazy()
}

/// A handshake by hand.
pub async fn shake_hands(
    address: SocketAddr,
    authority: &Authority,
    shown: Option<&Shown>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut settings = match shown {
        None => settings.with_no_client_auth(),
        Some(Shown { pem, key, .. }) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            settings.with_client_auth_cert(chain, key).unwrap()
        }
    };
    settings.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(settings)).connect(name, stream).await
}

/// Why the server ends a handshake, in the words of its alert; `None`: it does not.
pub async fn alert(
    address: SocketAddr,
    authority: &Authority,
    shown: Option<&Shown>,
) -> Option<String> {
    let read = async {
        let mut stream = shake_hands(address, authority, shown, b"h2").await?;
        stream.write_all(PREFACE).await?;
        stream.flush().await?;
        stream.read_exact(&mut [0; 9]).await
    };
    read.await.err().map(|error| error.to_string())
}
