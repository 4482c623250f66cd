//! Pickup codes and what they are found by.

use std::collections::HashSet;

use stockroom::stock::{
    ids::{LocationNo, Partition, Place},
    pickup::PickupSecret,
    reservation::ReservationId,
};

const PLACE: Place = Place { partition: Partition(1), location: LocationNo(7) };

#[test]
fn codes_and_their_hashes_are_told_apart() {
    let secret = PickupSecret::new(b"secret");
    let ids = (1..=10_000).map(|no| ReservationId { place: PLACE, epoch: 1, no });
    let codes: HashSet<_> = ids.map(|id| secret.code(&id)).collect();
    assert_eq!(codes.len(), 10_000);
    let hashes: HashSet<_> = codes.iter().map(|code| secret.hash(PLACE, code)).collect();
    assert_eq!(hashes.len(), 10_000);
    assert!(hashes.iter().all(|hash| *hash > 0));
}

#[test]
fn a_code_is_the_same_however_it_is_typed() {
    for typed in ["k61y-0mlf", "K61Y OMIF", "K61YoM1F"] {
        assert_eq!(PickupSecret::normalised(typed), "K61Y0M1F");
    }
}
