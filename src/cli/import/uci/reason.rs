//! Free text of a stock clerk to reason codes.

/// The codes that a text can mean, by number.
pub(super) const REASONS: [&str; 8] =
    ["unknown", "damage", "scrap", "found", "missing", "own_use", "lost_in_transit", "correction"];
/// The code of a text that says nothing.
pub(super) const UNKNOWN: u8 = 0;
const DAMAGE: u8 = 1;
const SCRAP: u8 = 2;
const FOUND: u8 = 3;
const MISSING: u8 = 4;
const OWN_USE: u8 = 5;
const LOST_IN_TRANSIT: u8 = 6;
const CORRECTION: u8 = 7;

/// Parts of words, and what they mean. The first that occurs decides: `damages/display` was
/// damaged, whatever was done with it after.
const WORDS: [(u8, &[&str]); 7] = [
    (
        DAMAGE,
        &[
            "damag", "dagam", "wet", "rust", "mould", "smash", "crush", "broken", "breakage",
            "crack", "faulty", "smudge",
        ],
    ),
    (SCRAP, &["thrown away", "throw away", "unsaleable", "destroyed"]),
    (FOUND, &["found"]),
    (LOST_IN_TRANSIT, &["not rcvd"]),
    (MISSING, &["missing", "lost", "can't find", "mia"]),
    (OWN_USE, &["sample", "display", "showroom", "given away"]),
    (
        CORRECTION,
        &[
            "sold",
            "dotcom",
            "amazon",
            "ebay",
            "barcode",
            "code",
            "adjust",
            "incorrect",
            "wrong",
            "mix",
            "reverse",
            "counted",
            "check",
            "credit",
            "difference",
            "label",
        ],
    ),
];

/// Number of the reason code.
pub(super) fn reason_of(text: &str) -> u8 {
    let text = text.to_lowercase();
    WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|word| text.contains(word)))
        .map_or(UNKNOWN, |&(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_means_something_decides() {
        let cases = [
            ("", "unknown"),
            ("??", "unknown"),
            ("20713", "unknown"),
            ("damages/display", "damage"),
            ("Dagamed", "damage"),
            ("Wet pallet-thrown away", "damage"),
            ("thrown away-can't sell.", "scrap"),
            ("found some more on shelf", "found"),
            ("????missing", "missing"),
            ("lost in space", "missing"),
            ("Not rcvd in 10/11/2010 delivery", "lost_in_transit"),
            ("Show Samples", "own_use"),
            ("sold as set/6 by dotcom", "correction"),
            ("OOPS ! adjustment", "correction"),
        ];
        for (text, reason) in cases {
            assert_eq!(REASONS[usize::from(reason_of(text))], reason, "{text:?}");
        }
    }
}
