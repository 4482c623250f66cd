//! Snapshots against a naive comparison.

use std::collections::BTreeMap;

use proptest::{collection::btree_map, prelude::*};
use stockroom::stock::{
    ids::is_key,
    snapshot::{Comparison, DropLimits, Snapshot, Variance},
    time::Timestamp,
};

fn snapshot(rows: BTreeMap<String, i64>) -> Snapshot {
    Snapshot {
        source: "erp".to_owned(),
        key: "k".to_owned(),
        location_id: "shop".to_owned(),
        cutoff: Timestamp::Y2000,
        utc_offset_minutes: 0,
        rows: rows.into_iter().collect(),
    }
}

fn stock(units: std::ops::Range<i64>) -> impl Strategy<Value = BTreeMap<String, i64>> {
    btree_map("[a-h]", units, 0..8)
}

proptest! {
    #[test]
    fn every_item_of_either_side_is_compared_once(listed in stock(0..4), had in stock(-2..4)) {
        let had: BTreeMap<_, _> = had.into_iter().filter(|(_, units)| *units != 0).collect();
        let sent = snapshot(listed.clone());
        let ledger: Vec<_> = had.clone().into_iter().collect();
        let items: std::collections::BTreeSet<_> = listed.keys().chain(had.keys()).collect();
        let of = |side: &BTreeMap<String, i64>, sku: &str| side.get(sku).copied().unwrap_or(0);
        let pairs = || items.iter().map(|sku| (of(&had, sku), of(&listed, sku)));
        let Comparison { compared, equal, with_stock, to_zero, variances } = sent.compare(&ledger);
        prop_assert_eq!(compared as usize, items.len());
        prop_assert_eq!(equal as usize, pairs().filter(|(had, now)| had == now).count());
        prop_assert_eq!(with_stock as usize, pairs().filter(|(had, _)| *had > 0).count());
        let zero = pairs().filter(|(had, now)| *had > 0 && *now == 0).count();
        prop_assert_eq!(to_zero as usize, zero);
        prop_assert_eq!(variances.len() as u32, compared - equal);
        for Variance { sku, ledger, counted } in &variances {
            prop_assert_eq!((*ledger, *counted), (of(&had, sku), of(&listed, sku)));
        }
        let sizes = variances.iter().map(|variance| variance.ledger.abs_diff(variance.counted));
        prop_assert!(sizes.rev().is_sorted(), "the largest first");
        let counts: BTreeMap<_, _> = sent.counts(&ledger).into_iter().collect();
        prop_assert_eq!(counts.len(), items.len(), "each once");
        for (sku, counted) in counts {
            prop_assert_eq!(counted, of(&listed, sku));
        }
    }

    #[test]
    fn both_bounds_must_be_passed_before_a_snapshot_is_refused(
        to_zero in 0..100_u32, more in 0..100_u32, percent in 0..=100_u32, items in 0..50_u32,
    ) {
        let with_stock = to_zero + more;
        let compared = Comparison { with_stock, to_zero, ..Comparison::default() };
        let refused = compared.check_drops(DropLimits { percent, items }).is_err();
        let share = f64::from(to_zero) / f64::from(with_stock.max(1)) * 100.0;
        prop_assert_eq!(refused, to_zero > items && share > f64::from(percent));
    }
}

#[test]
fn rows_have_keys_of_their_own_that_do_not_depend_on_the_quantity() {
    let sent = snapshot(BTreeMap::new());
    let other = Snapshot { key: "l".to_owned(), ..sent.clone() };
    let key = sent.draft("A", 1).key;
    assert!(is_key(&key), "{key}");
    assert_eq!(sent.draft("A", 2).key, key);
    assert_ne!(sent.draft("B", 1).key, key);
    assert_ne!(other.draft("A", 1).key, key);
    assert!(sent.draft("A", 0).check().is_ok());
}
