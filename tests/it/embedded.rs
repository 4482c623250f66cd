//! The private PostgreSQL and Redis: what survives what.
#![expect(clippy::disallowed_types, reason = "looks into the private servers")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sqlx::{Connection as _, PgConnection, Row as _};
use stockroom::embedded::{Embedded, EmbeddedError, Wanted, read_connections, write_connections};

use crate::harness::{databases, server::eventually};

const BOTH: Wanted = Wanted { postgres: true, redis: true };
/// Names the data folder to the test that plays a server, which is to be killed.
const VICTIM_DATA_DIR: &str = "STOCKROOM_TEST_VICTIM_DATA_DIR";
/// What it says when its servers run.
const VICTIM_READY: &str = "the victim is ready";

/// A data folder that takes its servers and what it has elsewhere with it.
pub struct DataDir {
    parent: tempfile::TempDir,
}

impl DataDir {
    pub fn new(parent_mode: u32) -> DataDir {
        let parent = tempfile::tempdir().expect("a folder");
        let mode = fs::Permissions::from_mode(parent_mode);
        fs::set_permissions(parent.path(), mode).expect("ours");
        DataDir { parent }
    }

    pub fn path(&self) -> PathBuf {
        self.parent.path().join("it's data")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        for (name, pid_file) in [("postgres", "postmaster.pid"), ("redis", "redis.pid")] {
            let Ok(home) = fs::canonicalize(self.path().join(name)) else { continue };
            if let Some(pid) = pid_in(&home.join("data").join(pid_file)) {
                kill(pid);
            }
            if home.starts_with("/var/lib/stockroom") {
                let _ = fs::remove_dir_all(home);
            }
        }
    }
}

/// Starts again on a folder that was stopped. What another test starts at this moment has our files, and
/// with them the lock, open until it is another program.
async fn restart(data_dir: &DataDir, wanted: Wanted) -> Embedded {
    let start = || async {
        match Embedded::start(&data_dir.path(), wanted).await {
            Err(EmbeddedError::InUse { .. }) => None,
            started => Some(started.expect("it starts again")),
        }
    };
    eventually("the folder is free again", start).await
}

/// Another process that has started its servers and will be killed.
struct Victim {
    child: Child,
}

impl Victim {
    fn start(data_dir: &Path) -> Victim {
        let mut command = Command::new(env::current_exe().expect("this test"));
        command.args(["embedded::victim", "--exact", "--nocapture"]);
        command.env(VICTIM_DATA_DIR, data_dir).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this test runs once more");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let ready = output.lines().map_while(Result::ok).any(|line| line == VICTIM_READY);
        assert!(ready, "the victim has failed");
        Victim { child }
    }

    fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("it is killed");
    }
}

#[tokio::test]
async fn data_and_addresses_outlive_a_stop() {
    let data_dir = DataDir::new(0o755);
    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it starts");
    let urls = urls(&embedded);
    write(&urls).await;
    embedded.stop().await.expect("it stops");
    assert!(PgConnection::connect(&urls.0).await.is_err(), "PostgreSQL was stopped");
    assert!(redis::Client::open(&*urls.1).unwrap().get_connection().is_err(), "so was Redis");

    let embedded = restart(&data_dir, BOTH).await;
    assert_eq!(self::urls(&embedded), urls);
    assert_written(&urls).await;
    embedded.stop().await.expect("it stops again");
}

#[tokio::test]
async fn settings_are_durable_and_private() {
    let data_dir = DataDir::new(0o755);
    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it starts");
    let (database_url, redis_url) = urls(&embedded);
    let mut connection = PgConnection::connect(&database_url).await.expect("it answers");
    for (name, wanted) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("password_encryption", "scram-sha-256"),
        ("max_connections", "200"),
        ("max_wal_size", "4GB"),
        ("jit", "off"),
        ("server_encoding", "UTF8"),
    ] {
        let row = sqlx::query("select current_setting($1)").bind(name).fetch_one(&mut connection);
        assert_eq!(row.await.unwrap().get::<String, _>(0), wanted, "{name}");
    }
    // An eighth of the machine's memory, within bounds.
    let buffers = "select pg_size_bytes(current_setting('shared_buffers')) >> 20";
    let mib: i64 = sqlx::query(buffers).fetch_one(&mut connection).await.unwrap().get(0);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total: i64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(mib, (total / 1_024 / 8).clamp(128, 1_024));
    let wrong_password = database_url.replacen("stockroom:", "stockroom:0", 1);
    assert!(PgConnection::connect(&wrong_password).await.is_err());
    connection.close().await.unwrap();

    let mut redis = redis::Client::open(&*redis_url).unwrap().get_connection().unwrap();
    for (name, wanted) in [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "noeviction"),
        ("bind", "127.0.0.1"),
    ] {
        let (_, value): (String, String) =
            redis::cmd("CONFIG").arg("GET").arg(name).query(&mut redis).unwrap();
        assert_eq!(value, wanted, "{name}");
    }
    drop(redis);
    embedded.stop().await.expect("it stops");
}

#[tokio::test]
async fn killing_everything_loses_nothing_committed() {
    let data_dir = DataDir::new(0o755);
    let victim = Victim::start(&data_dir.path());
    write(&addresses(&data_dir.path())).await;
    victim.kill();
    kill_servers(&data_dir.path());

    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it recovers");
    assert_written(&urls(&embedded)).await;
    embedded.stop().await.expect("it stops");
}

#[tokio::test]
async fn servers_of_a_killed_process_are_taken_over_and_stopped() {
    let data_dir = DataDir::new(0o755);
    let victim = Victim::start(&data_dir.path());
    let addresses = addresses(&data_dir.path());
    write(&addresses).await;
    let pids = pids(&data_dir.path());
    victim.kill();

    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it takes them over");
    assert_eq!(self::pids(&data_dir.path()), pids);
    assert_eq!(urls(&embedded), addresses);
    assert_written(&addresses).await;
    embedded.stop().await.expect("it stops them");
    assert!(PgConnection::connect(&addresses.0).await.is_err());
    assert!(redis::Client::open(&*addresses.1).unwrap().get_connection().is_err());
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_no_obstacle() {
    let data_dir = DataDir::new(0o755);
    let victim = Victim::start(&data_dir.path());
    write(&addresses(&data_dir.path())).await;
    let file = data_dir.path().join("postgres/data/postmaster.pid");
    let content = fs::read_to_string(&file).expect("it is there");
    victim.kill();
    kill_servers(&data_dir.path());

    // PostgreSQL takes any process of its own account for the server it finds in the file.
    let owner = fs::metadata(&file).unwrap().uid();
    let mut stranger = Command::new("sleep").arg("600").uid(owner).spawn().expect("it sleeps");
    let rest = content.split_once('\n').expect("several lines").1;
    fs::write(&file, format!("{}\n{rest}", stranger.id())).unwrap();
    fs::write(data_dir.path().join("redis/data/redis.pid"), stranger.id().to_string()).unwrap();

    let started = Embedded::start(&data_dir.path(), BOTH).await;
    let alive = stranger.try_wait().unwrap().is_none();
    stranger.kill().and_then(|()| stranger.wait()).unwrap();
    let embedded = started.expect("it starts");
    assert!(alive, "the stranger is left alone");
    assert_written(&urls(&embedded)).await;
    embedded.stop().await.expect("it stops");
}

/// No test: the process that [`Victim`] starts. Does nothing in an ordinary run.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "told by the test that starts it")]
async fn victim() {
    let Some(data_dir) = env::var_os(VICTIM_DATA_DIR).map(PathBuf::from) else { return };
    let embedded = Embedded::start(&data_dir, BOTH).await.expect("it starts");
    let (database_url, redis_url) = urls(&embedded);
    write_connections(&data_dir, &database_url, &redis_url).expect("it is written");
    println!("\n{VICTIM_READY}");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_taken_port_is_replaced_by_another() {
    let data_dir = DataDir::new(0o755);
    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it starts");
    let first = urls(&embedded);
    write(&first).await;
    embedded.stop().await.expect("it stops");

    let occupied: Vec<_> = ["postgres", "redis"]
        .map(|name| fs::read_to_string(data_dir.path().join(name).join("port")).unwrap())
        .map(|port| std::net::TcpListener::bind(format!("127.0.0.1:{}", port.trim())).unwrap())
        .into();
    let embedded = restart(&data_dir, BOTH).await;
    let second = urls(&embedded);
    assert_ne!(first.0, second.0);
    assert_ne!(first.1, second.1);
    assert_written(&second).await;
    drop(occupied);
    embedded.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_folder_that_the_account_cannot_enter_is_kept_elsewhere() {
    let data_dir = DataDir::new(0o700);
    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it starts");
    write(&urls(&embedded)).await;
    embedded.stop().await.expect("it stops");
    let link = fs::symlink_metadata(data_dir.path().join("postgres")).unwrap();
    let is_root = fs::metadata(data_dir.path()).unwrap().uid() == 0;
    assert_eq!(link.is_symlink(), is_root, "only root has to give PostgreSQL another account");
    assert_eq!(fs::metadata(data_dir.parent.path()).unwrap().mode() & 0o777, 0o700);

    let embedded = restart(&data_dir, BOTH).await;
    assert_written(&urls(&embedded)).await;
    embedded.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_second_server_on_the_folder_is_refused() {
    let data_dir = DataDir::new(0o755);
    let nothing = Wanted { postgres: false, redis: false };
    let embedded = Embedded::start(&data_dir.path(), nothing).await.expect("it starts");
    let refused = Embedded::start(&data_dir.path(), nothing).await.expect_err("it is in use");
    assert!(matches!(refused, EmbeddedError::InUse { .. }));
    let words = refused.to_string();
    assert!(words.contains("DATABASE_URL") && words.contains("connections.env"), "{words}");
    embedded.stop().await.expect("it stops");
    restart(&data_dir, nothing).await.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_unfinished_cluster_is_made_anew() {
    let data_dir = DataDir::new(0o755);
    let unfinished = data_dir.path().join("postgres/unfinished-00/base");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(data_dir.path().join("postgres/password"), "half").unwrap();
    let wanted = Wanted { postgres: true, redis: false };
    let embedded = Embedded::start(&data_dir.path(), wanted).await.expect("it starts");
    assert!(!unfinished.exists());
    assert_eq!(embedded.redis_url(), None);
    embedded.stop().await.expect("it stops");
}

#[tokio::test]
async fn the_servers_share_no_file_account_or_process_group_with_us() {
    let data_dir = DataDir::new(0o755);
    let ours = fs::File::open("/proc/self/status").expect("this test reads /proc");
    let embedded = Embedded::start(&data_dir.path(), BOTH).await.expect("it starts");
    for pid in pids(&data_dir.path()) {
        for file in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let file = fs::read_link(file.path()).unwrap_or_default();
            assert!(!file.ends_with("lock") && !file.ends_with("status"), "{pid} holds {file:?}");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let value = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert!(!value("Uid:").unwrap().starts_with('0'), "{pid} runs as root");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let group = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2);
        assert_eq!(group, Some(&*pid.to_string()), "Ctrl-C would reach {pid}");
        if fs::metadata(data_dir.path()).unwrap().uid() == 0 {
            assert_eq!(value("Groups:"), Some(""), "{pid} has root's groups");
        }
    }
    drop(ours);
    embedded.stop().await.expect("it stops");
}

#[test]
fn connections_are_private_whole_and_sourced_by_a_shell() {
    let data_dir = tempfile::tempdir().unwrap();
    let missing = read_connections(data_dir.path()).err().expect("there is none yet");
    assert!(missing.to_string().contains("is a server running with this --data-dir?"));

    write_connections(data_dir.path(), "postgres://old/", "redis://old/").unwrap();
    let (database_url, redis_url) =
        ("postgres://u:p@127.0.0.1:20000/d?a=1&b=2", "redis://127.0.0.1:20001/");
    write_connections(data_dir.path(), database_url, redis_url).unwrap();
    let file = data_dir.path().join("connections.env");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(data_dir.path()).unwrap().count(), 1, "nothing is left beside it");
    let content = fs::read_to_string(&file).unwrap();
    assert!(content.ends_with("\nREDIS_URL=redis://127.0.0.1:20001/\n"), "{content}");

    let connections = read_connections(data_dir.path()).unwrap();
    assert_eq!(connections.database_url, database_url);
    assert_eq!(connections.redis_url, redis_url);
    let script = ". \"$1\" && printf '%s %s' \"$DATABASE_URL\" \"$REDIS_URL\"";
    let shell = Command::new("sh").args(["-c", script, "sh"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), format!("{database_url} {redis_url}"));
}

#[tokio::test]
async fn the_harness_gives_every_test_a_database_of_its_own() {
    let (first, second) = tokio::join!(databases::fresh_database(), databases::fresh_database());
    assert_ne!(first, second);
    for url in [first, second] {
        let mut connection = PgConnection::connect(&url).await.expect("it is there");
        sqlx::query("create table thing ()").execute(&mut connection).await.expect("it is empty");
    }
    let redis = redis::Client::open(databases::redis_url().await).unwrap();
    let pong: String = redis::cmd("PING").query(&mut redis.get_connection().unwrap()).unwrap();
    assert_eq!(pong, "PONG");
}

fn urls(embedded: &Embedded) -> (String, String) {
    let url = |url: Option<&str>| url.expect("it was wanted").to_owned();
    (url(embedded.database_url()), url(embedded.redis_url()))
}

fn addresses(data_dir: &Path) -> (String, String) {
    let connections = read_connections(data_dir).expect("a server runs there");
    (connections.database_url, connections.redis_url)
}

async fn write((database_url, redis_url): &(String, String)) {
    let mut connection = PgConnection::connect(database_url).await.expect("PostgreSQL answers");
    let statement = "create table kept as select 42 as answer";
    sqlx::query(statement).execute(&mut connection).await.expect("it is written");
    let mut redis = redis::Client::open(&**redis_url).unwrap().get_connection().unwrap();
    redis::cmd("SET").arg("kept").arg(42).exec(&mut redis).expect("it is written");
}

async fn assert_written((database_url, redis_url): &(String, String)) {
    let mut connection = PgConnection::connect(database_url).await.expect("PostgreSQL answers");
    let row = sqlx::query("select answer from kept").fetch_one(&mut connection).await;
    assert_eq!(row.expect("it was kept").get::<i32, _>(0), 42);
    let mut redis = redis::Client::open(&**redis_url).unwrap().get_connection().unwrap();
    let kept: i32 = redis::cmd("GET").arg("kept").query(&mut redis).expect("it was kept");
    assert_eq!(kept, 42);
}

fn pids(data_dir: &Path) -> [u32; 2] {
    ["postgres/data/postmaster.pid", "redis/data/redis.pid"]
        .map(|file| pid_in(&data_dir.join(file)).expect("it runs"))
}

fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

/// Kills both servers at once with what belongs to them.
fn kill_servers(data_dir: &Path) {
    for pid in pids(data_dir) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        kill(pid);
        children.split_whitespace().filter_map(|child| child.parse().ok()).for_each(kill);
    }
}

fn kill(pid: u32) {
    // A shell has the command built in. The process may have ended by itself.
    let _ = Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).output();
}
