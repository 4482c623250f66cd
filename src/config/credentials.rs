//! How callers say who they are.

use std::path::PathBuf;

use reqwest::Url;

use crate::config::ConfigError;

/// Which credentials are known. One of them that is configured turns anonymous access off.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CredentialConfig {
    /// Takes API keys, which `stockroom keys` makes
    #[arg(long, env = "STOCKROOM_API_KEYS")]
    pub api_keys: bool,
    /// Takes tokens (JWT) that a key of this file (JWKS) signed; it is read again when it changes
    #[arg(long, env = "STOCKROOM_JWKS_FILE", value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,
    /// Takes tokens (JWT) that a key of this address (JWKS, https) signed
    #[arg(long, env = "STOCKROOM_JWKS_URL", value_name = "URL")]
    pub jwks_url: Option<Url>,
    /// Authorities that vouch for this address, as PEM. Default: those of the operating system
    #[arg(long, env = "STOCKROOM_JWKS_CA", value_name = "FILE")]
    pub jwks_ca: Option<PathBuf>,
    /// Who issues the tokens: their `iss`
    #[arg(long, env = "STOCKROOM_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// For whom they are issued: in their `aud`
    #[arg(long, env = "STOCKROOM_JWT_AUDIENCE", value_name = "TEXT")]
    pub jwt_audience: Option<String>,
}

/// Which tokens are taken.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// The keys that sign them.
    pub keys: KeySource,
    /// Their `iss`.
    pub issuer: String,
    /// In their `aud`.
    pub audience: String,
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An address, and a file with the authorities that vouch for it; `None`: those of the system.
    Address {
        /// Of https.
        url: Url,
        /// The file.
        ca: Option<PathBuf>,
    },
}

impl CredentialConfig {
    /// Which tokens are taken; `None`: none.
    ///
    /// # Errors
    /// A setting is given without another that it needs, or beside one that it excludes.
    pub fn tokens(&self) -> Result<Option<TokenConfig>, ConfigError> {
        let need = |given, needed| Err(ConfigError::Needs { given, needed });
        let keys = match (&self.jwks_file, &self.jwks_url) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Excludes { given: "--jwks-file", other: "--jwks-url" });
            }
            (_, None) if self.jwks_ca.is_some() => return need("--jwks-ca", "--jwks-url"),
            (None, None) if self.jwt_issuer.is_some() => {
                return need("--jwt-issuer", "--jwks-file or --jwks-url");
            }
            (None, None) if self.jwt_audience.is_some() => {
                return need("--jwt-audience", "--jwks-file or --jwks-url");
            }
            (None, None) => return Ok(None),
            (Some(path), None) => KeySource::File(path.clone()),
            (None, Some(url)) if url.scheme() == "https" => {
                KeySource::Address { url: url.clone(), ca: self.jwks_ca.clone() }
            }
            (None, Some(_)) => return need("--jwks-url", "an address of https"),
        };
        match (&self.jwt_issuer, &self.jwt_audience) {
            (Some(issuer), Some(audience)) => {
                Ok(Some(TokenConfig { keys, issuer: issuer.clone(), audience: audience.clone() }))
            }
            (None, _) => need("--jwks-file and --jwks-url", "--jwt-issuer"),
            (_, None) => need("--jwks-file and --jwks-url", "--jwt-audience"),
        }
    }

    /// Whether any source is configured.
    pub fn any(&self) -> bool {
        self.api_keys || self.jwks_file.is_some() || self.jwks_url.is_some()
    }
}
