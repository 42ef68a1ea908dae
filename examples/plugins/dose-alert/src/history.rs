//! What each patient received, kept under a pseudonym in the stage's state: the examinations of the longest window, without more of
//! them than their time, their doses and a pseudonym of the report.

use hilum_plugin::state::{self, StateError};
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Kind};
use crate::report::Report;
use crate::settings::{Cumulative, Quantity, Settings};

/// Examinations of one patient; of more, the oldest two become one.
const EXAMINATIONS_MAX: usize = 200;
const DAY_MS: u64 = 86_400_000;

/// One examination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// A pseudonym of the report.
    #[serde(rename = "r")]
    report: String,
    #[serde(rename = "t")]
    time_ms: u64,
    /// In the order of [`Quantity::ALL`].
    #[serde(rename = "d")]
    doses: [f64; Quantity::ALL.len()],
    /// How many examinations this stands for.
    #[serde(rename = "n")]
    examinations: usize,
}

impl Entry {
    pub(crate) fn of(report: String, time_ms: u64, of: &Report) -> Self {
        let doses = Quantity::ALL.map(|quantity| of.dose(quantity).unwrap_or(0.0));
        Self { report, time_ms, doses, examinations: 1 }
    }
}

/// Adds an examination to what a patient received; the levels that it made the sum cross, or nothing if it was there already.
///
/// # Errors
///
/// When the state does not take it.
pub(crate) fn add<'a>(
    settings: &'a Settings,
    patient: &str,
    entry: &Entry,
) -> Result<Option<Vec<Alert<'a>>>, StateError> {
    let days_max = settings.cumulative.iter().map(|level| level.days).max().unwrap_or(1);
    let repeated_or = state::update(&format!("patient/{patient}"), |value| {
        let mut entries: Vec<Entry> =
            value.as_deref().and_then(|octets| serde_json::from_slice(octets).ok()).unwrap_or_default();
        if entries.iter().any(|kept| kept.report == entry.report) {
            return None;
        }
        let before = sums(&settings.cumulative, &entries, entry.time_ms);
        entries.push(entry.clone());
        let after = sums(&settings.cumulative, &entries, entry.time_ms);
        entries.sort_by_key(|entry| entry.time_ms);
        let newest_ms = entries.last().map_or(0, |entry| entry.time_ms);
        entries.retain(|kept| is_within(kept.time_ms, newest_ms, days_max));
        shorten(&mut entries);
        *value = Some(serde_json::to_vec(&entries).expect("numbers and text serialize into memory"));
        Some((before, after))
    })?;
    let Some((before, after)) = repeated_or else { return Ok(None) };
    let crossed = settings.cumulative.iter().zip(before.into_iter().zip(after));
    let crossed =
        crossed.filter(|(level, ((before, _), (after, _)))| *before <= level.limit && *after > level.limit);
    let alert = |(level, (_, (dose, examinations))): (&'a Cumulative, (Sum, Sum))| Alert {
        kind: Kind::Cumulative { days: level.days, examinations },
        level: &level.name,
        quantity: level.quantity,
        dose,
        limit: level.limit,
    };
    Ok(Some(crossed.map(alert).collect()))
}

/// A dose, and of how many examinations.
type Sum = (f64, usize);

/// For each level the dose of its window up to a time, and of how many examinations.
fn sums(levels: &[Cumulative], entries: &[Entry], time_ms: u64) -> Vec<Sum> {
    let sum = |level: &Cumulative| {
        let within = entries.iter().filter(|entry| is_within(entry.time_ms, time_ms, level.days));
        within.fold((0.0, 0), |(dose, count), entry| {
            (dose + entry.doses[level.quantity.index()], count + entry.examinations)
        })
    };
    levels.iter().map(sum).collect()
}

fn is_within(time_ms: u64, end_ms: u64, days: u32) -> bool {
    time_ms <= end_ms && end_ms - time_ms < u64::from(days) * DAY_MS
}

/// Makes one entry of the oldest two until there are not too many. Their doses leave the window when the younger one does: too late
/// rather than too early.
fn shorten(entries: &mut Vec<Entry>) {
    while entries.len() > EXAMINATIONS_MAX {
        let oldest = entries.remove(0);
        let next = &mut entries[0];
        next.doses.iter_mut().zip(oldest.doses).for_each(|(dose, more)| *dose += more);
        next.examinations += oldest.examinations;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_examinations_fit_a_value_and_none_is_lost() {
        let entry = |n: u64| Entry {
            report: format!("{n:032x}"),
            time_ms: 1_700_000_000_000 + n,
            doses: [1.234_567_890_123_4; 4],
            examinations: 1,
        };
        let mut entries: Vec<Entry> = (0..1000).map(entry).collect();
        shorten(&mut entries);
        assert_eq!(entries.iter().map(|entry| entry.examinations).sum::<usize>(), 1000);
        // What a value of the state may have.
        assert!(serde_json::to_vec(&entries).unwrap().len() < 64 << 10);
    }
}
