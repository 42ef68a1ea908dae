//! The broker's end of a publisher stream: draft, attest, admit, hand over to the flow's lane, answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesOrdered, StreamExt};
use hilum_core::Offset;
use hilum_core::policy::Permit;
use hilum_core::producers::ProducerError;
use hilum_core::record::{Attested, Body, Draft, ProducerId, ProducerPosition};
use hilum_core::session::{Machine, PublisherServer, PublisherServerEvent};
use hilum_core::wire::publisher::{Durability, Opened, Publish, PublishedRecord};
use hilum_core::wire::{Credit, Refusal, RefusalCode, record_octets};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::window::{STALL, Widened};
use super::{LEASED_READ_OCTETS, READ_OCTETS, Session, Stream, StreamError, read_up_to, refusal};
use crate::broker::About;
use crate::flows::Rules;
use crate::ingest::{Closed, Item, Lane, Settled};
use crate::memory::Lease;
use crate::telemetry::RecordSpan;

/// What one publisher may have under way: enough to keep a fast one busy over one group commit.
const CREDIT: Credit = Credit { records: 8192, octets: 16 << 20 };

/// What a record holds beside its octets, until it is settled: its head as it was read, its place in the lane.
const RECORD_OCTETS: u64 = 1024;
/// A frame that began has to come to its end in so long, if others wait for the memory that was made for it.
const FRAME_TIME: Duration = Duration::from_secs(30);

/// One publish frame on its way: what its records became, in order.
struct Answered {
    first_sequence: u64,
    /// Records that did not become drafts, by place in the frame.
    invalid: Vec<(usize, Refusal)>,
    settled: Result<Vec<Settled>, oneshot::error::RecvError>,
}

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: PublisherServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    let request = machine.request().clone();
    // Asked for first: no change may be missed.
    let changes = session.flows.changes();
    let flow = session.flows.by_name.get(&request.flow);
    let (lane, permit) = match (session.flows.rules().policy.admit(&session.principal, &request.flow), flow) {
        (Ok(permit), Some(flow)) => (flow.lane.clone(), permit),
        (Ok(_), None) => unreachable!("policy and flows are made of the same configuration"),
        (Err(denial), _) => {
            let about = About { flow: Some(request.flow), ..About::default() };
            machine.refuse(session.denied(about, &denial).await);
            stream.flush(&mut machine).await?;
            return Ok(());
        }
    };
    // Kept to the end of the stream: so long the flow remembers the producer.
    let opened = match lane.producer(request.producer, request.known_since) {
        Ok(opened) => opened,
        Err(error) => {
            machine.refuse(unknown(error));
            stream.flush(&mut machine).await?;
            return Ok(());
        }
    };
    machine.open(Opened {
        last_sequence: opened.last_settled,
        known_since: opened.known_since,
        durability: durability(lane.durability()),
        credit: CREDIT,
    });
    let publisher = Publisher { session, lane, permit, producer: request.producer, changes };
    publisher.run(machine, stream).await
}

/// Why the flow does not take a producer.
pub(super) fn unknown(error: ProducerError) -> Refusal {
    match error {
        ProducerError::Unknown => Refusal::new(RefusalCode::UnknownProducer, &error.to_string()),
        ProducerError::TooMany => Refusal::retryable(RefusalCode::Overloaded, &error.to_string()),
    }
}

/// How safe acked records are, as the wire has it.
pub(super) fn durability(of: hilum_store::Durability) -> Durability {
    match of {
        hilum_store::Durability::Fsynced => Durability::Fsynced,
        hilum_store::Durability::Memory => Durability::Memory,
    }
}

struct Publisher<'a> {
    session: &'a Session,
    lane: Lane,
    permit: Permit,
    producer: ProducerId,
    /// Another configuration: policy is asked again.
    changes: watch::Receiver<Arc<Rules>>,
}

/// What a stream waits for before it reads on. While it waits it holds nothing but what it hands over with that, so that nobody
/// waits for one that waits.
type Step = BoxFuture<'static, Result<Stepped, Closed>>;

enum Stepped {
    /// A frame is handed over to the flow; its answer comes later.
    Submitted(BoxFuture<'static, Answered>),
    /// There is memory for the frame that has begun.
    Room(Lease),
}

/// The memory for a frame that has begun, and since when it is waited for.
struct Room {
    lease: Lease,
    since: Instant,
}

impl Publisher<'_> {
    async fn run(mut self, mut machine: PublisherServer, mut stream: Stream) -> Result<(), StreamError> {
        let session = self.session;
        // With each, whether its records go together.
        let mut frames: VecDeque<(Publish, bool)> = VecDeque::new();
        let mut step: Option<Step> = None;
        let mut room: Option<Room> = None;
        let mut widened: Option<Widened<'_>> = None;
        let mut answers: FuturesOrdered<BoxFuture<'static, Answered>> = FuturesOrdered::new();
        let mut ended = false;
        let safe = durability(self.lane.durability());
        loop {
            self.take_changes(&mut machine).await;
            if step.is_none() {
                step = match frames.pop_front() {
                    Some((publish, together)) => Some(self.submit(publish, together, room.take())),
                    None if room.is_none() && !ended => {
                        machine.frame_octets().and_then(|octets| self.make_room(octets))
                    }
                    None => None,
                };
            }
            if stream.flush(&mut machine).await? {
                return Ok(());
            }
            tokio::select! {
                Some(answered) = answers.next(), if !answers.is_empty() => {
                    answer(&mut machine, answered, safe);
                    while let Some(Some(answered)) = answers.next().now_or_never() {
                        answer(&mut machine, answered, safe);
                    }
                }
                stepped = done(&mut step) => {
                    (step, widened) = (None, None);
                    match stepped {
                        Ok(Stepped::Submitted(answered)) => answers.push_back(answered),
                        Ok(Stepped::Room(lease)) => room = Some(Room { lease, since: Instant::now() }),
                        Err(Closed) => {
                            machine.refuse(Refusal::retryable(RefusalCode::Unavailable, "the broker is stopping"));
                        }
                    }
                }
                // Not read while a frame waits for the flow: QUIC's flow control then slows the publisher, and must not slow the
                // other streams of its connection.
                () = tokio::time::sleep(STALL), if step.is_some() && widened.is_none() => {
                    widened = session.window.widen();
                }
                () = overdue(room.as_ref()), if step.is_none() && room.is_some() => {
                    if self.lane.records().is_short() {
                        return Err(StreamError::timed_out("a frame did not come to its end, and others wait for its memory"));
                    }
                    room.iter_mut().for_each(|room| room.since = Instant::now());
                }
                // Seen to above.
                Ok(()) = changed(&self.changes) => {}
                chunk = read_up_to(&mut stream.recv, readable(room.as_ref())), if !ended && step.is_none() => {
                    match chunk? {
                        Some(octets) => {
                            self.session.window.read(octets.len());
                            machine.handle_data(&octets);
                        }
                        None => machine.handle_finish(),
                    }
                    while let Some(event) = machine.poll_event()? {
                        match event {
                            PublisherServerEvent::Records(publish) => {
                                self.session.pace.record();
                                frames.push_back((publish, false));
                            }
                            PublisherServerEvent::Batch(publish) => {
                                self.session.pace.record();
                                frames.push_back((publish, true));
                            }
                            PublisherServerEvent::Finished => ended = true,
                        }
                    }
                }
            }
        }
    }

    /// Where another configuration took effect: whoever may not publish any more is told so; what is with the flow already goes on.
    async fn take_changes(&mut self, machine: &mut PublisherServer) {
        if !self.changes.has_changed().unwrap_or(false) {
            return;
        }
        self.changes.borrow_and_update();
        let rules = self.session.flows.rules();
        match rules.policy.admit(&self.session.principal, self.lane.flow()) {
            Ok(permit) => self.permit = permit,
            Err(denial) => {
                let about = About { flow: Some(self.lane.flow().clone()), ..About::default() };
                machine.refuse(self.session.denied(about, &denial).await);
            }
        }
    }

    /// Waits for the memory that a frame needs. None where it is so short that it is read without.
    fn make_room(&self, octets: usize) -> Option<Step> {
        let account = self.lane.records().clone();
        (octets > READ_OCTETS)
            .then(|| async move { Ok(Stepped::Room(account.take(octets as u64).await)) }.boxed())
    }

    /// Hands a frame over, with the memory that it holds until it is answered.
    fn submit(&self, publish: Publish, together: bool, room: Option<Room>) -> Step {
        let Publish { first_sequence, records } = publish;
        let octets =
            |record: &PublishedRecord| RECORD_OCTETS + record_octets(&record.head, record.body.len());
        let octets = records.iter().map(octets).sum();
        let mut invalid = Vec::new();
        let mut items = Vec::with_capacity(records.len());
        for (index, (sequence, record)) in (first_sequence..).zip(records).enumerate() {
            match self.admit(sequence, record) {
                Ok(item) => items.push(item),
                Err(refusal) => invalid.push((index, refusal)),
            }
        }
        let lane = self.lane.clone();
        let submit = async move {
            if together && !invalid.is_empty() {
                let invalid = refused_with(items.len(), invalid);
                let answered = Answered { first_sequence, invalid, settled: Ok(Vec::new()) };
                return Ok(Stepped::Submitted(std::future::ready(answered).boxed()));
            }
            let lease = match room {
                Some(Room { mut lease, .. }) => {
                    lease.resize(octets);
                    lease
                }
                None => lane.records().take(octets).await,
            };
            let settled = if together {
                lane.submit_batch(items, Some(lease)).await?
            } else {
                lane.submit_leased(items, lease).await?
            };
            let answered = settled.map(move |settled| Answered { first_sequence, invalid, settled });
            Ok(Stepped::Submitted(answered.boxed()))
        };
        submit.boxed()
    }

    /// The first three steps of a record's way.
    fn admit(&self, sequence: u64, record: PublishedRecord) -> Result<Item, Refusal> {
        let PublishedRecord { mut head, body } = record;
        let flow = self.lane.flow();
        let span = RecordSpan::begin(flow, head.trace.as_ref(), body.len() as u64);
        if let Some(span) = &span {
            head.trace = Some(span.context());
        }
        let position = ProducerPosition { producer: self.producer, sequence };
        let draft = Draft::new(flow.clone(), head, Body::Inline(body), Some(position))
            .map_err(|error| Refusal::new(RefusalCode::InvalidRecord, &error.to_string()))?;
        let attested: Attested = draft.attest(self.session.principal.clone());
        let record = attested
            .admit(&self.permit)
            .map_err(|error| Refusal::new(RefusalCode::Denied, &error.to_string()))?;
        Ok(Item { record, span })
    }
}

/// The refusals of a batch some of whose records are not valid, in order. None of it was looked at further, so none is in quarantine.
fn refused_with(valid: usize, invalid: Vec<(usize, Refusal)>) -> Vec<(usize, Refusal)> {
    let count = valid + invalid.len();
    let mut invalid = invalid.into_iter().peekable();
    let reason = "another record of its batch is not valid";
    let refusal = |index| match invalid.next_if(|(at, _)| *at == index) {
        Some(refused) => refused,
        None => (index, Refusal::new(RefusalCode::InvalidRecord, reason)),
    };
    (0..count).map(refusal).collect()
}

/// What the stream waits for; never comes where it is nothing.
async fn done(step: &mut Option<Step>) -> Result<Stepped, Closed> {
    match step {
        Some(step) => step.await,
        None => std::future::pending().await,
    }
}

/// Comes when another configuration took effect. Looking at it is left to who waits.
async fn changed(changes: &watch::Receiver<Arc<Rules>>) -> Result<(), watch::error::RecvError> {
    changes.clone().changed().await
}

/// Comes when a frame should have come to its end.
async fn overdue(room: Option<&Room>) {
    match room {
        Some(room) => tokio::time::sleep_until(room.since + FRAME_TIME).await,
        None => std::future::pending().await,
    }
}

/// Octets that may be read at once.
fn readable(room: Option<&Room>) -> usize {
    if room.is_some() { LEASED_READ_OCTETS } else { READ_OCTETS }
}

/// Tells the machine what became of a frame's records.
fn answer(machine: &mut PublisherServer, answered: Answered, safe: Durability) {
    let Answered { first_sequence, invalid, settled } = answered;
    let Ok(settled) = settled else {
        machine.refuse(Refusal::retryable(
            RefusalCode::Internal,
            "the flow stopped while the records were on their way; they may or may not be stored",
        ));
        return;
    };
    let mut invalid = invalid.into_iter().peekable();
    let mut settled = settled.into_iter();
    let mut acked: Option<(u64, Option<Offset>)> = None;
    for (index, sequence) in (first_sequence..).enumerate() {
        let refused = match invalid.next_if(|(at, _)| *at == index) {
            Some((_, refused)) => refused,
            None => match settled.next() {
                Some(Settled::Stored(offset)) => {
                    acked = Some((sequence, Some(offset)));
                    continue;
                }
                Some(Settled::Repeat) => {
                    acked = Some((sequence, None));
                    continue;
                }
                Some(Settled::Refused(refused)) => refusal(&refused),
                None => break,
            },
        };
        // The machine only refuses an answer to a record that it did not give us.
        let _ = machine.refuse_record(sequence, refused);
    }
    if let Some((through, offset)) = acked {
        let _ = machine.ack(through, safe, offset);
    }
}
