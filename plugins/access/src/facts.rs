//! What is known of one request, and how it is told to Cedar: no more than the policies look at.

use std::borrow::Cow;

use cedar_policy::{
    Context as Circumstances, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression,
};
use hilum_formats::care::Role;
use hilum_formats::local_time::{Clock, TimeZone, datetime};
use hilum_formats::purpose;
use hilum_plugin::{Context, Head, Party, Phase, Refusal, stated, time};

use crate::consent::Consent;
use crate::locations::Locations;
use crate::marking;
use crate::patients::Who;
use crate::policies::Policies;
use crate::settings::{Confidentiality, Marking};

/// The attribute in which a publisher states its purpose.
pub const PURPOSE_ATTRIBUTE: &str = "purpose";
/// The attribute that says how confidential a record is.
pub const CONFIDENTIALITY_ATTRIBUTE: &str = "confidentiality";
/// The attribute with codes of what is sensitive in a record.
pub const SENSITIVITY_ATTRIBUTE: &str = "sensitivity";
/// The attribute in which a publisher states why it breaks the glass. A reader states it when it begins to read.
pub const REASON_ATTRIBUTE: &str = "break-glass-reason";

/// Why a request could not be told to Cedar. Names no value.
#[derive(Debug)]
pub(crate) struct NotTold;

/// What is the same for all records of a call: made once, and kept for the next call.
#[derive(Debug)]
pub(crate) struct Asker {
    of: Context,
    action: EntityUid,
    principal: EntityUid,
    flow: EntityUid,
    /// The principal, and who published where that is somebody else.
    parties: Vec<Entity>,
    source: EntityUid,
    /// What the principal is named as where patients are treated; none until a policy wants to know.
    pub(crate) who: Option<Who>,
}

impl Asker {
    /// Who asks is the publisher at ingress, the reader at egress; none if there is no reader.
    pub(crate) fn new(context: &Context, locations: &Locations) -> Option<Self> {
        let (asks, action) = match context.phase {
            Phase::Ingress => (&context.source, "store"),
            Phase::Egress => (context.recipient.as_ref()?, "read"),
        };
        let mut parties = vec![party(asks, locations)];
        if context.source.principal != asks.principal {
            parties.push(party(&context.source, locations));
        }
        Some(Self {
            of: context.clone(),
            action: uid("Action", action),
            principal: uid("Principal", &asks.principal),
            flow: uid("Flow", &context.flow),
            parties,
            source: uid("Principal", &context.source.principal),
            who: None,
        })
    }

    /// Who asks.
    pub(crate) fn party(&self) -> &Party {
        match (self.of.phase, &self.of.recipient) {
            (Phase::Egress, Some(recipient)) => recipient,
            _ => &self.of.source,
        }
    }

    pub(crate) fn is_of(&self, context: &Context) -> bool {
        self.of == *context
    }
}

fn party(of: &Party, locations: &Locations) -> Entity {
    let roles = of.roles.iter().map(|role| uid("Role", role));
    let places = locations.of(&of.principal).map(|place| uid("Location", place));
    let parents = roles.chain(places).chain([uid("Stakeholder", &of.stakeholder), uid("Zone", &of.zone)]);
    Entity::new_no_attrs(uid("Principal", &of.principal), parents.collect())
}

fn uid(kind: &str, id: &str) -> EntityUid {
    let kind: EntityTypeName = kind.parse().expect("types are named in the model");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

/// What is known of one record, as far as policies look at it.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) purpose: &'static str,
    pub(crate) phase: Phase,
    /// Why who asks breaks the glass; none where it does not say so, or no policy asks.
    pub(crate) reason: Option<Cow<'a, str>>,
    content_type: Option<String>,
    labels: Option<&'a [String]>,
    confidentiality: Option<Confidentiality>,
    sensitivity: Option<Vec<&'static str>>,
    size: Option<u64>,
    made: Option<u64>,
    now: Option<u64>,
    clock: Option<Clock>,
    tags: Vec<(&'a str, &'a str)>,
    treated_as: Option<Vec<Role>>,
    consent: Option<Consent>,
}

impl<'a> Facts<'a> {
    /// Looks at a record.
    ///
    /// # Errors
    ///
    /// If the record is marked in a way that nobody knows.
    pub(crate) fn of(
        context: &Context,
        head: &'a Head,
        size: u64,
        policies: &Policies,
        (marking, zone): (&Marking, &TimeZone),
        (treated_as, consent): (Vec<Role>, Consent),
    ) -> Result<Self, Refusal> {
        let mentions = &policies.mentions;
        let has = |name| mentions.has(name);
        let looks_at_clock = ["weekday", "hour", "minute"].into_iter().any(has);
        let now = (looks_at_clock || has("now")).then(time::now);
        Ok(Self {
            purpose: purpose_of(context, head),
            phase: context.phase,
            reason: policies.break_some_glass().then(|| reason_of(context, head)).flatten(),
            content_type: has("contentType").then(|| essence(&head.content_type)),
            labels: has("labels").then_some(&head.labels),
            confidentiality: if has("confidentiality") {
                Some(marking::stated(head, marking)?.unwrap_or(marking.unmarked))
            } else {
                None
            },
            sensitivity: has("sensitivity").then(|| marking::sensitivities(head)).transpose()?,
            size: has("size").then_some(size),
            made: has("made").then_some(head.time),
            clock: now.filter(|_| looks_at_clock).map(|now| zone.clock(now)),
            now: now.filter(|_| has("now")),
            tags: head
                .attributes
                .iter()
                .filter(|attribute| mentions.has_tag(&attribute.name))
                .map(|attribute| (attribute.name.as_str(), attribute.value.as_str()))
                .collect(),
            treated_as: (has("treats") || has("treatsAs")).then_some(treated_as),
            consent: has("consent").then_some(consent),
        })
    }

    /// Octets in which two records differ if and only if they differ in what is looked at.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(128);
        let mut text = |text: &str| {
            key.extend((text.len() as u64).to_le_bytes());
            key.extend(text.as_bytes());
        };
        text(self.purpose);
        text(&self.tags.len().to_string());
        self.tags.iter().for_each(|(name, value)| [name, value].into_iter().for_each(|part| text(part)));
        text(self.reason.as_ref().map_or("-", |_| "+"));
        text(self.reason.as_deref().unwrap_or_default());
        text(self.content_type.as_deref().unwrap_or_default());
        text(self.confidentiality.map_or("", Confidentiality::code));
        for list in [self.labels.map(|of| of.iter().map(String::as_str).collect()), self.sensitivity.clone()]
        {
            let list: Vec<&str> = list.unwrap_or_default();
            text(&list.len().to_string());
            list.into_iter().for_each(&mut text);
        }
        let treated_as = self.treated_as.iter().flatten();
        text(&treated_as.map(|role| role.name()).collect::<Vec<_>>().join(" "));
        text(self.consent.map_or("", Consent::name));
        for number in [self.size, self.made, self.now] {
            key.extend(number.unwrap_or_default().to_le_bytes());
        }
        if let Some(Clock { weekday, hour, minute }) = self.clock {
            key.extend([weekday, hour, minute].into_iter().flat_map(i64::to_le_bytes));
        }
        key
    }

    /// The request in Cedar's terms, with the entities that it speaks of.
    pub(crate) fn told(&self, asker: &Asker) -> Result<(Request, Entities), NotTold> {
        let resource = uid("Record", "this");
        let tags = self.tags.iter().map(|(name, value)| ((*name).to_owned(), text(value)));
        let record =
            Entity::new_with_tags(resource.clone(), self.attributes(asker), [asker.flow.clone()], tags);
        let mut entities = asker.parties.clone();
        entities.push(record.map_err(|_| NotTold)?);
        entities.extend(self.confidentiality.map(level));
        let entities = Entities::from_entities(entities, None).map_err(|_| NotTold)?;
        let circumstances = Circumstances::from_pairs(self.circumstances()).map_err(|_| NotTold)?;
        let (principal, action) = (asker.principal.clone(), asker.action.clone());
        let request = Request::new(principal, action, resource, circumstances, None).map_err(|_| NotTold)?;
        Ok((request, entities))
    }

    fn attributes(&self, asker: &Asker) -> Vec<(String, RestrictedExpression)> {
        let set = |of: &mut dyn Iterator<Item = &str>| RestrictedExpression::new_set(of.map(text));
        let labels = self.labels.map(|labels| set(&mut labels.iter().map(String::as_str)));
        let sensitivity = self.sensitivity.as_ref().map(|codes| set(&mut codes.iter().copied()));
        let level = self.confidentiality.map(|code| uid("Confidentiality", code.code()));
        [
            ("class", Some(text(&asker.of.class))),
            ("source", Some(RestrictedExpression::new_entity_uid(asker.source.clone()))),
            ("contentType", self.content_type.as_deref().map(text)),
            ("labels", labels),
            ("confidentiality", level.map(RestrictedExpression::new_entity_uid)),
            ("sensitivity", sensitivity),
            (
                "size",
                self.size.map(|size| RestrictedExpression::new_long(i64::try_from(size).unwrap_or(i64::MAX))),
            ),
            ("made", self.made.map(instant)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    fn circumstances(&self) -> Vec<(String, RestrictedExpression)> {
        let purpose = RestrictedExpression::new_entity_uid(uid("Purpose", self.purpose));
        let clock = self.clock.iter().flat_map(|clock| {
            [("weekday", clock.weekday), ("hour", clock.hour), ("minute", clock.minute)]
                .map(|(name, value)| (name, RestrictedExpression::new_long(value)))
        });
        let now = self.now.map(|now| ("now", instant(now)));
        let treats = self.treated_as.iter().flat_map(|roles| {
            let all = RestrictedExpression::new_set(roles.iter().map(|role| text(role.name())));
            [("treats", RestrictedExpression::new_bool(!roles.is_empty())), ("treatsAs", all)]
        });
        let consent = self
            .consent
            .map(|said| ("consent", RestrictedExpression::new_entity_uid(uid("Consent", said.name()))));
        let all = [("purpose", purpose)].into_iter().chain(now).chain(clock).chain(treats).chain(consent);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What for.
pub(crate) fn purpose_of(context: &Context, head: &Head) -> &'static str {
    let stated = context.purpose.as_deref();
    purpose::of_code(match context.phase {
        Phase::Ingress => stated.or_else(|| head.attribute(PURPOSE_ATTRIBUTE)),
        // What a publisher wrote into a record is no statement of the reader.
        Phase::Egress => stated,
    })
}

/// Why who asks breaks the glass.
fn reason_of<'a>(context: &Context, head: &'a Head) -> Option<Cow<'a, str>> {
    match context.phase {
        Phase::Ingress => head.attribute(REASON_ATTRIBUTE).map(Cow::Borrowed),
        // What a publisher wrote into a record is no statement of the reader.
        Phase::Egress => stated::break_glass_reason().map(Cow::Owned),
    }
}

fn text(of: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(of.to_owned())
}

fn instant(at: u64) -> RestrictedExpression {
    RestrictedExpression::new_datetime(datetime(at))
}

/// A code of confidentiality, in each that is more restrictive.
fn level(of: Confidentiality) -> Entity {
    let above = Confidentiality::ALL.into_iter().filter(|code| *code > of);
    let parents = above.map(|code| uid("Confidentiality", code.code())).collect();
    Entity::new_no_attrs(uid("Confidentiality", of.code()), parents)
}

/// A content type without parameters, which are compared without regard to case (RFC 6838, section 4.2).
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
