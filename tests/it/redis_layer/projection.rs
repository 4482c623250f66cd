//! Settle and advance: rows only go forward, and the checkpoint moves from where it stands.

use stockroom::{
    availability::{
        Checkpoint, Row, Trust, Unusable,
        hold::{Extended, HoldAnswer, HoldRequest, HoldStatus, KnownHold, Released},
        project::{Advance, Consumed, Effects, HeadSeen, Settle},
    },
    stock::{ids::Partition, time::SECOND},
};

use super::layer::{EPOCH, Layer, PARTITION, TRUST, extension, id, request, row, settle, wanted};

fn rows(rows: &[Row]) -> Effects<'_> {
    Effects { rows, ..Effects::default() }
}

fn at(seq: i64) -> Option<Checkpoint> {
    Some(Checkpoint { epoch: EPOCH, seq })
}

#[tokio::test]
async fn a_row_never_goes_back() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let newer = [row(1, 12, 8, 3)];
    let older = [row(1, 11, 9, 0)];
    for change in [&newer, &older, &newer] {
        layer.redis.settle(PARTITION, settle(11, Some(12), None, rows(change))).await.unwrap();
        assert_eq!(layer.position(1).await.row, Some(newer[0]));
    }
    assert_eq!(layer.checkpoint().await, at(10));
    // The tailer brings what lies in between, and that does not go back either.
    assert!(layer.advance(10, 11, None, rows(&older)).await);
    assert_eq!(layer.position(1).await.row, Some(newer[0]));
    assert!(layer.advance(11, 12, None, rows(&newer)).await);
    assert_eq!(layer.checkpoint().await, at(12));
}

#[tokio::test]
async fn a_batch_moves_the_checkpoint_that_stands_right_before_it() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let change = [row(1, 12, 8, 0)];
    let ask = async |from, to| {
        layer.redis.settle(PARTITION, settle(from, to, None, rows(&change))).await.unwrap()
    };
    assert!(!ask(11, Some(12)).await);
    assert!(!ask(10, None).await);
    assert!(ask(10, Some(12)).await);
    assert!(!ask(10, Some(12)).await, "once");
    assert_eq!(layer.checkpoint().await, at(12));
}

#[tokio::test]
async fn the_checkpoint_moves_only_from_where_it_is_expected() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let change = [row(1, 12, 8, 0)];
    assert!(!layer.advance(9, 12, None, rows(&change)).await);
    assert!(!layer.advance(10, 9, None, rows(&change)).await, "never back");
    let step = |epoch| Advance {
        partition: PARTITION,
        expected: Checkpoint { epoch, seq: 10 },
        to: 12,
        head: None,
        effects: rows(&change),
    };
    assert_eq!(layer.redis.advance(&[step(EPOCH + 1)]).await.unwrap(), [false]);
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 10, 0)), "nothing of it was done");
    let other = Advance { partition: Partition(9), effects: Effects::default(), ..step(EPOCH) };
    let steps = [other, step(EPOCH), step(EPOCH)];
    assert_eq!(layer.redis.advance(&steps).await.unwrap(), [false, true, false]);
    assert_eq!(layer.position(1).await.row, Some(change[0]));
}

#[tokio::test]
async fn many_rows_are_written_in_parts_and_the_checkpoint_moves_last() {
    let layer = Layer::with(&[]).await;
    let many: Vec<_> = (1..=2_300).map(|item| row(item, 11, i64::from(item), 0)).collect();
    assert!(layer.advance(10, 11, None, rows(&many)).await);
    assert_eq!(layer.checkpoint().await, at(11));
    assert_eq!(layer.position(2_300).await.row, Some(many[2_299]));
    let many: Vec<_> = (1..=2_300).map(|item| row(item, 12, 0, 0)).collect();
    let moved = layer.redis.settle(PARTITION, settle(11, Some(12), None, rows(&many))).await;
    assert!(moved.unwrap());
    assert_eq!(layer.position(1).await.row, Some(many[0]));
}

#[tokio::test]
async fn of_two_rows_of_a_position_the_newest_is_written() {
    let layer = Layer::with(&[]).await;
    assert!(layer.advance(10, 12, None, rows(&[row(1, 12, 2, 0), row(1, 11, 1, 0)])).await);
    assert_eq!(layer.position(1).await.row, Some(row(1, 12, 2, 0)));
}

#[tokio::test]
async fn the_age_is_that_of_the_look_at_the_head() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let now = layer.now().await;
    // The server slept for ten seconds between its look at the head and the step.
    let before = now.saturating_add(-10 * SECOND);
    layer.raw.command(&["HSET", &layer.key("checkpoint"), "head_at", "0"]).await;
    let head = HeadSeen { redis_at: before, database_at: before };
    assert!(layer.advance(10, 10, Some(head), Effects::default()).await);
    let view = layer.redis.states(&[PARTITION]).await.unwrap()[0].view;
    assert!(view.age_us >= 10 * SECOND && !view.doubtful, "{view:?}");
    let lines = wanted(&[(1, 1)]);
    let trust = Trust { age_us_max: SECOND, ..TRUST };
    let late = layer.redis.hold(HoldRequest { trust, ..request(id(1), &lines) }).await.unwrap();
    assert_eq!(late, HoldAnswer::Unusable(Unusable::Late));

    // An older look does not take a newer one back.
    layer.stamp(10).await;
    assert!(layer.advance(10, 10, Some(head), Effects::default()).await);
    let view = layer.redis.states(&[PARTITION]).await.unwrap()[0].view;
    assert!(view.age_us < 10 * SECOND, "{view:?}");
}

#[tokio::test]
async fn a_settled_batch_that_was_admitted_stamps_the_head_too() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.raw.command(&["HSET", &layer.key("checkpoint"), "head_at", "0"]).await;
    let began_at = Some(layer.now().await);
    let one = Settle { began_at, ..settle(10, Some(11), None, Effects::default()) };
    assert!(layer.redis.settle(PARTITION, one).await.unwrap());
    let view = layer.redis.states(&[PARTITION]).await.unwrap()[0].view;
    assert!(view.age_us < 60 * SECOND, "{view:?}");
}

#[tokio::test]
async fn a_batch_of_a_later_epoch_makes_the_partition_unknown() {
    let layer = Layer::with(&[(1, 10, 0), (2, 5, 0)]).await;
    let change = [row(1, 3, 9, 0)];
    let later = Settle { epoch: EPOCH + 1, ..settle(2, Some(3), None, rows(&change)) };
    assert!(!layer.redis.settle(PARTITION, later).await.unwrap());
    assert_eq!(layer.checkpoint().await, None);
    // The entries after the dead checkpoint may have consumed holds: they are projected again.
    layer.rebuild(EPOCH + 1, 30, &[row(1, 3, 9, 0)]).await;
    assert_eq!(layer.checkpoint().await, Some(Checkpoint { epoch: EPOCH + 1, seq: 10 }));
    // A batch of the epoch before changes nothing any more.
    let change = [row(1, 40, 1, 0), row(2, 40, 1, 0)];
    let earlier = settle(10, Some(40), None, rows(&change));
    assert!(!layer.redis.settle(PARTITION, earlier).await.unwrap());
    assert_eq!(layer.position(1).await.row, Some(row(1, 3, 9, 0)));
    assert_eq!(layer.position(2).await.row, None);
}

#[tokio::test]
async fn holds_are_consumed_by_settle_or_advance_whichever_comes_first() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.granted(id(1), &[(1, 4)]).await;
    layer.granted(id(2), &[(1, 2)]).await;
    let consumed = [Consumed { hold: id(1), item: None }, Consumed { hold: id(77), item: None }];
    let effects = Effects { consumed: &consumed, ..Effects::default() };
    for _ in 0..2 {
        layer.redis.settle(PARTITION, settle(20, None, None, effects)).await.unwrap();
        assert_eq!(layer.held(1).await, 2);
    }
    assert!(layer.advance(10, 11, None, effects).await);
    assert_eq!(layer.held(1).await, 2);
    assert!(matches!(layer.status(id(1)).await, KnownHold::Here(_, HoldStatus::Consumed)));
    assert_eq!(layer.status(id(77)).await, KnownHold::Unknown);
    // A released hold that a reservation consumed all the same was consumed.
    layer.redis.release(id(2)).await.unwrap();
    let consumed = [Consumed { hold: id(2), item: None }];
    assert!(layer.advance(11, 12, None, Effects { consumed: &consumed, ..effects }).await);
    assert!(matches!(layer.status(id(2)).await, KnownHold::Here(_, HoldStatus::Consumed)));
    layer.assert_clean().await;
}

#[tokio::test]
async fn holds_that_the_ledger_keeps_are_marked() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.granted(id(1), &[(1, 4)]).await;
    let kept = [id(1), id(2)];
    let effects = Effects { ledger_holds: &kept, ..Effects::default() };
    for _ in 0..2 {
        layer.redis.settle(PARTITION, settle(10, None, None, effects)).await.unwrap();
        for kept in kept {
            assert_eq!(layer.hold(kept, &[(1, 4)]).await, HoldAnswer::InLedger);
            assert_eq!(
                layer.redis.extend(extension(kept, 1, 1)).await.unwrap(),
                Extended::InLedger
            );
            assert_eq!(layer.redis.release(kept).await.unwrap(), Released::InLedger);
            assert_eq!(layer.status(kept).await, KnownHold::InLedger);
        }
    }
    assert_eq!(layer.held(1).await, 0, "the ledger counts it among what is reserved");
    layer.assert_clean().await;
}
