//! Counts verdicts, and says what they come to.

use std::collections::BTreeMap;

use hilum_core::Digest;
use hilum_core::canary::Millionths;
use hilum_sandbox::Plugin;
use hilum_server::score::{Count, FAILURES_MAX, FORM, Failed, Files, Report, Table as TableOf, percent};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::judge::{Action, Verdict};
use super::key::{Mark, Planted};
use super::table::Table;
use crate::output::print;

/// Failures that are printed for each action.
const SHOWN_MAX: usize = 20;
/// The identifiers of 45 CFR 164.514(b)(2)(i).
const IDENTIFIERS: [(char, &str); 18] = [
    ('A', "names"),
    ('B', "places below a state"),
    ('C', "dates and ages over 89"),
    ('D', "telephone numbers"),
    ('E', "fax numbers"),
    ('F', "e-mail addresses"),
    ('G', "social security numbers"),
    ('H', "medical record numbers"),
    ('I', "health plan numbers"),
    ('J', "account numbers"),
    ('K', "certificates and licences"),
    ('L', "vehicles"),
    ('M', "devices"),
    ('N', "URLs"),
    ('O', "IP and network addresses"),
    ('P', "biometric identifiers"),
    ('Q', "photographs and the like"),
    ('R', "any other unique number or code"),
];

/// What was counted so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) files: Files,
    total: Count,
    removals: Count,
    actions: BTreeMap<Action, Count>,
    identifiers: BTreeMap<char, Count>,
    intervals: Count,
    failures: Vec<Failed>,
}

impl Tally {
    /// Counts one action on one mark.
    pub(super) fn add(&mut self, file: &Planted, mark: &Mark, action: Action, verdict: &Verdict) {
        self.total.add(verdict.passed);
        if action.is_removal() {
            self.removals.add(verdict.passed);
        }
        self.actions.entry(action).or_default().add(verdict.passed);
        if let Some(identifier) = mark.identifier {
            self.identifiers.entry(identifier).or_default().add(verdict.passed);
        }
        if let Some(holds) = verdict.interval {
            self.intervals.add(holds);
        }
        let listed = || self.failures.iter().filter(|failed| failed.action == action.name()).count();
        if !verdict.passed && listed() < FAILURES_MAX {
            self.failures.push(Failed {
                // Without the identifier that its name has.
                file: file.file.split('-').next().unwrap_or_default().to_owned(),
                format: file.format.name().into(),
                path: mark.path.clone(),
                action: action.name().into(),
            });
        }
    }

    /// The report of a plugin under a configuration.
    pub(super) fn report(
        self,
        plugin: &Plugin,
        configuration: Digest,
        table: &Table,
        seed: u64,
    ) -> anyhow::Result<Report> {
        let of = plugin.description();
        let actions = Action::ALL
            .map(|action| (action.name().to_owned(), self.actions.get(&action).copied().unwrap_or_default()));
        let identifiers = IDENTIFIERS.map(|(letter, _)| {
            (letter.to_string(), self.identifiers.get(&letter).copied().unwrap_or_default())
        });
        Ok(Report {
            form: FORM.into(),
            plugin: of.name.clone(),
            version: of.version.clone(),
            component: plugin.digest().to_string(),
            configuration: configuration.to_string(),
            table: TableOf { edition: table.edition.clone(), sha256: table.digest.to_string() },
            made: OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
            seed,
            files: self.files,
            total: self.total,
            removals: self.removals,
            actions: actions.into_iter().collect(),
            identifiers: identifiers.into_iter().collect(),
            intervals: self.intervals,
            failures: self.failures,
        })
    }
}

/// Prints a report for people.
pub(super) fn show(report: &Report, require: Millionths) -> anyhow::Result<()> {
    let counted = |count: Count| format!("{:>9} of {:>9}  {:>9}%", count.passed, count.tried, percent(count));
    print(format_args!("plugin         {} {}, {}", report.plugin, report.version, report.component))?;
    print(format_args!("configuration  {}", report.configuration))?;
    print(format_args!("table          {}", report.table.edition))?;
    let Files { planted, refused, left_out } = &report.files;
    let each = |of: &BTreeMap<String, u64>| {
        of.iter().map(|(why, count)| format!("{count} {why}")).collect::<Vec<_>>().join(", ")
    };
    print(format_args!("files          {planted} planted"))?;
    for (what, of) in [("refused", refused), ("left out", left_out)] {
        if !of.is_empty() {
            print(format_args!("{what:<14} {}", each(of)))?;
        }
    }
    print("\nby action of MIDI-B")?;
    for action in Action::ALL {
        let count = report.actions.get(action.name()).copied().unwrap_or_default();
        print(format_args!("  {:<34}{}", action.name(), counted(count)))?;
    }
    print("\nby identifier of 45 CFR 164.514(b)(2)(i)")?;
    for (letter, name) in IDENTIFIERS {
        let count = report.identifiers.get(&letter.to_string()).copied().unwrap_or_default();
        print(format_args!("  {letter}  {name:<31}{}", counted(count)))?;
    }
    print("")?;
    for (what, count) in [
        ("intervals between dates", report.intervals),
        ("removals", report.removals),
        ("all actions", report.total),
    ] {
        print(format_args!("{what:<36}{}", counted(count)))?;
    }
    show_failures(&report.failures)?;
    let verdict = if report.reaches(require) { "reached" } else { "missed" };
    Ok(print(format_args!("\n{verdict}: all removals and {require} of all actions are required"))?)
}

fn show_failures(failures: &[Failed]) -> anyhow::Result<()> {
    for action in Action::ALL {
        let failed: Vec<_> = failures.iter().filter(|failed| failed.action == action.name()).collect();
        for Failed { file, format, path, action } in failed.iter().take(SHOWN_MAX) {
            print(format_args!("failed  {action}  {format}  {path}  in file {file}"))?;
        }
        if failed.len() > SHOWN_MAX {
            print(format_args!("failed  {}  {} more", action.name(), failed.len() - SHOWN_MAX))?;
        }
    }
    Ok(())
}
