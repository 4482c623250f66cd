//! The report: as JSON, and as one page that needs no other file.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use serde_json::json;

use super::{Soaked, Verdict, verdict::Series};
use crate::report::{
    chart::{self, Line, Scale, escaped, number},
    html::STYLE,
};

/// Writes both into a folder, which is made if it is not there.
pub(super) fn write(folder: &Path, soaked: &Soaked, verdicts: &[Verdict]) -> anyhow::Result<()> {
    let report = json!({
        "result": soaked.result,
        "verdicts": verdicts,
        "series": soaked.series,
    });
    let written = || {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("soak.json"), serde_json::to_vec_pretty(&report)?)?;
        fs::write(folder.join("soak.html"), page(soaked, verdicts))?;
        anyhow::Ok(())
    };
    written().with_context(|| format!("cannot write to {}", folder.display()))
}

fn page(soaked: &Soaked, verdicts: &[Verdict]) -> String {
    let capacity = soaked.capacity_per_s.map_or("not measured".to_owned(), number);
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Stockroom: soak</title><style>{STYLE}</style></head><body><h1>Soak</h1>\
         <p>{} calls a second (capacity: {capacity}), with a fault now and then: {}.</p>\
         <table><tr><th>what<th>unit<th>median<th>growth<th>bound<th>verdict",
        number(soaked.rate_per_s),
        escaped(&soaked.result["faults"].to_string()),
    );
    for verdict in verdicts {
        let said = match (verdict.judged, verdict.grows) {
            (false, _) => "not judged",
            (_, true) => "grows",
            (_, false) => "flat",
        };
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{said}",
            escaped(&verdict.name),
            verdict.unit,
            number(verdict.median),
            number(verdict.growth),
            number(verdict.bound),
        );
    }
    out.push_str(
        "</table><p>Growth: the median of the slopes between all samples of the last three \
         quarters, over their whole time. It counts where chance alone would not make it.</p>",
    );
    soaked.series.iter().for_each(|series| out.push_str(&drawn(series)));
    out + "</body></html>\n"
}

fn drawn(series: &Series) -> String {
    let last = series.points.last().map_or(0.0, |point| point.0);
    let marks = (0..=10).map(|tenth| f64::from(tenth) * last / 10.0);
    let marks: Vec<_> = marks.map(|at| (at, format!("{at:.0} s"))).collect();
    let line =
        Line { name: series.name.clone(), points: series.points.clone(), dashed: false, colour: 0 };
    chart::lines(&series.name, series.unit, Scale::Linear, &marks, &[line])
}
