//! One private PostgreSQL and one private Redis for all tests of this process, started by the
//! first test that asks, and gone when the process ends in any way.
#![expect(clippy::disallowed_types, reason = "makes the databases that the tests run against")]
#![expect(clippy::disallowed_methods, reason = "a developer may bring servers of their own")]

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use sqlx::{Connection as _, PgConnection};
use stockroom::embedded::{Embedded, Wanted};
use tokio::sync::{OnceCell, oneshot};

use crate::harness::secrets;

/// Ends the servers and removes their folder ($1) once its standard input is closed, which the
/// kernel does even for a process that was killed.
const REAPER: &str = r#"
line() { tr '\0' ' ' <"/proc/$1/cmdline" || ps -o args= -p "$1"; } 2>/dev/null
read -r _
if [ -n "$STOCKROOM_TEST_LOGS" ]; then
    for log in "$1"/postgres/start.log "$1"/postgres/log/* "$1"/redis/redis.log; do
        [ ! -f "$log" ] || cp "$log" "$STOCKROOM_TEST_LOGS/databases-$$-${log##*/}"
    done
fi
for file in postgres/data/postmaster.pid redis/data/redis.pid; do
    pid=$(head -n 1 "$1/$file" 2>/dev/null) || continue
    case $(line "$pid") in
        *"$1"/postgres/*) kill -QUIT "$pid" ;;
        *redis-server*) kill -KILL "$pid" ;;
        *) continue ;;
    esac
    tries=0
    while [ -n "$(line "$pid")" ] && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
done
# An initdb that was cut loose may still be writing.
tries=0
until rm -rf "$1" || [ "$tries" -gt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
"#;

/// Servers that run for as long as this process.
struct Servers {
    database_url: String,
    redis_url: String,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Creates an empty database that nobody else uses, and returns its address.
pub async fn fresh_database() -> String {
    create_database("").await
}

/// Creates a copy of a database, to which nobody may be connected.
pub async fn copy_of(database_url: &str) -> String {
    let name = database_url.rsplit('/').next().unwrap_or_default();
    let name = name.split('?').next().unwrap_or_default();
    create_database(&format!("template {name}")).await
}

async fn create_database(how: &str) -> String {
    create_on(&servers().await.database_url, how).await
}

/// Creates a database on another server than that of the tests, and returns its address.
pub async fn create_on(server_url: &str, how: &str) -> String {
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{number}", std::process::id());
    let mut connection = PgConnection::connect(server_url).await.expect("the test server answers");
    // A server of the developer's own may still have it from another process with this id.
    for statement in
        [format!("drop database if exists {name}"), format!("create database {name} {how}")]
    {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .expect("databases can be created");
    }
    connection.close().await.expect("the connection closes");
    with_database(server_url, &name)
}

/// Does something to a database behind the server's back.
pub async fn execute(database_url: &str, statement: &str) {
    let mut connection = PgConnection::connect(database_url).await.expect("it answers");
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(&mut connection).await.expect("the statement is good");
    connection.close().await.expect("the connection closes");
}

/// The constraint that a statement breaks.
pub async fn broken_by(database_url: &str, statement: &str) -> String {
    let mut connection = PgConnection::connect(database_url).await.expect("it answers");
    let sql = sqlx::AssertSqlSafe(statement.to_owned());
    let error = sqlx::raw_sql(sql).execute(&mut connection).await.expect_err(statement);
    let error = error.into_database_error().expect(statement);
    error.constraint().expect(statement).to_owned()
}

/// What one statement answers with one number.
pub async fn number(database_url: &str, query: &str) -> i64 {
    let mut connection = PgConnection::connect(database_url).await.expect("it answers");
    let query = sqlx::AssertSqlSafe(query.to_owned());
    let number = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a number");
    connection.close().await.expect("the connection closes");
    number
}

/// Holds the head of every partition until it is dropped, as a server that is slow would.
pub async fn lock_heads(database_url: &str) -> PgConnection {
    let mut connection = PgConnection::connect(database_url).await.expect("it answers");
    let lock = "begin; select seq from ledger_head order by partition for update";
    sqlx::raw_sql(lock).execute(&mut connection).await.expect("nobody else holds them");
    connection
}

/// The address of the Redis of the tests. It is shared: use a key prefix of your own.
pub async fn redis_url() -> String {
    servers().await.redis_url.clone()
}

async fn servers() -> &'static Servers {
    SERVERS.get_or_init(start).await
}

async fn start() -> Servers {
    let (database_url, redis_url) =
        (env::var("TEST_DATABASE_URL").ok(), env::var("TEST_REDIS_URL").ok());
    let wanted = Wanted { postgres: database_url.is_none(), redis: redis_url.is_none() };
    if let (Some(database_url), Some(redis_url)) = (&database_url, &redis_url) {
        return Servers { database_url: database_url.clone(), redis_url: redis_url.clone() };
    }
    let own = start_own(wanted).await;
    own.database_url.iter().for_each(|url| secrets::register_password_of(url));
    Servers {
        database_url: database_url.or(own.database_url).expect("one of both is there"),
        redis_url: redis_url.or(own.redis_url).expect("one of both is there"),
    }
}

/// Servers that end with this process.
pub struct Own {
    /// What they keep is here.
    pub folder: PathBuf,
    /// Of PostgreSQL, where it was wanted.
    pub database_url: Option<String>,
    /// Of Redis, where it was wanted.
    pub redis_url: Option<String>,
}

/// Starts servers that end with this process.
pub async fn start_own(wanted: Wanted) -> Own {
    let (started, embedded) = oneshot::channel();
    // The runtime of the test that happens to come first ends with that test.
    thread::spawn(move || serve(wanted, started));
    embedded.await.expect("the private servers start")
}

#[expect(clippy::zombie_processes, reason = "the reaper outlives this process")]
fn serve(wanted: Wanted, started: oneshot::Sender<Own>) {
    let folder = tempfile::Builder::new().prefix("stockroom-test-").tempdir().expect("a folder");
    // PostgreSQL runs under another account when the tests run as root.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let folder = fs::canonicalize(folder.keep()).expect("it is there");
    let _reaper = reaper(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let embedded = Embedded::start(&folder, wanted).await.expect("the private servers start");
        let database_url = embedded.database_url().map(str::to_owned);
        let redis_url = embedded.redis_url().map(str::to_owned);
        // Nobody listens any more only if the test has failed already.
        let _ = started.send(Own { folder, database_url, redis_url });
        std::future::pending::<()>().await;
    });
}

fn reaper(folder: &Path) -> Child {
    let mut command = Command::new("sh");
    command.arg("-c").arg(REAPER).arg("reaper").arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().expect("a shell starts")
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = url.split_once('?').map_or((url, None), |(a, p)| (a, Some(p)));
    let host_from = address.find("://").map_or(0, |at| at + 3);
    let host_to = address[host_from..].find('/').map_or(address.len(), |at| host_from + at);
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    format!("{}/{name}{parameters}", &address[..host_to])
}
