//! A PostgreSQL and a Redis as in production: nothing but TLS, passwords by SCRAM, named users.
#![expect(clippy::disallowed_types, reason = "sets a database up")]

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use stockroom::{
    availability::{Availability, Options},
    embedded::Wanted,
    ledger::Ledger,
};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

use crate::harness::{
    certificates::Authority,
    databases, private_redis, secrets,
    server::{PARTITIONS, eventually},
};

/// Everybody is known by a password, and nobody comes in plain text.
const HBA: &str = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
/// As it is shipped.
const USERS: &str = include_str!("../../../deploy/redis/users.acl");
const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");
const GRANTS: &str = include_str!("../../../deploy/postgres/grants.sql");
/// The password of the application's user of Redis.
pub const REDIS_PASSWORD: &str = "canary-redis-user-3b7e";
/// The password of whoever looks after Redis.
const OPERATOR_PASSWORD: &str = "canary-redis-operator-9c1a";

/// What all tests of this process share.
pub struct Secured {
    /// Of both servers.
    pub authority: Authority,
    /// Its certificate.
    pub authority_file: PathBuf,
    /// The certificate of one that has certified nobody.
    pub stranger_file: PathBuf,
    /// What PostgreSQL has logged is in this folder.
    pub logs: PathBuf,
    /// The superuser's address of PostgreSQL, without parameters.
    plain_url: String,
}

/// Where the secured PostgreSQL is, and who certified it.
pub async fn secured() -> &'static Secured {
    static SECURED: OnceCell<Secured> = OnceCell::const_new();
    SECURED.get_or_init(start).await
}

async fn start() -> Secured {
    let own = databases::start_own(Wanted { postgres: true, redis: false }).await;
    let (authority, folder) = (Authority::new(), own.folder);
    let keep = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let authority_file = keep("authority.pem", &authority.pem());
    let stranger_file = keep("stranger.pem", &Authority::new().pem());
    let plain_url = own.database_url.unwrap();
    secrets::register_password_of(&plain_url);
    encrypt(&plain_url, &folder.join("postgres/data"), &authority).await;
    let logs = folder.join("postgres/log");
    Secured { authority, authority_file, stranger_file, logs, plain_url }
}

/// Switches the server over to TLS.
async fn encrypt(url: &str, data: &Path, authority: &Authority) {
    let certified = authority.server();
    let owner = fs::metadata(data).unwrap();
    for (name, content) in [
        ("server.crt", certified.pem.as_str()),
        ("server.key", &certified.key),
        ("pg_hba.conf", HBA),
    ] {
        let path = data.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    for statement in ["alter system set ssl = on", "select pg_reload_conf()"] {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let url = format!("{url}?sslmode=require");
    eventually("PostgreSQL speaks TLS", || async { PgConnection::connect(&url).await.ok() }).await;
}

/// The roles of `deploy/postgres` in one database, each by its address.
pub struct Roles {
    pub superuser: String,
    pub owner: String,
    pub application: String,
    pub reader: String,
}

impl Secured {
    /// A database that was migrated by its owner, as the files that are shipped set it up.
    pub async fn database_with_roles(&self) -> Roles {
        // Roles belong to the whole server.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let _one = ONE_AT_A_TIME.lock().await;
        let superuser = self.fresh_database().await;
        databases::execute(&superuser, ROLES).await;
        let rest = superuser.split_once('@').unwrap().1;
        let mut urls = Vec::new();
        for role in ["stockroom_owner", "stockroom_application", "stockroom_reader"] {
            let password = format!("canary-{role}-4f1b");
            let set = format!("alter role {role} password '{password}'");
            databases::execute(&superuser, &set).await;
            urls.push(format!("postgres://{role}:{password}@{rest}"));
        }
        let [owner, application, reader] = urls.try_into().unwrap();
        Ledger::migrate(&owner, PARTITIONS).await.unwrap();
        databases::execute(&owner, GRANTS).await;
        // They are run again with every version.
        databases::execute(&superuser, ROLES).await;
        databases::execute(&owner, GRANTS).await;
        Roles { superuser, owner, application, reader }
    }

    /// An empty database, as its superuser reaches it.
    pub async fn fresh_database(&self) -> String {
        databases::create_on(&self.with("verify-full", &self.authority_file), "").await
    }

    /// The superuser's address with this mode and this authority.
    fn with(&self, sslmode: &str, authority: &Path) -> String {
        format!("{}?sslmode={sslmode}&sslrootcert={}", self.plain_url, authority.display())
    }
}

/// A Redis that knows the users that are shipped, and nobody else; killed when dropped.
pub struct SecuredRedis {
    folder: TempDir,
    scheme: &'static str,
    address: SocketAddr,
    child: Child,
    _reaper: Child,
}

impl SecuredRedis {
    /// Starts one that speaks nothing but TLS, for keys of this prefix.
    pub async fn start(secured: &Secured, prefix: &str) -> SecuredRedis {
        SecuredRedis::start_as(Some(&secured.authority), prefix).await
    }

    /// Starts one with the same users in plain text.
    pub async fn start_plain(prefix: &str) -> SecuredRedis {
        SecuredRedis::start_as(None, prefix).await
    }

    async fn start_as(authority: Option<&Authority>, prefix: &str) -> SecuredRedis {
        let folder = tempfile::Builder::new().prefix("stockroom-redis-").tempdir().unwrap();
        let address = private_redis::free_address();
        let users = USERS
            .replace("SHA256_OF_THE_PASSWORD_OF_STOCKROOM", &sha256(REDIS_PASSWORD))
            .replace("SHA256_OF_THE_PASSWORD_OF_OPERATOR", &sha256(OPERATOR_PASSWORD))
            .replace("~stockroom:", &format!("~{prefix}:"));
        let mut command = Command::new(private_redis::program());
        command.args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        command.args(["--maxmemory-policy", "noeviction", "--dir"]).arg(folder.path());
        command.arg("--pidfile").arg(folder.path().join("pid"));
        command.arg("--aclfile").arg(keep(&folder, "users.acl", &users));
        let port = address.port().to_string();
        match authority {
            None => drop(command.args(["--port", &port])),
            Some(authority) => {
                let certified = authority.server();
                command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
                let certificate = keep(&folder, "server.crt", &certified.pem);
                command.arg("--tls-cert-file").arg(certificate);
                command.arg("--tls-key-file").arg(keep(&folder, "server.key", &certified.key));
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let reaper = private_redis::reaper(address, &folder);
        let child = command.spawn().expect("there is a redis-server");
        let scheme = if authority.is_some() { "rediss" } else { "redis" };
        let redis = SecuredRedis { folder, scheme, address, child, _reaper: reaper };
        let authorities = authority.map(|authority| authority.pem().into_bytes());
        let (url, prefix) = (redis.url(), prefix.to_owned());
        let layer = Availability::open(&Options { url, authorities, prefix }).unwrap();
        eventually("Redis answers", || async { layer.ping().await.ok() }).await;
        redis
    }

    /// As the application reaches it.
    pub fn url(&self) -> String {
        self.url_of("stockroom", REDIS_PASSWORD)
    }

    /// As whoever looks after it reaches it.
    pub fn operator_url(&self) -> String {
        self.url_of("operator", OPERATOR_PASSWORD)
    }

    /// With this password of this user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@{}/", self.scheme, self.address)
    }

    /// A file beside what it keeps, for a setting.
    pub fn keep(&self, name: &str, content: &str) -> PathBuf {
        keep(&self.folder, name, content)
    }
}

fn keep(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

impl Drop for SecuredRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
