//! Taking, extending and releasing holds.

use stockroom::{
    availability::{
        Checkpoint, ShortLine, Trust, Unusable,
        hold::{
            ExtendRequest, Extended, HoldAnswer, HoldRequest, HoldStatus, KnownHold, Released,
            Wanted,
        },
        project::{Effects, HeadSeen},
    },
    stock::{ids::ItemNo, policy::Buffer, time::SECOND, time::Timestamp},
};

use super::layer::{EPOCH, LONG_MS, Layer, TRUST, extension, id, key, line, request, row, wanted};

#[tokio::test]
async fn a_hold_takes_all_its_lines_or_none() {
    let layer = Layer::with(&[(1, 10, 2), (2, 3, 0), (300, 1, 0)]).await;
    let hold = layer.granted(id(1), &[(1, 5), (2, 3), (300, 1)]).await;
    assert_eq!(hold.lines, [line(1, 5), line(2, 3), line(300, 1)]);
    assert_eq!((layer.held(1).await, layer.held(2).await, layer.held(300).await), (5, 3, 1));

    let short = layer.hold(id(2), &[(1, 3), (2, 1), (300, 2)]).await;
    let lines = vec![short_line(2, 0), short_line(300, 0)];
    let checkpoint = Checkpoint { epoch: EPOCH, seq: 10 };
    assert_eq!(short, HoldAnswer::Short { lines, checkpoint });
    assert_eq!(layer.held(1).await, 5, "nothing was taken of the line that fits");
    assert_eq!(layer.status(id(2)).await, KnownHold::Unknown);
}

#[tokio::test]
async fn lines_of_one_item_add_up() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    let short = layer.hold(id(1), &[(1, 3), (1, 3)]).await;
    assert!(matches!(short, HoldAnswer::Short { .. }), "{short:?}");
    let hold = layer.granted(id(2), &[(1, 3), (1, 2)]).await;
    assert_eq!(hold.lines, [line(1, 5)]);
    assert_eq!(layer.held(1).await, 5);
}

#[tokio::test]
async fn line_by_line_what_fits_is_granted() {
    let layer = Layer::with(&[(1, 5, 0), (2, 1, 0)]).await;
    let lines = wanted(&[(1, 5), (2, 2)]);
    let asked = HoldRequest { per_line: true, ..request(id(1), &lines) };
    let HoldAnswer::Granted(hold) = layer.redis.hold(asked).await.unwrap() else { panic!() };
    assert_eq!(hold.lines, [line(1, 5)]);
    let asked = HoldRequest { per_line: true, ..request(id(2), &lines) };
    let HoldAnswer::Short { lines, .. } = layer.redis.hold(asked).await.unwrap() else { panic!() };
    assert_eq!(lines, [short_line(1, 0), short_line(2, 1)]);
}

#[tokio::test]
async fn the_buffer_is_kept_back() {
    let layer = Layer::with(&[(1, 11, 0)]).await;
    let keep = Buffer { units: 2, percent: 10 };
    let lines = |quantity| [Wanted { item: ItemNo(1), quantity, buffer: keep }];
    let HoldAnswer::Short { lines: short, .. } =
        layer.redis.hold(request(id(1), &lines(8))).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(short, [short_line(1, 7)]);
    let granted = layer.redis.hold(request(id(2), &lines(7))).await.unwrap();
    assert!(matches!(granted, HoldAnswer::Granted(_)));
}

#[tokio::test]
async fn the_same_request_gets_the_first_answer() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    let hold = layer.granted(id(1), &[(1, 5)]).await;
    for _ in 0..2 {
        assert_eq!(layer.hold(id(1), &[(1, 5)]).await, HoldAnswer::Replayed(hold.clone()));
        assert_eq!(layer.held(1).await, 5);
    }
    let lines = wanted(&[(1, 5)]);
    let other = HoldRequest { fingerprint: i64::MIN, ..request(id(1), &lines) };
    assert_eq!(layer.redis.hold(other).await.unwrap(), HoldAnswer::KeyReused);

    layer.redis.extend(extension(id(1), 1, 2 * LONG_MS)).await.unwrap();
    assert_eq!(layer.hold(id(1), &[(1, 5)]).await, HoldAnswer::Replayed(hold.clone()));
    assert_eq!(layer.redis.release(id(1)).await.unwrap(), Released::Now);
    assert_eq!(layer.hold(id(1), &[(1, 5)]).await, HoldAnswer::Replayed(hold), "by its tombstone");
    assert_eq!(layer.redis.hold(other).await.unwrap(), HoldAnswer::KeyReused);
    assert_eq!(layer.held(1).await, 0);
    layer.assert_clean().await;
}

#[tokio::test]
async fn fingerprints_are_told_apart_in_all_their_bits() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    let lines = wanted(&[(1, 1)]);
    let with = |fingerprint| HoldRequest { fingerprint, ..request(id(1), &lines) };
    let granted = layer.redis.hold(with(i64::MAX)).await.unwrap();
    assert!(matches!(granted, HoldAnswer::Granted(_)));
    assert_eq!(layer.redis.hold(with(i64::MAX - 1)).await.unwrap(), HoldAnswer::KeyReused);
}

#[tokio::test]
async fn a_release_is_done_once() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    assert_eq!(layer.redis.release(id(1)).await.unwrap(), Released::Unknown);
    let hold = layer.granted(id(1), &[(1, 5)]).await;
    assert_eq!(layer.status(id(1)).await, KnownHold::Here(hold.clone(), HoldStatus::Live));
    assert_eq!(layer.redis.release(id(1)).await.unwrap(), Released::Now);
    let again = layer.redis.release(id(1)).await.unwrap();
    assert_eq!(again, Released::Already(HoldStatus::Released));
    assert_eq!(layer.status(id(1)).await, KnownHold::Here(hold, HoldStatus::Released));
    layer.granted(id(2), &[(1, 5)]).await;
}

#[tokio::test]
async fn an_extension_never_shortens() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    assert_eq!(layer.redis.extend(extension(id(1), 2, 1_000)).await.unwrap(), Extended::Unknown);
    let hold = layer.granted(id(1), &[(1, 5)]).await;
    let Extended::Until(same) = layer.redis.extend(extension(id(1), 3, 1_000)).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(same, hold);
    let Extended::Until(later) =
        layer.redis.extend(extension(id(1), 4, 2 * LONG_MS)).await.unwrap()
    else {
        panic!()
    };
    assert!(later.expires_at >= hold.expires_at.saturating_add(LONG_MS * 1_000));
    let again = layer.redis.extend(extension(id(1), 4, 2 * LONG_MS)).await.unwrap();
    assert_eq!(again, Extended::Until(later), "the same request has no second effect");
    let other = ExtendRequest { fingerprint: 2, ..extension(id(1), 4, 2 * LONG_MS) };
    assert_eq!(layer.redis.extend(other).await.unwrap(), Extended::KeyReused);
    assert_eq!(layer.held(1).await, 5);
    layer.redis.release(id(1)).await.unwrap();
    let over = layer.redis.extend(extension(id(1), 5, LONG_MS)).await.unwrap();
    assert_eq!(over, Extended::Finished(HoldStatus::Released));
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_missing_row_is_no_reason_to_refuse() {
    let layer = Layer::with(&[(1, 0, 0)]).await;
    let unusable = |why| HoldAnswer::Unusable(why);
    assert_eq!(layer.hold(id(1), &[(2, 1)]).await, unusable(Unusable::Row));
    // Not even beside a line that is short.
    assert_eq!(layer.hold(id(1), &[(1, 1), (2, 1)]).await, unusable(Unusable::Row));
}

#[tokio::test]
async fn nothing_is_granted_at_a_checkpoint_that_cannot_be_trusted() {
    let layer = Layer::empty().await;
    let lines = wanted(&[(1, 1)]);
    let ask = async |trust| {
        layer.redis.hold(HoldRequest { trust, ..request(id(1), &lines) }).await.unwrap()
    };
    let unusable = |why| HoldAnswer::Unusable(why);
    assert_eq!(ask(TRUST).await, unusable(Unusable::Unknown));

    layer.rebuild(EPOCH, 10, &[row(1, 5, 5, 0)]).await;
    assert_eq!(ask(TRUST).await, unusable(Unusable::Late), "it was never seen at the head");
    layer.stamp(10).await;
    assert_eq!(ask(Trust { age_us_max: -1, ..TRUST }).await, unusable(Unusable::Late));
    let epoch = Some(EPOCH + 1);
    assert_eq!(ask(Trust { epoch, ..TRUST }).await, unusable(Unusable::Epoch));

    let now = layer.now().await;
    for apart in [-3 * SECOND, 3 * SECOND] {
        let head = HeadSeen { redis_at: now, database_at: now.saturating_add(apart) };
        assert!(layer.advance(10, 10, Some(head), Effects::default()).await);
        assert_eq!(ask(TRUST).await, unusable(Unusable::Doubt), "{apart} us apart");
    }
    layer.stamp(10).await;
    let epoch = Some(EPOCH);
    assert!(matches!(ask(Trust { epoch, ..TRUST }).await, HoldAnswer::Granted(_)));
}

#[tokio::test]
async fn a_clock_that_went_back_is_in_doubt_until_it_is_seen_again() {
    let layer = Layer::with(&[(1, 5, 0)]).await;
    let ahead = Timestamp(layer.now().await.0 + 3_600 * SECOND).0.to_string();
    layer.raw.command(&["HSET", &layer.key("checkpoint"), "head_at", &ahead]).await;
    let unusable = HoldAnswer::Unusable(Unusable::Doubt);
    assert_eq!(layer.hold(id(1), &[(1, 1)]).await, unusable);
    layer.stamp(10).await;
    layer.granted(id(1), &[(1, 1)]).await;
}

fn short_line(item: i32, available: i64) -> ShortLine {
    ShortLine { key: key(item), available }
}
