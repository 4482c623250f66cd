//! Other lines for a hold.

use stockroom::availability::{
    hold::{HoldAnswer, HoldStatus, KnownHold},
    replace::{ReplaceRequest, Replaced},
};

use super::layer::{Layer, id, line, replacement, wanted};

#[tokio::test]
async fn own_old_lines_do_not_count() {
    let layer = Layer::with(&[(1, 5, 0), (2, 5, 0)]).await;
    let first = layer.granted(id(1), &[(1, 5)]).await;
    let lines = wanted(&[(1, 4), (2, 2)]);
    let answer = layer.redis.replace(replacement(id(1), 1, &lines)).await.unwrap();
    let Replaced::Answer(HoldAnswer::Granted(hold)) = answer else { panic!("{answer:?}") };
    assert_eq!(hold.lines, [line(1, 4), line(2, 2)]);
    assert_eq!(hold.expires_at, first.expires_at);
    assert_eq!((layer.held(1).await, layer.held(2).await), (4, 2));
    assert_eq!(layer.status(id(1)).await, KnownHold::Here(hold, HoldStatus::Live));
    assert_eq!(layer.hold(id(1), &[(1, 5)]).await, HoldAnswer::Replayed(first));
}

#[tokio::test]
async fn what_does_not_fit_leaves_the_old_lines() {
    let layer = Layer::with(&[(1, 5, 0), (2, 5, 0)]).await;
    let hold = layer.granted(id(1), &[(1, 3)]).await;
    layer.granted(id(2), &[(1, 2)]).await;
    let lines = wanted(&[(1, 4), (2, 1)]);
    let answer = layer.redis.replace(replacement(id(1), 1, &lines)).await.unwrap();
    let Replaced::Answer(HoldAnswer::Short { lines, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(lines[0].available, 3, "what the others left");
    assert_eq!((layer.held(1).await, layer.held(2).await), (5, 0));
    assert_eq!(layer.status(id(1)).await, KnownHold::Here(hold, HoldStatus::Live));
}

#[tokio::test]
async fn the_same_replacement_gets_the_same_answer() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    layer.granted(id(1), &[(1, 5)]).await;
    let lines = wanted(&[(1, 2)]);
    let asked = replacement(id(1), 1, &lines);
    let Replaced::Answer(HoldAnswer::Granted(hold)) = layer.redis.replace(asked).await.unwrap()
    else {
        panic!()
    };
    let replayed = Replaced::Answer(HoldAnswer::Replayed(hold));
    assert_eq!(layer.redis.replace(asked).await.unwrap(), replayed);
    let other = ReplaceRequest { fingerprint: 2, ..asked };
    let answer = layer.redis.replace(other).await.unwrap();
    assert_eq!(answer, Replaced::Answer(HoldAnswer::KeyReused));
    assert_eq!(layer.held(1).await, 2);
    layer.redis.release(id(1)).await.unwrap();
    assert_eq!(layer.redis.replace(asked).await.unwrap(), replayed, "by its tombstone");
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_hold_that_is_over_or_unknown_is_not_replaced() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    let lines = wanted(&[(1, 2)]);
    let asked = replacement(id(1), 1, &lines);
    assert_eq!(layer.redis.replace(asked).await.unwrap(), Replaced::Unknown);
    layer.granted(id(1), &[(1, 5)]).await;
    layer.redis.release(id(1)).await.unwrap();
    let finished = Replaced::Finished(HoldStatus::Released);
    assert_eq!(layer.redis.replace(asked).await.unwrap(), finished);
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_replacement_may_last_longer() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    let first = layer.granted(id(1), &[(1, 5)]).await;
    let lines = wanted(&[(1, 5)]);
    let asked = ReplaceRequest { ttl_ms: Some(3_000_000), ..replacement(id(1), 1, &lines) };
    let Replaced::Answer(HoldAnswer::Granted(hold)) = layer.redis.replace(asked).await.unwrap()
    else {
        panic!()
    };
    assert!(hold.expires_at > first.expires_at);
    layer.redis.release(id(1)).await.unwrap();
    layer.assert_clean().await;
}
