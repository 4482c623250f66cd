//! The liar lies, says how often, and is understood.
#![expect(clippy::disallowed_types, reason = "a client of Redis")]

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use redis::{ErrorKind, aio::MultiplexedConnection};

use super::{Liar, Value, lie::lie, resp::parse};
use crate::harness::private_redis::PrivateRedis;

/// One of every kind.
const SAMPLES: [&[u8]; 14] = [
    b":12\r\n",
    b":-1\r\n",
    b"$3\r\nabc\r\n",
    b"$0\r\n\r\n",
    b"$2\r\n42\r\n",
    b"$-1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*3\r\n:1\r\n$1\r\n\n\r\n*1\r\n+OK\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"%1\r\n$1\r\na\r\n:1\r\n",
    b"~2\r\n:1\r\n:2\r\n",
];
const SCRIPT: &str = "return {ARGV[1], redis.call('incr', KEYS[1]), {1, 'a'}}";
const CALLS: i64 = 300;

fn written(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    bytes
}

#[test]
fn values_are_read_when_they_are_whole_and_written_as_they_came() {
    for sample in SAMPLES {
        for part in 0..sample.len() {
            assert_eq!(parse(&sample[..part]), None, "{sample:?}");
        }
        let more = [sample, b":1\r\n"].concat();
        let (value, length) = parse(&more).unwrap();
        assert_eq!((length, &*written(&value)), (sample.len(), sample));
    }
}

#[test]
fn every_lie_is_untrue_and_within_the_protocol() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for sample in SAMPLES {
        let (truth, _) = parse(sample).unwrap();
        for _ in 0..1_000 {
            let lie = lie(&truth, &mut rng).unwrap();
            assert_ne!(lie, truth);
            let bytes = written(&lie);
            assert_eq!(parse(&bytes), Some((lie, bytes.len())));
        }
    }
    for sample in [&b"+OK\r\n"[..], b"-ERR no\r\n"] {
        assert_eq!(lie(&parse(sample).unwrap().0, &mut rng), None);
    }
}

/// What a client hears to always the same commands on an empty Redis.
async fn hear(redis: &PrivateRedis, liar: &Liar, options: &str) -> Vec<redis::Value> {
    redis.flush().await;
    let client = redis::Client::open(liar.url(&redis.url()) + options).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let connection: &mut MultiplexedConnection = &mut connection;
    let mut heard = Vec::new();
    for number in 0..CALLS {
        let mut script = redis::cmd("EVAL");
        script.arg(SCRIPT).arg(1).arg("count").arg(number);
        let answer = script.query_async(connection).await;
        let mut pipeline = redis::pipe();
        pipeline.cmd("HSET").arg("row").arg(number).arg(-number).ignore();
        pipeline.cmd("HGETALL").arg("row").cmd("GET").arg("nothing").cmd("PING");
        let answers = pipeline.query_async(connection).await;
        for answer in [answer, answers] {
            let answer = answer.unwrap_or_else(|error: redis::RedisError| {
                assert_eq!(error.kind(), ErrorKind::UnexpectedReturnType, "{error}");
                redis::Value::Nil
            });
            heard.push(answer);
        }
    }
    heard
}

#[tokio::test]
async fn a_client_understands_every_lie_and_the_same_seed_tells_the_same_ones() {
    let redis = PrivateRedis::start().await;
    for options in ["", "?protocol=resp3"] {
        let mut heard = Vec::new();
        for seed in [1, 1, 2] {
            let liar = Liar::start_with(&redis.url(), seed).await;
            heard.push(hear(&redis, &liar, options).await);
            let (lies, answers) = (liar.lies(), liar.answers());
            assert!(lies * 10 >= answers && lies < answers, "{lies} lies in {answers} answers");
            assert!(answers >= CALLS as u64 * 4, "{answers}");
        }
        assert_eq!(heard[0], heard[1]);
        assert_ne!(heard[0], heard[2]);
    }
}
