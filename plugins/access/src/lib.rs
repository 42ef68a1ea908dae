//! Access: whether a record may be stored, or may go to a reader, by who asks, for what, when and from where, and what the record's
//! head says, and by what other stages learned of its patient: who treats them, and what they allow. Policies are Cedar text; what
//! none of them permits is denied.
//!
//! Policies are read, and held against the [`MODEL`](policies::MODEL), once, when an instance is configured. A decision depends on nothing
//! but what policies look at, so it is kept for the next record of which that is the same.

mod consent;
mod explain;
mod facts;
mod locations;
mod marking;
mod mentions;
mod patients;
mod people;
mod policies;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use cedar_policy::{AuthorizationError, Response};
use hilum_formats::care::Role;
use hilum_formats::local_time::TimeZone;
use hilum_formats::purpose;
use hilum_plugin::{
    Attribute, Authorize, BodyReader, ConfigError, Context, Decision, Description, Head, Obligation, Phase,
    Refusal, Request, time,
};

use consent::Consent;
use explain::Explainer;
use facts::{Asker, Facts};
pub use facts::{CONFIDENTIALITY_ATTRIBUTE, PURPOSE_ATTRIBUTE, REASON_ATTRIBUTE, SENSITIVITY_ATTRIBUTE};
use locations::Locations;
use marking::Names;
use patients::{Learned, Patient};
use policies::Policies;
use settings::Confidentiality;
pub use settings::Settings;

/// Parties whose entities and decisions are kept.
const ASKERS_MAX: usize = 16;
/// Decisions that are kept for each of them, and octets of what one is kept for.
const KEPT_MAX: usize = 256;
const KEPT_KEY_OCTETS_MAX: usize = 512;
/// Characters of a list of policies' names.
const NAMES_CHARS_MAX: usize = 192;

/// The plugin: decides by its policies on the head of a record. It reads of a body whose it is, if a policy looks at the patient.
#[derive(Debug)]
pub struct Access {
    settings: Settings,
    policies: Policies,
    locations: Locations,
    learned: Option<Learned>,
    zone: TimeZone,
    names: Names,
    /// Present if denials are to be explained.
    explainer: Option<Explainer>,
    askers: Vec<(Asker, HashMap<Vec<u8>, Decision>)>,
    /// The one that is replaced next.
    oldest: usize,
}

impl Authorize for Access {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("access", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("config.schema.json"))
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        let policies = Policies::read(&settings.policies)?;
        let locations = settings.locations.as_deref().map(Locations::read).transpose()?.unwrap_or_default();
        let zone = TimeZone::parse(&settings.time_zone).ok_or_else(|| {
            let reason = "write it as the POSIX variable TZ has it, e.g. `CET-1CEST,M3.5.0,M10.5.0/3`";
            ConfigError::new("/time_zone", reason)
        })?;
        let learned = Learned::of(&settings, &policies.mentions)?;
        let names = Names::new(policies.mentions.tags());
        let explainer = settings.explain.then(|| Explainer::new(&policies.set));
        Ok(Self {
            settings,
            policies,
            locations,
            learned,
            zone,
            names,
            explainer,
            askers: Vec::new(),
            oldest: 0,
        })
    }

    fn decide(&mut self, context: &Context, request: Request) -> Decision {
        let Request { head, size, mut body } = request;
        self.decide_on(context, &head, size, &mut body)
    }
}

hilum_plugin::export_authorize!(Access);

impl Access {
    /// What the policies say of one record. No reason holds a value of the record.
    fn decide_on(&mut self, context: &Context, head: &Head, size: u64, body: &mut BodyReader) -> Decision {
        if let Some(name) = repeated(&head.attributes) {
            let reason = format!("attribute `{name}` is given twice, so that no policy can rely on it");
            return deny("ambiguous", reason);
        }
        if let Some(name) = self.names.misspelt(&head.attributes) {
            let reason =
                format!("an attribute has the name of `{name}` in other letters, so that no policy sees it");
            return deny("ambiguous", reason);
        }
        let Some(at) = self.asker(context) else {
            return deny("no-reader", "nobody is named who would read it");
        };
        let told = (&self.settings.confidentiality, &self.zone);
        let patient =
            Self::patient(self.learned.as_ref(), &mut self.askers[at].0, context, head, body, told.0);
        // Of a patient of whom nothing can be told nobody treats them and they forbid everything: nothing but an emergency gets past that.
        let (known, unclear) = match patient {
            Ok(known) => (known, None),
            Err(refusal) => ((Vec::new(), Consent::Deny), Some(refusal)),
        };
        let facts = match Facts::of(context, head, size, &self.policies, told, known) {
            Ok(facts) => facts,
            Err(refusal) => return Decision::Deny(refusal),
        };
        if let Some(unclear) = unclear {
            return in_the_dark(self.ask(at, &facts), unclear);
        }
        let key = facts.key();
        if let Some(decision) = self.askers[at].1.get(&key) {
            return decision.clone();
        }
        let decision = self.ask(at, &facts);
        let kept = &mut self.askers[at].1;
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        if key.len() <= KEPT_KEY_OCTETS_MAX {
            kept.insert(key, decision.clone());
        }
        decision
    }

    /// As what the party treats the patient of a record, and what the patient says of it; nothing where no policy looks at it.
    fn patient(
        learned: Option<&Learned>,
        asker: &mut Asker,
        context: &Context,
        head: &Head,
        body: &mut BodyReader,
        marking: &settings::Marking,
    ) -> Result<(Vec<Role>, Consent), Refusal> {
        let Some(learned) = learned.filter(|learned| learned.is_wanted()) else {
            return Ok((Vec::new(), Consent::None));
        };
        let who = match asker.who.take() {
            Some(who) => who,
            None => learned.who(asker.party())?,
        };
        let who = &*asker.who.insert(who);
        let (now, media_type) = (time::now(), facts::essence(&head.content_type));
        let Patient { treated_as, consents } = learned.patient(&media_type, body, who, now)?;
        if !learned.wants_consent {
            return Ok((treated_as, Consent::None));
        }
        let stated = marking::stated(head, marking)?;
        let sensitivity = marking::sensitivities(head)?;
        let asked = consent::Asked {
            now,
            action: if context.phase == Phase::Ingress { "store" } else { "read" },
            purpose: facts::purpose_of(context, head),
            actors: &who.actors,
            described: learned.described()?,
            confidentiality: stated.unwrap_or(marking.unmarked),
            // What is normal is nothing that stigmatizes (HL7 v3 Confidentiality, N).
            is_marked: !sensitivity.is_empty() || stated.is_some_and(|code| code <= Confidentiality::N),
            sensitivity: &sensitivity,
            media_type: &media_type,
            resource_type: (media_type == "application/dicom").then_some("ImagingStudy"),
        };
        Ok((treated_as, consent::said(consents.iter(), &asked)))
    }

    /// Where what is kept of this context is.
    fn asker(&mut self, context: &Context) -> Option<usize> {
        if let Some(at) = self.askers.iter().position(|(asker, _)| asker.is_of(context)) {
            return Some(at);
        }
        let made = (Asker::new(context, &self.locations)?, HashMap::new());
        if self.askers.len() < ASKERS_MAX {
            self.askers.push(made);
            return Some(self.askers.len() - 1);
        }
        let at = self.oldest;
        self.oldest = (at + 1) % ASKERS_MAX;
        self.askers[at] = made;
        Some(at)
    }

    fn ask(&self, at: usize, facts: &Facts<'_>) -> Decision {
        let Ok((request, entities)) = facts.told(&self.askers[at].0) else {
            return deny("policy-error", "the record could not be told to Cedar");
        };
        let response = self.policies.ask(&request, &entities);
        // Cedar leaves a policy out that fails. One that forbids must not be left out.
        let failed = names(response.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
        }));
        if !failed.is_empty() {
            return deny("policy-error", format!("policy {} fails on this record", failed.join(", ")));
        }
        let decision = self.concluded(&response, facts);
        match (decision, &self.explainer) {
            (Decision::Deny(refusal), Some(explainer)) if refusal.code == "no-policy" => {
                let why = explainer.explain(&self.policies, &request, &entities);
                deny("no-policy", format!("{}: {why}", refusal.reason))
            }
            (decision, _) => decision,
        }
    }

    fn concluded(&self, response: &Response, facts: &Facts<'_>) -> Decision {
        let decided = names(response.diagnostics().reason());
        if response.decision() == cedar_policy::Decision::Deny {
            return if decided.is_empty() {
                deny("no-policy", "no policy permits this record to this party for this purpose")
            } else {
                deny("denied", format!("policy {} forbids it", listed(&decided)))
            };
        }
        let plain: Vec<_> =
            decided.iter().filter(|name| self.policies.break_glass(name).is_none()).cloned().collect();
        if !plain.is_empty() {
            return Decision::AllowWith(vec![obligation("policy", plain.join(", "))]);
        }
        self.break_the_glass(&decided, facts)
    }

    /// For policies that permit only in an emergency: which of them does, for the reason that is stated.
    fn break_the_glass(&self, decided: &[String], facts: &Facts<'_>) -> Decision {
        if !purpose::is_emergency(facts.purpose) {
            let reason = format!(
                "policy {} breaks the glass, which is only for the purposes BTG and ETREAT",
                listed(decided)
            );
            return deny("break-glass-purpose", reason);
        }
        for name in decided {
            let Some(broken) = self.policies.break_glass(name) else { continue };
            // The policy's own code, not what was stated.
            let Some(reason) =
                broken.reasons.iter().find(|code| Some(code.as_str()) == facts.reason.as_deref())
            else {
                continue;
            };
            return Decision::AllowWith(vec![
                obligation("audit", "break-glass"),
                obligation("break-glass-policy", name),
                obligation("break-glass-reason", reason),
                obligation("justify", &broken.justify),
            ]);
        }
        let place = match facts.phase {
            Phase::Ingress => format!("in attribute `{REASON_ATTRIBUTE}`"),
            Phase::Egress => "by the reader when it opens the subscription".to_owned(),
        };
        let reason = format!(
            "policy {} breaks the glass only for a reason, stated as one of its codes {place}",
            listed(decided)
        );
        deny("break-glass-reason", reason)
    }
}

/// A decision without what has to be known of the patient: an emergency is one all the same, everything else is denied.
fn in_the_dark(decision: Decision, unclear: Refusal) -> Decision {
    match decision {
        Decision::AllowWith(obligations) if obligations.iter().any(|of| of.name == "break-glass-policy") => {
            Decision::AllowWith(obligations)
        }
        Decision::Deny(refusal) if refusal.code != "no-policy" => Decision::Deny(refusal),
        _ => Decision::Deny(unclear),
    }
}

/// The name of an attribute that is there twice. Of two values a policy would see one and the reader perhaps the other.
fn repeated(attributes: &[Attribute]) -> Option<&str> {
    let is_before =
        |index: usize| attributes[..index].iter().any(|other| other.name == attributes[index].name);
    let index = (1..attributes.len()).find(|&index| is_before(index))?;
    Some(&attributes[index].name)
}

fn names<'p>(of: impl Iterator<Item = &'p cedar_policy::PolicyId>) -> Vec<String> {
    let mut names: Vec<String> = of.map(ToString::to_string).collect();
    names.sort();
    names
}

fn listed(names: &[String]) -> String {
    clip(names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "), NAMES_CHARS_MAX)
}

/// At most so many characters; the last three are dots where there were more.
fn clip(text: String, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text;
    }
    text.chars().take(chars_max - 3).chain("...".chars()).collect()
}

fn obligation(name: &str, value: impl Into<String>) -> Obligation {
    Obligation { name: name.into(), value: clip(value.into(), NAMES_CHARS_MAX) }
}

fn deny(code: &str, reason: impl Into<String>) -> Decision {
    Decision::Deny(Refusal::new(code, reason.into()))
}
