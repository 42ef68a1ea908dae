//! The flows of a running broker: for each one its lane in and its outlets out.

use std::collections::BTreeMap;
use std::sync::Arc;

use hilum_core::policy::Policy;
use hilum_core::{FlowName, Principal, PrincipalId, SubscriptionName};
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::broker::Shared;
use crate::deliver::Outlet;
use crate::ingest::Lane;

/// What sessions need to know of the hospital while the broker runs.
pub struct Flows {
    /// What every part shares.
    pub shared: Arc<Shared>,
    /// Who may do what.
    pub policy: Policy,
    /// Who may connect, by SPIFFE ID.
    pub principals: BTreeMap<PrincipalId, Arc<Principal>>,
    /// All flows.
    pub by_name: BTreeMap<FlowName, Flow>,
    /// Octets of a large body.
    pub body_octets_max: u64,
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
        if self.outlet.settings.rules.shared {
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
