//! At the memory limit what gives back goes on, and what takes fails.

use stockroom::availability::{
    admit::{Admission, Claim},
    fault::Kind,
    hold::{HoldAnswer, HoldStatus, KnownHold, Released},
    project::{Consumed, Effects},
};

use super::layer::{Layer, PARTITION, TRUST, claim, claim_lines, id, request, row, token, wanted};
use crate::harness::private_redis::PrivateRedis;

#[tokio::test]
async fn at_the_memory_limit_settle_release_and_advance_go_on() {
    let redis = PrivateRedis::start().await;
    let layer = Layer::on(&redis.url());
    layer.fill(&[(1, 10, 0), (2, 10, 0)]).await;
    layer.granted(id(1), &[(1, 4)]).await;
    layer.granted(id(2), &[(1, 3)]).await;
    let (three, mine) = (claim_lines(&[(1, 3)]), token());
    let own = Claim { own: Some(id(1)), ..claim(&three) };
    assert!(matches!(
        layer.redis.admit(PARTITION, mine, &[own], TRUST).await.unwrap(),
        Admission::Judged(_)
    ));
    layer.raw.command(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let lines = wanted(&[(2, 1)]);
    assert_eq!(layer.redis.hold(request(id(3), &lines)).await.unwrap_err().kind, Kind::Full);
    let admitted = layer.redis.admit(PARTITION, token(), &[claim(&three)], TRUST).await;
    assert_eq!(admitted.unwrap_err().kind, Kind::Full);

    assert_eq!(layer.held(1).await, 7, "reads go on");
    assert_eq!(layer.redis.release(id(2)).await.unwrap(), Released::Now);
    let (rows, consumed) = ([row(1, 11, 10, 3)], [Consumed { hold: id(1), item: None }]);
    let effects = Effects { rows: &rows, consumed: &consumed, ..Effects::default() };
    assert!(layer.settle(mine, effects).await);
    let rows = [row(1, 12, 9, 3), row(5_000, 12, 1, 0)];
    assert!(layer.advance(11, 12, None, Effects { rows: &rows, ..Effects::default() }).await);
    layer.stamp(12).await;
    assert_eq!(layer.position(1).await.row, Some(rows[0]));
    assert_eq!(layer.position(5_000).await.row, Some(rows[1]));
    assert!(matches!(layer.status(id(1)).await, KnownHold::Here(_, HoldStatus::Consumed)));
    layer.assert_clean().await;

    layer.raw.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    layer.stamp(12).await;
    let granted = layer.redis.hold(request(id(3), &lines)).await.unwrap();
    assert!(matches!(granted, HoldAnswer::Granted(_)), "there is memory again");
}
