//! How commands that are clients of a server reach it, and say who they are.
#![expect(clippy::disallowed_types, reason = "clients of the interface, in gRPC like any other")]

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::config::{Secret, secret::resolve};

/// A connection whose calls show the credential.
pub(super) type Connection = InterceptedService<Channel, Credential>;

/// Which server, and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientConfig {
    /// Address of the server; https:// for TLS
    #[arg(long, global = true, env = "STOCKROOM_ADDR", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:7777")]
    pub addr: String,
    /// Authorities that vouch for the server, as PEM. Default: those of the operating system
    #[arg(long, global = true, env = "STOCKROOM_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with the API key, or the token, that is shown
    #[arg(long, global = true, env = "STOCKROOM_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The API key, or the token, itself; as a setting it is seen by everybody on the machine
    #[arg(
        long,
        global = true,
        env = "STOCKROOM_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub api_key: Option<Secret>,
    /// Certificate that is shown, as PEM
    #[arg(long, global = true, env = "STOCKROOM_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, global = true, env = "STOCKROOM_CLIENT_KEY", value_name = "FILE")]
    pub client_key: Option<PathBuf>,
}

/// What is shown with each call; nothing, if there is nothing to show.
#[derive(Clone, Debug, Default)]
pub(super) struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl ClientConfig {
    /// A server in plain text that asks nobody who is calling.
    #[cfg(test)]
    pub(super) fn plain(addr: String) -> ClientConfig {
        ClientConfig {
            addr,
            ca: None,
            api_key_file: None,
            api_key: None,
            client_certificate: None,
            client_key: None,
        }
    }

    /// Where the server is, with what TLS needs.
    ///
    /// # Errors
    /// The settings contradict each other, or a file cannot be read.
    pub(super) fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let addr = &self.addr;
        let endpoint = Endpoint::from_shared(addr.clone());
        let endpoint = endpoint
            .with_context(|| format!("`{addr}` is not an address like http://127.0.0.1:7777"))?;
        if endpoint.uri().scheme_str() != Some("https") {
            let tls = self.ca.is_some() || self.client_certificate.is_some();
            ensure!(!tls, "certificates need an address that begins with https://, not `{addr}`");
            return Ok(endpoint);
        }
        let tls = match &self.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let tls = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                tls.identity(Identity::from_pem(read(certificate)?, read(key)?))
            }
            (None, None) => tls,
            _ => anyhow::bail!("--client-certificate and --client-key need each other"),
        };
        endpoint.tls_config(tls).context("the certificates cannot be used")
    }

    /// What is shown.
    ///
    /// # Errors
    /// The file cannot be read, or it is no credential.
    pub(super) fn credential(&self) -> anyhow::Result<Credential> {
        let (value, file) = (self.api_key.as_ref(), self.api_key_file.as_deref());
        let Some(secret) = resolve("--api-key", value, file)? else {
            return Ok(Credential::default());
        };
        let value = format!("Bearer {}", secret.reveal()).parse::<MetadataValue<Ascii>>();
        // The error would show it.
        let mut value = value.ok().context("the API key has characters that none has")?;
        value.set_sensitive(true);
        Ok(Credential(Some(value)))
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
