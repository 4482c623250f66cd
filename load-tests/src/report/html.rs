//! The page.

use std::fmt::Write as _;

use super::{
    FlowReport, Point, Report,
    chart::{self, Line, Mark, Scale, escaped, number},
};

/// Of every page.
pub const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8885; text-align: right }
th:first-child, td:first-child { text-align: left }
figure { margin: 1.5rem 0 } figcaption { font-weight: 600 }
svg { width: 100%; height: auto } svg text { font-size: 11px; fill: currentColor }
.grid { stroke: #8884 }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0 }
.legend span { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem }
";

/// Everything of a report.
pub fn page(report: &Report) -> String {
    let title = escaped(&report.scenario);
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Stockroom: {title}</title><style>{STYLE}</style></head><body>\
         <h1>{title}</h1><p>{}</p>",
        escaped(&report.about)
    );
    summary(&mut out, report);
    over_time(&mut out, report);
    out.push_str(&percentiles(&report.flows));
    resources(&mut out, report);
    out.push_str("<h2>What held</h2><table><tr><th>check<th>found");
    for check in &report.checks {
        let _ = write!(out, "<tr><td>{}<td>{}", escaped(check.holds), escaped(&check.found));
    }
    out.push_str("</table>");
    machine(&mut out, report);
    out + "</body></html>\n"
}

fn summary(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "<p>Calls arrive on a schedule of their own for {} s, whatever is answered; times count \
         from the moment at which a call was due.</p><table><tr><th>calls<th>due/s<th>good/s\
         <th>p50 ms<th>p90 ms<th>p99 ms<th>p99.9 ms<th>max ms<th>refused<th>turned away\
         <th>other losses",
        number(report.seconds)
    );
    for flow in &report.flows {
        let counts = flow.counts;
        let _ = write!(out, "<tr><td>{}", escaped(&flow.name));
        for value in [flow.due_per_s, flow.good_per_s] {
            let _ = write!(out, "<td>{}", number(value));
        }
        for percent in [50.0, 90.0, 99.0, 99.9, 100.0] {
            let _ = write!(out, "<td>{:.2}", flow.percentile_ms(percent));
        }
        let other = counts.lost() - counts.overloaded;
        let _ = write!(out, "<td>{}<td>{}<td>{other}", counts.refused, counts.overloaded);
    }
    out.push_str("</table><p>Good: done, or refused for lack of stock, within the deadline.</p>");
}

fn over_time(out: &mut String, report: &Report) {
    let marks = seconds(report);
    let line = |colour: usize, flow: &FlowReport, of: fn(&Point) -> f64, dashed, what: &str| Line {
        name: format!("{} {what}", flow.name),
        points: flow.series.iter().map(|point| (point.at_s, of(point))).collect(),
        dashed,
        colour,
    };
    let flows = || report.flows.iter().enumerate();
    let pair = |(colour, flow): (usize, &FlowReport)| {
        [
            line(colour, flow, |point| point.due_per_s, true, "due"),
            line(colour, flow, |point| point.good_per_s, false, "answered in time"),
        ]
    };
    let lines: Vec<_> = flows().flat_map(pair).collect();
    let title = "Calls a second (dashed: due)";
    out.push_str(&chart::lines(title, "a second", Scale::Linear, &marks, &lines));
    for (title, of) in [
        ("Median latency, ms", (|point| point.p50_ms) as fn(&Point) -> f64),
        ("99th percentile of the latency, ms", |point| point.p99_ms),
    ] {
        let lines: Vec<_> =
            flows().map(|(colour, flow)| line(colour, flow, of, false, "")).collect();
        out.push_str(&chart::lines(title, "ms", Scale::Powers, &marks, &lines));
    }
}

/// Every tenth of the run, in seconds.
fn seconds(report: &Report) -> Vec<Mark> {
    let points = report.flows.iter().map(|flow| flow.series.len()).max().unwrap_or(0);
    let step = points.div_ceil(10).max(1);
    let at = |slot: usize| slot as f64 * report.slot_seconds;
    (0..points).step_by(step).map(|slot| (at(slot), format!("{} s", number(at(slot))))).collect()
}

/// On an axis where each nine takes as much room as the one before.
fn percentiles(flows: &[FlowReport]) -> String {
    let across = |percent: f64| -(1.0 - percent.min(99.999) / 100.0).log10();
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0];
    let marks = marks.map(|percent| {
        let label = if percent == 100.0 { "max".to_owned() } else { format!("{percent} %") };
        (across(percent), label)
    });
    let lines = flows.iter().enumerate().map(|(colour, flow)| Line {
        name: flow.name.clone(),
        points: flow.percentiles_ms.iter().map(|&(at, ms)| (across(at), ms)).collect(),
        dashed: false,
        colour,
    });
    let lines: Vec<_> = lines.collect();
    chart::lines("Latency by percentile, ms", "ms", Scale::Powers, &marks, &lines)
}

fn resources(out: &mut String, report: &Report) {
    let names = ["server", "PostgreSQL", "Redis", "load"];
    let cpu = report.resources.cpu;
    let used = [cpu.server_us, cpu.postgres_us, cpu.redis_us, cpu.load_us];
    out.push_str("<h2>CPU a call answered in time</h2><table><tr><th>process<th>us");
    for (name, us) in names.iter().zip(used) {
        let _ = write!(out, "<tr><td>{name}<td>{us:.1}");
    }
    out.push_str("</table>");
    let at = |slot: usize| slot as f64 * report.slot_seconds;
    let points = |of: &dyn Fn(&[f64; 4]) -> f64| {
        report.resources.cores.iter().enumerate().map(|(slot, used)| (at(slot), of(used))).collect()
    };
    let lines = names.iter().enumerate().map(|(process, name)| Line {
        name: (*name).to_owned(),
        points: points(&|used| used[process]),
        dashed: false,
        colour: process,
    });
    let lines: Vec<_> = lines.collect();
    let marks = seconds(report);
    out.push_str(&chart::lines("Cores in use", "cores", Scale::Linear, &marks, &lines));
    let memory = report.resources.memory_mib.iter().enumerate();
    let line = Line {
        name: "server".to_owned(),
        points: memory.map(|(slot, &mib)| (at(slot), mib)).collect(),
        dashed: false,
        colour: 0,
    };
    let title = "Memory of the server, MiB";
    out.push_str(&chart::lines(title, "MiB", Scale::Linear, &marks, &[line]));
}

fn machine(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let _ = write!(
        out,
        "<h2>Where</h2><p>{}: {} cores ({}), {} GiB, {}, Linux {}; PostgreSQL {}, Redis {}, {}; \
         commit {}. Load, server and databases share the machine.</p>",
        escaped(&machine.measured_at),
        machine.cores,
        escaped(&machine.cpu),
        machine.memory_gib,
        escaped(&machine.system),
        escaped(&machine.kernel),
        escaped(&machine.postgres),
        escaped(&machine.redis),
        escaped(&machine.rustc),
        escaped(&machine.commit),
    );
}
