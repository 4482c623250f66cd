//! `stockroom keys`: makes, lists and revokes API keys. Needs the database only.

use anyhow::{Context as _, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use crate::{
    access::{Caller, KeyText, Scope, Scopes},
    ambient,
    cli::{
        connect,
        show::{parse_time, table, time_text},
    },
    config::DatabaseConfig,
    ledger::{
        Ledger,
        api_key::{API_KEYS_MAX, ApiKey, NewApiKey},
    },
    stock::{
        ids::is_identifier,
        time::{SECOND, Timestamp},
    },
};

/// What `--location` and `--channel` say for all of them.
const ALL: &str = "*";
/// Locations, or channels, that a key may name.
const REACH_MAX: usize = 1_000;

/// What to do with API keys.
#[derive(Clone, Debug, clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum KeysCommand {
    /// Makes a key and prints it, this once
    Create(CreateArgs),
    /// Lists keys, without their secrets
    List(ListArgs),
    /// Revokes a key: within a second every server refuses it
    Revoke(RevokeArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// The system that will call; another key of the same system has the same name
    #[arg(long, value_name = "ID", value_parser = caller_id)]
    name: String,
    /// What it may do, like movements:write; several with commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// Locations that exist for it; several with commas, * for all
    #[arg(long, default_value = ALL, value_delimiter = ',', value_name = "ID")]
    #[arg(value_parser = reach)]
    location: Vec<String>,
    /// Channels that exist for it; several with commas, * for all
    #[arg(long, default_value = ALL, value_delimiter = ',', value_name = "ID")]
    #[arg(value_parser = reach)]
    channel: Vec<String>,
    /// When it ends: a time (RFC 3339), or days from now, like 90d. Default: never
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<Expiry>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct RevokeArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// The prefix of the key: the 12 digits between its underscores
    #[arg(value_parser = parse_prefix)]
    prefix: String,
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    At(Timestamp),
    After(i64),
}

/// Makes, lists or revokes.
///
/// # Errors
/// The database is away, or the key is unknown.
pub async fn run(args: KeysArgs) -> anyhow::Result<()> {
    match args.command {
        KeysCommand::Create(args) => create(args).await,
        KeysCommand::List(args) => list(&connect(&args.databases)?, args.json).await,
        KeysCommand::Revoke(args) => {
            let revoked = connect(&args.databases)?.revoke_api_key(&args.prefix).await?;
            ensure!(revoked, "there is no key with the prefix {:?}", args.prefix);
            println!("revoked {}", args.prefix);
            Ok(())
        }
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let expires_at = args.expires.map(|expiry| match expiry {
        Expiry::At(at) => at,
        Expiry::After(time) => ambient::now().saturating_add(time),
    });
    ensure!(expires_at.is_none_or(|at| at > ambient::now()), "--expires is in the past");
    let text = new_key()?;
    let scopes: Scopes = args.scope.into_iter().collect();
    let new = NewApiKey {
        prefix: text.prefix().to_owned(),
        secret_sha256: text.secret_sha256(),
        name: args.name,
        scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
        location_ids: ids(args.location)?,
        channel_ids: ids(args.channel)?,
        expires_at,
    };
    let made = connect(&args.databases)?.create_api_key(&new).await?;
    ensure!(made, "there are {API_KEYS_MAX} keys already; revoke some, they go after 90 days");
    if args.json {
        let expires_at = expires_at.map(time_text);
        let object = json!({
            "key": text.to_string(),
            "prefix": new.prefix,
            "name": new.name,
            "expires_at": expires_at,
        });
        println!("{object}");
    } else {
        println!("{text}");
        eprintln!("this is the only time that the key of {:?} is shown; keep it secret", new.name);
    }
    Ok(())
}

async fn list(ledger: &Ledger, as_json: bool) -> anyhow::Result<()> {
    let now = ambient::now();
    let keys: Vec<_> = ledger.api_keys().await?.iter().map(|key| shown(key, now)).collect();
    if as_json {
        println!("{}", json!({ "keys": keys }));
        return Ok(());
    }
    let columns = [
        "prefix",
        "name",
        "state",
        "scopes",
        "locations",
        "channels",
        "expires_at",
        "last_used_at",
    ];
    let mut table = table(&columns);
    for key in &keys {
        table.add_row(columns.map(|column| match &key[column] {
            Value::String(text) => text.clone(),
            Value::Array(texts) => {
                texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        }));
    }
    println!("{table}");
    Ok(())
}

fn shown(key: &ApiKey, now: Timestamp) -> Value {
    let state = match key {
        ApiKey { revoked_at: Some(_), .. } => "revoked",
        ApiKey { expires_at: Some(at), .. } if *at <= now => "expired",
        _ => "valid",
    };
    let reach = |ids: &Option<Vec<String>>| ids.clone().unwrap_or_else(|| vec![ALL.to_owned()]);
    json!({
        "prefix": key.prefix,
        "name": key.name,
        "state": state,
        "scopes": key.scopes,
        "locations": reach(&key.location_ids),
        "channels": reach(&key.channel_ids),
        "created_at": time_text(key.created_at),
        "expires_at": key.expires_at.map(time_text),
        "revoked_at": key.revoked_at.map(time_text),
        "last_used_at": key.last_used_at.map(time_text),
    })
}

/// From the operating system's source of chance, which is worth its bits.
fn new_key() -> anyhow::Result<KeyText> {
    let (mut prefix, mut secret) = ([0; 6], [0; 32]);
    let random = SystemRandom::new();
    for bytes in [&mut prefix[..], &mut secret[..]] {
        random.fill(bytes).ok().context("the operating system has no random bytes")?;
    }
    Ok(KeyText::new(prefix, secret))
}

/// `None`: all.
fn ids(given: Vec<String>) -> anyhow::Result<Option<Vec<String>>> {
    if given.iter().any(|id| id == ALL) {
        ensure!(given.len() == 1, "{ALL} stands for all and stands alone");
        return Ok(None);
    }
    ensure!(given.len() <= REACH_MAX, "a key names at most {REACH_MAX} ids");
    Ok(Some(given))
}

fn identifier(text: &str) -> Result<String, &'static str> {
    is_identifier(text).then(|| text.to_owned()).ok_or("1 to 64 of A-Z a-z 0-9 . _ : / -")
}

fn caller_id(text: &str) -> Result<String, &'static str> {
    let rule = "1 to 64 of A-Z a-z 0-9 . _ : / -, and neither anonymous nor stockroom";
    Caller::may_be_named(text).then(|| text.to_owned()).ok_or(rule)
}

fn reach(text: &str) -> Result<String, &'static str> {
    if text == ALL { Ok(text.to_owned()) } else { identifier(text) }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok());
    match days {
        Some(days) => Ok(Expiry::After(i64::from(days) * 86_400 * SECOND)),
        None => parse_time(text).map(Expiry::At),
    }
}

/// Says nothing of what was given: it may be a whole key.
fn parse_prefix(text: &str) -> Result<String, &'static str> {
    let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let fits = text.len() == 12 && text.bytes().all(digit);
    if fits { Ok(text.to_owned()) } else { Err("write the 12 digits between the underscores") }
}
