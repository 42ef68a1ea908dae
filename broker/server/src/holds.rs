//! Legal holds, for operators: place, release, list.

use std::sync::Arc;

use hilum_core::PrincipalId;
use hilum_core::control::{Decision, Hold, HoldId, HoldScope};

use crate::broker::Shared;
use crate::control::DecideError;

/// The legal holds of a running broker.
#[derive(Clone)]
pub struct Holds {
    shared: Arc<Shared>,
}

impl Holds {
    /// Those of a broker.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Suspends deletion in a scope. When this comes back the hold is durable, and nothing in its scope is deleted any more.
    /// Whether the flow exists is for the caller to check: a hold may outlive its flow's configuration.
    pub async fn add(&self, scope: HoldScope, reason: &str, by: &PrincipalId) -> Result<Hold, DecideError> {
        match self.shared.decide(|state, now| state.hold(scope, reason, by, now)).await? {
            Decision::Hold(hold) => Ok(hold),
            _ => unreachable!("a hold was decided"),
        }
    }

    /// Releases a hold. What other holds lie on stays.
    pub async fn remove(&self, id: HoldId, by: &PrincipalId) -> Result<(), DecideError> {
        self.shared.decide(|state, now| state.release(id, by, now)).await.map(drop)
    }

    /// All holds, in the order in which they were placed.
    #[must_use]
    pub fn list(&self) -> Vec<Hold> {
        self.shared.control.holds()
    }
}
