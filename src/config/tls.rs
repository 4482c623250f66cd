//! Which certificates the server shows, and which it asks for.

use std::path::PathBuf;

use crate::config::ConfigError;

/// The server's own certificate, and whose certificates it takes. All files are PEM; a file that changes
/// is read again within two seconds.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsConfig {
    /// Certificate of the server with its intermediates: serves TLS only, also over HTTP
    #[arg(long, env = "STOCKROOM_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "STOCKROOM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose certificates terminals show
    #[arg(long, env = "STOCKROOM_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Certificates that these authorities took back
    #[arg(long, env = "STOCKROOM_TLS_CLIENT_CRL", value_name = "FILE")]
    pub tls_client_crl: Option<PathBuf>,
}

/// Files that belong together.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate of the server with its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients; `None`: no client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// What these took back; `None`: nothing.
    pub client_crl: Option<PathBuf>,
}

impl TlsConfig {
    /// The files; `None`: plain text.
    ///
    /// # Errors
    /// One is given without another that it needs.
    pub fn files(&self) -> Result<Option<TlsFiles>, ConfigError> {
        let need = |given, needed| Err(ConfigError::Needs { given, needed });
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => need("--tls-certificate", "--tls-key"),
            (None, Some(_)) => need("--tls-key", "--tls-certificate"),
            (None, None) if self.tls_client_ca.is_some() => {
                need("--tls-client-ca", "--tls-certificate")
            }
            _ if self.tls_client_crl.is_some() && self.tls_client_ca.is_none() => {
                need("--tls-client-crl", "--tls-client-ca")
            }
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
                client_crl: self.tls_client_crl.clone(),
            })),
        }
    }
}
