//! Notices: what the two sides say of a procedure and of a claim. They have MACs and coarse facts, and no place for anything else.

use hilum_plugin::{Body, Draft, Message};
use serde::{Deserialize, Serialize};

use crate::crosswalk::{is_modality, is_region};
use crate::day::{Day, is_year};
use crate::mac;

/// Media type of notices.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.procedure-notice+json";
/// Octets of a notice.
const OCTETS_MAX: usize = 256 * 1024;
/// Lines of a claim: what X12 837 allows an institution.
pub(crate) const LINES_MAX: usize = 999;
/// What one line may be for.
pub(crate) const FITS_MAX: usize = 16;

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "side", rename_all = "lowercase")]
pub(crate) enum Notice {
    Performed(Performed),
    Claimed(Claimed),
}

/// A procedure that was done, or was not after all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Performed {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) accession: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) study: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) visit: Option<String>,
    #[serde(flatten)]
    pub(crate) what: What,
    pub(crate) year: u16,
    /// Under the pad of the accession number, and there with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) hidden_day: Option<u16>,
    /// It was done so long ago that what belongs to it may be forgotten.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) old: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) cancelled: bool,
}

/// What kind of procedure: a DICOM modality and a region of the body. What is not known is not there, and fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct What {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) modality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) region: Option<String>,
}

/// A claim, as far as it is for imaging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claimed {
    pub(crate) claim: String,
    pub(crate) frequency: Frequency,
    pub(crate) lines: Vec<Line>,
    /// ISA13, ST02 and the number of the CLM segment: where billing finds it.
    pub(crate) at: String,
}

/// What a claim does to one before it (CLM05-3, claim frequency type code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Frequency {
    Original,
    /// `6` and `7`: takes its place.
    Replacement,
    /// `8`: takes it back.
    Void,
}

/// A service line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) accession: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) visit: Option<String>,
    pub(crate) code: String,
    pub(crate) component: Component,
    /// The kinds of procedure that the code is for.
    pub(crate) fits: Vec<What>,
    pub(crate) year: u16,
    /// Under the pad of the accession number, and there with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) hidden_day: Option<u16>,
    /// It was done so long ago that what belongs to it may be forgotten.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) old: bool,
}

impl Performed {
    pub(crate) fn day(&self) -> Day {
        Day::new(self.year, self.accession.as_deref(), self.hidden_day)
    }
}

impl Line {
    pub(crate) fn day(&self) -> Day {
        Day::new(self.year, self.accession.as_deref(), self.hidden_day)
    }
}

/// Which part of a service is claimed (modifiers 26 and TC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Component {
    Global,
    Professional,
    Technical,
}

impl Component {
    /// Whether both claim some of the same.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self == other || self == Self::Global || other == Self::Global
    }
}

impl What {
    /// Whether a procedure may be of a kind.
    pub(crate) fn fits(&self, kind: &Self) -> bool {
        let agree =
            |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        agree(&self.modality, &kind.modality) && agree(&self.region, &kind.region)
    }

    fn is_one(&self) -> bool {
        self.modality.as_deref().is_none_or(is_modality) && self.region.as_deref().is_none_or(is_region)
    }
}

impl Notice {
    pub(crate) fn draft(&self) -> Draft {
        let body = serde_json::to_vec(self).unwrap_or_default();
        Draft::new(CONTENT_TYPE, Body::Inline(body))
    }

    /// Reads a notice; none of another content type is one. Whatever does not look like MACs and coarse facts is an error.
    pub(crate) fn read(message: Message) -> Option<Result<Self, ()>> {
        let Message { head, body } = message;
        if !head.is(CONTENT_TYPE) {
            return None;
        }
        let octets = body.into_octets(OCTETS_MAX).map_err(drop);
        let notice = octets.and_then(|octets| serde_json::from_slice::<Self>(&octets).map_err(drop));
        Some(notice.and_then(|notice| if notice.is_whole() { Ok(notice) } else { Err(()) }))
    }

    fn is_whole(&self) -> bool {
        let macs = |macs: &[&Option<String>]| {
            macs.iter().all(|mac| mac.as_deref().is_none_or(|mac| mac::short(mac).is_some()))
        };
        match self {
            Self::Performed(Performed { accession, study, visit, what, year, hidden_day, .. }) => {
                let is_named = accession.is_some() || study.is_some() || visit.is_some();
                is_named
                    && macs(&[accession, study, visit])
                    && what.is_one()
                    && is_year(*year)
                    && hidden_day.is_some() == accession.is_some()
            }
            Self::Claimed(Claimed { claim, lines, at, .. }) => {
                let line = |line: &Line| {
                    macs(&[&line.accession, &line.visit])
                        && line.fits.len() <= FITS_MAX
                        && line.fits.iter().all(What::is_one)
                        && is_code(&line.code)
                        && is_year(line.year)
                        && line.hidden_day.is_some() == line.accession.is_some()
                };
                let is_place =
                    at.len() <= 40 && at.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'/');
                mac::short(claim).is_some() && is_place && lines.len() <= LINES_MAX && lines.iter().all(line)
            }
        }
    }
}

/// Five letters and digits: CPT and HCPCS.
pub(crate) fn is_code(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit())
}
