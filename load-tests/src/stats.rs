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
