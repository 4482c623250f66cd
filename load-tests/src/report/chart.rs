//! Charts as inline SVG: lines over an axis that begins at zero, or over powers of ten.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Room for the labels: left, right, top, bottom.
const MARGINS: [f64; 4] = [64.0, 20.0, 14.0, 34.0];
/// One after the other; told apart by the colour-blind, too (Okabe and Ito, 2008).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a00", "#000000"];
/// Values below are drawn as this on an axis of powers of ten.
const LEAST: f64 = 0.01;

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// Drawn in dashes, as what was asked for is beside what was reached.
    pub dashed: bool,
    /// Which of the colours.
    pub colour: usize,
}

/// The upward axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero on.
    Linear,
    /// Powers of ten.
    Powers,
}

/// A mark on the axis to the right: where, and what it says.
pub type Mark = (f64, String);

/// A chart with its legend. Where there is nothing to draw, it says so.
pub fn lines(title: &str, unit: &str, scale: Scale, marks: &[Mark], lines: &[Line]) -> String {
    let mut out = format!("<figure><figcaption>{}</figcaption>", escaped(title));
    let frame = Frame::around(lines, scale);
    let Some(frame) = frame else { return out + "<p>nothing was measured</p></figure>" };
    let _ = write!(
        out,
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
        escaped(title)
    );
    for value in frame.ticks() {
        let y = frame.y(value);
        let [left, right, ..] = MARGINS;
        let (end, label) = (WIDTH - right, left - 6.0);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{left}" x2="{end}" y1="{y:.1}" y2="{y:.1}"/><text x="{label}"
            y="{y:.1}" dy="4" text-anchor="end">{}</text>"#,
            number(value)
        );
    }
    for (at, label) in marks {
        let (x, y) = (frame.x(*at), HEIGHT - MARGINS[3] + 16.0);
        let _ = write!(out, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{label}</text>"#);
    }
    for line in lines {
        draw(&mut out, &frame, line, unit);
    }
    out.push_str("</svg><ul class=\"legend\">");
    for line in lines {
        let colour = COLOURS[line.colour % COLOURS.len()];
        let name = escaped(&line.name);
        let _ = write!(out, r#"<li><span style="background:{colour}"></span>{name}</li>"#);
    }
    out + "</ul></figure>"
}

/// Text as it stands in HTML.
pub fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// A number with as many digits as one wants to read.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn draw(out: &mut String, frame: &Frame, line: &Line, unit: &str) {
    let colour = COLOURS[line.colour % COLOURS.len()];
    let dashes = if line.dashed { r#" stroke-dasharray="5 4""# } else { "" };
    let point = |&(x, y): &(f64, f64)| format!("{:.1},{:.1}", frame.x(x), frame.y(y));
    let points: Vec<_> = line.points.iter().map(point).collect();
    let _ = write!(
        out,
        r#"<polyline fill="none" stroke="{colour}" stroke-width="2"{dashes} points="{}"/>"#,
        points.join(" ")
    );
    // Dots that say their value when one points at them.
    for &(x, y) in line.points.iter().filter(|_| !line.dashed) {
        let (across, down) = (frame.x(x), frame.y(y));
        let (name, value) = (escaped(&line.name), number(y));
        let _ = write!(
            out,
            r#"<circle cx="{across:.1}" cy="{down:.1}" r="2.5" fill="{colour}"><title>{name}:
            {value} {unit}</title></circle>"#
        );
    }
}

/// Where values come to lie.
#[derive(Clone, Copy, Debug)]
struct Frame {
    left: f64,
    right: f64,
    low: f64,
    high: f64,
    scale: Scale,
}

impl Frame {
    fn around(lines: &[Line], scale: Scale) -> Option<Frame> {
        let points = || lines.iter().flat_map(|line| &line.points);
        let (left, right) = bounds(points().map(|point| point.0))?;
        let (low, high) = bounds(points().map(|point| point.1))?;
        let (low, high) = match scale {
            Scale::Linear => (0.0, rounded_up(high)),
            Scale::Powers => {
                let power = |value: f64| value.max(LEAST).log10();
                let (low, high) = (power(low).floor(), power(high).ceil());
                (low, high.max(low + 1.0))
            }
        };
        Some(Frame { left, right: right.max(left + f64::EPSILON), low, high, scale })
    }

    fn x(&self, value: f64) -> f64 {
        let [left, right, ..] = MARGINS;
        let share = (value - self.left) / (self.right - self.left);
        left + share * (WIDTH - left - right)
    }

    fn y(&self, value: f64) -> f64 {
        let [_, _, top, bottom] = MARGINS;
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Powers => value.max(LEAST).log10(),
        };
        let share = (value - self.low) / (self.high - self.low);
        HEIGHT - bottom - share * (HEIGHT - top - bottom)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=4).map(|quarter| self.high * f64::from(quarter) / 4.0).collect(),
            Scale::Powers => {
                let powers = self.low as i32..=self.high as i32;
                powers.map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.filter(|value| value.is_finite());
    values.fold(None, |found, value| match found {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// The next of 1, 2, 4, 5 and 8 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|&step| step >= value).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64)]) -> Line {
        Line { name: "a<b".to_owned(), points: points.to_vec(), dashed: false, colour: 9 }
    }

    #[test]
    fn the_frame_holds_every_value() {
        for scale in [Scale::Linear, Scale::Powers] {
            let line = line(&[(0.0, 0.0), (5.0, 123.0), (9.0, 40.0)]);
            let frame = Frame::around(&[line], scale).unwrap();
            for (x, y) in [(0.0, 0.0), (5.0, 123.0), (9.0, 40.0)] {
                assert!((MARGINS[0]..=WIDTH - MARGINS[1]).contains(&frame.x(x)), "{x}");
                assert!((MARGINS[2]..=HEIGHT - MARGINS[3]).contains(&frame.y(y)), "{y}");
            }
            assert!(frame.y(123.0) < frame.y(40.0));
        }
        let frame = Frame::around(&[line(&[(0.0, 123.0)])], Scale::Linear).unwrap();
        assert_eq!(frame.ticks(), [0.0, 50.0, 100.0, 150.0, 200.0]);
    }

    #[test]
    fn names_are_text_and_not_markup() {
        let chart = lines("t", "ms", Scale::Linear, &[], &[line(&[(0.0, 1.0), (1.0, 2.0)])]);
        assert!(chart.contains("a&lt;b") && !chart.contains("a<b"), "{chart}");
        assert_eq!(chart.matches("<circle").count(), 2);
        assert_eq!(chart.matches("<polyline").count(), 1);
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let chart = lines("t", "ms", Scale::Powers, &[], &[line(&[])]);
        assert!(chart.contains("nothing was measured"), "{chart}");
        assert!(!chart.contains("NaN"));
    }
}
