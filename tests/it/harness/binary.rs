//! The real program as a process of its own, which may be killed.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel as Connection;

use crate::harness::{
    databases,
    redis::Redis,
    secrets,
    server::{connect, eventually, prefix_of},
};

/// Says which databases there are.
const DATABASES: [&str; 6] = [
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "REDIS_URL",
    "REDIS_URL_FILE",
    "STOCKROOM_DATA_DIR",
    "STOCKROOM_REDIS_CA",
];

/// `stockroom serve`; killed when dropped.
pub struct Binary {
    /// Where it listens.
    pub address: SocketAddr,
    settings: Vec<String>,
    child: Child,
    log: NamedTempFile,
}

impl Binary {
    /// Starts it on a database that was migrated, and waits until it answers.
    pub async fn start(database_url: &str) -> Binary {
        Binary::start_and(database_url, &[], &[]).await
    }

    /// The same with more settings, and more of an environment.
    pub async fn start_and(
        database_url: &str,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Binary {
        let redis = Redis::of_this_run().reach(&databases::redis_url().await).await;
        let settings = ["--database-url", database_url, "--redis-url", &redis.url];
        let settings = [&settings[..], &["--redis-prefix", prefix_of(database_url)], more].concat();
        Binary::start_with(&settings, environment).await
    }

    /// Starts it with private databases, which are left to themselves when it is killed.
    #[expect(dead_code, reason = "for tests of the embedded default")]
    pub async fn start_in(data_dir: &Path) -> Binary {
        Binary::start_with(&["--data-dir", data_dir.to_str().unwrap()], &[]).await
    }

    /// Starts it with these settings alone, and waits until it answers.
    pub async fn start_with(settings: &[&str], environment: &[(&str, &str)]) -> Binary {
        let mut binary = Binary::spawn(settings, environment).await;
        binary.answers().await;
        binary
    }

    async fn answers(&mut self) {
        let binary = self;
        eventually("the server accepts", || {
            let ended = binary.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}: {}", binary.log());
            let address = binary.address;
            async move { TcpStream::connect(address).await.ok() }
        })
        .await;
    }

    /// Starts it, and does not wait.
    pub async fn spawn(settings: &[&str], environment: &[(&str, &str)]) -> Binary {
        Binary::spawn_at(free_address().await, settings, environment)
    }

    fn spawn_at(address: SocketAddr, settings: &[&str], environment: &[(&str, &str)]) -> Binary {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command.arg("serve").args(settings).args(["--listen", &address.to_string()]);
        for variable in DATABASES {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        let log = secrets::log_of("stockroom-serve-");
        let stderr = log.reopen().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Binary { address, settings, child: command.spawn().unwrap(), log }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log.path()).unwrap()).into_owned()
    }

    /// `kill -9`: it gets no chance to do anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, as a supervisor does, and returns with which code it ends.
    pub async fn terminate(&mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
        let ended = eventually("it ends", || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        });
        ended.await.code()
    }

    /// Starts it again where it was, and waits until it answers.
    pub async fn restart(&mut self) {
        let settings: Vec<_> = self.settings.iter().map(String::as_str).collect();
        *self = Binary::spawn_at(self.address, &settings, &[]);
        self.answers().await;
    }

    /// Freezes it where it stands.
    pub fn freeze(&self) {
        let frozen = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
        assert!(frozen.unwrap().success());
    }

    pub fn connection(&self) -> Connection {
        connect(self.address)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where nobody listens yet.
pub async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Runs another command of the program to its end.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockroom"));
    for variable in DATABASES {
        command.env_remove(variable);
    }
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    fs::write(secrets::log_of("stockroom-run-").path(), &output.stderr).unwrap();
    output
}
