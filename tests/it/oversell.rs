//! Never one unit oversold: two servers on the same databases, hundreds of clients, and whatever may
//! become of Redis.

mod basket;
mod crowd;
mod hot;
mod network;
mod scene;
mod trouble;

/// A test of each function with a Redis as it should be, with none, and with one that lies.
macro_rules! with_every_redis {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            use crate::harness::redis::Redis;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn real() {
                super::$test(Redis::Real).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn absent() {
                super::$test(Redis::Absent).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn lying() {
                super::$test(Redis::Lying).await;
            }
        }
    )*};
}
use with_every_redis;
