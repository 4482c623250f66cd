//! What documents list is written from the one definition of it. `make docs` writes it anew.

use std::{fmt::Write as _, path::Path};

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use stockroom::{
    access::{METHODS, Scope},
    cli::Cli,
    telemetry::metrics::{METRICS, Metric},
};

#[test]
fn telemetry_lists_the_table_of_metrics() {
    let mut table = "| name | kind | unit | labels | what |\n|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let Metric { name, kind, labels, help, .. } = metric;
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, unit, labels) = (kind.name(), metric.unit(), labels.join(", "));
        writeln!(table, "| `{name}` | {kind} | {unit} | {labels} | {help} |").unwrap();
    }
    is_current("docs/telemetry.md", "metrics", &table);
}

#[test]
fn security_lists_the_rule_of_every_method() {
    let mut table = "| method | open to |\n|---|---|\n".to_owned();
    for (method, scopes) in METHODS {
        let scopes: Vec<_> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
        let method = method.rsplit('/').next().unwrap();
        writeln!(table, "| {method} | {} |", scopes.join(", ")).unwrap();
    }
    table.push_str("| grpc.health.v1 | everybody, also without a credential |\n");
    table.push_str("| grpc.reflection | who shows a credential |\n");
    is_current("docs/security.md", "methods", &table);
    let document = include_str!("../../../docs/security.md");
    let scopes = document.split_once("## Scopes").unwrap().1.split_once("\n\nA method").unwrap().0;
    for scope in Scope::all() {
        assert_eq!(scopes.matches(&format!("`{scope}`")).count(), 1, "{scope}");
    }
}

#[test]
fn configuration_lists_every_setting_of_every_command() {
    let mut root = Cli::command();
    root.build();
    let mut text = String::new();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        describe(&mut text, "stockroom", command);
    }
    is_current("docs/configuration.md", "settings", text.trim_end());
}

fn describe(text: &mut String, parent: &str, command: &Command) {
    if command.get_name() == "help" {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(text, "## {name}\n\n{about}.\n").unwrap();
    let settings: Vec<_> = command.get_arguments().filter(|setting| is_told(setting)).collect();
    if !settings.is_empty() {
        text.push_str("| setting | environment | default | what |\n|---|---|---|---|\n");
        settings.into_iter().for_each(|setting| row(text, setting));
        text.push('\n');
    }
    command.get_subcommands().for_each(|command| describe(text, &name, command));
}

fn is_told(setting: &Arg) -> bool {
    let of_clap =
        matches!(setting.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::Version);
    !of_clap && !matches!(setting.get_id().as_str(), "help" | "version") && !setting.is_hide_set()
}

fn row(text: &mut String, setting: &Arg) {
    let flag = setting.get_long().map(|long| format!("--{long}"));
    let takes = setting.get_action().takes_values();
    let values = setting.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
    let values = values.filter(|_| takes).collect::<Vec<_>>().join(" ");
    let written = [flag.unwrap_or_default(), values].join(" ");
    let environment = setting.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
    let defaults = setting.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let defaults = if takes { defaults.join(" ") } else { String::new() };
    let help = setting.get_long_help().or_else(|| setting.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let possible: Vec<_> = setting
        .get_possible_values()
        .iter()
        .filter(|_| takes)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let possible = match possible.is_empty() {
        true => String::new(),
        false => format!(": {}", possible.join(", ")),
    };
    let (written, environment) = (written.trim(), environment.unwrap_or_default());
    writeln!(text, "| `{written}` | {environment} | {defaults} | {help}{possible} |").unwrap();
}

/// Holds what stands between the marks of a document to what should; writes it where that is asked for.
#[expect(clippy::disallowed_methods, reason = "told by `make docs`")]
fn is_current(document: &str, mark: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- {mark}: written by `make docs` -->\n");
    let end = format!("<!-- end of {mark} -->");
    let (before, rest) = text.split_once(&begin).expect("the mark is there");
    let (found, after) = rest.split_once(&end).expect("the mark is there");
    if found.trim() == expected.trim() {
        return;
    }
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let expected = expected.trim();
        std::fs::write(&path, format!("{before}{begin}\n{expected}\n\n{end}{after}")).unwrap();
        return;
    }
    let differs = |(found, expected): &(&str, &str)| found != expected;
    let lines = || found.trim().lines().chain([""]).zip(expected.trim().lines().chain([""]));
    let first = lines().find(differs);
    panic!("{document} is out of date; run `make docs` and commit it: {first:?}");
}
