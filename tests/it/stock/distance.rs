//! Distances on earth, against figures that others give.

use proptest::{collection::vec, option, prelude::*};
use stockroom::stock::distance::{EARTH_RADIUS_M, Spot, distance_m, nearest};

const BERLIN: (f64, f64) = (52.52, 13.405);
const PARIS: (f64, f64) = (48.8566, 2.3522);
const SYDNEY: (f64, f64) = (-33.8688, 151.2093);

#[track_caller]
fn about(metres: f64, expected: f64) {
    assert!((metres - expected).abs() <= expected * 0.005, "{metres} instead of {expected}");
}

#[test]
fn distances_are_those_over_a_sphere() {
    about(distance_m(BERLIN, PARIS), 878_000.0);
    about(distance_m(BERLIN, SYDNEY), 16_090_000.0);
    assert_eq!(distance_m(BERLIN, SYDNEY), distance_m(SYDNEY, BERLIN));
    assert_eq!(distance_m(BERLIN, BERLIN), 0.0);
    // A degree of the equator, over the line where the day begins.
    let degree = EARTH_RADIUS_M.to_radians();
    about(distance_m((0.0, 179.5), (0.0, -179.5)), degree);
    about(distance_m((89.5, 0.0), (89.5, 180.0)), degree);
    // Half way around is as far as it goes, and rounding makes no nonsense of it.
    let half = EARTH_RADIUS_M * std::f64::consts::PI;
    about(distance_m((90.0, 0.0), (-90.0, 0.0)), half);
    for north in 0..90 {
        let (north, east) = (f64::from(north) + 0.1, f64::from(north) * 1.7);
        about(distance_m((north, east), (-north, east - 180.0)), half);
    }
}

#[test]
fn the_nearest_come_first_and_what_is_nowhere_does_not_come_at_all() {
    let shops = [
        ("sydney", Some(SYDNEY)),
        ("nowhere", None),
        ("paris", Some(PARIS)),
        ("louvre", Some(PARIS)),
        ("berlin", Some(BERLIN)),
    ];
    let shops = shops.map(|(name, at)| (name, at.map(Spot::new)));
    let found = nearest(&Spot::new(BERLIN), shops, 9);
    let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["berlin", "louvre", "paris", "sydney"], "as far: the least first");
    assert_eq!(found[0].1, 0.0);
    assert_eq!(nearest(&Spot::new(BERLIN), shops, 2), found[..2], "of those as far the least");
    assert_eq!(nearest(&Spot::new(BERLIN), shops, 0), []);
}

proptest! {
    #[test]
    fn the_nearest_are_those_of_a_search_through_all(
        from in (-90.0..=90.0, -180.0..=180.0),
        shops in vec(option::weighted(0.95, (-90.0..=90.0, -180.0..=180.0)), 0..200),
    ) {
        let mut all: Vec<_> = (0..)
            .zip(&shops)
            .filter_map(|(number, shop)| Some((number, distance_m(from, (*shop)?))))
            .collect();
        all.sort_by(|(_, one): &(i32, f64), (_, other)| one.total_cmp(other));
        let spots = shops.into_iter().map(|shop| shop.map(Spot::new));
        let found = nearest(&Spot::new(from), (0..).zip(spots), 5);
        all.truncate(5);
        prop_assert_eq!(found, all);
    }
}
