//! What has to be known of an object before anything of it is written: the SOP class and the replaced SOP instance, which the new file meta
//! information names, and by how many days dates are shifted, which depends on who the patient is. Until then all that is written is held.

use hilum_formats::dicom::{Encoding, Header, Syntax, Tag, Vr, trim, write_element};

use super::options::ProfileOption;
use super::rewrite::Rewriter;
use super::{dates, dummy, meta, profile};
use crate::{PrivateSopClasses, Refusal, pseudonym};

/// The longest unique identifier (PS3.5 section 9.1).
const UID_OCTETS_MAX: usize = 64;
/// What begins the unique identifiers that DICOM registers (PS3.5 section 9).
const DICOM_ROOT: &[u8] = b"1.2.840.10008.";
/// How many octets may come before the SOP Instance UID.
const HELD_OCTETS_MAX: usize = 64 << 10;
/// How many octets may come before the Patient ID, where dates wait for it: references to a few thousand instances.
const DATES_HELD_OCTETS_MAX: usize = 1 << 20;
/// How many dates may wait.
const DATES_HELD_MAX: usize = 4096;

/// What is known of an object so far.
#[derive(Debug)]
pub(super) struct Opening {
    sop_class: Option<Vec<u8>>,
    sop_instance: Option<Vec<u8>>,
    shift: Shift,
    /// Whether all of this was found, and nothing is held any more.
    is_over: bool,
    /// Dates that were written as they are, and wait for the patient.
    dates: Vec<Waiting>,
}

/// By how many days dates are shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    /// They are not.
    None,
    /// Nobody knows before the patient's identifier.
    Waiting,
    By(i32),
    /// There is no patient's identifier.
    Unknown,
}

/// A date among what is held.
#[derive(Debug)]
struct Waiting {
    at: usize,
    octets: usize,
    vr: Vr,
}

impl Opening {
    pub(super) fn new(shifts_dates: bool) -> Opening {
        let shift = if shifts_dates { Shift::Waiting } else { Shift::None };
        Opening { sop_class: None, sop_instance: None, shift, is_over: false, dates: Vec::new() }
    }

    /// Forgets dates among what is held from this octet on: it was dropped.
    pub(super) fn forget_from(&mut self, octet: usize) {
        self.dates.retain(|waiting| waiting.at < octet);
    }
}

impl Rewriter<'_, '_> {
    /// Holds what is written from now on.
    pub(super) fn begin(&mut self) {
        let waits = self.opening.shift == Shift::Waiting;
        self.stream.hold(if waits { DATES_HELD_OCTETS_MAX } else { HELD_OCTETS_MAX });
    }

    /// Rewrites the SOP class of the object itself.
    pub(super) fn sop_class(&mut self, header: &Header, encoding: Encoding) -> Result<Vec<u8>, Refusal> {
        let uid = self.identity(header)?;
        let is_private = !uid.starts_with(DICOM_ROOT);
        if is_private && self.profile.private_sop_classes == PrivateSopClasses::Refuse {
            let what = "DICOM does not register this SOP class, so nobody knows what its attributes hold";
            return Err(header.refuse("private-sop-class", what).into());
        }
        write_element(self.stream, encoding, header.tag, Vr::UI, &uid)?;
        self.opening.sop_class = Some(uid.clone());
        Ok(uid)
    }

    /// Rewrites the SOP instance of the object itself.
    pub(super) fn sop_instance(&mut self, header: &Header, syntax: Syntax) -> Result<(), Refusal> {
        let uid = self.identity(header)?;
        let retained = self.profile.options.has(ProfileOption::RetainUids);
        let uid = if retained { uid } else { self.replace_uid(&uid)? };
        if self.opening.sop_class.is_none() {
            return Err(incomplete(profile::SOP_CLASS_UID));
        }
        write_element(self.stream, syntax.encoding, header.tag, Vr::UI, &uid)?;
        self.opening.sop_instance = Some(uid);
        if self.opening.shift == Shift::None { self.open(syntax) } else { Ok(()) }
    }

    /// Says who the patient is, which dates may wait for.
    pub(super) fn know_patient(&mut self, identifier: &[u8]) -> Result<(), Refusal> {
        if self.opening.shift == Shift::Waiting && !trim(identifier).is_empty() {
            let days = self.keys.date_shift(
                pseudonym::PATIENT,
                trim(identifier),
                self.profile.date_shift_days_max,
            )?;
            self.opening.shift = Shift::By(days);
        }
        Ok(())
    }

    /// Ends the holding if it can wait for nothing that may come with this tag.
    pub(super) fn open_up_to(&mut self, tag: Tag, syntax: Syntax) -> Result<(), Refusal> {
        if self.opening.is_over {
            return Ok(());
        }
        if self.opening.shift == Shift::Waiting {
            if tag <= profile::PATIENT_ID {
                return Ok(());
            }
            self.opening.shift = Shift::Unknown;
        }
        let is_due = tag > profile::SOP_INSTANCE_UID;
        let shifts = self.opening.shift != Shift::None;
        if self.opening.sop_instance.is_none() && (tag == Tag(u32::MAX) || shifts && is_due) {
            return Err(incomplete(profile::SOP_INSTANCE_UID));
        }
        if shifts { self.open(syntax) } else { Ok(()) }
    }

    /// Writes a date of a value that is one, shifted now or as soon as the patient is known; whether it could be.
    pub(super) fn write_date(
        &mut self,
        header: &Header,
        vr: Vr,
        value: &mut [u8],
        encoding: Encoding,
    ) -> Result<bool, Refusal> {
        match self.opening.shift {
            // The option is not chosen: the dates of private attributes and the like never come here.
            Shift::None => return Ok(false),
            Shift::By(days) if !dates::shift(vr, value, days) => return Ok(false),
            Shift::By(_) => {}
            // It has to be a date even if it is only shifted later.
            Shift::Waiting | Shift::Unknown if !dates::shift(vr, &mut value.to_vec(), 0) => return Ok(false),
            Shift::Waiting | Shift::Unknown if vr == Vr::TM || value.is_empty() => {}
            Shift::Unknown => {
                let what = "dates are shifted by patient, and the object has no Patient ID (0010,0020)";
                return Err(header.refuse("no-patient-id", what).into());
            }
            Shift::Waiting => {
                if self.opening.dates.len() == DATES_HELD_MAX {
                    let what = "too many dates come before the Patient ID (0010,0020)";
                    return Err(header.refuse("too-large", what).into());
                }
                write_element(self.stream, encoding, header.tag, vr, value)?;
                let octets = value.len() + value.len() % 2;
                let at = self.stream.held_octets() - octets;
                self.opening.dates.push(Waiting { at, octets, vr });
                return Ok(true);
            }
        }
        write_element(self.stream, encoding, header.tag, vr, value)?;
        Ok(true)
    }

    /// Ends the holding: writes the file meta information, and then what was held, its dates shifted.
    fn open(&mut self, syntax: Syntax) -> Result<(), Refusal> {
        let mut held = self.stream.release();
        let waiting = std::mem::take(&mut self.opening.dates);
        if !waiting.is_empty() {
            let Shift::By(days) = self.opening.shift else {
                let what = "dates are shifted by patient, and the object has no Patient ID (0010,0020)";
                return Err(Refusal::new("no-patient-id", what));
            };
            for Waiting { at, octets, vr } in waiting {
                let value = &mut held[at..at + octets];
                if !dates::shift(vr, value, days) {
                    // The calendar ends before it: the same form, another value.
                    fill(value, vr);
                }
            }
        }
        let sop_class =
            self.opening.sop_class.as_deref().ok_or_else(|| incomplete(profile::SOP_CLASS_UID))?;
        let sop_instance = self.opening.sop_instance.as_deref();
        let sop_instance = sop_instance.ok_or_else(|| incomplete(profile::SOP_INSTANCE_UID))?;
        meta::write(self.stream, sop_class, sop_instance, syntax.written_as())?;
        self.stream.write(&held)?;
        self.opening.is_over = true;
        Ok(())
    }

    /// The unique identifier that the object itself has.
    fn identity(&mut self, header: &Header) -> Result<Vec<u8>, Refusal> {
        let length = header.defined_length().unwrap_or(0);
        let value = self.stream.take_value(length)?;
        let uid = trim(&value);
        let is_uid = uid.iter().all(|octet| octet.is_ascii_digit() || *octet == b'.');
        let stated_as_uid = matches!(header.vr, None | Some(Vr::UI | Vr::UN));
        if uid.is_empty() || uid.len() > UID_OCTETS_MAX || !is_uid || !stated_as_uid {
            return Err(header.refuse("malformed-uid", "this is not a unique identifier").into());
        }
        Ok(uid.to_vec())
    }
}

/// The dummy of a date, in as many octets as there are.
fn fill(value: &mut [u8], vr: Vr) {
    let dummy = dummy::value(vr);
    value.fill(b' ');
    let octets = dummy.len().min(value.len());
    value[..octets].copy_from_slice(&dummy[..octets]);
}

fn incomplete(tag: Tag) -> Refusal {
    Refusal::new("incomplete-object", format!("the data set has no {tag} in its place"))
}
