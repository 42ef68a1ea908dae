//! `emit`: records that an `observe` plugin makes wait beside the call, and leave with the batch.

use hilum_core::{Attribute, FlowName};
use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::emit::{self, EmitError};
use super::bindings::hilum::plugin::types::{Body, Draft};
use crate::grants::Grant;
use crate::limits::Limit;
use crate::run::Emission;

/// What an attribute takes up beside its name and value.
const ATTRIBUTE_OCTETS: usize = size_of::<Attribute>();

impl emit::Host for Host {
    fn emit(&mut self, flow: String, made: Draft) -> Result<Result<(), EmitError>> {
        let Draft { key, content_type, attributes, body } = made;
        let heads: usize =
            attributes.iter().map(|of| of.name.len() + of.value.len() + ATTRIBUTE_OCTETS).sum();
        let head = flow.len() + key.as_ref().map_or(0, String::len) + content_type.len() + heads;
        let inline = if let Body::Inline(octets) = &body { octets.len() } else { 0 };
        self.call.enter(head + inline)?;
        let granted =
            FlowName::new(&flow).ok().filter(|flow| self.place.grants.has(&Grant::Emit(flow.clone())));
        let body = match body {
            Body::Inline(octets) => octets,
            Body::Large(reader) => {
                self.table.delete(reader)?;
                return Ok(Err(EmitError::Other("an emitted body has to be inline".into())));
            }
        };
        let Some(granted) = granted else {
            return Ok(Err(EmitError::NotGranted(flow)));
        };
        let limits = &self.place.limits;
        let octets = self.call.emitted_octets + body.len() + head;
        if self.call.emitted.len() >= limits.emitted_records {
            self.call.cut(Limit::EmittedRecords, limits.emitted_records as u64);
            return Ok(Err(EmitError::Full));
        }
        if octets > limits.emitted_octets {
            self.call.cut(Limit::EmittedOctets, limits.emitted_octets as u64);
            return Ok(Err(EmitError::Full));
        }
        self.call.emitted_octets = octets;
        let attributes =
            attributes.into_iter().map(|of| Attribute { name: of.name, value: of.value }).collect();
        let stage = self.place.stage.clone();
        let emission = Emission { stage, flow: granted, key, content_type, attributes, body: body.into() };
        self.call.emitted.push(emission);
        Ok(Ok(()))
    }
}
