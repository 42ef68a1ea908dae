//! The broker's end of a subscription stream: reads ahead as the credit allows, delivers, keeps the cursor.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use hilum_core::policy::ReadPermit;
use hilum_core::record::{BlobId, Body, Delivered};
use hilum_core::session::{Machine, SubscriptionServer, SubscriptionServerEvent};
use hilum_core::wire::subscription::{DeliveredBody, Delivery};
use hilum_core::wire::{CloseCode, Refusal, RefusalCode};
use hilum_core::{Offset, limits};
use hilum_sandbox::Chain;

use super::download::PartKey;
use super::{Session, Stream, StreamError, read};
use crate::broker::About;
use crate::deliver::{Batch, Cursor, Outlet, OutletError, Prepared};
use crate::flows::Seated;

/// Octets of the log read ahead for one reader.
const READ_AHEAD_OCTETS: usize = limits::BATCH_OCTETS_MAX;
/// A reader that does not read for so long after another one asked for its place loses it without a word.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: SubscriptionServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    let request = machine.request().clone();
    let permit = session.flows.policy.read(&session.principal, &request.flow, &request.subscription);
    let permit = match permit {
        Ok(permit) => permit,
        Err(denial) => {
            let about = About {
                flow: Some(request.flow),
                subscription: Some(request.subscription),
                ..About::default()
            };
            machine.refuse(session.denied(about, &denial).await);
            stream.flush(&mut machine).await?;
            return Ok(());
        }
    };
    let flow = session.flows.by_name.get(&request.flow);
    let Some(seat) = flow.and_then(|flow| flow.outlets.get(&request.subscription)) else {
        unreachable!("policy and flows are made of the same configuration");
    };
    let mut seated = seat.take().await;
    let outlet = seat.outlet.clone();
    let (chain, cursor) = match prepare(session, &outlet).await {
        Ok(prepared) => prepared,
        Err(error) => {
            tracing::error!(flow = %outlet.flow, subscription = %outlet.subscription, %error, "a reader cannot be served");
            let reason = "the subscription cannot be read now; the broker's log says why";
            machine.refuse(Refusal::retryable(RefusalCode::Unavailable, reason));
            stream.flush(&mut machine).await?;
            return Ok(());
        }
    };
    machine.open(cursor.position());
    let mut reader = Reader {
        session,
        outlet,
        chain,
        permit,
        cursor,
        ready: VecDeque::new(),
        read_through: Offset(0),
        large: BTreeMap::new(),
        fetching: None,
    };
    reader.read_through = reader.cursor.position();
    let result = reader.run(&mut machine, &mut stream, &mut seated).await;
    reader.leave(&machine).await;
    // Only now may the next reader load the cursor and run the chain.
    drop(seated);
    result
}

async fn prepare(session: &Session, outlet: &Arc<Outlet>) -> Result<(Arc<Chain>, Cursor), OutletError> {
    let chain = outlet.chain_for(&session.principal).await?;
    Ok((chain, outlet.cursor().await?))
}

struct Reader<'a> {
    session: &'a Session,
    outlet: Arc<Outlet>,
    chain: Arc<Chain>,
    permit: ReadPermit,
    cursor: Cursor,
    /// Prepared and waiting for credit.
    ready: VecDeque<Prepared>,
    /// Everything before this offset was read and is delivered, withheld or in `ready`.
    read_through: Offset,
    /// Large bodies of deliveries under way: the keys that downloads use, and what was made for them.
    large: BTreeMap<Offset, (Vec<PartKey>, Vec<BlobId>)>,
    /// What is being read and run through the chain.
    fetching: Option<Fetching>,
}

type Fetching = BoxFuture<'static, Result<Batch, OutletError>>;

impl Reader<'_> {
    async fn run(
        &mut self,
        machine: &mut SubscriptionServer,
        stream: &mut Stream,
        seated: &mut Seated,
    ) -> Result<(), StreamError> {
        let mut tail = self.outlet.tail.clone();
        let mut reading = true;
        loop {
            self.deliver(machine);
            self.keep_cursor(machine).await;
            match flush(stream, machine, seated).await? {
                Flushed::Open => {}
                Flushed::Ended => return Ok(()),
            }
            let has_more = *tail.borrow_and_update() > self.read_through;
            if self.fetching.is_none() && has_more && self.ready.is_empty() && machine.has_room() {
                self.fetching = Some(self.fetch());
            }
            tokio::select! {
                chunk = read(&mut stream.recv), if reading => {
                    reading = self.handle_chunk(machine, chunk?).await?;
                }
                batch = fetched(&mut self.fetching) => {
                    self.fetching = None;
                    self.handle_batch(machine, batch);
                }
                changed = tail.changed(), if !has_more => {
                    if changed.is_err() {
                        machine.refuse(Refusal::retryable(RefusalCode::Unavailable, "the broker is stopping"));
                    }
                }
                () = seated.asked_to_leave() => {
                    machine.refuse(Refusal::retryable(RefusalCode::Busy, "another reader took this subscription over"));
                }
            }
        }
    }

    fn fetch(&self) -> Fetching {
        let (outlet, permit, chain) = (self.outlet.clone(), self.permit.clone(), self.chain.clone());
        let from = self.read_through;
        async move { outlet.next(&permit, &chain, from, READ_AHEAD_OCTETS).await }.boxed()
    }

    fn handle_batch(&mut self, machine: &mut SubscriptionServer, batch: Result<Batch, OutletError>) {
        match batch {
            Ok(batch) => {
                self.read_through = batch.next;
                self.ready.extend(batch.deliveries);
            }
            Err(error) => {
                let Outlet { flow, subscription, .. } = &*self.outlet;
                tracing::error!(%flow, %subscription, %error, "a subscription cannot go on");
                machine.refuse(Refusal::retryable(
                    RefusalCode::Unavailable,
                    "the flow cannot be read; the broker's log says why",
                ));
            }
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
            if let SubscriptionServerEvent::Settled(_) = event {
                let deliveries = machine.deliveries();
                self.release(|offset| deliveries.is_in_flight(offset)).await;
            }
        }
        Ok(more)
    }

    /// Puts what is ready in line, as far as the credit goes.
    fn deliver(&mut self, machine: &mut SubscriptionServer) {
        while machine.has_room() {
            let Some(prepared) = self.ready.pop_front() else { break };
            let offset = prepared.offset;
            self.register(&prepared);
            let parts = wire_parts(prepared.parts);
            if let Err(error) = machine.deliver(parts) {
                tracing::error!(flow = %self.outlet.flow, %offset, %error, "a record cannot be delivered");
                machine.refuse(Refusal::new(
                    RefusalCode::Internal,
                    "a record cannot be delivered; the broker's log says why",
                ));
                // The cursor stays before it.
                return;
            }
        }
        // Records withheld after the last delivered one would otherwise be read again for ever.
        let next = machine.deliveries().next_offset();
        if self.ready.is_empty() && self.read_through > next {
            let last = Offset(self.read_through.0 - 1);
            machine.withhold(last).expect("offsets go up and are bounded by the log");
        }
    }

    fn register(&mut self, prepared: &Prepared) {
        let mut keys = Vec::new();
        for (part, delivered) in (0..).zip(&prepared.parts) {
            let Body::Blob(blob) = delivered.body() else { continue };
            let key = PartKey {
                flow: self.outlet.flow.clone(),
                subscription: self.outlet.subscription.clone(),
                offset: prepared.offset,
                part,
            };
            self.session.deliveries.insert(key.clone(), *blob);
            keys.push(key);
        }
        if !keys.is_empty() {
            self.large.insert(prepared.offset, (keys, prepared.made.clone()));
        }
    }

    /// Lets go of the large bodies of deliveries that are not `kept`.
    async fn release(&mut self, kept: impl Fn(Offset) -> bool) {
        let settled: Vec<Offset> = self.large.keys().copied().filter(|&offset| !kept(offset)).collect();
        for offset in settled {
            let Some((keys, made)) = self.large.remove(&offset) else { continue };
            keys.iter().for_each(|key| self.session.deliveries.remove(key));
            self.outlet.release(made).await;
        }
    }

    /// Keeps the cursor and lets go of everything that was prepared, also of what still comes out of the chain.
    async fn leave(&mut self, machine: &SubscriptionServer) {
        self.keep_cursor(machine).await;
        if let Some(fetching) = self.fetching.take()
            && let Ok(batch) = fetching.await
        {
            self.ready.extend(batch.deliveries);
        }
        self.release(|_| false).await;
        let unsent = std::mem::take(&mut self.ready);
        self.outlet.release(unsent.into_iter().flat_map(|prepared| prepared.made)).await;
    }

    /// Writes the cursor if it moved. Where that fails, records come twice after a restart, but none is lost.
    async fn keep_cursor(&mut self, machine: &SubscriptionServer) {
        let Outlet { shared, flow, subscription, tail, .. } = &*self.outlet;
        let position = machine.deliveries().cursor();
        if position == self.cursor.position() {
            return;
        }
        if let Err(error) = self.cursor.advance(&*shared.meta, position).await {
            tracing::warn!(%flow, %subscription, %error, "the cursor could not be kept");
        }
        let lag = tail.borrow().0.saturating_sub(position.0);
        shared.instruments.lag(flow, subscription, lag);
    }
}

enum Flushed {
    Open,
    Ended,
}

/// Sends what there is to send. A reader that does not take it keeps its place only until somebody else wants it.
async fn flush(
    stream: &mut Stream,
    machine: &mut SubscriptionServer,
    seated: &mut Seated,
) -> Result<Flushed, StreamError> {
    let overdue = async {
        seated.asked_to_leave().await;
        tokio::time::sleep(LEAVE_TIME).await;
    };
    let finished = tokio::select! {
        biased;
        finished = stream.flush(machine) => Some(finished?),
        () = overdue => None,
    };
    match finished {
        Some(false) => Ok(Flushed::Open),
        Some(true) => Ok(Flushed::Ended),
        None => {
            stream.reset(CloseCode::TimedOut);
            Ok(Flushed::Ended)
        }
    }
}

/// The batch that is being fetched; never comes where none is.
async fn fetched(fetching: &mut Option<Fetching>) -> Result<Batch, OutletError> {
    match fetching {
        Some(fetching) => fetching.await,
        None => std::future::pending().await,
    }
}

fn wire_parts(delivered: Vec<Delivered>) -> Vec<Delivery> {
    let parts = u16::try_from(delivered.len()).unwrap_or(u16::MAX);
    let part = |(part, delivered): (u16, Delivered)| {
        let body = match delivered.body() {
            Body::Inline(octets) => DeliveredBody::Inline(octets.clone()),
            Body::Blob(blob) => DeliveredBody::Large { size: blob.size, digest: blob.digest },
        };
        Delivery {
            offset: delivered.offset(),
            part,
            parts,
            head: delivered.head().clone(),
            body,
            receipt: delivered.receipt().clone(),
        }
    };
    (0..).zip(delivered).map(part).collect()
}
