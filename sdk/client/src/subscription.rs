//! Reading a subscription: deliveries come, are worked on, and are acked, or given back, in any order.

mod driver;

use std::time::Duration;

use std::collections::VecDeque;

use bytes::Bytes;
use hilum_core::chain::Receipt;
use hilum_core::session::{Partial, SubscriptionClient, SubscriptionClientEvent};
use hilum_core::wire::admin::SeekTo;
use hilum_core::wire::large::OpenDownload;
use hilum_core::wire::subscription::{self as wire, DeliveredBody, OpenSubscription};
use hilum_core::wire::{Credit, Version};
use hilum_core::{Digest, FlowName, Head, Offset, ReasonCode, SubscriptionName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::connection::Client;
use crate::error::{OpenError, ReadError, StreamError};
use crate::large::LargeBody;
use driver::{Command, Driver};

/// Deliveries that wait for the reader outside the machine. More wait there, bounded by credit.
const ARRIVED_DELIVERIES_MAX: usize = 256;

/// Reads one subscription of a flow. Keep it until the last delivery is acked: when it is dropped, what is not acked by then
/// comes again when the subscription is opened the next time.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    flow: FlowName,
    subscription: SubscriptionName,
    /// As it was asked for when it was opened.
    credit: Credit,
    /// As it was stated when it was opened.
    break_glass: Option<ReasonCode>,
    cursor: Offset,
    /// Taken from `arrived`, and not given yet.
    kept: VecDeque<Delivery>,
    arrived: mpsc::Receiver<wire::Delivery>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<Result<(), StreamError>>,
    /// How the stream ended, once that is known: whoever asks again is told again.
    ended: Option<Result<(), StreamError>>,
}

/// What may be said when a subscription is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Another place, to which the subscription is moved first, where its configuration lets readers do that (`replay`). What is
    /// before that place counts as settled; what comes from it on is delivered, again or for the first time.
    pub from: Option<SeekTo>,
    /// Why we break the glass: a code that the hospital's policies know, such as `stroke`, and nothing about a patient. The broker writes it into its audit
    /// before it delivers anything, and plugins that decide are told. It is stated again when the subscription is reopened. Needs a broker that speaks
    /// hilum 1.1.
    pub break_glass: Option<ReasonCode>,
}

impl Client {
    /// Opens a subscription. At most `credit` is delivered and not acked at a time.
    pub async fn subscribe(
        &self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        credit: Credit,
    ) -> Result<Subscription, OpenError> {
        self.subscribe_from(flow, subscription, credit, None).await
    }

    /// Opens a subscription and moves it to another place first: see [`SubscribeOptions::from`].
    pub async fn subscribe_from(
        &self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        credit: Credit,
        from: Option<SeekTo>,
    ) -> Result<Subscription, OpenError> {
        self.subscribe_with(flow, subscription, credit, SubscribeOptions { from, break_glass: None }).await
    }

    /// Opens a subscription with more to say.
    pub async fn subscribe_with(
        &self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        credit: Credit,
        options: SubscribeOptions,
    ) -> Result<Subscription, OpenError> {
        let opened = self.open_subscription(flow.clone(), subscription.clone(), credit, options).await;
        opened.map_err(|source| OpenError { purpose: "read from", flow: flow.clone(), source })
    }

    async fn open_subscription(
        &self,
        flow: FlowName,
        subscription: SubscriptionName,
        credit: Credit,
        SubscribeOptions { from, break_glass }: SubscribeOptions,
    ) -> Result<Subscription, StreamError> {
        let version = self.welcome().version;
        if break_glass.is_some() && version < Version::STATING {
            return Err(StreamError::TooOld { speaks: version, needs: Version::STATING });
        }
        let mut stream = self.open_stream().await?;
        let (of, name) = (flow.clone(), subscription.clone());
        let open = OpenSubscription { flow: of, subscription: name, credit, from };
        let mut machine = SubscriptionClient::new(open);
        if let Some(break_glass) = &break_glass {
            machine = machine.stating(break_glass);
        }
        let opened = match stream.next_event(&mut machine).await {
            Ok(SubscriptionClientEvent::Opened(opened)) => opened,
            Ok(SubscriptionClientEvent::Refused(refusal)) => return Err(StreamError::Refused(refusal)),
            Ok(_) => return Err(StreamError::Finished),
            Err(error) => return Err(self.closing_on_violation(error)),
        };
        let (deliver, arrived) = mpsc::channel(ARRIVED_DELIVERIES_MAX);
        // Bounded by credit, as long as the reader does not say all the time that it is at work: there is one answer for each part.
        let (commands, commanded) = mpsc::unbounded_channel();
        let driver = Driver::new(self.clone(), stream, machine, deliver, commanded);
        let task = tokio::spawn(driver.run());
        let (client, cursor) = (self.clone(), opened.cursor);
        let kept = VecDeque::new();
        Ok(Subscription {
            client,
            flow,
            subscription,
            credit,
            break_glass,
            cursor,
            kept,
            arrived,
            commands,
            task,
            ended: None,
        })
    }
}

impl Subscription {
    /// The lowest offset that was not settled when reading began.
    #[must_use]
    pub fn cursor(&self) -> Offset {
        self.cursor
    }

    /// Opens the subscription again, over this connection or, where it was lost, over the one that took its place. Everything
    /// that was not acked comes again; acks of deliveries of before are of no effect.
    pub async fn reopen(&mut self) -> Result<(), ReadError> {
        let (flow, subscription) = (self.flow.clone(), self.subscription.clone());
        let client = self.client.renewed().await.map_err(|source| ReadError::Reconnect {
            flow: flow.clone(),
            subscription: subscription.clone(),
            source: Box::new(source),
        })?;
        let options = SubscribeOptions { from: None, break_glass: self.break_glass.clone() };
        let opened = client.open_subscription(flow, subscription, self.credit, options).await;
        *self = opened.map_err(|source| self.error(source))?;
        Ok(())
    }

    /// Puts deliveries before those that come.
    pub(crate) fn keep_for_next(&mut self, deliveries: VecDeque<Delivery>) {
        self.kept.extend(deliveries);
    }

    /// The next delivery; none when the broker ended the stream in good order. Losing this future loses no delivery.
    pub async fn next(&mut self) -> Result<Option<Delivery>, ReadError> {
        if let Some(delivery) = self.kept.pop_front() {
            return Ok(Some(delivery));
        }
        if let Some(delivery) = self.arrived.recv().await {
            return Ok(Some(self.deliver(delivery)));
        }
        let ended = self.end().await;
        ended.map(|()| None).map_err(|source| self.error(source))
    }

    async fn end(&mut self) -> Result<(), StreamError> {
        if self.ended.is_none() {
            self.ended = Some((&mut self.task).await.unwrap_or(Err(StreamError::Finished)));
        }
        self.ended.clone().unwrap_or(Ok(()))
    }

    fn deliver(&self, delivery: wire::Delivery) -> Delivery {
        let wire::Delivery { number, offset, attempt, part, parts, head, body, receipt } = delivery;
        let body = match body {
            DeliveredBody::Inline(octets) => DeliveryBody::Inline(octets),
            DeliveredBody::Large { size, digest } => DeliveryBody::Large { size, digest },
        };
        Delivery {
            number,
            offset,
            attempt,
            part,
            parts,
            head,
            body,
            receipt,
            source: Source {
                client: self.client.clone(),
                flow: self.flow.clone(),
                subscription: self.subscription.clone(),
            },
            commands: self.commands.clone(),
        }
    }

    /// Lets more be delivered and not acked.
    pub fn grant(&self, more: Credit) {
        // It fails only after the end of the stream, which `next` tells.
        let _ = self.commands.send(Command::Grant(more));
    }

    /// Ends the stream after the acks given so far, and waits until the broker has counted them.
    pub async fn close(mut self) -> Result<(), ReadError> {
        let _ = self.commands.send(Command::Finish);
        self.arrived.close();
        let ended = self.end().await;
        ended.map_err(|source| self.error(source))
    }

    fn error(&self, source: StreamError) -> ReadError {
        ReadError::Stream { flow: self.flow.clone(), subscription: self.subscription.clone(), source }
    }
}

/// Where a delivery came from.
#[derive(Debug, Clone)]
struct Source {
    client: Client,
    flow: FlowName,
    subscription: SubscriptionName,
}

/// A body as it is delivered.
#[derive(Clone, PartialEq, Eq)]
pub enum DeliveryBody {
    /// Here it is. It shares the memory of the frame that it came in, up to 1 MiB.
    Inline(Bytes),
    /// To be read with [`Delivery::open_large`], before the ack.
    Large {
        /// Its octets.
        size: u64,
        /// SHA-256 of its octets.
        digest: Digest,
    },
}

impl std::fmt::Debug for DeliveryBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(octets) => write!(f, "Inline(<{} octets>)", octets.len()),
            Self::Large { size, digest } => write!(f, "Large({size} octets, {digest:?})"),
        }
    }
}

/// One delivered record. Without an answer it comes again after the subscription's `ack_wait`, or when the subscription is opened
/// the next time. An answer after that, when the record was delivered again, changes nothing.
#[derive(Debug)]
pub struct Delivery {
    number: u64,
    offset: Offset,
    attempt: u32,
    part: u16,
    parts: u16,
    head: Head,
    body: DeliveryBody,
    receipt: Receipt,
    source: Source,
    commands: mpsc::UnboundedSender<Command>,
}

impl Delivery {
    /// Position of the stored record in its flow.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The how-manieth delivery of the record to the subscription this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Which of the records that the subscription's chain made of the stored one, from 0, and how many it made.
    #[must_use]
    pub fn part(&self) -> (u16, u16) {
        (self.part, self.parts)
    }

    /// What is known without the body.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The body, or what to ask for.
    #[must_use]
    pub fn body(&self) -> &DeliveryBody {
        &self.body
    }

    /// What the subscription's chain did.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Opens a large body from octet `from` on; see [`Subscription::fetch_large`] for one that goes on after a lost connection. Its digest is checked at the end where `from` is 0. An inline body is refused
    /// by the broker.
    pub async fn open_large(&self, from: u64) -> Result<LargeBody, ReadError> {
        LargeBody::open(&self.source.client, self.request(from)).await
    }

    /// Opens a large body after the part that is here of it.
    pub(crate) async fn open_large_after(&self, partial: Option<Partial>) -> Result<LargeBody, ReadError> {
        LargeBody::open_after(&self.source.client, self.request(0), partial).await
    }

    fn request(&self, from: u64) -> OpenDownload {
        let Source { flow, subscription, .. } = self.source.clone();
        OpenDownload { flow, subscription, offset: self.offset, part: self.part, from }
    }

    pub(crate) fn flow(&self) -> &FlowName {
        &self.source.flow
    }

    /// The reader is done with it. A record is settled when all its parts are acked.
    pub fn ack(self) {
        self.say(Command::Ack(self.number));
    }

    /// The reader does not take the record now, with all its parts: it comes again after `delay`, or after the subscription's
    /// own `backoff`, and before later records of its key that were not delivered yet.
    pub fn nak(self, delay: Option<Duration>) {
        let delay = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self.say(Command::Nak(self.number, delay));
    }

    /// The reader never wants to see the record again, with all its parts. The reason is written down in the broker's audit: a
    /// code of the reader's own, never a value of the record.
    pub fn term(self, reason: ReasonCode) {
        self.say(Command::Term(self.number, reason));
    }

    /// The reader still works on it: its time begins anew. To be called well within the subscription's `ack_wait`.
    pub fn in_progress(&self) {
        self.say(Command::InProgress(self.number));
    }

    fn say(&self, command: Command) {
        // It fails only after the end of the stream; then the record comes again.
        let _ = self.commands.send(command);
    }
}
