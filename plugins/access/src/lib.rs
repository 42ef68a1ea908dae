//! Access rules: whether a record may be stored, or may go to a reader, by who asks, for what purpose, and what the
//! record's head says. Deny by default.
//!
//! Rules are tried in order and the first that matches decides. A rule may break the glass: it allows what others would
//! not, for an emergency, against a stated reason, and the broker audits it.

mod purpose;
mod rules;
#[cfg(test)]
mod tests;

use hilum_plugin::{
    Attribute, Authorize, ConfigError, Context, Decision, Description, Head, Obligation, Party, Phase,
    Refusal, Request,
};

use rules::{Effect, Predicate, Rule, Rules, When};

/// The attribute in which a publisher states its purpose.
pub const PURPOSE_ATTRIBUTE: &str = "purpose";

/// The plugin: decides by its rules on the head of a record, and never reads a body.
#[derive(Debug)]
pub struct Access(Rules);

impl Authorize for Access {
    type Config = Rules;

    fn describe(_: Option<&Rules>) -> Description {
        Description::new("access", env!("CARGO_PKG_VERSION")).config_schema(include_str!("rules.schema.json"))
    }

    fn configure(rules: Rules) -> Result<Self, ConfigError> {
        rules.check()?;
        Ok(Self(rules))
    }

    fn decide(&mut self, context: &Context, request: Request) -> Decision {
        decide(&self.0, context, &request.head)
    }
}

hilum_plugin::export_authorize!(Access);

/// What the rules say of one record. No reason holds a value of the record.
fn decide(rules: &Rules, context: &Context, head: &Head) -> Decision {
    if let Some(name) = repeated(&head.attributes) {
        return deny(
            "ambiguous",
            &format!("attribute `{name}` is given twice, so that no rule can rely on it"),
        );
    }
    let asked = Asked::new(context, head);
    let Some(rule) = rules.rules.iter().find(|rule| asked.matches(rule)) else {
        return deny("no-rule", "no rule allows this record for this party and purpose");
    };
    match (&rule.effect, &rule.break_glass) {
        (Effect::Deny, _) => deny("denied", &format!("rule `{}` denies it", rule.name)),
        (Effect::Allow, None) => Decision::Allow,
        (Effect::Allow, Some(break_glass)) => {
            let stated = head.attribute(&break_glass.reason_attribute);
            match break_glass.reasons.iter().find(|reason| Some(reason.as_str()) == stated) {
                Some(reason) => break_the_glass(rule, reason),
                None => deny(
                    "break-glass-reason",
                    &format!(
                        "rule `{}` breaks the glass only for a reason, stated as one of its codes in attribute `{}`",
                        rule.name, break_glass.reason_attribute
                    ),
                ),
            }
        }
    }
}

/// The name of an attribute that is there twice. Of two values a rule would see one and the reader perhaps the other.
fn repeated(attributes: &[Attribute]) -> Option<&str> {
    let is_before =
        |index: usize| attributes[..index].iter().any(|other| other.name == attributes[index].name);
    let index = (1..attributes.len()).find(|&index| is_before(index))?;
    Some(&attributes[index].name)
}

/// `reason` is the configuration's own code, not what the record says.
fn break_the_glass(rule: &Rule, reason: &str) -> Decision {
    let obligation = |name: &str, value: &str| Obligation { name: name.into(), value: value.into() };
    Decision::AllowWith(vec![
        obligation("audit", "break-glass"),
        obligation("break-glass-rule", &rule.name),
        obligation("break-glass-reason", reason),
    ])
}

fn deny(code: &str, reason: &str) -> Decision {
    Decision::Deny(Refusal::new(code, reason))
}

/// Who asks for which record and why.
struct Asked<'a> {
    phase: Phase,
    /// The publisher at ingress, the reader at egress. An unknown reader matches no rule that asks for one.
    party: Option<&'a Party>,
    purpose: Option<&'a str>,
    head: &'a Head,
}

impl<'a> Asked<'a> {
    fn new(context: &'a Context, head: &'a Head) -> Self {
        let stated = context.purpose.as_deref();
        let (party, purpose) = match context.phase {
            Phase::Ingress => (Some(&context.source), stated.or_else(|| head.attribute(PURPOSE_ATTRIBUTE))),
            // What a publisher wrote into a record is no statement of the reader.
            Phase::Egress => (context.recipient.as_ref(), stated),
        };
        Self { phase: context.phase, party, purpose, head }
    }

    fn matches(&self, rule: &Rule) -> bool {
        let When {
            stakeholders,
            roles,
            zones,
            purposes,
            content_types,
            phases,
            labels,
            only_labels,
            attributes,
        } = &rule.when;
        let party = |allowed: &Option<Vec<String>>, has: &dyn Fn(&Party, &str) -> bool| {
            any_of(allowed, |name| self.party.is_some_and(|party| has(party, name)))
        };
        party(stakeholders, &|party, name| party.stakeholder == name)
            && party(zones, &|party, name| party.zone == name)
            && party(roles, &|party, name| party.roles.iter().any(|role| role == name))
            && any_of(purposes, |purpose| self.purpose == Some(purpose))
            && any_of(content_types, |pattern| covers(pattern, &self.head.content_type))
            && phases.as_ref().is_none_or(|phases| phases.iter().any(|phase| phase.is(self.phase)))
            && any_of(labels, |label| self.head.labels.iter().any(|carried| carried == label))
            && only_labels
                .as_ref()
                .is_none_or(|only| self.head.labels.iter().all(|carried| only.contains(carried)))
            && attributes.iter().all(|condition| {
                let value = self.head.attribute(&condition.name);
                match &condition.predicate {
                    Predicate::Present(present) => value.is_some() == *present,
                    Predicate::Equals(expected) => value == Some(expected),
                    Predicate::In(expected) => {
                        value.is_some_and(|value| expected.iter().any(|one| one == value))
                    }
                }
            })
    }
}

/// Whether any of the names matches; true where the rule does not ask.
fn any_of(names: &Option<Vec<String>>, matches: impl Fn(&str) -> bool) -> bool {
    names.as_ref().is_none_or(|names| names.iter().any(|name| matches(name)))
}

/// Whether a pattern such as `application/dicom` or `image/*` covers a content type, whatever its parameters.
///
/// Types are compared without regard to case (RFC 6838, section 4.2).
fn covers(pattern: &str, content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match (pattern.strip_suffix("/*"), essence.split_once('/')) {
        (Some(top), Some((has, _))) => top.eq_ignore_ascii_case(has),
        _ => pattern.eq_ignore_ascii_case(essence),
    }
}
