//! What is known of a record's patient: whether the party that asks treats them, and what they allow.
//!
//! Whose a record is stands in its body, and what is known of patients is what other stages learned. Both are read only if a policy looks at
//! it. Where one of them cannot be read, nothing passes but what breaks the glass.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use hilum_formats::care::{Kind, Known, Provision, Role, Tag, coded_identifier};
use hilum_formats::dicom::{self, Pipe};
use hilum_formats::patient::{Identifier, of_dicom, of_fhir, of_hl7};
use hilum_plugin::observed::{self, ObservedError};
use hilum_plugin::{BodyReader, ConfigError, Party, Refusal};

use crate::mentions::Mentions;
use crate::people::{OptOuts, People};
use crate::settings::{Patients, Settings};

/// Octets of a message that is looked at; an image is read as far as the patient.
const MESSAGE_OCTETS_MAX: u64 = 1 << 20;
/// How much of an image is read at a time.
const PIECE_OCTETS: u32 = 4 << 10;
/// Codes that the host makes in one call.
const CODES_MAX: usize = 4096;
/// Records of one patient that were merged, one after the other.
const MERGES_MAX: usize = 4;

/// What is learned elsewhere of the patients of records.
#[derive(Debug)]
pub(crate) struct Learned {
    from: Patients,
    people: People,
    opt_outs: OptOuts,
    /// Whom consents call anybody of whom `people` says it, coded when it is first needed.
    described: OnceLock<BTreeSet<Tag>>,
    /// What policies look at.
    pub(crate) wants_care: bool,
    pub(crate) wants_consent: bool,
}

/// What a party is named as, coded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Who {
    carers: Vec<Tag>,
    pub(crate) actors: Vec<Tag>,
}

/// What is known of the patient of one record.
#[derive(Debug, Default)]
pub(crate) struct Patient {
    /// As what the party treats them now.
    pub(crate) treated_as: Vec<Role>,
    /// What they said.
    pub(crate) consents: Vec<Provision>,
}

impl Learned {
    /// Where it is learned; none where no policy looks at it.
    ///
    /// # Errors
    ///
    /// If a policy looks at what is learned nowhere, or what is learned may not be read.
    pub(crate) fn of(settings: &Settings, mentions: &Mentions) -> Result<Option<Self>, ConfigError> {
        let names_care = mentions.names("treats") || mentions.names("treatsAs");
        let names_consent = mentions.names("consent");
        let Some(from) = settings.patients.clone() else {
            if names_care || names_consent || settings.people.is_some() || settings.opt_outs.is_some() {
                let reason = "context.treats, context.treatsAs, context.consent, people and opt_outs need this setting: it names \
                              the stages that learn of patients, and who assigns identifiers";
                return Err(ConfigError::new("/patients", reason));
            }
            return Ok(None);
        };
        if let Some(fault) = from.identifiers.fault() {
            return Err(ConfigError::new("/patients/identifiers", fault));
        }
        let people = settings.people.as_deref().map(People::read).transpose()?.unwrap_or_default();
        let opt_outs = settings.opt_outs.as_deref().map(|text| OptOuts::read(text, &from.identifiers));
        let learned = Self {
            wants_care: mentions.has("treats") || mentions.has("treatsAs"),
            wants_consent: mentions.has("consent"),
            people,
            described: OnceLock::new(),
            opt_outs: opt_outs.transpose()?.unwrap_or_default(),
            from,
        };
        if names_care && learned.from.relationships.is_empty() {
            let reason = "a policy looks at who treats whom: name the stages that learn it";
            return Err(ConfigError::new("/patients/relationships", reason));
        }
        if names_consent && learned.from.consents.is_empty() && settings.opt_outs.is_none() {
            let reason = "a policy looks at consent: name the stages that learn it, or set `opt_outs`";
            return Err(ConfigError::new("/patients/consents", reason));
        }
        learned.check_grants()?;
        Ok(Some(learned))
    }

    /// What was not granted is found when the stage is loaded. Whatever else fails now may be there when it is needed.
    fn check_grants(&self) -> Result<(), ConfigError> {
        let refused = |at: &str, grant: String| {
            ConfigError::new(at, format!("the stage needs the grant `{grant}` for this"))
        };
        let key = &self.from.key;
        if let Err(ObservedError::NotGranted(_)) = observed::codes(key, &[b"probe".to_vec()]) {
            return Err(refused("/patients/key", format!("keys:{key}")));
        }
        let stages = [
            ("/patients/relationships", &self.from.relationships),
            ("/patients/consents", &self.from.consents),
        ];
        for (at, stage) in stages.into_iter().flat_map(|(at, all)| all.iter().map(move |stage| (at, stage))) {
            if let Err(ObservedError::NotGranted(_)) = observed::look_up(stage, &["probe".to_owned()]) {
                return Err(refused(at, format!("observed:{stage}")));
            }
        }
        Ok(())
    }

    /// Whether a record has to be looked at.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wants_care || self.wants_consent
    }

    /// What a party is named as.
    pub(crate) fn who(&self, party: &Party) -> Result<Who, Refusal> {
        let names = self.people.names(party);
        let carers = names.carers.len();
        let mut all = names.carers;
        all.extend(names.actors);
        if all.is_empty() {
            return Ok(Who::default());
        }
        let mut tags = self.tags(&all)?;
        let actors = tags.split_off(carers);
        Ok(Who { carers: tags, actors })
    }

    /// Whom consents call anybody of whom the hospital says it: whoever else they name may be anybody.
    pub(crate) fn described(&self) -> Result<&BTreeSet<Tag>, Refusal> {
        if let Some(described) = self.described.get() {
            return Ok(described);
        }
        let tags = self.tags(&self.people.actors())?;
        Ok(self.described.get_or_init(|| tags.into_iter().collect()))
    }

    fn tags(&self, of: &[Vec<u8>]) -> Result<Vec<Tag>, Refusal> {
        let mut tags = Vec::with_capacity(of.len());
        for part in of.chunks(CODES_MAX) {
            let codes = observed::codes(&self.from.key, part).map_err(|error| unavailable(&error))?;
            tags.extend(codes.iter().map(Tag::of));
        }
        Ok(tags)
    }

    /// What is known of the patient of a record.
    ///
    /// # Errors
    ///
    /// If it cannot be told who that is, or what is known cannot be read.
    pub(crate) fn patient(
        &self,
        media_type: &str,
        body: &mut BodyReader,
        who: &Who,
        now: u64,
    ) -> Result<Patient, Refusal> {
        let Some(identifiers) = self.identifiers(media_type, body) else {
            let reason = "it cannot be told whose the record is, and policies look at its patient";
            return Err(Refusal::new("patient-unclear", reason));
        };
        let coded: Vec<_> = identifiers.iter().map(|of| coded_identifier(Kind::Patient, of)).collect();
        let tags = self.tags(&coded)?;
        let mut patient = Patient::default();
        if self.wants_care {
            for stage in &self.from.relationships {
                for known in known(stage, &tags)? {
                    patient.treated_as.extend(known.treated_as(&who.carers, now));
                }
            }
            patient.treated_as.sort_unstable();
            patient.treated_as.dedup();
        }
        if self.wants_consent {
            patient.consents.extend(self.opt_outs.of(&identifiers).cloned());
            for stage in &self.from.consents {
                let consents = known(stage, &tags)?.into_iter().flat_map(|known| known.consents);
                patient.consents.extend(consents.map(|consent| consent.says));
            }
        }
        Ok(patient)
    }

    fn identifiers(&self, media_type: &str, body: &mut BodyReader) -> Option<Vec<Identifier>> {
        let authorities = &self.from.identifiers;
        let is_message = body.size() <= MESSAGE_OCTETS_MAX;
        match media_type {
            "application/dicom" => of_dicom(&mut Source(body), authorities),
            "application/hl7-v2" if is_message => of_hl7(&body.read_to_end().ok()?, authorities),
            "application/fhir+json" if is_message => of_fhir(&body.read_to_end().ok()?, authorities),
            _ => None,
        }
    }
}

/// What a stage knows under these tags. What was merged is where it was merged into.
fn known(stage: &str, tags: &[Tag]) -> Result<Vec<Known>, Refusal> {
    let mut all = Vec::new();
    let mut keys: Vec<String> = tags.iter().map(Tag::key).collect();
    for _ in 0..=MERGES_MAX {
        let found = observed::look_up(stage, &keys).map_err(|error| unavailable(&error))?;
        let mut next = Vec::new();
        for octets in found.into_iter().flatten() {
            let known = Known::decode(&octets).ok_or_else(|| {
                let reason = format!("what `{stage}` keeps of the patient cannot be read");
                Refusal::new("patients-unavailable", reason)
            })?;
            match &known.merged_into {
                Some(into) => next.push(into.key()),
                None => all.push(known),
            }
        }
        if next.is_empty() {
            return Ok(all);
        }
        keys = next;
    }
    Err(Refusal::new("patients-unavailable", format!("`{stage}` has merged the patient in a circle")))
}

fn unavailable(error: &ObservedError) -> Refusal {
    Refusal::new("patients-unavailable", format!("what is known of patients cannot be read: {error}"))
}

/// The beginning of a body, as the reader of DICOM objects takes it.
struct Source<'b>(&'b mut BodyReader);

impl Pipe for Source<'_> {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, dicom::Error> {
        let max = u32::try_from(max).unwrap_or(PIECE_OCTETS).min(PIECE_OCTETS);
        let octets = self.0.read(max).map_err(interrupted)?;
        into.extend_from_slice(&octets);
        Ok(octets.len())
    }

    fn skip(&mut self, n: u64) -> Result<u64, dicom::Error> {
        self.0.skip(n).map_err(interrupted)
    }

    fn write(&mut self, _: &[u8]) -> Result<(), dicom::Error> {
        Err(dicom::Error::new("read-only", "nothing is written where a record is only looked at"))
    }

    fn forward(&mut self, _: u64) -> Result<u64, dicom::Error> {
        Err(dicom::Error::new("read-only", "nothing is written where a record is only looked at"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
fn interrupted(error: hilum_plugin::BodyError) -> dicom::Error {
    dicom::Error::new("interrupted", error.to_string())
}
