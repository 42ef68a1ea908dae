//! Coded values (CE, CWE, CNE, CF) and units: a code goes on by what its system is, and its text only beside a published one.

use hilum_formats::hl7::{Delimiters, Part};

use super::field::Joined;
use super::tables;
use crate::forms::{self, Form};
use crate::{Config, shape};

/// Octets of a code without a published system.
const CODE_OCTETS_MAX: usize = 20;
/// Letters of a laboratory's own name of a test that is one word.
const SERVICE_LETTERS_MAX: usize = 12;

/// What may stand as a code without a published system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// A code that is no word.
    Code,
    /// As [`Local::Code`], or one word in capitals: the laboratory's own name of a test.
    Service,
    /// A unit, and a unit as its text.
    Unit,
}

/// Writes what is left of a code, its text and its system, twice (CE, CWE and CNE components 1 to 6); all else goes.
pub(super) fn code(
    part: &Part<'_>,
    delimiters: &Delimiters,
    local: Local,
    config: &Config,
    out: &mut Vec<u8>,
) {
    let (mut parts, mut count) = ([Part::default(); 6], 0);
    for (place, component) in parts.iter_mut().zip(part.components(delimiters)) {
        *place = component;
        count += 1;
    }
    let mut cleaned = Joined::new(out, delimiters.component);
    for triplet in parts[..count].chunks(3) {
        let [code, text, system] = [0, 1, 2].map(|index| triplet.get(index).copied().unwrap_or_default());
        let left = left(&code, &text, &system, delimiters, local, config);
        for part in left.iter().take(triplet.len()) {
            cleaned.push(part.text);
        }
    }
    cleaned.end();
}

/// What is left of one code, its text and its system.
fn left<'a>(
    code: &Part<'a>,
    text: &Part<'a>,
    system: &Part<'a>,
    delimiters: &Delimiters,
    local: Local,
    config: &Config,
) -> [Part<'a>; 3] {
    let nothing = Part::default();
    let form = tables::form_of(system.text, config);
    // CDC's reports of vaccinations put two codes into one.
    let fits = |form: Form| code.subcomponents(delimiters).all(|part| form.takes(&part.decode(delimiters)));
    if !code.is_empty() && form.is_some_and(fits) {
        let is_text = shape::is_text(&text.decode(delimiters));
        return [*code, if is_text { *text } else { nothing }, *system];
    }
    let is_unit = |part: &Part<'_>| {
        std::str::from_utf8(&part.decode(delimiters)).is_ok_and(|unit| forms::is_unit(unit.trim()))
    };
    let stays = match local {
        Local::Unit => is_unit(code),
        Local::Code | Local::Service => is_code(code, delimiters, local),
    };
    if form.is_some() || !stays {
        // What says to be of a published system and is not, says something else.
        let unit = if local == Local::Unit && is_unit(text) { *text } else { nothing };
        return [if stays { *code } else { nothing }, unit, nothing];
    }
    let unit = if local == Local::Unit && is_unit(text) { *text } else { nothing };
    [*code, unit, if tables::is_local(system.text) { *system } else { nothing }]
}

/// Whether a code may go on without a published system.
fn is_code(code: &Part<'_>, delimiters: &Delimiters, local: Local) -> bool {
    let decoded = code.decode(delimiters);
    let is_service = || {
        local == Local::Service
            && decoded.len() <= SERVICE_LETTERS_MAX
            && decoded.iter().all(u8::is_ascii_uppercase)
    };
    decoded.len() <= CODE_OCTETS_MAX
        && !code.text.contains(&delimiters.subcomponent)
        && !decoded.contains(&delimiters.escape)
        && shape::is_code(&decoded)
        && (!shape::is_name(&decoded) || is_service())
}
