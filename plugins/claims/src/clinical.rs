//! The clinical side: says of each study and result that it was done, once, by MACs and coarse facts.

use std::collections::BTreeMap;

use hilum_formats::calendar;
use hilum_plugin::state::{self, StateError};
use hilum_plugin::{ConfigError, Message, emit};

use crate::day::{hide, year_of};
use crate::message::Reading;
use crate::notice::{Notice, Performed, What};
use crate::settings;
use crate::{DAY_MS, DICOM_CONTENT_TYPE, HL7_CONTENT_TYPE, Tally, crosswalk, dicom, mac, message};

/// Octets of one message.
const MESSAGE_OCTETS_MAX: usize = 4 << 20;
/// Values of state in which it is noted what was said, notes of each, and days for which they are kept.
const BUCKETS: u64 = 64;
const NOTES_MAX: usize = 2048;
const NOTE_OCTETS: usize = 12;
const NOTE_DAYS: u64 = 3;

/// The stage.
#[derive(Debug)]
pub struct Clinical {
    settings: settings::Performed,
    reading: Reading,
}

/// A procedure as a record has it. Numbers go no further than into MACs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) accession: Option<Vec<u8>>,
    pub(crate) study: Option<Vec<u8>>,
    pub(crate) visit: Option<Vec<u8>>,
    pub(crate) what: What,
    /// Since 1970.
    pub(crate) day: u32,
    /// The record came so long after.
    pub(crate) old: bool,
    pub(crate) cancelled: bool,
}

impl Seen {
    pub(crate) fn is_named(&self) -> bool {
        self.accession.is_some() || self.study.is_some() || self.visit.is_some()
    }
}

/// The day of a date as HL7v2 and DICOM write it (`YYYYMMDD`, perhaps with a time), since 1970.
pub(crate) fn day_of(date: &[u8]) -> Option<u32> {
    let date = date.get(..8).filter(|date| date.iter().all(u8::is_ascii_digit))?;
    let date = std::str::from_utf8(date).ok()?;
    let ms = calendar::parse(&format!("{}-{}-{}T00:00:00Z", &date[..4], &date[4..6], &date[6..]))?;
    u32::try_from(ms / DAY_MS).ok()
}

/// Whether a record came so many days after what it is of.
pub(crate) fn is_old(day: u32, came: u64, old_days: u32) -> bool {
    came > u64::from(day) + u64::from(old_days)
}

impl Clinical {
    pub(crate) fn new(settings: settings::Performed) -> Result<Self, ConfigError> {
        if settings.notices_flow.is_empty() || settings.key.is_empty() {
            return Err(ConfigError::new("/notices_flow", "name the flow of notices and the key"));
        }
        mac::granted(&settings.key)?;
        let mut procedures = BTreeMap::new();
        for (code, kind) in &settings.procedures {
            let what = crosswalk::what(kind).ok_or_else(|| {
                let reason = "write MODALITY or MODALITY/REGION with names that the README has";
                ConfigError::new(format!("/procedures/{code}"), reason)
            })?;
            procedures.insert(code.clone(), what);
        }
        let reading = Reading { accession_fields: settings.accession_fields.clone(), procedures };
        Ok(Self { settings, reading })
    }

    pub(crate) fn observe(&self, messages: Vec<Message>, tally: &mut Tally) {
        let mut seen = Vec::new();
        let mut day = 0;
        for Message { head, body } in messages {
            let read = if head.is(DICOM_CONTENT_TYPE) {
                dicom::read(body).map(Vec::from_iter)
            } else if head.is(HL7_CONTENT_TYPE) {
                let octets = body.into_octets(MESSAGE_OCTETS_MAX).map_err(|error| error.to_string());
                octets.and_then(|octets| message::read(&octets, &self.reading))
            } else {
                continue;
            };
            let came = head.time / DAY_MS;
            day = day.max(came);
            match read {
                Ok(found) => seen.extend(
                    found
                        .into_iter()
                        .map(|one| Seen { old: is_old(one.day, came, self.settings.old_days), ..one }),
                ),
                Err(error) => {
                    tally.malformed += 1;
                    tally.trouble = Some(format!("a record was not read: {error}"));
                }
            }
        }
        // The images of a study say the same a thousand times.
        let mut kinds: Vec<Seen> = Vec::new();
        for one in seen {
            if !kinds.contains(&one) {
                kinds.push(one);
            }
        }
        if let Err(error) = self.tell(&kinds, day, tally) {
            tally.unkept += kinds.len() as u64;
            tally.trouble = Some(format!("procedures were not noticed: {error}"));
        }
    }

    fn tell(&self, seen: &[Seen], day: u64, tally: &mut Tally) -> Result<(), String> {
        let numbers: Vec<Option<Vec<u8>>> = seen
            .iter()
            .flat_map(|one| {
                let pad = one.accession.as_deref().map(mac::pad);
                [one.accession.clone(), one.study.clone(), one.visit.clone(), pad]
            })
            .collect();
        let macs = mac::all(&self.settings.key, &numbers).map_err(|error| error.to_string())?;
        for (one, macs) in seen.iter().zip(macs.chunks(4)) {
            let [accession, study, visit, pad] = macs else { continue };
            let notice = Notice::Performed(Performed {
                accession: accession.clone(),
                study: study.clone(),
                visit: visit.clone(),
                what: one.what.clone(),
                year: year_of(one.day),
                hidden_day: pad.as_deref().and_then(|pad| hide(one.day, pad)),
                old: one.old,
                cancelled: one.cancelled,
            });
            let draft = notice.draft();
            if !is_news(&draft, day).map_err(|error| error.to_string())? {
                continue;
            }
            emit::emit(&self.settings.notices_flow, draft).map_err(|error| error.to_string())?;
            tally.performed += 1;
        }
        Ok(())
    }
}

/// Whether the same was not said in the last days. Where it was forgotten it is said again, which does no harm.
fn is_news(draft: &hilum_plugin::Draft, day: u64) -> Result<bool, StateError> {
    let hilum_plugin::Body::Inline(body) = &draft.body else { return Ok(true) };
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let day = u32::try_from(day).unwrap_or(u32::MAX);
    state::update(&format!("said/{}", hash % BUCKETS), |kept| {
        let before = kept.take().unwrap_or_default();
        let read = |note: &[u8]| {
            Some((
                u64::from_le_bytes(note[..8].try_into().ok()?),
                u32::from_le_bytes(note[8..].try_into().ok()?),
            ))
        };
        let mut notes: Vec<(u64, u32)> = before.chunks_exact(NOTE_OCTETS).filter_map(read).collect();
        notes.retain(|(_, of)| u64::from(day.saturating_sub(*of)) <= NOTE_DAYS);
        let is_news = !notes.iter().any(|(known, _)| *known == hash);
        if is_news {
            if notes.len() >= NOTES_MAX {
                notes.remove(0);
            }
            notes.push((hash, day));
        }
        let octets =
            notes.iter().flat_map(|(hash, day)| hash.to_le_bytes().into_iter().chain(day.to_le_bytes()));
        *kept = Some(octets.collect());
        is_news
    })
}
