//! The broker's end of a subscription stream: asks the outlet for records as the credit allows, delivers them, passes on what the
//! reader answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use hilum_core::audit::Action;
use hilum_core::delivery::{Claim, ReaderId};
use hilum_core::policy::ReadPermit;
use hilum_core::record::{BlobId, Body, Delivered};
use hilum_core::session::{DeliverError, Machine, SubscriptionServer, SubscriptionServerEvent};
use hilum_core::wire::subscription::{DeliveredBody, Delivery};
use hilum_core::wire::{CloseCode, Credit, Refusal, RefusalCode};
use hilum_core::{Offset, ReasonCode, limits};
use quinn::{ConnectionError, ReadError, WriteError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::download::PartKey;
use super::{Session, Stream, StreamError, read};
use crate::broker::About;
use crate::chains::Route;
use crate::deliver::{BATCH_OCTETS, Batch, Outlet, OutletError, Prepared};
use crate::flows::{Rules, Seated};
use crate::memory::Lease;

/// A reader that does not read for so long after another one asked for its place loses it without a word.
const LEAVE_TIME: Duration = Duration::from_secs(2);
/// Where a subscription cannot go on, its reader may still answer for so long what it has: else all of it would come again.
const LAST_ANSWERS_TIME: Duration = Duration::from_secs(5);

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: SubscriptionServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    let request = machine.request().clone();
    let changes = session.flows.changes();
    let permit = session.flows.rules().policy.read(&session.principal, &request.flow, &request.subscription);
    let permit = match permit {
        Ok(permit) => permit,
        Err(denial) => {
            let about = About {
                flow: Some(request.flow),
                subscription: Some(request.subscription),
                ..About::default()
            };
            return refused(machine, stream, session.denied(about, &denial).await).await;
        }
    };
    let flow = session.flows.by_name.get(&request.flow);
    let Some(seat) = flow.and_then(|flow| flow.outlets.get(&request.subscription)) else {
        unreachable!("policy and flows are made of the same configuration");
    };
    let break_glass = match machine.break_glass() {
        Ok(break_glass) => break_glass,
        Err(refusal) => return refused(machine, stream, refusal).await,
    };
    if let Some(refusal) = not_allowed_to_seek(session, &machine, &seat.outlet).await {
        return refused(machine, stream, refusal).await;
    }
    let mut seated = seat.take().await;
    let outlet = seat.outlet.clone();
    let opened = match prepare(session, &outlet, &machine).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(flow = %outlet.flow, subscription = %outlet.subscription, %error, "a reader cannot be served");
            let reason = "the subscription cannot be read now; the broker's log says why";
            return refused(machine, stream, Refusal::retryable(RefusalCode::Unavailable, reason)).await;
        }
    };
    let Opened { route, cursor, news, readers } = opened;
    if readers >= limits::READERS_MAX {
        let refusal = Refusal::retryable(RefusalCode::Busy, "the subscription has as many readers as it may");
        return refused(machine, stream, refusal).await;
    }
    if let Some(refusal) = not_written_down(session, &outlet, break_glass.as_ref()).await {
        return refused(machine, stream, refusal).await;
    }
    session.window.for_reader();
    machine.open(cursor);
    let reader = match outlet.join().await {
        Ok(reader) => reader,
        Err(error) => unreachable!("the subscription was opened before: {error}"),
    };
    let mut reader = Reader {
        session,
        outlet,
        route,
        break_glass,
        permit,
        changes,
        reader,
        news,
        ready: VecDeque::new(),
        sent: BTreeMap::new(),
        unused: Vec::new(),
        fetching: None,
        lease: None,
        stopped: None,
    };
    let result = reader.run(&mut machine, &mut stream, &mut seated).await;
    reader.leave(is_in_order(&result)).await;
    // Only now may the next reader take the seat.
    drop(seated);
    if matches!(result, Ok(Ended::Finished)) {
        // The reader waits for this: what it answered is kept.
        stream.finish();
    }
    result.map(drop)
}

/// Ends a stream that is not opened.
async fn refused(
    mut machine: SubscriptionServer,
    mut stream: Stream,
    refusal: Refusal,
) -> Result<(), StreamError> {
    machine.refuse(refusal);
    stream.flush(&mut machine).await?;
    Ok(())
}

/// Who may read may not yet choose where: another place is for subscriptions whose configuration says so, and that nobody shares.
async fn not_allowed_to_seek(
    session: &Session,
    machine: &SubscriptionServer,
    outlet: &Outlet,
) -> Option<Refusal> {
    machine.request().from?;
    let setup = outlet.setup();
    if setup.settings.replay && !setup.settings.rules.shared {
        return None;
    }
    let about = About {
        principal: Some(session.principal.id.clone()),
        flow: Some(outlet.flow.clone()),
        subscription: Some(outlet.subscription.clone()),
        offset: None,
    };
    let reason = "the subscription does not let its readers choose where to begin: it has no `replay = true`";
    let shared = &session.flows.shared;
    shared.audit_refusal(about.event(shared.now(), Action::Denied, reason)).await;
    shared.instruments.denied();
    Some(Refusal::new(RefusalCode::Denied, reason))
}

/// Who breaks the glass, when and why is in the audit before it gets anything: what plugins make of it comes later, with each record.
async fn not_written_down(
    session: &Session,
    outlet: &Outlet,
    break_glass: Option<&ReasonCode>,
) -> Option<Refusal> {
    let reason = format!("break-glass-reason={}", break_glass?);
    let about = About {
        principal: Some(session.principal.id.clone()),
        flow: Some(outlet.flow.clone()),
        subscription: Some(outlet.subscription.clone()),
        offset: None,
    };
    let shared = &session.flows.shared;
    let error = shared.audit(vec![about.event(shared.now(), Action::Stated, reason)]).await.err()?;
    tracing::error!(flow = %outlet.flow, subscription = %outlet.subscription, %error, "what a reader states cannot be written down");
    let reason = "the reason for breaking the glass cannot be written down now; the broker's log says why";
    Some(Refusal::retryable(RefusalCode::Unavailable, reason))
}

struct Opened {
    route: Weak<Route>,
    cursor: Offset,
    news: watch::Receiver<u64>,
    readers: usize,
}

async fn prepare(
    session: &Session,
    outlet: &Arc<Outlet>,
    machine: &SubscriptionServer,
) -> Result<Opened, OutletError> {
    let route = Arc::downgrade(&outlet.chain_for(&session.principal).await?);
    if let Some(to) = machine.request().from {
        outlet.seek(to, &session.principal.id, "asked for by the reader").await?;
    }
    let readers = outlet.counts().await?.readers;
    Ok(Opened { route, cursor: outlet.cursor().await?, news: outlet.news().await?, readers })
}

/// How a stream ended, where it did not break.
enum Ended {
    /// Our direction is to be finished.
    Finished,
    /// It was reset.
    Reset,
}

/// Whether the reader, or the broker, ended the stream on purpose: then what the reader has not answered does not count as tried.
fn is_in_order(result: &Result<Ended, StreamError>) -> bool {
    let by_us = |error: &ConnectionError| matches!(error, ConnectionError::LocallyClosed);
    match result {
        Ok(Ended::Finished) => true,
        Ok(Ended::Reset) => false,
        Err(StreamError::Read(ReadError::ConnectionLost(error))) => by_us(error),
        Err(StreamError::Write(WriteError::ConnectionLost(error))) => by_us(error),
        Err(_) => false,
    }
}

struct Reader<'a> {
    session: &'a Session,
    outlet: Arc<Outlet>,
    /// What a batch goes through. Only batches keep it: a reader that is slow keeps no chain that was replaced.
    route: Weak<Route>,
    /// Why the reader breaks the glass, as long as this stream lasts: its own records are judged by it, and nobody else's.
    break_glass: Option<ReasonCode>,
    permit: ReadPermit,
    /// Another configuration: policy is asked again, and the chain may be another.
    changes: watch::Receiver<Arc<Rules>>,
    reader: ReaderId,
    news: watch::Receiver<u64>,
    /// Prepared and waiting for credit.
    ready: VecDeque<Prepared>,
    /// Deliveries on this stream that have no answer, by number.
    sent: BTreeMap<u64, Sent>,
    /// Large bodies that were made for deliveries that are over.
    unused: Vec<BlobId>,
    /// What is being read and run through the chain, and the memory for it.
    fetching: Option<(Fetching, Lease)>,
    /// For what was fetched, until it is sent.
    lease: Option<Lease>,
    /// Nothing more can be fetched: what the reader is told, when it has answered what it has or this time has come.
    stopped: Option<(Refusal, Instant)>,
}

struct Sent {
    claim: Claim,
    /// The keys by which its large bodies are downloaded, and what was made for it.
    large: Option<Box<(Vec<PartKey>, Vec<BlobId>)>>,
}

type Fetching = JoinHandle<Result<Batch, OutletError>>;

impl Reader<'_> {
    async fn run(
        &mut self,
        machine: &mut SubscriptionServer,
        stream: &mut Stream,
        seated: &mut Seated,
    ) -> Result<Ended, StreamError> {
        let mut tail = self.outlet.tail.clone();
        let mut decisions = self.outlet.shared.control.changes();
        let (mut reading, mut may_have_more) = (true, true);
        let account = self.outlet.memory.clone();
        let mut asking: Option<BoxFuture<'_, Lease>> = None;
        loop {
            if self.changes.has_changed().unwrap_or(false) {
                self.take_changes(machine).await;
                may_have_more = true;
            }
            self.deliver(machine);
            self.release().await;
            self.stop(machine);
            if !self.wants_more(machine, may_have_more) {
                asking = None;
            } else if asking.is_none() {
                asking = Some(account.take(BATCH_OCTETS).boxed());
            }
            if let Some(lease) = asking.as_mut().and_then(FutureExt::now_or_never) {
                // What comes in from now on is news that the fetch may miss.
                self.news.borrow_and_update();
                tail.borrow_and_update();
                decisions.borrow_and_update();
                asking = None;
                // Its chain was replaced a moment ago where it is gone: then `changes` tells of another one.
                if let Some(route) = self.route.upgrade() {
                    may_have_more = false;
                    // Beside what is being sent.
                    self.fetching = Some((self.fetch(machine, route), lease));
                }
            }
            if let Some(ended) = flush(stream, machine, seated).await? {
                return Ok(ended);
            }
            if self.ready.is_empty() {
                // All of it was sent.
                self.lease = None;
            }
            tokio::select! {
                chunk = read(&mut stream.recv), if reading => {
                    let had_room = machine.has_room();
                    reading = self.handle_chunk(machine, chunk?).await?;
                    may_have_more |= !had_room && machine.has_room();
                }
                lease = leased(&mut asking) => asking = Some(std::future::ready(lease).boxed()),
                (batch, lease) = fetched(&mut self.fetching) => {
                    self.lease = Some(lease);
                    may_have_more |= self.handle_batch(batch);
                }
                changed = tail.changed() => {
                    if changed.is_err() {
                        machine.refuse(Refusal::retryable(RefusalCode::Unavailable, "the broker is stopping"));
                    }
                    may_have_more = true;
                }
                // An error says that the broker is going down, which the tail says too.
                Ok(()) = self.news.changed() => may_have_more = true,
                Ok(()) = decisions.changed() => may_have_more = true,
                // Seen to above.
                Ok(()) = changed(&self.changes) => {}
                () = over(self.stopped.as_ref()) => {}
                () = seated.asked_to_leave() => {
                    machine.refuse(Refusal::retryable(RefusalCode::Busy, "another reader took this subscription over"));
                }
            }
        }
    }

    /// Another configuration took effect. Whoever may not read any more is told so, and gets nothing that was prepared for him.
    async fn take_changes(&mut self, machine: &mut SubscriptionServer) {
        self.changes.borrow_and_update();
        let Outlet { flow, subscription, .. } = &*self.outlet;
        let rules = self.session.flows.rules();
        match rules.policy.read(&self.session.principal, flow, subscription) {
            Ok(permit) => self.permit = permit,
            Err(denial) => {
                let about = About {
                    flow: Some(flow.clone()),
                    subscription: Some(subscription.clone()),
                    ..About::default()
                };
                let refusal = self.session.denied(about, &denial).await;
                let unsent = self.ready.drain(..).flat_map(|prepared| prepared.made);
                self.unused.extend(unsent);
                machine.refuse(refusal);
                return;
            }
        }
        match self.outlet.chain_for(&self.session.principal).await {
            Ok(route) => self.route = Arc::downgrade(&route),
            Err(error) => drop(self.handle_batch(Err(error))),
        }
    }

    /// Whether there may be more for which there is room.
    fn wants_more(&self, machine: &SubscriptionServer, may_have_more: bool) -> bool {
        let is_free = self.fetching.is_none() && self.ready.is_empty() && self.stopped.is_none();
        is_free && may_have_more && machine.is_open()
    }

    /// On a task of its own, so that it goes on while this one sends.
    fn fetch(&self, machine: &SubscriptionServer, route: Arc<Route>) -> Fetching {
        let room = Credit { records: machine.room(), octets: machine.room_octets() };
        let (outlet, permit) = (self.outlet.clone(), self.permit.clone());
        let reader = self.reader;
        let route = match &self.break_glass {
            Some(break_glass) => Arc::new(route.stating(break_glass)),
            None => route,
        };
        tokio::spawn(async move { outlet.next(&permit, &route, reader, room).await })
    }

    /// Whether there may be more at once.
    fn handle_batch(&mut self, batch: Result<Batch, OutletError>) -> bool {
        match batch {
            Ok(batch) => {
                if let Some(lease) = &mut self.lease {
                    lease.resize(batch.octets());
                }
                self.ready.extend(batch.deliveries);
                batch.records > 0
            }
            Err(error) => {
                let Outlet { flow, subscription, .. } = &*self.outlet;
                tracing::error!(%flow, %subscription, %error, "a subscription cannot go on");
                let why = match &error {
                    OutletError::Read(hilum_store::ReadError::Corrupt(corruption)) => {
                        format!("the flow cannot be read on: {}", corruption.place())
                    }
                    _ => "the flow cannot be read; the broker's log says why".to_owned(),
                };
                let refusal = Refusal::retryable(RefusalCode::Unavailable, &why);
                self.stopped.get_or_insert((refusal, Instant::now() + LAST_ANSWERS_TIME));
                false
            }
        }
    }

    /// Tells the reader that it gets nothing more, if that is so and all it has is answered.
    fn stop(&mut self, machine: &mut SubscriptionServer) {
        if let Some((refusal, at)) = &self.stopped
            && ((self.sent.is_empty() && self.ready.is_empty()) || *at <= Instant::now())
        {
            machine.refuse(refusal.clone());
        }
    }

    /// Whether more may come from the reader.
    async fn handle_chunk(
        &mut self,
        machine: &mut SubscriptionServer,
        chunk: Option<bytes::Bytes>,
    ) -> Result<bool, StreamError> {
        let more = chunk.is_some();
        match chunk {
            Some(octets) => machine.handle_data(&octets),
            None => machine.handle_finish(),
        }
        while let Some(event) = machine.poll_event()? {
            match event {
                SubscriptionServerEvent::Acked(numbers) => {
                    let claims = self.answered(&numbers);
                    self.outlet.settle(&claims);
                }
                SubscriptionServerEvent::Naked { numbers, delay } => {
                    let claims = self.answered(&numbers);
                    self.outlet.nak(&claims, delay.map(|delay| delay.min(limits::NAK_DELAY_MS_MAX)));
                }
                SubscriptionServerEvent::Terminated { numbers, reason } => {
                    let claims = self.answered(&numbers);
                    if let Err(error) = self.outlet.terminate(&self.permit, &claims, &reason).await {
                        self.handle_batch(Err(error));
                    }
                }
                SubscriptionServerEvent::InProgress(numbers) => {
                    let claims: Vec<_> =
                        numbers.iter().filter_map(|number| Some(self.sent.get(number)?.claim)).collect();
                    self.outlet.extend(&claims);
                }
                SubscriptionServerEvent::Granted | SubscriptionServerEvent::Finished => {}
            }
        }
        Ok(more)
    }

    /// The claims of deliveries that have an answer now.
    fn answered(&mut self, numbers: &[u64]) -> Vec<Claim> {
        numbers.iter().filter_map(|number| self.over(*number)).collect()
    }

    /// A delivery is over: its large bodies cannot be downloaded any more.
    fn over(&mut self, number: u64) -> Option<Claim> {
        let Sent { claim, large } = self.sent.remove(&number)?;
        if let Some(large) = large {
            let (keys, made) = *large;
            keys.iter().for_each(|key| self.session.deliveries.remove(key, claim));
            self.unused.extend(made);
        }
        Some(claim)
    }

    /// Puts what is ready in line, as far as the credit goes.
    fn deliver(&mut self, machine: &mut SubscriptionServer) {
        while let Some(next) = self.ready.front() {
            let Claim { offset, attempt, .. } = next.claim;
            if !machine.has_room_for(offset, attempt) {
                break;
            }
            let Some(Prepared { claim, parts, made }) = self.ready.pop_front() else { break };
            if !self.outlet.sent(claim) {
                // It waited for credit for too long, or the subscription was moved.
                self.unused.extend(made);
                continue;
            }
            self.session.pace.record();
            let large = self.register(claim, &parts, &made);
            match machine.deliver(wire_parts(claim, parts)) {
                Ok(delivering) => {
                    if let Some(replaced) = delivering.replaced {
                        self.over(replaced);
                    }
                    if large.is_none() {
                        self.unused.extend(made);
                    }
                    self.sent.insert(delivering.number, Sent { claim, large });
                }
                Err(error) => return self.cannot_deliver(machine, offset, made, &error),
            }
        }
    }

    /// The record stays where it is, and nothing after it is sent on this stream: its reader hears that there is something wrong.
    fn cannot_deliver(
        &mut self,
        machine: &mut SubscriptionServer,
        offset: Offset,
        made: Vec<BlobId>,
        error: &DeliverError,
    ) {
        tracing::error!(flow = %self.outlet.flow, %offset, %error, "a record cannot be delivered");
        self.unused.extend(made);
        machine.refuse(Refusal::new(
            RefusalCode::Internal,
            "a record cannot be delivered; the broker's log says why",
        ));
    }

    fn register(
        &self,
        claim: Claim,
        parts: &[Delivered],
        made: &[BlobId],
    ) -> Option<Box<(Vec<PartKey>, Vec<BlobId>)>> {
        let mut keys = Vec::new();
        for (part, delivered) in (0..).zip(parts) {
            let Body::Blob(blob) = delivered.body() else { continue };
            let key = PartKey {
                flow: self.outlet.flow.clone(),
                subscription: self.outlet.subscription.clone(),
                offset: claim.offset,
                part,
            };
            self.session.deliveries.insert(key.clone(), claim, *blob);
            keys.push(key);
        }
        (!keys.is_empty()).then(|| Box::new((keys, made.to_vec())))
    }

    /// Deletes the large bodies of deliveries that are over.
    async fn release(&mut self) {
        if !self.unused.is_empty() {
            let unused = std::mem::take(&mut self.unused);
            self.outlet.release(unused).await;
        }
    }

    /// Gives everything back that has no answer, and lets go of what was prepared, also of what still comes out of the chain.
    async fn leave(&mut self, in_order: bool) {
        if self.fetching.is_some()
            && let (Ok(batch), _) = fetched(&mut self.fetching).await
        {
            self.ready.extend(batch.deliveries);
        }
        self.outlet.leave(self.reader, in_order).await;
        let numbers: Vec<u64> = self.sent.keys().copied().collect();
        self.answered(&numbers);
        self.unused.extend(self.ready.drain(..).flat_map(|prepared| prepared.made));
        self.release().await;
    }
}

/// Sends what there is to send. A reader that does not take it keeps its place only until somebody else wants it. How the stream
/// ended, if it did.
async fn flush(
    stream: &mut Stream,
    machine: &mut SubscriptionServer,
    seated: &mut Seated,
) -> Result<Option<Ended>, StreamError> {
    let overdue = async {
        seated.asked_to_leave().await;
        tokio::time::sleep(LEAVE_TIME).await;
    };
    let sent = tokio::select! {
        biased;
        sent = stream.send_all(machine) => Some(sent?),
        () = overdue => None,
    };
    match sent {
        Some(wants_finish) => Ok(wants_finish.then_some(Ended::Finished)),
        None => {
            stream.reset(CloseCode::TimedOut);
            Ok(Some(Ended::Reset))
        }
    }
}

/// Comes when another configuration took effect. Looking at it is left to who waits.
async fn changed(changes: &watch::Receiver<Arc<Rules>>) -> Result<(), watch::error::RecvError> {
    changes.clone().changed().await
}

/// The memory for a batch; never comes where nobody asked for it.
async fn leased(asking: &mut Option<BoxFuture<'_, Lease>>) -> Lease {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// The time for last answers is over; never comes where nothing stopped.
async fn over(stopped: Option<&(Refusal, Instant)>) {
    match stopped {
        Some((_, at)) => tokio::time::sleep_until(*at).await,
        None => std::future::pending().await,
    }
}

/// The batch that is being fetched; never comes where none is.
async fn fetched(fetching: &mut Option<(Fetching, Lease)>) -> (Result<Batch, OutletError>, Lease) {
    let batch = match fetching {
        Some((fetching, _)) => fetching.await,
        None => std::future::pending().await,
    };
    let Some((_, lease)) = fetching.take() else { unreachable!("it was awaited") };
    (batch.unwrap_or(Err(OutletError::Worker)), lease)
}

fn wire_parts(claim: Claim, delivered: Vec<Delivered>) -> Vec<Delivery> {
    let parts = u16::try_from(delivered.len()).unwrap_or(u16::MAX);
    let part = |(part, delivered): (u16, Delivered)| {
        let (head, body, receipt) = delivered.into_parts();
        let body = match body {
            Body::Inline(octets) => DeliveredBody::Inline(octets),
            Body::Blob(blob) => DeliveredBody::Large { size: blob.size, digest: blob.digest },
        };
        let Claim { offset, attempt, .. } = claim;
        Delivery { number: 0, offset, attempt, part, parts, head, body, receipt }
    };
    (0..).zip(delivered).map(part).collect()
}
