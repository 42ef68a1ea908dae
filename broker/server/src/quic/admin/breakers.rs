//! Stages that are left alone because their plugins fail on record after record, for operators.

use std::sync::Arc;

use hilum_core::audit::Action;
use hilum_core::canary::StagePlace;
use hilum_core::policy::Right;
use hilum_core::wire::admin::{BreakerPage, BreakerStatus, ListBreakers, Short};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{FlowName, PrincipalId, SubscriptionName};
use hilum_sandbox::OpenBreaker;

use super::Operator;
use super::life::page;
use crate::chains::Route;
use crate::deliver::Setup;
use crate::flows::Flow;

impl Operator<'_> {
    pub(super) async fn breakers(&mut self, list: ListBreakers) -> Result<BreakerPage, Refusal> {
        let permit = self.permit(Right::Inspect, None).await?;
        self.looks(&permit, Action::Inspected, "list of breakers".to_owned()).await?;
        let by_name = self.session.flows.by_name.iter();
        let flows = by_name.filter(|(name, _)| self.may(Right::Inspect, name));
        let chains: Vec<Chains> = flows.flat_map(|(name, flow)| chains(name, flow)).collect();
        let from = usize::try_from(list.from).unwrap_or(usize::MAX);
        // A reader's chain may be loading meanwhile, and that blocks.
        let listed =
            tokio::task::spawn_blocking(move || page(chains.iter().flat_map(Chains::open), from)).await;
        let (breakers, more) = listed.map_err(|error| {
            tracing::error!(%error, "breakers cannot be listed");
            Refusal::new(RefusalCode::Internal, "the breakers cannot be listed; the broker's log says why")
        })?;
        Ok(BreakerPage { breakers, more })
    }
}

/// The chains of one flow, or of one of its subscriptions.
struct Chains {
    flow: FlowName,
    of: Of,
}

enum Of {
    Flow(Arc<Route>),
    Subscription(SubscriptionName, Arc<Setup>),
}

fn chains(name: &FlowName, flow: &Flow) -> Vec<Chains> {
    let ingress = Of::Flow(flow.lane.route());
    let outlets = flow.outlets.iter();
    let egress = outlets.map(|(name, seat)| Of::Subscription(name.clone(), seat.outlet.setup()));
    std::iter::once(ingress).chain(egress).map(|of| Chains { flow: name.clone(), of }).collect()
}

impl Chains {
    /// What of them is open; blocks.
    fn open(&self) -> Vec<BreakerStatus> {
        match &self.of {
            Of::Flow(route) => self.of_route(None, None, route),
            Of::Subscription(name, setup) => {
                let routes = setup.chain.routes();
                routes
                    .iter()
                    .flat_map(|(reader, route)| self.of_route(Some(name), Some(reader), route))
                    .collect()
            }
        }
    }

    fn of_route(
        &self,
        subscription: Option<&SubscriptionName>,
        reader: Option<&PrincipalId>,
        route: &Route,
    ) -> Vec<BreakerStatus> {
        let status = |(is_trial, open): (bool, OpenBreaker)| {
            let OpenBreaker { stage, plugin, version, on, since, until, faults } = open;
            BreakerStatus {
                place: StagePlace { flow: self.flow.clone(), subscription: subscription.cloned(), stage },
                plugin: Short::new(&plugin),
                version: Short::new(&version),
                is_trial,
                reader: reader.cloned(),
                on,
                since,
                until,
                faults,
            }
        };
        route.open_breakers().into_iter().map(status).collect()
    }
}
