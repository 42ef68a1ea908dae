//! What plugins keep, for operators: how much, and, for who may see bodies, what.

use std::sync::Arc;

use hilum_core::FlowName;
use hilum_core::audit::Action;
use hilum_core::limits::{ADMIN_PAGE_ITEMS_MAX, FRAME_OCTETS_MAX};
use hilum_core::policy::Right;
use hilum_core::wire::admin::{ListStates, ReadValues, StatePage, StateStatus, StateValue, ValuePage};
use hilum_core::wire::{Refusal, RefusalCode};

use super::Operator;
use crate::state::{FlowState, StageStatus};

/// Octets of the values of one page, beside the last of them: with what stands around them they fit a frame.
const PAGE_OCTETS: usize = FRAME_OCTETS_MAX / 2;

impl Operator<'_> {
    pub(super) async fn states(&mut self, list: ListStates) -> Result<StatePage, Refusal> {
        let permit = self.permit(Right::Inspect, Some(&list.flow)).await?;
        self.looks(&permit, Action::Inspected, "list of what plugins keep".to_owned()).await?;
        let mut stages = self.state_of(&list.flow).list();
        stages.retain(|status| list.after.as_ref().is_none_or(|after| status.stage > *after));
        let more = stages.len() > ADMIN_PAGE_ITEMS_MAX;
        stages.truncate(ADMIN_PAGE_ITEMS_MAX);
        Ok(StatePage { stages: stages.into_iter().map(status).collect(), more })
    }

    pub(super) async fn values(&mut self, read: ReadValues) -> Result<ValuePage, Refusal> {
        let ReadValues { flow, stage, after } = read;
        let permit = self.permit(Right::Bodies, Some(&flow)).await?;
        self.looks(&permit, Action::Disclosed, format!("what stage `{stage}` keeps")).await?;
        let values = self.state_of(&flow).values(&stage, after.as_deref(), ADMIN_PAGE_ITEMS_MAX, PAGE_OCTETS);
        let values = values.ok_or_else(|| {
            let reason = format!("stage `{stage}` of flow `{flow}` keeps nothing and never did");
            Refusal::new(RefusalCode::NotFound, &reason)
        })?;
        let value = |(key, value): (String, hilum_core::state::Value)| StateValue {
            key,
            version: value.version,
            octets: value.octets,
        };
        Ok(ValuePage { values: values.into_iter().map(value).collect() })
    }

    /// Only after policy has permitted it: of a flow that does not exist there would be one for ever.
    fn state_of(&self, flow: &FlowName) -> Arc<FlowState> {
        self.session.flows.shared.states.of(flow)
    }
}

fn status(status: StageStatus) -> StateStatus {
    let StageStatus { stage, usage, through, emitted, pending } = status;
    StateStatus { stage, keys: usage.keys, octets: usage.octets, through, emitted, pending }
}
