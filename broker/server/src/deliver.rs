//! A record's way out of a flow: read, policy, chain, deliver.
//!
//! An [`Outlet`] is one subscription of a running broker. It turns stored records into deliveries, a batch at a time; the
//! sessions of the readers that are attached ask for them as their credit allows and pass on what the readers answer. Which
//! record a reader gets is decided by [`Deliveries`], and read by `read`. For each one of these happens, and each leaves an
//! audit event before the reader gets anything:
//!
//! - *delivered*: policy permits the reader what is left of the record's labels, and the chain's receipt proves its run;
//! - *withheld*: a plugin refused it for this reader, or the reader is not cleared for it;
//! - *quarantined*: a plugin failed on it;
//! - *expired*: its time is over.
//!
//! What goes on without a reader is the work of the `keeper`: deliveries that lapse, `dead_letter`s, keeping the `progress`.

mod dead_letter;
pub(crate) mod keeper;
mod operate;
mod progress;
mod read;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use hilum_core::audit::{Action, Event};
use hilum_core::delivery::{Claim, Counts, Deliveries, Progress, ReaderId};
use hilum_core::entry::EntryError;
use hilum_core::policy::ReadPermit;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{BlobId, Body, ChainRun, Delivered, Stored};
use hilum_core::wire::{Credit, record_octets};
use hilum_core::{Digest, FlowName, Head, LogName, Offset, Principal, ReasonCode, SubscriptionName, limits};
use hilum_sandbox::{BatchRun, ChainError, Failure, Input, Ran};
use hilum_store::{AppendError, Durability, MetaError, ReadError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OnceCell, watch};

use crate::broker::{About, Shared};
use crate::chains::{Drawn, EgressChain, Route, Whose, slot};
use crate::config::{DeliveryConfig, Start};
use crate::control::DecideError;
use crate::ingest::Lane;
use crate::memory::Account;
use crate::permits::Permits;
use crate::telemetry::DeliverySpan;

pub use operate::Status;
use progress::{FlowEnd, Kept};
use read::Claimed;
use state::State;

/// What a subscription has for itself of what may be under way: what one reader gets at once, read and run through the chain.
pub const BATCH_OCTETS: u64 = read::CLAIM_OCTETS_MAX + limits::INLINE_BODY_OCTETS_MAX as u64;

/// What a delivery holds beside its octets until it is sent: its head as it was read, its receipt, the encoded frame.
const DELIVERY_OCTETS: u64 = 1024;

/// One subscription of a running broker.
pub struct Outlet {
    /// What every part shares.
    pub shared: Arc<Shared>,
    /// The flow it reads.
    pub flow: FlowName,
    /// Its name.
    pub subscription: SubscriptionName,
    /// How it delivers. Another configuration puts another one in its place.
    setup: RwLock<Arc<Setup>>,
    /// The end of the flow.
    pub tail: watch::Receiver<Offset>,
    /// What is behind the end is damaged: readers who come there hear of it.
    is_damaged: bool,
    /// What is kept of the subscription is held against this.
    found: FlowEnd,
    /// Where readers take what they hold of it.
    pub(crate) memory: Account,
    /// What is under way and where it stands, when that is known.
    state: OnceCell<State>,
    /// The records that this process put into quarantine: what is judged again, because what followed failed, must not fill
    /// the quarantine with copies.
    quarantined: Mutex<BTreeSet<Offset>>,
}

/// How a subscription delivers.
pub struct Setup {
    /// Its egress chain.
    pub chain: Arc<EgressChain>,
    /// Its own settings.
    pub settings: DeliveryConfig,
}

/// Why a subscription cannot go on. The reader is told to come back; operators find the cause in the log.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The log cannot be read.
    #[error("the flow's log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// An entry is not what this build writes.
    #[error("offset {0}: {1}")]
    Entry(Offset, EntryError),
    /// The cursor cannot be read.
    #[error("the cursor cannot be read: {0}")]
    Cursor(#[from] MetaError),
    /// Audit or quarantine cannot be written, so nothing may be delivered.
    #[error("the audit or quarantine cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The chain does not load for this reader.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain's worker ended abnormally.
    #[error("the chain's worker ended abnormally")]
    Worker,
    /// What a plugin failed on cannot be put into quarantine.
    #[error("the flow's quarantine is full: an operator has to release or destroy records there")]
    QuarantineFull,
    /// Its beginning cannot be written down.
    #[error("where the subscription begins cannot be written down: {0}")]
    Begin(#[from] DecideError),
}

/// What became of some records.
#[derive(Default)]
pub struct Batch {
    /// How many there were; none where the reader may get nothing now.
    pub records: usize,
    /// Those that are delivered, in order.
    pub deliveries: Vec<Prepared>,
}

impl Batch {
    /// Octets of the bodies and heads that are in memory until they are sent.
    #[must_use]
    pub fn octets(&self) -> u64 {
        let of = |part: &Delivered| {
            let inline = if let Body::Inline(octets) = part.body() { octets.len() } else { 0 };
            DELIVERY_OCTETS + record_octets(part.head(), inline)
        };
        self.deliveries.iter().flat_map(|delivery| &delivery.parts).map(of).sum()
    }
}

/// A record that is ready for its reader.
pub struct Prepared {
    /// It is under way by this claim.
    pub claim: Claim,
    /// What the chain made of it, in order; one part or more.
    pub parts: Vec<Delivered>,
    /// Large bodies that the chain made for this delivery alone.
    pub made: Vec<BlobId>,
}

/// A record with what its chain made of it.
struct Judged {
    stored: Stored,
    result: Result<Ran, Failure>,
    span: Option<DeliverySpan>,
}

/// What a batch leaves in audit and quarantine.
#[derive(Default)]
struct Trail {
    audit: Vec<Event>,
    quarantine: Vec<Quarantined>,
    withheld: u64,
    /// Claims of those that the reader does not get, for good.
    settled: Vec<Claim>,
    /// The stage and code of the first of those withheld, for operators: no words of a plugin.
    first: Option<String>,
    /// Large bodies that the chain made in vain.
    unused: Vec<BlobId>,
    /// By which plans the delivered ones were made: two where a plugin is tried.
    plans: Vec<Digest>,
    /// By which policies they passed.
    permits: Permits,
}

impl Outlet {
    /// A subscription of the flow of `lane`.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        lane: &Lane,
        subscription: SubscriptionName,
        chain: impl Into<Arc<EgressChain>>,
        settings: DeliveryConfig,
    ) -> Self {
        let (state, quarantined) = (OnceCell::new(), Mutex::default());
        let memory = shared.memory.account(BATCH_OCTETS);
        let (flow, tail, is_damaged) = (lane.flow().clone(), lane.tail(), lane.is_damaged());
        let end = *tail.borrow();
        let found = match lane.durability() {
            _ if is_damaged => FlowEnd::Unknown,
            Durability::Memory => FlowEnd::Moving(end),
            Durability::Fsynced => FlowEnd::Fixed(end),
        };
        Self {
            shared,
            flow,
            subscription,
            setup: RwLock::new(Arc::new(Setup { chain: chain.into(), settings })),
            tail,
            is_damaged,
            found,
            memory,
            state,
            quarantined,
        }
    }

    /// How it delivers now.
    #[must_use]
    pub fn setup(&self) -> Arc<Setup> {
        self.setup.read().clone()
    }

    /// Delivers in another way from the next batch on; gives the way that it was. What is under way ends as it began. Readers have to ask
    /// for their chain again.
    pub(crate) async fn set_up(&self, setup: Setup) -> Arc<Setup> {
        let setup = Arc::new(setup);
        let before = std::mem::replace(&mut *self.setup.write(), setup.clone());
        let Some(state) = self.state.get() else { return before };
        // What was read ahead was chosen by the old filter.
        let mut ahead = state.ahead.lock().await;
        ahead.records.clear();
        ahead.through = state.look(Deliveries::next_offset);
        drop(ahead);
        state.change(|it, _| it.set_rules(setup.settings.rules.clone()));
        before
    }

    /// What is under way and where the subscription stands; found out when it is asked for first.
    async fn state(&self) -> Result<&State, OutletError> {
        self.state.get_or_try_init(|| self.open()).await
    }

    /// Finds out where the subscription stands, and keeps that.
    pub(crate) async fn recall(&self) -> Result<(), OutletError> {
        self.state().await.map(drop)
    }

    async fn open(&self) -> Result<State, OutletError> {
        let end = Offset(self.bounds().await?.end);
        let (mut kept, found) =
            Kept::load(&*self.shared.meta, &self.flow, &self.subscription, self.found).await?;
        let progress = match found {
            Some(progress) => progress,
            None => Progress::from(self.beginning(end).await?),
        };
        // At once: what is kept may be of a log that is gone, and would be believed when this one has grown past it.
        kept.write(&*self.shared.meta, &progress).await?;
        Ok(State::new(Deliveries::new(self.setup().settings.rules.clone(), &progress), kept))
    }

    /// Where the subscription begins if nothing is kept of it: it may be new, or what was kept was lost.
    async fn beginning(&self, end: Offset) -> Result<Offset, OutletError> {
        match self.setup().settings.start {
            Start::Earliest => Ok(Offset(0)),
            Start::Time(time) => self.first_at(time).await,
            Start::Latest => {
                let shared = &self.shared;
                Ok(shared.begin_subscription(&self.flow, &self.subscription, end).await?.min(end))
            }
        }
    }

    /// A reader comes.
    pub async fn join(&self) -> Result<ReaderId, OutletError> {
        Ok(self.state().await?.change(|it, _| it.join()))
    }

    /// A reader goes; `in_order` where it said goodbye or was sent away. When this comes back, what it answered is kept.
    pub async fn leave(&self, reader: ReaderId, in_order: bool) {
        if let Some(state) = self.state.get() {
            state.change(|it, now| it.leave(reader, in_order, now));
            self.keep(state).await;
        }
    }

    /// The lowest offset that is not settled.
    pub async fn cursor(&self) -> Result<Offset, OutletError> {
        Ok(self.state().await?.look(Deliveries::cursor))
    }

    /// How much is under way, and by how many readers.
    pub async fn counts(&self) -> Result<Counts, OutletError> {
        Ok(self.state().await?.look(Deliveries::counts))
    }

    /// Changes when a reader may get something that it could not before, but for what is new in the flow.
    pub async fn news(&self) -> Result<watch::Receiver<u64>, OutletError> {
        Ok(self.state().await?.news.subscribe())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Deliveries, u64) -> T) -> Option<T> {
        self.state.get().map(|state| state.change(change))
    }

    /// Claimed records are on their way; those whose claim does not stand any more are not to be sent. Whether it stands.
    #[must_use]
    pub fn sent(&self, claim: Claim) -> bool {
        self.change(|it, now| it.sent(claim, now)).unwrap_or(false)
    }

    /// The reader is done with records. Late answers change nothing.
    pub fn settle(&self, claims: &[Claim]) {
        self.change(|it, now| {
            for claim in claims {
                // An answer that comes too late is none.
                let _ = it.settle(*claim, now);
            }
        });
    }

    /// The reader does not take records now.
    pub fn nak(&self, claims: &[Claim], delay: Option<u64>) {
        self.change(|it, now| {
            for claim in claims {
                // An answer that comes too late is none.
                let _ = it.nak(*claim, delay, now);
            }
        });
    }

    /// The reader still works on records.
    pub fn extend(&self, claims: &[Claim]) {
        self.change(|it, now| {
            for claim in claims {
                // An answer that comes too late is none.
                let _ = it.extend(*claim, now);
            }
        });
    }

    /// The reader never wants to see records again: that is in the audit before they count as settled.
    pub async fn terminate(
        &self,
        permit: &ReadPermit,
        claims: &[Claim],
        reason: &ReasonCode,
    ) -> Result<(), OutletError> {
        let state = self.state().await?;
        let standing =
            state.look(|it| claims.iter().copied().filter(|c| it.is_current(*c)).collect::<Vec<_>>());
        let now = self.shared.now();
        let event = |claim: &Claim| {
            self.about(permit, Some(claim.offset)).event(now, Action::Terminated, reason.to_string())
        };
        self.shared.audit(standing.iter().map(event).collect()).await?;
        self.shared.instruments.terminated(&self.flow, &self.subscription, standing.len() as u64);
        self.settle(&standing);
        Ok(())
    }

    /// The chain that tells its plugins that `reader` receives.
    pub async fn chain_for(&self, reader: &Arc<Principal>) -> Result<Arc<Route>, OutletError> {
        let setup = self.setup();
        if setup.chain.plan().stages().is_empty() {
            return Ok(setup.chain.for_reader(reader)?);
        }
        let reader = reader.clone();
        let loaded = tokio::task::spawn_blocking(move || setup.chain.for_reader(&reader)).await;
        Ok(loaded.map_err(|_| OutletError::Worker)??)
    }

    /// Claims what `reader` may get and has `room` for, records and octets, and prepares it; nothing where there is nothing now. `route` is the
    /// reader's own, see [`Outlet::chain_for`]. After an error the reader has to leave: that gives back what it claimed.
    pub async fn next(
        &self,
        permit: &ReadPermit,
        route: &Arc<Route>,
        reader: ReaderId,
        room: Credit,
    ) -> Result<Batch, OutletError> {
        if self.is_paused() {
            return Ok(Batch::default());
        }
        let state = self.state().await?;
        let claimed = self.claim(state, reader, room).await?;
        let records = claimed.len();
        let mut trail = Trail::default();
        let claimed = self.leave_out_expired(permit, claimed, &mut trail);
        let (claims, stored): (Vec<_>, Vec<_>) =
            claimed.into_iter().map(|one| (one.claim, one.stored)).unzip();
        let mut deliveries = Vec::with_capacity(claims.len());
        for (claim, judged) in claims.into_iter().zip(self.judge(route, stored).await?) {
            match self.conclude(permit, route, claim, judged, &mut trail) {
                Some(prepared) => deliveries.push(prepared),
                None => trail.settled.push(claim),
            }
        }
        self.release(std::mem::take(&mut trail.unused)).await;
        let settled = std::mem::take(&mut trail.settled);
        match self.write(permit, &deliveries, trail).await {
            Ok(()) => {
                if !settled.is_empty() {
                    self.settle(&settled);
                }
                Ok(Batch { records, deliveries })
            }
            Err(error) => {
                self.release(deliveries.into_iter().flat_map(|prepared| prepared.made)).await;
                Err(error)
            }
        }
    }

    /// What is over is not delivered any more, and settled.
    fn leave_out_expired(
        &self,
        permit: &ReadPermit,
        claimed: Vec<Claimed>,
        trail: &mut Trail,
    ) -> Vec<Claimed> {
        let now = self.shared.now();
        let is_over = |one: &Claimed| one.stored.envelope().head.expires.is_some_and(|end| end <= now);
        if !claimed.iter().any(is_over) {
            return claimed;
        }
        let (expired, left): (Vec<_>, Vec<_>) = claimed.into_iter().partition(is_over);
        for Claimed { claim, .. } in &expired {
            let about = self.about(permit, Some(claim.offset));
            trail.audit.push(about.event(now, Action::Expired, "its time was over before it was delivered"));
            trail.settled.push(*claim);
        }
        self.shared.instruments.expired(&self.flow, &self.subscription, expired.len() as u64);
        left
    }

    /// Runs the egress chain over a batch, away from the async workers.
    async fn judge(&self, route: &Arc<Route>, stored: Vec<Stored>) -> Result<Vec<Judged>, OutletError> {
        let (flow, subscription) = (self.flow.clone(), self.subscription.clone());
        if route.plan().stages().is_empty() || stored.is_empty() {
            let judged = judge(route, stored, &flow, &subscription, |route, stored, _| {
                stored.iter().map(|record| Ok(untouched(route, record))).collect()
            });
            return Ok(judged);
        }
        let (started, shared, through) = (Instant::now(), self.shared.clone(), route.clone());
        let work = move || {
            judge(&through, stored, &flow, &subscription, |route, stored, spans| {
                let whose = Whose { shared: &shared, flow: &flow, subscription: Some(&subscription) };
                let input = |at: usize| input(&stored[at], spans[at].as_ref());
                // The configuration lets no egress stage emit.
                let BatchRun { records, emitted: _ } =
                    route.run(whose, stored.len(), input, |at| drawn(&stored[at]));
                records
            })
        };
        let judged = slot::run(&self.shared.chain_slots, work).await.map_err(|_| OutletError::Worker);
        route.settle(&self.shared).await;
        let judged = judged?;
        let seconds = started.elapsed().as_secs_f64();
        self.shared.instruments.chain_seconds(&self.flow, Some(&self.subscription), seconds);
        Ok(judged)
    }

    /// Decides about one record: the parts to deliver, or none and why in the trail.
    fn conclude(
        &self,
        permit: &ReadPermit,
        route: &Route,
        claim: Claim,
        judged: Judged,
        trail: &mut Trail,
    ) -> Option<Prepared> {
        let Judged { stored, result, mut span } = judged;
        let ran = match result {
            Ok(ran) => ran,
            Err(failure) => {
                self.stopped(permit, &stored, &failure, span, trail);
                return None;
            }
        };
        for obligation in &ran.obligations {
            if trail.permits.count(&permit.principal().id, obligation) {
                continue;
            }
            let reason = format!("stage `{}`: {}={}", obligation.stage, obligation.name, obligation.value);
            trail.audit.push(self.about(permit, Some(stored.offset())).event(
                self.shared.now(),
                Action::Obliged,
                reason,
            ));
        }
        let made = made(&ran.run, &stored);
        let plan = route.plan_of(&ran.run);
        match stored.deliver(permit, plan, ran.run) {
            Ok(mut parts) => {
                if !trail.plans.contains(&plan.digest()) {
                    trail.plans.push(plan.digest());
                }
                if let Some(span) = span.take() {
                    parts.iter_mut().for_each(|part| part.set_trace(span.context()));
                    span.end(None);
                }
                Some(Prepared { claim, made, parts })
            }
            Err(error) => {
                trail.unused.extend(made);
                let reason = error.to_string();
                self.withhold(permit, &stored, (reason.clone(), reason), span, trail);
                None
            }
        }
    }

    fn stopped(
        &self,
        permit: &ReadPermit,
        stored: &Stored,
        failure: &Failure,
        span: Option<DeliverySpan>,
        trail: &mut Trail,
    ) {
        let is_decision = matches!(failure, Failure::Refused { .. });
        let (stage, code, reason) =
            (failure.stage().clone(), failure.code().to_owned(), failure.reason().to_owned());
        let text = format!("stage `{stage}`: {code}: {reason}");
        let brief = format!("stage `{stage}`: {code}");
        if is_decision {
            return self.withhold(permit, stored, (text, brief), span, trail);
        }
        let cause = Cause { stage: Some(stage), code, reason };
        trail.audit.push(self.about(permit, Some(stored.offset())).event(
            self.shared.now(),
            Action::Quarantined,
            text,
        ));
        if !self.quarantined.lock().contains(&stored.offset()) {
            let quarantined =
                Quarantined::at_egress(stored, self.subscription.clone(), cause, self.shared.now());
            trail.quarantine.push(quarantined);
        }
        trail.count(span, brief);
    }

    fn withhold(
        &self,
        permit: &ReadPermit,
        stored: &Stored,
        (reason, brief): (String, String),
        span: Option<DeliverySpan>,
        trail: &mut Trail,
    ) {
        trail.audit.push(self.about(permit, Some(stored.offset())).event(
            self.shared.now(),
            Action::Withheld,
            reason,
        ));
        trail.count(span, brief);
    }

    /// Makes audit and quarantine durable, before the reader gets anything.
    async fn write(
        &self,
        permit: &ReadPermit,
        deliveries: &[Prepared],
        mut trail: Trail,
    ) -> Result<(), OutletError> {
        if let (Some(first), Some(last)) = (deliveries.first(), deliveries.last()) {
            let about = self.about(permit, Some(first.claim.offset));
            let plans: Vec<String> = trail.plans.iter().map(ToString::to_string).collect();
            let reason = format!(
                "rule `{}`, plan {}, {} records through offset {}",
                permit.rule(),
                plans.join(" and "),
                deliveries.len(),
                last.claim.offset
            );
            trail.audit.extend(trail.permits.events(self.shared.now(), &about));
            trail.audit.push(about.event(self.shared.now(), Action::Delivered, reason));
        }
        if !trail.quarantine.is_empty() {
            let log = LogName::Quarantine(self.flow.clone());
            let offsets: Vec<Offset> =
                trail.quarantine.iter().filter_map(|record| Some(record.delivery.as_ref()?.1)).collect();
            let mut octets = 0;
            for (reserved, record) in (0..).zip(&trail.quarantine) {
                if !self.shared.quarantine.reserve(&self.flow, 1, record.octets()) {
                    self.shared.quarantine.give_back(&self.flow, reserved, octets);
                    return Err(OutletError::QuarantineFull);
                }
                octets += record.octets();
            }
            let entries: Vec<_> = trail.quarantine.into_iter().map(Quarantined::into_entry).collect();
            let count = entries.len() as u64;
            if let Err(error) = self.shared.log.append(&log, entries, Durability::Fsynced).await {
                self.shared.quarantine.give_back(&self.flow, count, octets);
                return Err(error.into());
            }
            self.remember(offsets);
        }
        self.shared.audit(trail.audit).await?;
        let instruments = &self.shared.instruments;
        if trail.withheld > 0 {
            instruments.withheld(&self.flow, &self.subscription, trail.withheld);
            let (flow, subscription) = (&self.flow, &self.subscription);
            tracing::info!(%flow, %subscription, records = trail.withheld, first = trail.first, "records were withheld");
        }
        if !deliveries.is_empty() {
            instruments.delivered(&self.flow, &self.subscription, deliveries.len() as u64);
            let parts = deliveries.iter().flat_map(|delivery| &delivery.parts);
            let octets = parts.map(|part| part.body().size()).sum();
            let (flow, subscription) = (&self.flow, &self.subscription);
            let reader = &permit.principal().id;
            self.shared.traffic.delivered(flow, subscription, reader, deliveries.len() as u64, octets);
        }
        Ok(())
    }

    /// Remembers what is in quarantine: the newest, as many as a reader may have under way.
    fn remember(&self, offsets: Vec<Offset>) {
        let mut quarantined = self.quarantined.lock();
        quarantined.extend(offsets);
        while quarantined.len() > limits::CREDIT_RECORDS_MAX as usize {
            quarantined.pop_first();
        }
    }

    fn about(&self, permit: &ReadPermit, offset: Option<Offset>) -> About {
        About {
            principal: Some(permit.principal().id.clone()),
            flow: Some(self.flow.clone()),
            subscription: Some(self.subscription.clone()),
            offset,
        }
    }

    /// Deletes large bodies that the chain made for deliveries that are settled or given up.
    pub async fn release(&self, made: impl IntoIterator<Item = BlobId>) {
        for blob in made {
            if let Err(error) = self.shared.blobs.delete(blob).await {
                tracing::warn!(flow = %self.flow, %blob, %error, "a delivered body could not be deleted yet");
            }
        }
    }
}

impl Trail {
    /// One more is withheld. `brief` has no words of a plugin: it goes where traces and logs go.
    fn count(&mut self, span: Option<DeliverySpan>, brief: String) {
        if let Some(span) = span {
            span.end(Some(&brief));
        }
        self.withheld += 1;
        self.first.get_or_insert(brief);
    }
}

/// Large bodies of a run that are not the stored one.
fn made(run: &ChainRun, stored: &Stored) -> Vec<BlobId> {
    let bodies = run.outputs.iter().map(|output| output.body.body());
    let blob = |body: &Body| if let Body::Blob(blob) = body { Some(blob.id) } else { None };
    bodies.filter(|body| **body != stored.envelope().body).filter_map(blob).collect()
}

fn judge(
    route: &Route,
    stored: Vec<Stored>,
    flow: &FlowName,
    subscription: &SubscriptionName,
    run: impl FnOnce(&Route, &[Stored], &[Option<DeliverySpan>]) -> Vec<Result<Ran, Failure>>,
) -> Vec<Judged> {
    let begin =
        |stored: &Stored| DeliverySpan::begin(flow, subscription, stored.envelope().head.trace.as_ref());
    let spans: Vec<_> = stored.iter().map(begin).collect();
    let results = run(route, &stored, &spans);
    assert_eq!(results.len(), stored.len(), "a chain answers for each record");
    let judged = stored.into_iter().zip(results).zip(spans);
    judged.map(|((stored, result), span)| Judged { stored, result, span }).collect()
}

fn input(stored: &Stored, span: Option<&DeliverySpan>) -> Input {
    let envelope = stored.envelope();
    // The stages' spans are below the delivery's, and there are none without it.
    let trace = span.map(DeliverySpan::context);
    Input {
        head: Head { trace, ..envelope.head.clone() },
        source: envelope.principal.clone(),
        offset: Some(stored.offset()),
        body: stored.measured(),
    }
}

/// What decides whether a plugin is tried on a record: the same every time that it is delivered.
fn drawn(stored: &Stored) -> Drawn<'_> {
    match &stored.envelope().head.key {
        Some(key) => Drawn::Key(key),
        None => {
            let mut place = [0; 24];
            place[16..].copy_from_slice(&stored.offset().0.to_be_bytes());
            Drawn::Place(place)
        }
    }
}

fn untouched(route: &Route, stored: &Stored) -> Ran {
    Ran {
        run: ChainRun::unprocessed(&stored.envelope().head, &stored.measured(), route.plan()),
        obligations: Vec::new(),
        observations: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
