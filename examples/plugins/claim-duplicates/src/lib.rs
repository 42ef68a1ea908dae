//! Finds claims that were made before: the same provider bills the same services of the same day for the same person again. What it
//! remembers of a claim is a keyed hash, so that no identifier is in its state.
//!
//! A batch goes this way: [`claim`] reads the claims of each record, the broker makes a pseudonym of each, [`seen`] looks it up in the
//! stage's state, and [`alert`] tells of those that were there.

mod alert;
mod claim;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hilum_formats::x12::Document;
use hilum_plugin::keys::{self, KeyError};
use hilum_plugin::{ConfigError, Context, Description, Message, Observe, emit, log, metrics};
use serde::Deserialize;

use alert::Duplicate;
use claim::{Claim, Correction};
use seen::{Bucket, Fingerprint};

/// The media type that X12 goes by (RFC 1767).
pub const X12_CONTENT_TYPE: &str = "application/edi-x12";
/// The domain of the pseudonyms.
const CLAIM: &str = "claim-duplicates claim";
/// Octets of one interchange.
const BODY_OCTETS_MAX: usize = 16 << 20;
/// Values that the broker is asked about at once.
const PSEUDONYMS_AT_ONCE: usize = 4096;
const DAY_MS: u64 = 86_400_000;
const DAYS_MAX: u32 = 3660;

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where alerts go; the stage needs the grant `emit:FLOW`.
    pub alerts_flow: String,
    /// The secret of the pseudonyms; the stage needs the grant `keys:NAME`.
    pub key: String,
    /// For how long a claim is remembered.
    #[serde(default = "default_window_days")]
    pub window_days: u32,
}

fn default_window_days() -> u32 {
    365
}

/// The plugin: one instance of many, without any memory of its own.
#[derive(Debug)]
pub struct ClaimDuplicates(Settings);

impl Observe for ClaimDuplicates {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("claim-duplicates", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(X12_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        for (at, text) in [("/alerts_flow", &settings.alerts_flow), ("/key", &settings.key)] {
            if text.is_empty() {
                return Err(ConfigError::new(at, "must not be empty"));
            }
        }
        if !(1..=DAYS_MAX).contains(&settings.window_days) {
            return Err(ConfigError::new("/window_days", format!("give 1 to {DAYS_MAX} days")));
        }
        Ok(Self(settings))
    }

    fn observe(&mut self, _: &Context, messages: Vec<Message>) {
        let mut tally = Tally::default();
        let mut claims = Vec::new();
        for (record, message) in messages.into_iter().enumerate() {
            read(record, message, &mut claims, &mut tally);
        }
        match self.fingerprints(&claims) {
            Ok(fingerprints) => {
                let duplicates = self.look_up(&claims, &fingerprints, &mut tally);
                self.tell(duplicates, &mut tally);
            }
            Err(error) => {
                tally.unkept += claims.len() as u64;
                tally.trouble = Some(format!("claims were not compared: {error}"));
            }
        }
        tally.report();
    }
}

hilum_plugin::export_observe!(ClaimDuplicates);

/// Reads the claims of one record.
fn read(record: usize, Message { head, body }: Message, into: &mut Vec<Claim>, tally: &mut Tally) {
    if !head.is(X12_CONTENT_TYPE) {
        return;
    }
    let read = body.into_octets(BODY_OCTETS_MAX).map_err(|error| error.to_string()).and_then(|octets| {
        let day = u32::try_from(head.time / DAY_MS).unwrap_or(u32::MAX);
        let document = Document::parse(&octets).map_err(|error| error.to_string())?;
        Ok(claim::read(&document, record, day))
    });
    match read {
        Ok((claims, incomplete)) => {
            tally.claims += claims.len() as u64;
            tally.incomplete += incomplete;
            into.extend(claims);
        }
        Err(error) => {
            tally.malformed += 1;
            tally.trouble = Some(format!("an interchange was not read: {error}"));
        }
    }
}

impl ClaimDuplicates {
    /// One host call serves many claims.
    fn fingerprints(&self, claims: &[Claim]) -> Result<Vec<Fingerprint>, KeyError> {
        let mut made = Vec::with_capacity(claims.len());
        for some in claims.chunks(PSEUDONYMS_AT_ONCE) {
            let values: Vec<Vec<u8>> = some.iter().map(|claim| claim.content.clone()).collect();
            made.extend(keys::pseudonyms(&self.0.key, CLAIM, &values)?.iter().map(Fingerprint::of));
        }
        Ok(made)
    }

    /// Looks claims up and remembers them: each bucket of the state is read and written once.
    fn look_up(&self, claims: &[Claim], fingerprints: &[Fingerprint], tally: &mut Tally) -> Vec<Duplicate> {
        let mut by_bucket: BTreeMap<u16, Vec<(&Claim, Fingerprint)>> = BTreeMap::new();
        for (claim, fingerprint) in claims.iter().zip(fingerprints) {
            by_bucket.entry(fingerprint.bucket()).or_default().push((claim, *fingerprint));
        }
        let mut duplicates = Vec::new();
        for (number, claims) in by_bucket {
            let updated = seen::update(number, |bucket| {
                let first = claims.first().map_or(0, |(claim, _)| claim.day);
                bucket.forget_before(first.saturating_sub(self.0.window_days - 1));
                let found: Vec<Duplicate> = claims
                    .iter()
                    .filter_map(|(claim, fingerprint)| judge(bucket, claim, *fingerprint))
                    .collect();
                (found, bucket.shorten())
            });
            match updated {
                Ok((found, forgotten)) => {
                    tally.forgotten += forgotten;
                    duplicates.extend(found);
                }
                Err(error) => {
                    tally.unkept += claims.len() as u64;
                    tally.trouble = Some(format!("claims were not compared: {error}"));
                }
            }
        }
        duplicates
    }

    fn tell(&self, mut duplicates: Vec<Duplicate>, tally: &mut Tally) {
        duplicates.sort_by_key(|duplicate| (duplicate.record, duplicate.segment));
        for of_record in duplicates.chunk_by(|one, next| one.record == next.record) {
            tally.duplicates += of_record.len() as u64;
            match emit::emit(&self.0.alerts_flow, alert::record(of_record)) {
                Ok(()) => tally.alerts += 1,
                Err(error) => tally.trouble = Some(format!("an alert was not emitted: {error}")),
            }
        }
    }
}

/// Whether a claim was there before; afterwards it is, unless it takes itself back.
fn judge(bucket: &mut Bucket, claim: &Claim, fingerprint: Fingerprint) -> Option<Duplicate> {
    match claim.correction {
        Some(Correction::Void) => {
            bucket.remove(fingerprint);
            None
        }
        Some(Correction::Replacement) => {
            bucket.insert(fingerprint, claim.day);
            None
        }
        None => bucket.insert(fingerprint, claim.day).map(|(first_day, times)| Duplicate {
            record: claim.record,
            interchange: claim.interchange.clone(),
            transaction: claim.transaction.clone(),
            segment: claim.segment,
            first_day,
            times,
        }),
    }
}

/// What happened in a batch, for the metrics.
#[derive(Debug, Default)]
struct Tally {
    claims: u64,
    duplicates: u64,
    alerts: u64,
    incomplete: u64,
    malformed: u64,
    forgotten: u64,
    unkept: u64,
    /// The last thing that an operator should see; one line a batch is enough.
    trouble: Option<String>,
}

impl Tally {
    fn report(&self) {
        for (counter, value) in [
            ("claims", self.claims),
            ("duplicates", self.duplicates),
            ("alerts", self.alerts),
            ("incomplete", self.incomplete),
            ("malformed", self.malformed),
            ("forgotten", self.forgotten),
            ("unkept", self.unkept),
        ] {
            if value > 0 {
                metrics::add(counter, value);
            }
        }
        if let Some(trouble) = &self.trouble {
            log::warn(trouble);
        }
    }
}
