//! Reports of `hilum plugin score`, and what `hilum.toml` may demand of them: a plugin runs in a stage only if somebody scored that very
//! component under that very configuration, and it did well enough.
//!
//! A report is believed as the configuration is: both are files of the hospital directory, and who can write one can write the other
//! (decision 42).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hilum_core::Digest;
use hilum_core::canary::Millionths;
use serde::{Deserialize, Serialize};

/// What a report says that it is.
pub const FORM: &str = "hilum-score-1";
/// Reports that are looked at in one folder.
const REPORTS_MAX: usize = 1024;
/// Octets of one report.
const REPORT_OCTETS_MAX: u64 = 4 << 20;
/// Failures of one action that a report names; of more it says how many there were.
pub const FAILURES_MAX: usize = 200;

/// How often something was tried, and how often it went well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How often it was tried.
    pub tried: u64,
    /// How often it went well; at most as often.
    pub passed: u64,
}

impl Count {
    /// Counts one more.
    pub fn add(&mut self, passed: bool) {
        self.tried += 1;
        self.passed += u64::from(passed);
    }

    /// What went well of a million, rounded down; nothing of nothing.
    #[must_use]
    pub fn millionths(self) -> u64 {
        let of_a_million = u128::from(self.passed) * u128::from(Millionths::WHOLE);
        let ratio = of_a_million.checked_div(u128::from(self.tried)).unwrap_or(0);
        u64::try_from(ratio).unwrap_or(u64::MAX)
    }

    /// Whether something was tried, and all of it went well.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.tried > 0 && self.passed == self.tried
    }
}

/// The edition of a table that the expectations come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// As its first line names it, e.g. `PS3.15 2026c`.
    pub edition: String,
    /// Of its text: 64 hexadecimal digits.
    pub sha256: String,
}

/// Something that should have been done to a planted file, and was not. Never a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The planted file.
    pub file: String,
    /// Its format.
    pub format: String,
    /// Where in it.
    pub path: String,
    /// What should have been done.
    pub action: String,
}

/// How many files there were, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Planted files that were run.
    pub planted: u64,
    /// Of those, which the plugin refused, by its code.
    pub refused: BTreeMap<String, u64>,
    /// Files into which nothing was planted, by reason.
    pub left_out: BTreeMap<String, u64>,
}

/// What a plugin made of planted files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`FORM`].
    pub form: String,
    /// The plugin's own name.
    pub plugin: String,
    /// The plugin's own version.
    pub version: String,
    /// Digest of the component: 64 hexadecimal digits.
    pub component: String,
    /// Digest of the configuration that the stage gave it.
    pub configuration: String,
    /// The table of attributes.
    pub table: Table,
    /// When it was made (RFC 3339).
    pub made: String,
    /// What the planted values were drawn from.
    pub seed: u64,
    /// The files.
    pub files: Files,
    /// All actions.
    pub total: Count,
    /// Those that take something away: all of them have to go well.
    pub removals: Count,
    /// By action.
    pub actions: BTreeMap<String, Count>,
    /// By identifier of 45 CFR 164.514(b)(2)(i), `A` to `R`.
    pub identifiers: BTreeMap<String, Count>,
    /// Intervals between dates of one patient, within files and between them; nothing where dates are not shifted.
    pub intervals: Count,
    /// What failed, up to [`FAILURES_MAX`] of each action.
    pub failures: Vec<Failed>,
}

impl Report {
    /// Whether nothing was left that should have gone, and at least this part of all actions went well.
    #[must_use]
    pub fn reaches(&self, require: Millionths) -> bool {
        self.removals.is_whole() && self.total.millionths() >= u64::from(require.0)
    }
}

/// What a plugin's reports have to show (`score` of `[plugins.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The folder with the reports.
    pub reports: PathBuf,
    /// The part of all actions that has to have gone well.
    pub require: Millionths,
}

/// Why no report lets a plugin run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// The folder cannot be read.
    #[error("the folder of its reports cannot be read: {0}")]
    Folder(String),
    /// There is none of this component under this configuration.
    #[error("no report scores component {component} under configuration {configuration}{}", others(*.other_configurations))]
    Missing {
        /// The component's digest.
        component: Digest,
        /// The configuration's digest.
        configuration: Digest,
        /// Reports of the same component under others.
        other_configurations: usize,
    },
    /// There is one, and it is not good enough.
    #[error(
        "report {file} has {}% of all actions and {} of {} removals; {require} and all removals are required",
        percent(*.total), .removals.passed, .removals.tried
    )]
    Failed {
        /// The report's file.
        file: String,
        /// All actions.
        total: Count,
        /// Those that take something away.
        removals: Count,
        /// What is demanded.
        require: Millionths,
    },
}

fn others(count: usize) -> String {
    match count {
        0 => String::new(),
        _ => format!("; {count} score this component under other configurations"),
    }
}

/// In percent, rounded down, so that what is not whole never looks whole.
#[must_use]
pub fn percent(count: Count) -> String {
    let millionths = count.millionths();
    format!("{}.{:04}", millionths / 10_000, millionths % 10_000)
}

impl Demand {
    /// Whether some report of this component under this configuration is good enough.
    ///
    /// # Errors
    /// [`Unmet`], of the best report that there is. Files that are no reports are passed over.
    pub fn is_met(&self, component: Digest, configuration: Digest) -> Result<(), Unmet> {
        let reports = read_folder(&self.reports).map_err(|error| Unmet::Folder(error.to_string()))?;
        let (of_it, digest) = (component.to_string(), configuration.to_string());
        let (mut best, mut other_configurations): (Option<(String, Report)>, usize) = (None, 0);
        for (file, report) in reports.into_iter().filter(|(_, report)| report.component == of_it) {
            if report.configuration != digest {
                other_configurations += 1;
            } else if report.reaches(self.require) {
                return Ok(());
            } else if best
                .as_ref()
                .is_none_or(|(_, best)| best.total.millionths() < report.total.millionths())
            {
                best = Some((file, report));
            }
        }
        Err(match best {
            Some((file, Report { total, removals, .. })) => {
                Unmet::Failed { file, total, removals, require: self.require }
            }
            None => Unmet::Missing { component, configuration, other_configurations },
        })
    }
}

/// The reports of a folder, with the names of their files, in order.
fn read_folder(folder: &Path) -> std::io::Result<Vec<(String, Report)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") && names.len() < REPORTS_MAX {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().filter_map(|name| Some((name.clone(), read(&folder.join(&name))?))).collect())
}

/// A report, if this is one.
fn read(file: &Path) -> Option<Report> {
    let mut octets = Vec::new();
    File::open(file).ok()?.take(REPORT_OCTETS_MAX + 1).read_to_end(&mut octets).ok()?;
    let report: Report = serde_json::from_slice(&octets).ok()?;
    (report.form == FORM).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: Digest = Digest([1; 32]);
    const CONFIGURATION: Digest = Digest([2; 32]);

    fn report(passed: u64, removed: u64) -> Report {
        Report {
            form: FORM.into(),
            plugin: "deidentify".into(),
            version: "1.0.0".into(),
            component: COMPONENT.to_string(),
            configuration: CONFIGURATION.to_string(),
            table: Table { edition: "PS3.15 2026c".into(), sha256: Digest([3; 32]).to_string() },
            made: "2026-01-01T00:00:00Z".into(),
            seed: 1,
            files: Files::default(),
            total: Count { tried: 2000, passed },
            removals: Count { tried: 1000, passed: removed },
            actions: BTreeMap::new(),
            identifiers: BTreeMap::new(),
            intervals: Count::default(),
            failures: Vec::new(),
        }
    }

    fn demand(reports: &[Report]) -> (tempfile::TempDir, Demand) {
        let folder = tempfile::tempdir().unwrap();
        for (index, report) in reports.iter().enumerate() {
            let text = serde_json::to_vec(report).unwrap();
            std::fs::write(folder.path().join(format!("{index}.json")), text).unwrap();
        }
        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        let demand = Demand { reports: folder.path().to_owned(), require: Millionths(999_000) };
        (folder, demand)
    }

    #[test]
    fn a_report_of_that_component_under_that_configuration_is_needed() {
        let (_folder, nothing) = demand(&[]);
        let said = nothing.is_met(COMPONENT, CONFIGURATION).unwrap_err().to_string();
        assert!(said.contains("no report scores component 0101"), "{said}");
        let (_folder, other) =
            demand(&[Report { configuration: Digest([4; 32]).to_string(), ..report(2000, 1000) }]);
        let said = other.is_met(COMPONENT, CONFIGURATION).unwrap_err().to_string();
        assert!(said.contains("1 score this component under other configurations"), "{said}");
        let (_folder, good) = demand(&[report(1, 1), report(1998, 1000)]);
        good.is_met(COMPONENT, CONFIGURATION).unwrap();
        good.is_met(Digest([9; 32]), CONFIGURATION).unwrap_err();
    }

    #[test]
    fn what_misses_the_bar_or_leaves_one_identifier_is_refused() {
        let (_folder, low) = demand(&[report(1997, 1000)]);
        let said = low.is_met(COMPONENT, CONFIGURATION).unwrap_err().to_string();
        assert!(
            said.contains("report 0.json has 99.8500% of all actions") && said.contains("99.9%"),
            "{said}"
        );
        let (_folder, left) = demand(&[report(1999, 999)]);
        let said = left.is_met(COMPONENT, CONFIGURATION).unwrap_err().to_string();
        assert!(said.contains("999 of 1000 removals"), "{said}");
    }

    #[test]
    fn nothing_tried_is_not_good_and_ratios_are_rounded_down() {
        assert!(!Count::default().is_whole());
        assert_eq!(Count { tried: 3_000_001, passed: 3_000_000 }.millionths(), 999_999);
        let empty = Report { removals: Count::default(), total: Count::default(), ..report(0, 0) };
        assert!(!empty.reaches(Millionths(0)));
    }
}
