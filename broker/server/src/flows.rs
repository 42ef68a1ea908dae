//! The flows of a running broker: for each one its lane in and its outlets out.

use std::collections::BTreeMap;
use std::sync::Arc;

use hilum_core::policy::Policy;
use hilum_core::{FlowName, Principal, PrincipalId, StageName, SubscriptionName};
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, oneshot, watch};

use crate::broker::Shared;
use crate::config::Hospital;
use crate::deliver::Outlet;
use crate::ingest::Lane;
use crate::reload::Reloader;

/// What sessions need to know of the hospital while the broker runs.
pub struct Flows {
    /// What every part shares.
    pub shared: Arc<Shared>,
    /// All flows.
    pub by_name: BTreeMap<FlowName, Flow>,
    /// Octets of a large body.
    pub body_octets_max: u64,
    /// Who may do what. Another configuration puts other rules in their place.
    rules: watch::Sender<Arc<Rules>>,
    /// Takes another configuration.
    pub(crate) reloader: Reloader,
}

/// Who may do what.
#[derive(Debug, Default)]
pub struct Rules {
    /// Who may publish, read and operate.
    pub policy: Policy,
    /// Who may connect, by SPIFFE ID.
    pub principals: BTreeMap<PrincipalId, Arc<Principal>>,
    /// As whom stages emit.
    pub emitters: BTreeMap<(FlowName, StageName), Arc<Principal>>,
}

impl Rules {
    /// What a configuration says.
    #[must_use]
    pub fn of(hospital: &Hospital) -> Self {
        let emitters = hospital.stages().filter_map(|(flow, stage)| {
            Some(((flow.name.clone(), stage.stage.clone()), stage.emits_as.clone()?))
        });
        let emitters = emitters.collect();
        Self { policy: hospital.policy(), principals: hospital.principals(), emitters }
    }
}

impl Flows {
    /// The flows of a broker that begins with these rules.
    pub(crate) fn new(
        shared: Arc<Shared>,
        by_name: BTreeMap<FlowName, Flow>,
        body_octets_max: u64,
        rules: Rules,
        reloader: Reloader,
    ) -> Self {
        Self { shared, by_name, body_octets_max, rules: watch::Sender::new(Arc::new(rules)), reloader }
    }

    /// Who may do what now.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Changes when other rules are in their place, and when subscriptions were set up in another way.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// Holds everybody to other rules.
    pub(crate) fn set_rules(&self, rules: Rules) {
        self.rules.send_replace(Arc::new(rules));
    }
}

/// One flow.
pub struct Flow {
    /// The way in.
    pub lane: Lane,
    /// The ways out.
    pub outlets: BTreeMap<SubscriptionName, Seat>,
}

/// An outlet has one reader at a time, unless it is shared. The newest one wins: a reader that comes back after its connection
/// broke would otherwise have to wait until the broker notices that the old connection is gone.
pub struct Seat {
    /// The subscription.
    pub outlet: Arc<Outlet>,
    taken: Arc<tokio::sync::Mutex<()>>,
    leave: Mutex<Option<oneshot::Sender<()>>>,
}

/// A reader's place at an outlet, until it is dropped.
pub struct Seated {
    /// None where nobody asks: readers of a shared outlet do not take each other's place.
    leave: Option<oneshot::Receiver<()>>,
    is_asked: bool,
    _taken: Option<OwnedMutexGuard<()>>,
}

impl Seated {
    /// Comes when another reader wants the place, however often it is asked. Losing this future loses nothing.
    pub async fn asked_to_leave(&mut self) {
        if self.is_asked {
            return;
        }
        match &mut self.leave {
            Some(leave) => {
                // An error says that the seat itself is gone.
                let _ = leave.await;
                self.is_asked = true;
            }
            None => std::future::pending().await,
        }
    }
}

impl Seat {
    /// An outlet without a reader.
    #[must_use]
    pub fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet, taken: Arc::default(), leave: Mutex::default() }
    }

    /// Asks the present reader to leave and takes its place when it is gone; takes a place beside the others where the outlet is
    /// shared.
    pub async fn take(&self) -> Seated {
        if self.outlet.setup().settings.rules.shared {
            return Seated { leave: None, is_asked: false, _taken: None };
        }
        let (ask, leave) = oneshot::channel();
        if let Some(present) = self.leave.lock().replace(ask) {
            // A reader that left by itself does not listen any more.
            let _ = present.send(());
        }
        let taken = self.taken.clone().lock_owned().await;
        Seated { leave: Some(leave), is_asked: false, _taken: Some(taken) }
    }
}
