//! Certificates from files, which are looked at every second: a new one is shown to the next connection,
//! and those that are open go on. What cannot be used leaves everything as it was, and is logged.

use std::{io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use sha2::{Digest as _, Sha256};
use tokio::time::MissedTickBehavior;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{api::connection::Protocol, config::TlsFiles, ledger::fault::chain, telemetry};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a server shows, and what it asks of clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    /// Whether a client without a certificate is turned away in the handshake.
    client_required: bool,
    loaded: ArcSwap<Loaded>,
}

/// What was read last and could be used.
#[derive(Debug)]
struct Loaded {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Grows with every change.
    generation: u64,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is not PEM, or not of what it should be.
    #[error("{path} is no PEM file with {what}")]
    Pem {
        /// The file.
        path: String,
        /// What should be in it.
        what: &'static str,
        /// Why it cannot be read.
        source: pem::Error,
    },
    /// The certificate and its key do not fit, or are of a kind that is not supported.
    #[error("cannot use the certificate")]
    Certificate(#[from] rustls::Error),
    /// The authorities of clients, or what they took back, cannot be used.
    #[error("cannot use the authorities of clients")]
    Clients(#[from] VerifierBuilderError),
}

/// Contents of all files at one moment.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files, and follows their changes until every handle is dropped. `client_required`: who
    /// shows no certificate is turned away in the handshake, if clients are asked for one at all.
    ///
    /// # Errors
    /// They cannot be used.
    pub async fn start(files: TlsFiles, client_required: bool) -> Result<Tls, TlsError> {
        let contents = Contents::read(&files).await?;
        let digest = contents.digest();
        let loaded = Loaded::new(&files, &contents, client_required, 1)?;
        contents.tell();
        let loaded = ArcSwap::from_pointee(loaded);
        let tls = Tls(Arc::new(Inner { files, client_required, loaded }));
        tokio::spawn(follow(tls.clone(), digest));
        Ok(tls)
    }

    /// What the next connection is shown.
    pub(super) fn settings(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let loaded = self.0.loaded.load();
        Arc::clone(match protocol {
            Protocol::Grpc => &loaded.grpc,
            Protocol::Http => &loaded.http,
        })
    }

    /// Grows with every change of a file: what was verified before must be verified again.
    pub(super) fn generation(&self) -> u64 {
        self.0.loaded.load().generation
    }

    /// Whether the authorities as they are now vouch for a chain of a client.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<ClientCertVerified, rustls::Error> {
        match &self.0.loaded.load().verifier {
            Some(verifier) => {
                verifier.verify_client_cert(end_entity, intermediates, UnixTime::now())
            }
            None => Err(rustls::Error::NoCertificatesPresented),
        }
    }

    async fn look(&self, seen: &mut [u8; 32]) -> Result<(), TlsError> {
        let contents = Contents::read(&self.0.files).await?;
        let digest = contents.digest();
        if digest == *seen {
            return Ok(());
        }
        // What cannot be used is told once, and tried again when it changes.
        *seen = digest;
        let Inner { files, client_required, loaded } = &*self.0;
        let generation = loaded.load().generation + 1;
        loaded.store(Arc::new(Loaded::new(files, &contents, *client_required, generation)?));
        contents.tell();
        tracing::info!("certificates were read again");
        Ok(())
    }
}

async fn follow(tls: Tls, mut seen: [u8; 32]) {
    let inner = Arc::downgrade(&tls.0);
    drop(tls);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let looked = Tls(inner).look(&mut seen).await;
        if let Err(error) = &looked
            && (!failing || !matches!(error, TlsError::File { .. }))
        {
            let why = chain(error);
            tracing::error!(error = why, "changed certificates are not used; the old ones are");
        }
        failing = looked.is_err();
    }
}

impl Loaded {
    fn new(
        files: &TlsFiles,
        contents: &Contents,
        client_required: bool,
        generation: u64,
    ) -> Result<Loaded, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = match (&files.client_ca, &contents.client_ca) {
            (Some(path), Some(authorities)) => {
                let crl = files.client_crl.as_deref().zip(contents.client_crl.as_deref());
                Some(verifier(&provider, (path, authorities), crl, client_required)?)
            }
            _ => None,
        };
        let settings = |verifier: Option<&Arc<dyn ClientCertVerifier>>, protocols: &[&[u8]]| {
            let chain = pem_items::<CertificateDer<'static>>(
                &files.certificate,
                &contents.certificate,
                "certificates",
            )?;
            let key = PrivateKeyDer::from_pem_slice(&contents.key)
                .map_err(|source| pem_error(&files.key, "a private key", source))?;
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()?;
            let builder = match verifier {
                Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
                None => builder.with_no_client_auth(),
            };
            let mut settings = builder.with_single_cert(chain, key)?;
            settings.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok::<_, TlsError>(Arc::new(settings))
        };
        Ok(Loaded {
            grpc: settings(verifier.as_ref(), &[b"h2", b"http/1.1"])?,
            http: settings(None, &[b"http/1.1"])?,
            verifier,
            generation,
        })
    }
}

fn verifier(
    provider: &Arc<CryptoProvider>,
    (path, authorities): (&Path, &[u8]),
    crl: Option<(&Path, &[u8])>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in pem_items::<CertificateDer<'static>>(path, authorities, "certificates")? {
        roots.add(authority)?;
    }
    let crls = match crl {
        Some((path, crl)) => {
            pem_items::<CertificateRevocationListDer<'static>>(path, crl, "a revocation list")?
        }
        None => Vec::new(),
    };
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(crls)
            .only_check_end_entity_revocation();
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    Ok(builder.build()?)
}

/// At least one.
fn pem_items<T: PemObject>(
    path: &Path,
    bytes: &[u8],
    what: &'static str,
) -> Result<Vec<T>, TlsError> {
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(bytes).collect();
    match items {
        Ok(items) if !items.is_empty() => Ok(items),
        Ok(_) => Err(pem_error(path, what, pem::Error::NoItemsFound)),
        Err(source) => Err(pem_error(path, what, source)),
    }
}

fn pem_error(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    TlsError::Pem { path: path.display().to_string(), what, source }
}

impl Contents {
    async fn read(files: &TlsFiles) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&files.certificate).await?,
            key: read(&files.key).await?,
            client_ca: read_if(files.client_ca.as_deref()).await?,
            client_crl: read_if(files.client_crl.as_deref()).await?,
        })
    }

    /// Tells until when the certificate of the server is good.
    fn tell(&self) {
        let Ok(certificate) = CertificateDer::from_pem_slice(&self.certificate) else { return };
        if let Ok((_, certificate)) = X509Certificate::from_der(&certificate) {
            telemetry::certificate_ends(certificate.validity().not_after.timestamp());
        }
    }

    fn digest(&self) -> [u8; 32] {
        let parts = [
            &self.certificate,
            &self.key,
            self.client_ca.as_deref().unwrap_or_default(),
            self.client_crl.as_deref().unwrap_or_default(),
        ];
        let digests = parts.map(Sha256::digest);
        Sha256::digest(digests.concat()).into()
    }
}

async fn read_if(path: Option<&Path>) -> Result<Option<Vec<u8>>, TlsError> {
    match path {
        Some(path) => read(path).await.map(Some),
        None => Ok(None),
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file_error = |source| TlsError::File { path: path.display().to_string(), source };
    let size = tokio::fs::metadata(path).await.map_err(file_error)?.len();
    if size > FILE_BYTES_MAX {
        return Err(file_error(io::Error::other("it is larger than 16 MiB")));
    }
    tokio::fs::read(path).await.map_err(file_error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

    use super::*;

    fn certificate() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (cert.pem(), KeyPair::serialize_pem(&signing_key))
    }

    #[tokio::test]
    async fn what_cannot_be_used_leaves_the_old_certificate_in_place_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (old, old_key) = certificate();
        let files = TlsFiles {
            certificate: put("certificate.pem", &old),
            key: put("key.pem", &old_key),
            client_ca: None,
            client_crl: None,
        };
        let tls = Tls::start(files.clone(), true).await.unwrap();
        let shown = tls.settings(Protocol::Grpc);
        let mut seen = Contents::read(&files).await.unwrap().digest();
        let (new, new_key) = certificate();
        for (name, broken) in
            [("certificate.pem", &*new), ("certificate.pem", ""), ("certificate.pem", &old[..99])]
        {
            put(name, broken);
            tls.look(&mut seen).await.unwrap_err();
            // Told once; nothing has changed since.
            tls.look(&mut seen).await.unwrap();
            assert!(Arc::ptr_eq(&shown, &tls.settings(Protocol::Grpc)), "{broken}");
        }
        fs::remove_file(&files.certificate).unwrap();
        assert!(matches!(tls.look(&mut seen).await, Err(TlsError::File { .. })));
        put("certificate.pem", &new);
        put("key.pem", &new_key);
        tls.look(&mut seen).await.unwrap();
        assert!(!Arc::ptr_eq(&shown, &tls.settings(Protocol::Grpc)));
        assert_eq!(tls.generation(), 2);
    }
}
