//! The real program as a process of its own, which may be killed.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel as Connection;

use crate::harness::{
    databases,
    redis::Redis,
    server::{connect, eventually, prefix_of},
};

/// `stockroom serve`; killed when dropped.
pub struct Binary {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
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

    async fn start_with(settings: &[&str], environment: &[(&str, &str)]) -> Binary {
        let address = free_address().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command.arg("serve").args(settings).args(["--listen", &address.to_string()]);
        for variable in ["DATABASE_URL", "REDIS_URL", "STOCKROOM_DATA_DIR"] {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut binary = Binary { address, child: command.spawn().unwrap() };
        eventually("the server accepts", || {
            let ended = binary.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            async move { TcpStream::connect(address).await.ok() }
        })
        .await;
        binary
    }

    /// `kill -9`: it gets no chance to do anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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
