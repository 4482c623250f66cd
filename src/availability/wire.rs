//! What commands are sent over: a connection, or in a simulation whatever takes its place.

#[cfg(not(feature = "simulation"))]
pub(super) use redis::aio::ConnectionManager as Wire;

#[cfg(feature = "simulation")]
pub(super) use self::simulated::Wire;
#[cfg(feature = "simulation")]
pub use self::simulated::{Answers, Commands, Server};

#[cfg(feature = "simulation")]
mod simulated {
    use std::{fmt, sync::Arc, time::Duration};

    use futures::{FutureExt as _, future::BoxFuture};
    use redis::{
        Cmd, Pipeline, RedisError, RedisFuture, Value, aio::ConnectionLike, aio::ConnectionManager,
    };

    /// Commands of one round trip: name and arguments of each.
    pub type Commands = Vec<Vec<Vec<u8>>>;
    /// Their answers, in order.
    pub type Answers = Result<Vec<Result<Value, RedisError>>, RedisError>;

    /// Redis, as far as the simulation has to be.
    pub trait Server: fmt::Debug + Send + Sync {
        /// Answers commands, or does not within the time.
        fn answer(&self, commands: Commands, within: Duration) -> BoxFuture<'_, Answers>;
    }

    /// A connection, or a simulated server and how long it may take to answer.
    #[derive(Clone)]
    pub(in crate::availability) enum Wire {
        Real(ConnectionManager),
        Simulated(Arc<dyn Server>, Duration),
    }

    impl From<ConnectionManager> for Wire {
        fn from(manager: ConnectionManager) -> Wire {
            Wire::Real(manager)
        }
    }

    impl fmt::Debug for Wire {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Wire")
        }
    }

    impl ConnectionLike for Wire {
        fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
            match self {
                Wire::Real(manager) => manager.req_packed_command(cmd),
                Wire::Simulated(server, within) => {
                    let answers = server.answer(vec![unpacked(cmd)], *within);
                    answers.map(|answers| answers?.pop().unwrap_or(Ok(Value::Nil))).boxed()
                }
            }
        }

        fn req_packed_commands<'a>(
            &'a mut self,
            cmd: &'a Pipeline,
            offset: usize,
            count: usize,
        ) -> RedisFuture<'a, Vec<Value>> {
            match self {
                Wire::Real(manager) => manager.req_packed_commands(cmd, offset, count),
                Wire::Simulated(server, within) => {
                    let answers = server.answer(cmd.cmd_iter().map(unpacked).collect(), *within);
                    answers.map(|answers| answers?.into_iter().collect()).boxed()
                }
            }
        }

        fn get_db(&self) -> i64 {
            0
        }
    }

    fn unpacked(cmd: &Cmd) -> Vec<Vec<u8>> {
        let bytes = cmd.args_iter().map(|arg| match arg {
            redis::Arg::Simple(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        });
        bytes.collect()
    }
}
