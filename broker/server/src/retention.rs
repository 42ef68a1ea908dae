//! Deletes what a hospital does not keep: by age, octets and count, and by key where a flow keeps only the newest of each.
//!
//! Each flow has a task that looks at it now and then, and sooner when it grows. What may go is decided in
//! [`hilum_core::retention`]; here it is done, a span at a time: audit, then large bodies, then entries. After a crash in between the
//! next look finds the entries and does it again, so nothing is left over. Nothing goes that is held by an operator, that a
//! subscription has not settled (unless the flow says otherwise), whose body is being read, or whose body the quarantine names.
//!
//! Retention of the audit log, of quarantines and of what pseudonyms stand for is by age only.

mod compact;
mod ledger;
mod pass;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::retention::Policy;
use hilum_core::{FlowName, LogName, Offset};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::broker::Shared;
use crate::config::Hospital;
use crate::deliver::Outlet;
use crate::flows::Flows;
use crate::ingest::Lane;

pub use ledger::{Ledger, Ledgers};
pub use pass::PassError;

/// How often a log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How soon a flow that grows is looked at again.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// How often operators are told that a subscription keeps a flow from being cut.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// The tasks of a running broker.
pub struct Retention {
    tasks: Vec<JoinHandle<()>>,
    stopping: watch::Sender<bool>,
    policies: Policies,
}

/// How long each log is kept. Another configuration puts others in their place.
#[derive(Clone, Default)]
pub(crate) struct Policies(Arc<RwLock<BTreeMap<LogName, Policy>>>);

impl Policies {
    /// As a configuration says it from now on.
    pub(crate) fn set(&self, hospital: &Hospital) {
        let by_age = |max_age| Policy { max_age, until_read: false, ..Policy::default() };
        let mut policies = BTreeMap::from([(LogName::Audit, by_age(hospital.audit_max_age))]);
        for (name, flow) in &hospital.flows {
            policies.insert(LogName::Flow(name.clone()), flow.retention);
            policies.insert(LogName::Quarantine(name.clone()), by_age(hospital.quarantine_max_age));
        }
        for (key, originals) in hospital.kept_keys() {
            policies.insert(LogName::Originals(key), by_age(originals.max_age));
        }
        *self.0.write() = policies;
    }

    fn of(&self, log: &LogName) -> Policy {
        self.0.read().get(log).copied().unwrap_or_default()
    }
}

impl Retention {
    /// Starts a task for each flow, and one for the audit log and what is kept for keys.
    #[must_use]
    pub fn start(shared: &Arc<Shared>, hospital: &Hospital, flows: &Flows) -> Self {
        let (stopping, stop) = watch::channel(false);
        let policies = Policies::default();
        policies.set(hospital);
        let mut tasks = Vec::new();
        let keeper = |log: LogName| Keeper::new(shared.clone(), log.clone(), policies.of(&log));
        for (name, flow) in &flows.by_name {
            let outlets = flow.outlets.values().map(|seat| seat.outlet.clone()).collect();
            let policy = policies.of(&LogName::Flow(name.clone()));
            let mut own = Keeper::of_flow(shared.clone(), name.clone(), policy, outlets);
            own.lane = Some(flow.lane.clone());
            let keepers = vec![own, keeper(LogName::Quarantine(name.clone()))];
            tasks.push(tokio::spawn(run(keepers, policies.clone(), stop.clone())));
        }
        // Also of keys of which nothing is kept: a reload may change that.
        let keys = hospital.keys.keys().filter_map(|name| name.parse().ok()).map(LogName::Originals);
        let others = std::iter::once(LogName::Audit).chain(keys).map(keeper).collect();
        tasks.push(tokio::spawn(run(others, policies.clone(), stop)));
        Self { tasks, stopping, policies }
    }

    /// How long logs are kept.
    pub(crate) fn policies(&self) -> Policies {
        self.policies.clone()
    }

    /// Comes back when nothing is deleted any more.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a retention task ended abnormally");
            }
        }
    }
}

/// Looks at the logs of one flow until the broker stops.
async fn run(mut keepers: Vec<Keeper>, policies: Policies, mut stop: watch::Receiver<bool>) {
    loop {
        for keeper in &mut keepers {
            keeper.policy = policies.of(&keeper.log);
            tokio::select! {
                looked = keeper.look() => if let Err(error) = looked {
                    let log = &keeper.log;
                    tracing::warn!(%log, %error, "retention could not do its work; it tries again");
                },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
        let ledger = keepers.iter().find_map(|keeper| keeper.ledger.clone());
        let grown = async {
            match &ledger {
                Some(ledger) => ledger.grown().await,
                None => std::future::pending().await,
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        };
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = grown => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Looks after one log.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    log: LogName,
    policy: Policy,
    outlets: Vec<Arc<Outlet>>,
    /// Of a flow that is open.
    lane: Option<Lane>,
    /// What a flow has; other logs have no ledger.
    ledger: Option<Arc<Ledger>>,
    /// Whether the ledger was counted.
    is_counted: bool,
    compacted: u64,
    /// Spans of which only what is held is left, by first offset: with the state of the holds at which that was so.
    swept: std::collections::HashMap<Offset, pass::Swept>,
    warned: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, log: LogName, policy: Policy) -> Self {
        Self {
            shared,
            log,
            policy,
            outlets: Vec::new(),
            lane: None,
            ledger: None,
            is_counted: true,
            compacted: 0,
            swept: std::collections::HashMap::new(),
            warned: None,
        }
    }

    pub(crate) fn of_flow(
        shared: Arc<Shared>,
        flow: FlowName,
        policy: Policy,
        outlets: Vec<Arc<Outlet>>,
    ) -> Self {
        let ledger = Some(shared.ledgers.of(&flow));
        Self { outlets, ledger, is_counted: false, ..Self::new(shared, LogName::Flow(flow), policy) }
    }

    /// The flow concerned; none for the audit log and for what is kept for a key.
    fn flow(&self) -> Option<&FlowName> {
        match &self.log {
            LogName::Flow(flow) | LogName::Quarantine(flow) | LogName::State(flow) => Some(flow),
            LogName::Audit | LogName::Control | LogName::Originals(_) => None,
        }
    }

    /// One look: counts what is not counted yet, cuts, compacts.
    pub(crate) async fn look(&mut self) -> Result<(), PassError> {
        if let Some(ledger) = &self.ledger {
            ledger.looked();
        }
        self.count().await?;
        if self.policy.is_limited() {
            self.cut().await?;
        }
        if self.policy.compact {
            self.compact().await?;
        }
        self.measure().await
    }
}
