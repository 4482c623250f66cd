//! Admission of batches, their tokens, and the holds that they convert.

use stockroom::availability::{
    Checkpoint, ShortLine, Trust, Unusable,
    admit::{Admission, Claim, Judged, TOKEN_TTL_MS, Verdict},
    hold::{Extended, HoldAnswer, HoldStatus, KnownHold, Released},
    project::{Consumed, Effects},
    replace::Replaced,
};

use super::layer::{
    EPOCH, Layer, PARTITION, TRUST, claim, claim_lines, extension, id, key, line, replacement,
    request, row, settle, token, wanted,
};
use crate::harness::server::eventually;

const FITS: Verdict = Verdict::Fits { short: Vec::new() };

fn short(item: i32, available: i64) -> Verdict {
    Verdict::Short { lines: vec![ShortLine { key: key(item), available }] }
}

#[tokio::test]
async fn what_fits_is_taken_for_the_token() {
    let layer = Layer::with(&[(1, 10, 1), (2, 4, 0)]).await;
    let (six, five, two) =
        (claim_lines(&[(1, 6)]), claim_lines(&[(1, 10)]), claim_lines(&[(2, 4)]));
    let before = layer.now().await;
    let Judged { checkpoint, at, verdicts } =
        layer.admit(token(), &[claim(&six), claim(&five), claim(&two)]).await;
    assert_eq!(checkpoint, Checkpoint { epoch: EPOCH, seq: 10 });
    assert!(before <= at && at <= layer.now().await);
    assert_eq!(verdicts, [FITS, short(1, 9), FITS]);
    assert_eq!((layer.held(1).await, layer.held(2).await), (0, 0), "reads do not see it");
}

#[tokio::test]
async fn contended_is_what_fits_if_other_batches_come_to_nothing() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let (first, second) = (token(), token());
    let (six, ten, eleven) =
        (claim_lines(&[(1, 6)]), claim_lines(&[(1, 10)]), claim_lines(&[(1, 11)]));
    assert_eq!(layer.admit(first, &[claim(&six)]).await.verdicts, [FITS]);
    for _ in 0..2 {
        let judged = layer.admit(second, &[claim(&six), claim(&ten), claim(&eleven)]).await;
        assert_eq!(judged.verdicts, [Verdict::Contended, Verdict::Contended, short(1, 10)]);
    }
    assert_eq!(layer.hold(id(1), &[(1, 5)]).await, HoldAnswer::Contended);
    let lines = vec![ShortLine { key: key(1), available: 10 }];
    let refused = HoldAnswer::Short { lines, checkpoint: Checkpoint { epoch: EPOCH, seq: 10 } };
    assert_eq!(layer.hold(id(2), &[(1, 11)]).await, refused);

    // The first batch comes to nothing.
    layer.drop_token(first).await;
    layer.drop_token(first).await;
    assert_eq!(layer.admit(second, &[claim(&six)]).await.verdicts, [FITS]);
    layer.drop_token(second).await;
    layer.assert_clean().await;
}

#[tokio::test]
async fn claims_of_the_same_batch_see_each_other_but_never_refuse_each_other() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let six = claim_lines(&[(1, 6)]);
    let four = claim_lines(&[(1, 2), (1, 2)]);
    let judged = layer.admit(token(), &[claim(&six), claim(&six), claim(&four)]).await;
    assert_eq!(judged.verdicts, [FITS, Verdict::Contended, FITS]);
}

#[tokio::test]
async fn a_claim_of_several_positions_is_taken_as_a_whole() {
    let layer = Layer::with(&[(1, 10, 0), (2, 1, 0)]).await;
    let basket = claim_lines(&[(1, 10), (2, 2)]);
    let (one, mine) = (claim_lines(&[(1, 10)]), token());
    let by_line = Claim { per_line: true, ..claim(&basket) };
    assert_eq!(
        layer.admit(mine, &[claim(&basket), claim(&one)]).await.verdicts,
        [short(2, 1), FITS]
    );
    let without = vec![ShortLine { key: key(2), available: 1 }];
    let fits = Verdict::Fits { short: without };
    assert_eq!(
        layer.admit(mine, &[by_line, claim(&one)]).await.verdicts,
        [fits, Verdict::Contended]
    );
}

#[tokio::test]
async fn the_same_token_again_begins_anew() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let (ten, mine) = (claim_lines(&[(1, 10)]), token());
    for _ in 0..3 {
        assert_eq!(layer.admit(mine, &[claim(&ten)]).await.verdicts, [FITS]);
    }
    layer.drop_token(mine).await;
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_token_dies_by_itself() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let ten = claim_lines(&[(1, 10)]);
    let admitted = layer.admit(token(), &[claim(&ten)]).await.at;
    let other = token();
    let at = eventually("the token dies", || async {
        let judged = layer.admit(other, &[claim(&ten)]).await;
        (judged.verdicts == [FITS]).then_some(judged.at)
    })
    .await;
    let lived_us = at.0 - admitted.0;
    assert!(lived_us >= TOKEN_TTL_MS * 1_000, "it lived for {lived_us} us");
    layer.drop_token(other).await;
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_settled_batch_moves_its_units_from_the_token_to_the_row() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let (ten, mine) = (claim_lines(&[(1, 10)]), token());
    layer.admit(mine, &[claim(&ten)]).await;
    let rows = [row(1, 11, 10, 10)];
    assert!(layer.settle(mine, Effects { rows: &rows, ..Effects::default() }).await);
    assert_eq!(layer.admit(token(), &[claim(&ten)]).await.verdicts, [short(1, 0)]);
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_converted_hold_brings_its_quantity() {
    let layer = Layer::with(&[(1, 10, 0), (2, 5, 0)]).await;
    layer.granted(id(1), &[(1, 10), (2, 2)]).await;
    let ten = claim_lines(&[(1, 10)]);
    let own = Claim { own: Some(id(1)), ..claim(&ten) };
    let mine = token();
    let judged = layer.admit(mine, &[claim(&ten), own, own]).await;
    assert_eq!(judged.verdicts, [short(1, 0), FITS, Verdict::Contended], "it brings it once");

    // The hold is consumed with the batch that converts it, and its other line with it.
    let consumed = [Consumed { hold: id(1), item: None }];
    let rows = [row(1, 11, 10, 10)];
    let effects = Effects { rows: &rows, consumed: &consumed, ..Effects::default() };
    assert!(layer.settle(mine, effects).await);
    assert!(matches!(layer.status(id(1)).await, KnownHold::Here(_, HoldStatus::Consumed)));
    layer.assert_clean().await;
    let judged = layer.admit(token(), &[own, claim(&ten)]).await;
    assert_eq!(judged.verdicts, [Verdict::Unknown, short(1, 0)], "the ledger says who consumed it");
}

#[tokio::test]
async fn a_hold_that_a_batch_took_brings_nothing_to_another_and_stays_as_it_is() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let hold = layer.granted(id(1), &[(1, 10)]).await;
    let ten = claim_lines(&[(1, 10)]);
    let own = Claim { own: Some(id(1)), ..claim(&ten) };
    let (first, second) = (token(), token());
    assert_eq!(layer.admit(first, &[own]).await.verdicts, [FITS]);

    assert_eq!(layer.admit(second, &[own]).await.verdicts, [Verdict::Contended], "never refused");
    assert_eq!(layer.redis.release(id(1)).await.unwrap(), Released::InUse);
    assert_eq!(layer.redis.extend(extension(id(1), 1, 1)).await.unwrap(), Extended::InUse);
    let lines = wanted(&[(1, 1)]);
    let replaced = layer.redis.replace(replacement(id(1), 1, &lines)).await.unwrap();
    assert_eq!(replaced, Replaced::InUse);
    assert_eq!(layer.status(id(1)).await, KnownHold::Here(hold, HoldStatus::Live));

    // The first batch comes to nothing: the hold is its owner's again.
    layer.drop_token(first).await;
    assert_eq!(layer.admit(second, &[own]).await.verdicts, [FITS]);
    layer.drop_token(second).await;
    assert_eq!(layer.redis.release(id(1)).await.unwrap(), Released::Now);
    layer.assert_clean().await;
}

#[tokio::test]
async fn the_units_of_a_taken_hold_count_once() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.granted(id(1), &[(1, 4)]).await;
    let (six, five) = (claim_lines(&[(1, 6)]), claim_lines(&[(1, 4)]));
    let own = Claim { own: Some(id(1)), ..claim(&six) };
    // Four of the six are held already: two of the six that are free are taken, four are left.
    let judged = layer.admit(token(), &[own, claim(&five)]).await;
    assert_eq!(judged.verdicts, [FITS, FITS]);
    assert_eq!(layer.hold(id(2), &[(1, 1)]).await, HoldAnswer::Contended);
}

#[tokio::test]
async fn a_hold_that_expires_under_a_batch_leaves_its_units_with_the_batch() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let lines = wanted(&[(1, 10)]);
    let asked =
        stockroom::availability::hold::HoldRequest { ttl_ms: 300, ..request(id(1), &lines) };
    assert!(matches!(layer.redis.hold(asked).await.unwrap(), HoldAnswer::Granted(_)));
    let ten = claim_lines(&[(1, 10)]);
    let mine = token();
    let own = Claim { own: Some(id(1)), ..claim(&ten) };
    assert_eq!(layer.admit(mine, &[own]).await.verdicts, [FITS]);
    eventually("the hold expires", || async {
        matches!(layer.status(id(1)).await, KnownHold::Here(_, HoldStatus::Expired)).then_some(())
    })
    .await;
    assert_eq!(layer.held(1).await, 0);
    assert_eq!(layer.hold(id(2), &[(1, 1)]).await, HoldAnswer::Contended);
    layer.drop_token(mine).await;
    layer.granted(id(3), &[(1, 10)]).await;
}

#[tokio::test]
async fn a_sale_that_names_a_hold_drops_one_line_of_it() {
    let layer = Layer::with(&[(1, 10, 0), (2, 10, 0)]).await;
    let hold = layer.granted(id(1), &[(1, 4), (2, 3)]).await;
    let of = |item| Consumed { hold: id(1), item: Some(stockroom::stock::ids::ItemNo(item)) };
    for _ in 0..2 {
        let consumed = [of(1), of(9)];
        layer.advance(10, 10, None, Effects { consumed: &consumed, ..Effects::default() }).await;
        assert_eq!((layer.held(1).await, layer.held(2).await), (0, 3));
    }
    let KnownHold::Here(rest, HoldStatus::Live) = layer.status(id(1)).await else { panic!() };
    assert_eq!(rest.lines, [line(2, 3)]);
    let consumed = [of(2)];
    layer.advance(10, 10, None, Effects { consumed: &consumed, ..Effects::default() }).await;
    assert!(matches!(layer.status(id(1)).await, KnownHold::Here(_, HoldStatus::Consumed)));
    assert_eq!(layer.hold(id(1), &[(1, 4), (2, 3)]).await, HoldAnswer::Replayed(hold));
    layer.assert_clean().await;
}

#[tokio::test]
async fn admission_is_skipped_where_redis_cannot_judge() {
    let layer = Layer::empty().await;
    let one = claim_lines(&[(1, 1)]);
    let ask = async |trust| layer.redis.admit(PARTITION, token(), &[claim(&one)], trust).await;
    let unusable = |why| Admission::Unusable(why);
    assert_eq!(ask(TRUST).await.unwrap(), unusable(Unusable::Unknown));
    layer.fill(&[(2, 0, 0)]).await;
    assert_eq!(ask(Trust { age_us_max: -1, ..TRUST }).await.unwrap(), unusable(Unusable::Late));
    let epoch = Some(EPOCH - 1);
    assert_eq!(ask(Trust { epoch, ..TRUST }).await.unwrap(), unusable(Unusable::Epoch));
    // One position without a row is no reason to skip the others.
    let two = claim_lines(&[(2, 1)]);
    let judged = layer.admit(token(), &[claim(&one), claim(&two)]).await;
    assert_eq!(judged.verdicts, [Verdict::Unknown, short(2, 0)]);
    layer.assert_clean().await;
}

#[tokio::test]
async fn a_batch_of_many_positions_is_judged_in_parts() {
    let items: Vec<_> = (1..=2_500).map(|item| (item, 1, 0)).collect();
    let layer = Layer::empty().await;
    for part in items.chunks(1_000) {
        let rows: Vec<_> = part.iter().map(|&(item, ..)| row(item, 5, 1, 0)).collect();
        let settled = settle(0, None, None, Effects { rows: &rows, ..Effects::default() });
        layer.redis.settle(PARTITION, settled).await.unwrap();
    }
    layer.fill(&[]).await;
    let lines: Vec<_> = items.iter().map(|&(item, ..)| claim_lines(&[(item, 1)])).collect();
    let claims: Vec<_> = lines.iter().map(|lines| claim(lines)).collect();
    let mine = token();
    let judged = layer.admit(mine, &claims).await;
    assert!(judged.verdicts.len() == 2_500 && judged.verdicts.iter().all(|one| *one == FITS));
    let again = layer.admit(mine, &claims).await;
    assert!(again.verdicts.iter().all(|one| *one == FITS));
    let other = layer.admit(token(), &claims).await;
    assert!(other.verdicts.iter().all(|one| *one == Verdict::Contended));
    layer.drop_token(mine).await;
    layer.assert_clean().await;
}
