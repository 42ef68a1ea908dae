//! The exports of the worlds, as wasmtime types. What goes in is borrowed from the records, so that nothing is copied
//! but into the guest; what comes out is owned.

use hilum_core::{Principal, record};
use wasmtime::component::{ComponentType, Lift, Lower, Resource};

use crate::capability::Reader;
use crate::capability::bindings::hilum::plugin::types as raw;

/// `types.party`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Party<'a> {
    principal: &'a str,
    stakeholder: &'a str,
    zone: &'a str,
    roles: Vec<&'a str>,
}

impl<'a> From<&'a Principal> for Party<'a> {
    fn from(of: &'a Principal) -> Self {
        Self {
            principal: of.id.as_str(),
            stakeholder: of.stakeholder.as_str(),
            zone: of.zone.as_str(),
            roles: of.roles.iter().map(|role| role.as_str()).collect(),
        }
    }
}

/// `types.phase`.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Phase {
    #[component(name = "ingress")]
    Ingress,
    #[component(name = "egress")]
    Egress,
}

/// `types.context`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Context<'a> {
    pub(crate) flow: &'a str,
    pub(crate) class: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) phase: Phase,
    pub(crate) recipient: Option<Party<'a>>,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) source: Party<'a>,
}

/// `types.attribute`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
}

/// `types.head`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Head<'a> {
    offset: Option<u64>,
    time: u64,
    key: Option<&'a str>,
    #[component(name = "content-type")]
    content_type: &'a str,
    labels: Vec<&'a str>,
    attributes: Vec<Attribute<'a>>,
}

impl<'a> Head<'a> {
    pub(crate) fn new(of: &'a record::Head, offset: Option<record::Offset>) -> Self {
        let attribute = |of: &'a record::Attribute| Attribute { name: &of.name, value: &of.value };
        Self {
            offset: offset.map(|offset| offset.0),
            time: of.time.0,
            key: of.key.as_deref(),
            content_type: &of.content_type,
            labels: of.labels.iter().map(|label| label.as_str()).collect(),
            attributes: of.attributes.iter().map(attribute).collect(),
        }
    }
}

/// `types.body`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum Body<'a> {
    #[component(name = "inline")]
    Inline(&'a [u8]),
    #[component(name = "large")]
    Large(Resource<Reader>),
}

/// `types.message`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Message<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) body: Body<'a>,
}

/// `authorizer.request`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Request<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) size: u64,
    pub(crate) body: Resource<Reader>,
}

/// `transformer.outcome`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Outcome {
    #[component(name = "pass")]
    Pass,
    #[component(name = "annotate")]
    Annotate(Vec<raw::Attribute>),
    #[component(name = "replace")]
    Replace(raw::Draft),
    #[component(name = "split")]
    Split(Vec<raw::Draft>),
    #[component(name = "refuse")]
    Refuse(raw::Refusal),
}

/// `authorizer.obligation`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Obligation {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// `authorizer.decision`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Decision {
    #[component(name = "allow")]
    Allow,
    #[component(name = "allow-with")]
    AllowWith(Vec<Obligation>),
    #[component(name = "deny")]
    Deny(raw::Refusal),
}
