//! A Redis that answers nonsense, or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::{
    availability::{
        Availability, Bucket, Checkpoint,
        fault::{Fault, Kind},
        project::{Advance, Effects},
        rebuild::{Cursor, Rebuild},
        scrub::{ScanPlace, Total},
    },
    stock::ids::Partition,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::layer::{
    EPOCH, LONG_MS, Layer, PARTITION, TRUST, claim, claim_lines, extension, id, key, replacement,
    request, row, settle, token, wanted,
};
use crate::harness::{private_redis::PrivateRedis, server::eventually};

/// Calls everything once; whatever comes back, nothing panics. Returns the faults.
async fn call_everything(redis: &Availability) -> Vec<Fault> {
    let lines = wanted(&[(1, 1), (2, 2)]);
    let claimed = claim_lines(&[(1, 1)]);
    let rows = [row(1, 1, 1, 0)];
    let effects = Effects { rows: &rows, ..Effects::default() };
    let expected = Checkpoint { epoch: EPOCH, seq: 1 };
    let step = Advance { partition: PARTITION, expected, to: 2, head: None, effects };
    let rebuild = Rebuild { epoch: EPOCH, id: 1, noted: 1, cursor: Cursor(None) };
    let bucket = Bucket::of(key(1));
    let place = ScanPlace::default();
    let mut faults = Vec::new();
    macro_rules! call {
        ($call:expr) => {
            faults.extend($call.await.err());
        };
    }
    call!(redis.read(&[key(1), key(2), key(900)], Some(id(1))));
    call!(redis.hold(request(id(1), &lines)));
    call!(redis.replace(replacement(id(1), 1, &lines)));
    call!(redis.extend(extension(id(1), 1, LONG_MS)));
    call!(redis.release(id(1)));
    call!(redis.get(id(1)));
    call!(redis.admit(PARTITION, token(), &[claim(&claimed)], TRUST));
    call!(redis.settle(PARTITION, settle(1, Some(2), None, effects)));
    call!(redis.advance(&[step]));
    call!(redis.states(&[PARTITION, Partition(0)]));
    call!(redis.rebuild_begin(PARTITION, EPOCH, 1, 1));
    call!(redis.rebuild_page(PARTITION, &rebuild, Cursor(None), effects));
    call!(redis.rebuild_finish(PARTITION, &rebuild));
    call!(redis.forget(PARTITION, expected));
    call!(redis.forget_rebuild(PARTITION, &rebuild));
    call!(redis.leftovers(PARTITION, true));
    call!(redis.buckets(PARTITION, &place));
    call!(redis.bucket(bucket));
    call!(redis.holds_page(PARTITION, &place, true));
    call!(redis.totals(PARTITION, &place));
    call!(redis.recount(&Total::Position(key(1)), &[], true));
    faults
}

/// Answers every command with one of some answers, drawn at random.
async fn liar(seed: u64, answers: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut random, answers) =
                (ChaCha8Rng::seed_from_u64(random.random()), answers.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let commands = count_commands(&buffer);
                    buffer.fill(0);
                    for _ in 0..commands {
                        answers.fetch_add(1, Ordering::Relaxed);
                        let answer = nonsense(&mut random, 3);
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    url
}

/// How many commands these bytes bring: each begins with a star, a number and the first word's length.
fn count_commands(bytes: &[u8]) -> usize {
    let is_head = |part: &[u8]| {
        let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && part[digits..].starts_with(b"\r\n$")
    };
    bytes.split(|&byte| byte == b'*').skip(1).filter(|part| is_head(part)).count()
}

fn nonsense(random: &mut ChaCha8Rng, depth: u32) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        let mut answer = format!("${}\r\n", bytes.len()).into_bytes();
        answer.extend_from_slice(bytes);
        answer.extend_from_slice(b"\r\n");
        answer
    };
    match random.random_range(0..9) {
        0 => b"$-1\r\n".to_vec(),
        1 => format!(":{}\r\n", random.random::<i64>()).into_bytes(),
        2 => b"+OK\r\n".to_vec(),
        3 => b"-ERR no\r\n".to_vec(),
        4 => {
            let words: [&[u8]; 6] = [
                b"\xa7granted\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                b"\xa7granted\xcf\x00\x1f\xff\xff\xff\xff\xff\xff\xdd\xff\xff\xff\xff",
                b"\xa8admitted\x01\x02\x03\xdd\x7f\xff\xff\xff\xa4fits\x90",
                b"\xa5short\x01\x01\x01\x92\xcd\xff\xff\x01",
                b"\xdb\xff\xff\xff\xffshort",
                b"\x01\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
            ];
            text(words[random.random_range(0..words.len())])
        }
        5 => {
            let length = random.random_range(0..40);
            text(&(0..length).map(|_| random.random()).collect::<Vec<u8>>())
        }
        _ if depth == 0 => b"*0\r\n".to_vec(),
        _ => {
            let length = random.random_range(0..5);
            let mut answer = format!("*{length}\r\n").into_bytes();
            for _ in 0..length {
                answer.extend(nonsense(random, depth - 1));
            }
            answer
        }
    }
}

#[tokio::test]
async fn nonsense_is_a_fault_and_never_a_panic() {
    let seed = rand::random();
    println!("seed {seed}");
    let answers = Arc::new(AtomicU64::new(0));
    let redis = Availability::new(&liar(seed, answers.clone()).await, "test").unwrap();
    let mut faults = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        faults.extend(call_everything(&redis).await);
    }
    assert!(answers.load(Ordering::Relaxed) > 100);
    let nonsense = faults.iter().filter(|fault| fault.kind == Kind::Nonsense).count();
    assert!(nonsense > 20, "{nonsense} of {}", faults.len());
    assert!(faults.iter().all(|fault| fault.chain().starts_with("cannot ")));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_a_fault_until_it_is_written_again() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.raw.command(&["HSET", &layer.key("r:7:0"), "1", "garbage"]).await;
    let fault = layer.redis.read(&[key(1)], None).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Nonsense);
    let rows = [row(1, 11, 9, 0)];
    assert!(layer.advance(10, 11, None, Effects { rows: &rows, ..Effects::default() }).await);
    assert_eq!(layer.position(1).await.row, Some(rows[0]));
}

#[tokio::test]
async fn while_redis_is_away_calls_fail_at_once_and_then_it_is_found_again() {
    let mut redis = PrivateRedis::start().await;
    let layer = Layer::on(&redis.url());
    layer.fill(&[(1, 10, 0)]).await;
    redis.kill();
    let begin = Instant::now();
    let mut kinds = Vec::new();
    for _ in 0..1_000 {
        kinds.push(layer.redis.read(&[key(1)], None).await.unwrap_err().kind);
    }
    assert!(kinds.iter().all(|kind| *kind == Kind::Away), "{kinds:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "1,000 calls took {:?}", begin.elapsed());
    redis.start_again().await;
    let reading =
        eventually("it is found again", || async { layer.redis.read(&[key(1)], None).await.ok() })
            .await;
    assert_eq!(reading.views[&PARTITION].checkpoint, None, "it lost everything");
    eventually("the background finds it again", || async {
        layer.redis.states(&[PARTITION]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn arguments_out_of_bounds_never_reach_redis() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    for lines in [vec![], wanted(&[(1, 0)]), wanted(&[(1, -1)]), wanted(&[(1, i64::MAX)])] {
        let fault = layer.redis.hold(request(id(1), &lines)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Broken);
    }
    let rows = [row(1, 11, i64::MAX, 0)];
    let effects = Effects { rows: &rows, ..Effects::default() };
    let fault = layer.redis.settle(PARTITION, settle(10, Some(11), None, effects)).await;
    assert_eq!(fault.unwrap_err().kind, Kind::Broken);
    layer.assert_clean().await;
}
