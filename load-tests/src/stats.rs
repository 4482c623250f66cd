//! Of several rounds, the one in the middle.

/// The median; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = |index: usize| values.get(index).copied().unwrap_or(0.0);
    let upper = values.len() / 2;
    if values.len() % 2 == 1 {
        middle(upper)
    } else {
        (middle(upper.saturating_sub(1)) + middle(upper)) / 2.0
    }
}

/// With `digits` digits behind the point.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let shift = 10_f64.powi(digits);
    (value * shift).round() / shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn digits_behind_the_point_are_kept() {
        assert_eq!(rounded(0.5845, 2), 0.58);
        assert_eq!(rounded(-1.25, 1), -1.3);
        assert_eq!(rounded(12_345.6, 0), 12_346.0);
    }
}
