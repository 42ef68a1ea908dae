//! Flows and their subscriptions, for operators: how they stand, and pausing, resuming and seeking.

use std::ops::Bound;

use hilum_core::audit::Action;
use hilum_core::limits::ADMIN_PAGE_ITEMS_MAX;
use hilum_core::policy::{OperatorPermit, Right};
use hilum_core::wire::admin::{
    FlowPage, FlowStatus, ListFlows, ListSubscriptions, SeekSubscription, Short, SubscriptionId,
    SubscriptionPage, SubscriptionStatus,
};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{FlowName, LogName, Offset, SubscriptionName};

use super::{Operator, unavailable};
use crate::deliver::{Outlet, OutletError};
use crate::flows::Seat;

impl Operator<'_> {
    pub(super) async fn flows(&mut self, list: ListFlows) -> Result<FlowPage, Refusal> {
        let permit = self.permit(Right::Inspect, None).await?;
        self.looks(&permit, Action::Inspected, "list of flows".to_owned()).await?;
        let after = list.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.session.flows.by_name.range::<FlowName, _>((after, Bound::Unbounded));
        let names: Vec<&FlowName> =
            range.map(|(name, _)| name).filter(|name| self.may(Right::Inspect, name)).collect();
        let more = names.len() > ADMIN_PAGE_ITEMS_MAX;
        let mut flows = Vec::new();
        for flow in names.into_iter().take(ADMIN_PAGE_ITEMS_MAX) {
            flows.push(self.flow_status(flow).await);
        }
        Ok(FlowPage { flows, more })
    }

    pub(super) async fn subscriptions(
        &mut self,
        list: ListSubscriptions,
    ) -> Result<SubscriptionPage, Refusal> {
        let permit = self.permit(Right::Inspect, Some(&list.flow)).await?;
        self.looks(&permit, Action::Inspected, "list of subscriptions".to_owned()).await?;
        let after = list.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let outlets = self.session.flows.by_name.get(&list.flow).map(|flow| &flow.outlets);
        let range =
            outlets.into_iter().flat_map(|all| all.range::<SubscriptionName, _>((after, Bound::Unbounded)));
        let seats: Vec<&Seat> = range.map(|(_, seat)| seat).take(ADMIN_PAGE_ITEMS_MAX + 1).collect();
        let more = seats.len() > ADMIN_PAGE_ITEMS_MAX;
        let mut subscriptions = Vec::new();
        for seat in seats.into_iter().take(ADMIN_PAGE_ITEMS_MAX) {
            let outlet = &seat.outlet;
            let status = outlet.status().await.map_err(|error| failed(outlet, &error))?;
            subscriptions.push(SubscriptionStatus {
                subscription: outlet.subscription.clone(),
                cursor: status.cursor,
                lag: status.lag,
                oldest_milliseconds: status
                    .oldest
                    .map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
                in_flight: status.in_flight as u64,
                put_off: status.put_off as u64,
                readers: status.readers as u64,
                paused: status.paused,
            });
        }
        Ok(SubscriptionPage { subscriptions, more })
    }

    pub(super) async fn pause(&self, id: SubscriptionId) -> Result<(), Refusal> {
        let (permit, outlet) = self.outlet(&id).await?;
        let paused = outlet.pause(&self.note, &permit.principal().id).await;
        self.decided(&id.flow, paused).await
    }

    pub(super) async fn resume(&self, id: SubscriptionId) -> Result<(), Refusal> {
        let (permit, outlet) = self.outlet(&id).await?;
        let resumed = outlet.resume(&permit.principal().id).await;
        self.decided(&id.flow, resumed).await
    }

    pub(super) async fn seek(&self, seek: SeekSubscription) -> Result<Offset, Refusal> {
        let (permit, outlet) = self.outlet(&seek.of).await?;
        let sought = outlet.seek(seek.to, &permit.principal().id, &self.note).await;
        sought.map_err(|error| failed(outlet, &error))
    }

    async fn outlet(&self, id: &SubscriptionId) -> Result<(OperatorPermit, &Outlet), Refusal> {
        let permit = self.permit(Right::Subscriptions, Some(&id.flow)).await?;
        let flow = self.session.flows.by_name.get(&id.flow);
        let seat = flow.and_then(|flow| flow.outlets.get(&id.subscription)).ok_or_else(|| {
            let reason = format!("flow `{}` has no subscription `{}`", id.flow, id.subscription);
            Refusal::new(RefusalCode::UnknownSubscription, &reason)
        })?;
        Ok((permit, &seat.outlet))
    }

    /// A flow whose log is damaged is shown too, and with what is wrong with it.
    async fn flow_status(&self, flow: &FlowName) -> FlowStatus {
        let shared = &self.session.flows.shared;
        let log = LogName::Flow(flow.clone());
        let (bounds, usage) = (shared.log.bounds(&log).await, shared.log.usage(&log).await);
        let fault = bounds.as_ref().err().or(usage.as_ref().err()).map(|error| {
            tracing::warn!(%flow, %error, "a flow cannot be shown whole to an operator");
            // The broker's own log has the paths.
            Short::new("its log cannot be read to the end; the broker's log says why")
        });
        let bounds = bounds.unwrap_or_default();
        let quarantine = shared.quarantine.usage(flow);
        FlowStatus {
            flow: flow.clone(),
            start: Offset(bounds.start),
            end: Offset(bounds.end),
            octets: usage.unwrap_or_default().octets,
            quarantined: quarantine.records,
            quarantine_octets: quarantine.octets,
            quarantine_octets_max: shared.quarantine.octets_max(),
            fault,
        }
    }
}

fn failed(outlet: &Outlet, error: &OutletError) -> Refusal {
    let (flow, subscription) = (&outlet.flow, &outlet.subscription);
    tracing::error!(%flow, %subscription, %error, "a subscription cannot be operated");
    unavailable("the subscription cannot be read or moved; the broker's log says why")
}
