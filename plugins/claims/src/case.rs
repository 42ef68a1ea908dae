//! A case: one procedure, and the lines that are claimed for it.

use crate::crosswalk::{self};
use crate::day::{Day, year_of};
use crate::notice::{Component, What};

/// Lines of one case; of more the oldest are forgotten.
const ENTRIES_MAX: usize = 16;
/// Kinds of procedure that are kept of a line's code.
const FITS_MAX: usize = 4;
/// Octets of a place in an interchange.
const PLACE_OCTETS_MAX: usize = 40;

/// What was told of a case or a line already.
pub(crate) const TOLD_MISSING: u8 = 1;
pub(crate) const TOLD_NO_PROCEDURE: u8 = 2;
pub(crate) const TOLD_DUPLICATE: u8 = 4;
pub(crate) const TOLD_KIND: u8 = 8;
pub(crate) const TOLD_DAY: u8 = 16;
/// Beside that: it was done so long before it was heard of that nothing is missed.
pub(crate) const OLD: u8 = 128;

/// How days are kept: as nobody can read them, or, in what versions before this one wrote, as days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Hidden,
    Days,
}

/// A procedure and its claims. Days on which something was heard of are counted from 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Case {
    /// What the clinical side said, and on which day it was done.
    pub(crate) performed: Option<(What, Day)>,
    /// Since when something is missing, by the day on which it was heard of.
    pub(crate) since: u32,
    /// When it was last heard of.
    pub(crate) heard: u32,
    pub(crate) told: u8,
    pub(crate) entries: Vec<Entry>,
}

/// A line that is claimed and neither replaced nor taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) claim: u64,
    pub(crate) code: String,
    pub(crate) component: Component,
    pub(crate) fits: Vec<What>,
    pub(crate) day: Day,
    pub(crate) told: u8,
    pub(crate) at: String,
}

impl Case {
    /// Takes a line in; the line that claims the same already, where there is one of another claim.
    pub(crate) fn add(&mut self, entry: Entry) -> Option<Entry> {
        let same = |known: &&Entry| known.code == entry.code && known.component.overlaps(entry.component);
        let double = self.entries.iter().find(|known| same(known) && known.claim != entry.claim).cloned();
        // A claim that is sent again as it was is one claim.
        let is_there = self.entries.iter().any(|known| {
            known.claim == entry.claim && known.code == entry.code && known.component == entry.component
        });
        if !is_there {
            if self.entries.len() >= ENTRIES_MAX {
                self.entries.remove(0);
            }
            self.entries.push(entry);
        }
        double.filter(|_| !is_there)
    }

    /// Whether a line may be for this procedure.
    pub(crate) fn may_be(&self, fits: &[What]) -> bool {
        self.performed.as_ref().is_some_and(|(what, _)| fits.iter().any(|kind| what.fits(kind)))
    }
}

/// A kind as one octet: 0 in either half where it is not known.
fn kind_octet(what: &What) -> u8 {
    let modality = what.modality.as_deref().map_or(0, crosswalk::modality_number);
    let region = what.region.as_deref().map_or(0, crosswalk::region_number);
    modality << 4 | region
}

fn kind_of(octet: u8) -> What {
    What { modality: crosswalk::modality_of(octet >> 4), region: crosswalk::region_of(octet & 15) }
}

impl Case {
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let (is_performed, kind, day) =
            self.performed.as_ref().map_or((0, 0, Day::default()), |(what, day)| (1, kind_octet(what), *day));
        to.extend([is_performed, kind, self.told]);
        put_day(to, day);
        [self.since, self.heard].iter().for_each(|day| to.extend(day.to_le_bytes()));
        to.push(u8::try_from(self.entries.len()).unwrap_or(u8::MAX));
        for entry in &self.entries {
            to.extend(entry.claim.to_le_bytes());
            put_day(to, entry.day);
            let component = match entry.component {
                Component::Global => 0,
                Component::Professional => 1,
                Component::Technical => 2,
            };
            to.extend([component, entry.told]);
            short(to, entry.code.as_bytes(), PLACE_OCTETS_MAX);
            short(to, entry.at.as_bytes(), PLACE_OCTETS_MAX);
            let fits: Vec<u8> = entry.fits.iter().take(FITS_MAX).map(kind_octet).collect();
            short(to, &fits, FITS_MAX);
        }
    }

    /// None where the octets make no sense.
    pub(crate) fn decode(from: &mut &[u8], layout: Layout) -> Option<Self> {
        let [is_performed, kind, told] = *take(from)?;
        let (day, since, heard) = (take_day(from, layout)?, number(from)?, number(from)?);
        let performed = (is_performed == 1).then(|| (kind_of(kind), day));
        let [count] = *take(from)?;
        let mut entries = Vec::new();
        for _ in 0..usize::from(count).min(ENTRIES_MAX) {
            let (claim, day) = (u64::from_le_bytes(*take(from)?), take_day(from, layout)?);
            let [component, told] = *take(from)?;
            let component = match component {
                0 => Component::Global,
                1 => Component::Professional,
                _ => Component::Technical,
            };
            let code = text(from)?;
            let at = text(from)?;
            let fits = octets(from)?.iter().map(|octet| kind_of(*octet)).collect();
            entries.push(Entry { claim, code, component, fits, day, told, at });
        }
        Some(Self { performed, since, heard, told, entries })
    }
}

/// Year, and whether there are a part of the number's MAC and the padded day, and those; always as many octets.
fn put_day(to: &mut Vec<u8>, day: Day) {
    let (number, hidden) = day.hidden.unwrap_or_default();
    to.extend(day.year.to_le_bytes());
    to.push(u8::from(day.hidden.is_some()));
    to.extend(number.to_le_bytes());
    to.extend(hidden.to_le_bytes());
}

/// Of a day as it was kept before, only the year is taken over.
fn take_day(from: &mut &[u8], layout: Layout) -> Option<Day> {
    if layout == Layout::Days {
        return Some(Day { year: year_of(number(from)?), hidden: None });
    }
    let year = u16::from_le_bytes(*take(from)?);
    let [is_hidden] = *take(from)?;
    let hidden = (number(from)?, u16::from_le_bytes(*take(from)?));
    Some(Day { year, hidden: (is_hidden == 1).then_some(hidden) })
}

/// Octets with their number before them.
fn short(to: &mut Vec<u8>, octets: &[u8], max: usize) {
    let octets = &octets[..octets.len().min(max)];
    to.push(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    to.extend(octets);
}

fn take<'a, const N: usize>(from: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(taken)
}

pub(crate) fn number(from: &mut &[u8]) -> Option<u32> {
    take(from).map(|octets| u32::from_le_bytes(*octets))
}

pub(crate) fn long(from: &mut &[u8]) -> Option<u64> {
    take(from).map(|octets| u64::from_le_bytes(*octets))
}

fn octets<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = *take(from)?;
    let (taken, rest) = from.split_at_checked(usize::from(length))?;
    *from = rest;
    Some(taken)
}

fn text(from: &mut &[u8]) -> Option<String> {
    String::from_utf8(octets(from)?.to_vec()).ok()
}
