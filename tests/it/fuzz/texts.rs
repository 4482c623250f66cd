//! Texts: identifiers, names of reservations and holds, pickup codes.

use stockroom::stock::{
    hold::HoldId,
    ids::{LocationNo, Partition, Place, is_identifier, is_key, is_reason, is_sku, is_text},
    network::{is_gtin, is_name},
    pickup::PickupSecret,
    reservation::ReservationId,
};

use super::{
    behaviours::Behaviours,
    runner::{Target, fuzz},
};

const WORDS: [&str; 12] = [
    "r0.1.1.1",
    "h0.1.00000000000000000000000000000001",
    ".",
    "+",
    "-",
    "  ",
    "0O1IL",
    "4006381333931",
    "é",
    "\u{7f}",
    "ffffffffffffffff",
    "32767",
];

#[test]
fn texts() {
    let seeds = ["r3.1f.0.7fffffffffffffff", "hold 1", "A1B2-C3D4", "shop-1", "not_found", ""];
    let target = Target {
        name: "texts",
        seeds: seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
        words: &WORDS,
        message: false,
        floor: 32,
    };
    fuzz(target, |input, seen| {
        let text = String::from_utf8_lossy(input);
        rules(&text, seen);
        names(&text, seen);
        codes(&text, seen);
    });
}

/// What a text may be used as: the narrower rules imply the wider ones.
fn rules(text: &str, seen: &mut Behaviours) {
    let rules = [
        is_identifier(text),
        is_sku(text),
        is_key(text),
        is_reason(text),
        is_name(text),
        is_gtin(text),
        is_text(text, 8),
    ];
    let [identifier, sku, key, reason, _, gtin, _] = rules;
    assert!(!identifier || sku, "{text:?} is an identifier and no item code");
    assert!(!sku || key, "{text:?} is an item code and no key");
    assert!(!reason || identifier, "{text:?} is a reason and no identifier");
    assert!(!gtin || text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} is no GTIN");
    assert!(!key || (1..=64).contains(&text.len()), "{text:?} is no key");
    seen.saw(format!("{rules:?}"));
}

/// A name has one way to be written, and says where it belongs.
fn names(text: &str, seen: &mut Behaviours) {
    if let Ok(id) = text.parse::<ReservationId>() {
        assert_eq!(id.to_string(), text);
        assert!(is_identifier(text));
        seen.saw(format!("reservation of {}", kind_of(id.place, id.no)));
    }
    if let Ok(id) = text.parse::<HoldId>() {
        assert_eq!(id.to_string(), text);
        assert!(is_identifier(text));
        seen.saw(format!("hold of {}", kind_of(id.place, 0)));
    }
}

fn kind_of(place: Place, no: i64) -> String {
    let Place { partition: Partition(partition), location: LocationNo(location) } = place;
    format!("{} {} {}", partition.signum(), location.signum(), no.signum())
}

/// A code is what people type, written as it was given out.
fn codes(text: &str, seen: &mut Behaviours) {
    let secret = PickupSecret::new(text.as_bytes());
    let typed = PickupSecret::normalised(text);
    assert_eq!(PickupSecret::normalised(&typed), typed, "{text:?}");
    assert_eq!(PickupSecret::normalised(&typed.to_ascii_lowercase()), typed, "{text:?}");
    let place = Place { partition: Partition(1), location: LocationNo(2) };
    let code = secret.code(&ReservationId { place, epoch: 1, no: 3 });
    assert_eq!(PickupSecret::normalised(&code), code);
    assert!(secret.hash(place, &typed) > 0);
    seen.saw(format!("code of {} characters", typed.chars().count().min(9)));
}
