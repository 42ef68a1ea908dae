//! `emit`: records that an `observe` plugin makes wait beside the call, and leave with the batch.

use hilum_core::{Attribute, FlowName};
use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::emit::{self, EmitError};
use super::bindings::hilum::plugin::types::{Body, Draft};
use crate::grants::Grant;
use crate::run::Emission;

impl emit::Host for Host {
    fn emit(&mut self, flow: String, made: Draft) -> Result<Result<(), EmitError>> {
        let Draft { key, content_type, attributes, body } = made;
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
        let heads: usize = attributes.iter().map(|of| of.name.len() + of.value.len()).sum();
        let octets = self.call.emitted_octets + body.len() + heads;
        if self.call.emitted.len() >= limits.emitted_records || octets > limits.emitted_octets {
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
