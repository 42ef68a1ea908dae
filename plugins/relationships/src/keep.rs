//! Where it is kept: one value of the stage's keyed state for each patient, and for each hour the patients of whom everything may be over by
//! then, so that nobody is kept for ever.

use std::fmt;

use hilum_formats::care::{KNOWN_OCTETS_MAX, Known, Tag};
use hilum_plugin::state::{self, StateError};

const HOUR_MS: u64 = 3_600_000;
/// Merges that are followed, one after the other.
const MERGES_MAX: usize = 4;
/// Writes of others that are waited out.
const ATTEMPTS: usize = 4;
/// Octets of a tag.
const TAG_OCTETS: usize = 32;
/// Hours that are tried for room, one after the other.
const HOURS_TRIED: u64 = 48;
/// Hours, and patients, that one tick looks at.
const SWEPT_HOURS_MAX: u64 = 24;
const SWEPT_PATIENTS_MAX: usize = 128;
/// The key of the last hour that was looked at.
const SWEPT: &str = "swept";

/// Why something could not be kept. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeepError {
    /// What there is, is not of this version, or was merged in a circle.
    Unreadable,
    /// More would be known of one patient than can be kept.
    TooMuch,
    /// The broker's state did not take it.
    State(StateError),
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("what is kept of a patient cannot be read"),
            Self::TooMuch => write!(f, "more than {KNOWN_OCTETS_MAX} octets would be kept of one patient"),
            Self::State(StateError::Full) => f.write_str(
                "the state is full: raise `limits.state_keys` and `limits.state_octets` of the stage",
            ),
            Self::State(error) => write!(f, "state: {error}"),
        }
    }
}

impl From<StateError> for KeepError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// The tag that is used now of a patient: where the one that is given was merged into.
pub(crate) fn resolve(patient: &Tag) -> Result<Tag, KeepError> {
    let mut patient = patient.clone();
    for _ in 0..=MERGES_MAX {
        match find(&patient)?.0.merged_into {
            Some(into) => patient = into,
            None => return Ok(patient),
        }
    }
    Err(KeepError::Unreadable)
}

/// Changes what is known of a patient, under the record that is used now.
pub(crate) fn update(patient: &Tag, change: impl Fn(&mut Known)) -> Result<(), KeepError> {
    let mut patient = patient.clone();
    let mut merges = 0;
    for _ in 0..ATTEMPTS + MERGES_MAX {
        let (mut known, version) = find(&patient)?;
        if let Some(into) = known.merged_into {
            merges += 1;
            if merges > MERGES_MAX {
                return Err(KeepError::Unreadable);
            }
            patient = into;
            continue;
        }
        let before = known.clone();
        change(&mut known);
        if known == before {
            return Ok(());
        }
        schedule(&patient, &mut known)?;
        match write(&patient, &known, version) {
            Err(KeepError::State(StateError::Conflict)) => {}
            written => return written,
        }
    }
    Err(StateError::Conflict.into())
}

/// Two records are of one patient: what is known of the one that is used no more is known under all identifiers of the other. Gives that.
pub(crate) fn merge(from: &Tag, into: &[Tag], taken: impl Fn(&mut Known, Known)) -> Result<Known, KeepError> {
    let Some(first) = into.first().filter(|_| !into.contains(from)) else { return Ok(Known::default()) };
    let (old, version) = find(from)?;
    // It leads there already, or to a record that will.
    if old.merged_into.is_some() {
        return Ok(Known::default());
    }
    for tag in into {
        // The one that is used now may have been merged into the other before.
        let (mut new, version) = find(tag)?;
        new.merged_into = None;
        taken(&mut new, old.clone());
        schedule(tag, &mut new)?;
        write(tag, &new, version)?;
    }
    write(from, &Known::merged(first), version)?;
    Ok(old)
}

/// Looks whether what may be over is over, a part at a time.
pub(crate) fn sweep(now: u64) -> Result<(), KeepError> {
    let hour = now / HOUR_MS;
    let found = state::get(SWEPT)?;
    let version = found.as_ref().map_or(0, |found| found.version);
    let swept = found.and_then(|found| Some(u64::from_be_bytes(found.value.try_into().ok()?)));
    let Some(swept) = swept else {
        state::put(SWEPT, &hour.saturating_sub(1).to_be_bytes(), version)?;
        return Ok(());
    };
    let mut last = swept;
    let mut left = SWEPT_PATIENTS_MAX;
    while last < hour && last < swept + SWEPT_HOURS_MAX && left > 0 {
        if !sweep_hour(last + 1, now, &mut left)? {
            break;
        }
        last += 1;
    }
    if last > swept {
        state::put(SWEPT, &last.to_be_bytes(), version)?;
    }
    Ok(())
}

/// Whether all of the hour's patients were looked at.
fn sweep_hour(hour: u64, now: u64, left: &mut usize) -> Result<bool, KeepError> {
    let key = due_key(hour);
    let Some(found) = state::get(&key)? else { return Ok(true) };
    let tags: Vec<&[u8]> = found.value.chunks_exact(TAG_OCTETS).collect();
    let take = tags.len().min(*left);
    *left -= take;
    for patient in tags[..take].iter().filter_map(|digits| Tag::parse(digits)) {
        forget_what_is_over(&patient, now)?;
    }
    if take == tags.len() {
        state::remove(&key, found.version)?;
        return Ok(true);
    }
    state::put(&key, &found.value[take * TAG_OCTETS..], found.version)?;
    Ok(false)
}

fn forget_what_is_over(patient: &Tag, now: u64) -> Result<(), KeepError> {
    let (mut known, version) = find(patient)?;
    if version == 0 || known.merged_into.is_some() {
        return Ok(());
    }
    known.due = 0;
    known.stays.retain(|stay| stay.until > now);
    if known.is_over(now) {
        return Ok(state::remove(&patient.key(), version)?);
    }
    schedule(patient, &mut known)?;
    write(patient, &known, version)
}

/// Sees to it that somebody looks when everything is over.
fn schedule(patient: &Tag, known: &mut Known) -> Result<(), KeepError> {
    let Some(end) = known.stays.iter().map(|stay| stay.until).max() else { return Ok(()) };
    let due = end / HOUR_MS + 1;
    if known.due != 0 && known.due <= due {
        return Ok(());
    }
    for hour in due..due + HOURS_TRIED {
        let key = due_key(hour);
        let found = state::get(&key)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let mut tags = found.map(|found| found.value).unwrap_or_default();
        if tags.len() + TAG_OCTETS > KNOWN_OCTETS_MAX {
            continue;
        }
        tags.extend_from_slice(patient.as_str().as_bytes());
        state::put(&key, &tags, version)?;
        known.due = hour;
        return Ok(());
    }
    Err(StateError::Full.into())
}

fn due_key(hour: u64) -> String {
    format!("due/{hour}")
}

fn find(patient: &Tag) -> Result<(Known, u64), KeepError> {
    let Some(found) = state::get(&patient.key())? else { return Ok((Known::default(), 0)) };
    Ok((Known::decode(&found.value).ok_or(KeepError::Unreadable)?, found.version))
}

fn write(patient: &Tag, known: &Known, version: u64) -> Result<(), KeepError> {
    let octets = known.encode();
    if octets.len() > KNOWN_OCTETS_MAX {
        return Err(KeepError::TooMuch);
    }
    state::put(&patient.key(), &octets, version)?;
    Ok(())
}
