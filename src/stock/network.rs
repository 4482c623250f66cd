//! What master data must look like, as far as it can be judged without looking anything up.

use crate::stock::ids::is_text;

/// Longest name, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// Trade item numbers of one item.
pub const GTINS_MAX: usize = 20;

/// Whether `name` may be the name of something.
pub fn is_name(name: &str) -> bool {
    is_text(name, NAME_CHARS_MAX)
}

/// Whether these are coordinates on earth, in degrees.
pub fn is_on_earth(latitude: f64, longitude: f64) -> bool {
    (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)
}

/// Whether `gtin` is a global trade item number: 8, 12, 13 or 14 digits, the last of which checks the
/// others (GS1 General Specifications, section 7.9).
pub fn is_gtin(gtin: &str) -> bool {
    let digits: Option<Vec<u32>> = gtin.chars().map(|digit| digit.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| matches!(digits.len(), 8 | 12 | 13 | 14)) else {
        return false;
    };
    let weighted = digits.iter().rev().zip([1, 3].into_iter().cycle());
    weighted.map(|(digit, weight)| digit * weight).sum::<u32>() % 10 == 0
}
