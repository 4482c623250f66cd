//! A private Redis forgets and remembers as it is told.

use super::PrivateRedis;

#[tokio::test]
async fn it_comes_back_empty_whole_or_as_it_once_was() {
    let mut redis = PrivateRedis::start().await;
    redis.command("SET kept 1").await;
    redis.kill();
    redis.start_again().await;
    assert_eq!(redis.command("DBSIZE").await, ":0");
    redis.command("SET kept 1").await;
    redis.keep_snapshot().await;
    redis.command("SET late 1").await;
    redis.stop().await;
    redis.start_again().await;
    assert_eq!(redis.command("DBSIZE").await, ":2");
    redis.restart_from_snapshot().await;
    assert_eq!(redis.command("DBSIZE").await, ":1");
    redis.flush().await;
    assert_eq!(redis.command("DBSIZE").await, ":0");
}
