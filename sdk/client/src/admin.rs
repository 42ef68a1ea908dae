//! What operators do: look at flows, subscriptions, the quarantine and the audit, release, destroy, pause, hold.
//!
//! The broker answers only those whom the hospital's configuration names as operators (`[[operators]]`), and writes down
//! everything that is asked.

use std::time::Duration;

use bytes::Bytes;
use hilum_core::control::HoldId;
use hilum_core::digest::Hasher;
use hilum_core::policy::Right;
use hilum_core::session::{AdminClient, Violation};
use hilum_core::wire::CloseCode;
use hilum_core::wire::admin::{
    AddHold, AskOriginals, AskStanding, AuditPage, BreakerPage, BreakerStatus, Disclosed, FlowPage,
    FlowStatus, Forget, ForgetOriginals, HoldPage, HoldStatus, ListBreakers, ListFlows, ListHolds,
    ListOriginals, ListQuarantine, ListStages, ListStates, ListSubscriptions, OpenAdmin, OriginalsPage,
    OriginalsStatus, Preview, PreviewReload, QuarantineId, QuarantinePage, ReadAudit, ReadBody, ReadValues,
    Released, Reload, RemoveHold, Revealed, RevealedPage, SeekSubscription, SeekTo, Short, ShowQuarantined,
    Shown, StagePage, StageStatus, Standing, StatePage, StateStatus, StateValue, SubscriptionId,
    SubscriptionPage, SubscriptionStatus, ToBroker, ToClient,
};
use hilum_core::{Digest, FlowName, KeyName, Offset, StageName, SubscriptionName};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::connection::Client;
use crate::error::StreamError;
use crate::stream::Stream;

/// An admin stream. Its questions are answered one after the other.
#[derive(Debug)]
pub struct Admin {
    client: Client,
    stream: Stream,
    machine: AdminClient,
    may: Vec<Right>,
}

/// Why an operator's question has no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {purpose}: {source}")]
pub struct AdminError {
    /// What was wanted.
    pub purpose: &'static str,
    /// Why not.
    pub source: StreamError,
}

/// Why a body in quarantine is not written out.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The broker does not give it.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It is not what the broker said.
    #[error("the body has {actual} octets of {announced}, or not the digest that was announced")]
    Differs {
        /// As announced.
        announced: u64,
        /// As read.
        actual: u64,
    },
    /// It cannot be written.
    #[error("the body cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// What came is not the answer to what was asked.
fn wrong_answer() -> StreamError {
    let reason = "the answer is not one to this question".to_owned();
    StreamError::Protocol(Violation { code: CloseCode::Unexpected, reason })
}

macro_rules! asks {
    ($self:ident, $purpose:literal, $question:expr, $answer:pat => $value:expr) => {{
        let answer = $self.ask($question).await.and_then(|answer| match answer {
            $answer => Ok($value),
            _ => Err(wrong_answer()),
        });
        answer.map_err(|source| AdminError {
            purpose: $purpose,
            source: $self.client.closing_on_violation(source),
        })
    }};
}

impl Client {
    /// Opens an admin stream. `note` says what for, in the operator's words: it goes to the audit with everything that is
    /// done, and is the reason of holds and pauses.
    pub async fn admin(&self, note: &str) -> Result<Admin, AdminError> {
        let opened = Admin::open(self, note).await;
        opened.map_err(|source| {
            let source = self.closing_on_violation(source);
            AdminError { purpose: "open an operator's stream", source }
        })
    }
}

impl Admin {
    async fn open(client: &Client, note: &str) -> Result<Self, StreamError> {
        let mut stream = client.open_stream().await?;
        let mut machine = AdminClient::new(OpenAdmin { note: Short::new(note).0 });
        match stream.next_event(&mut machine).await? {
            Some(ToClient::Opened(opened)) => {
                Ok(Self { client: client.clone(), stream, machine, may: opened.may })
            }
            Some(ToClient::Refused(refusal)) => Err(refusal.into()),
            Some(_) => Err(wrong_answer()),
            None => Err(StreamError::Finished),
        }
    }

    /// What we may do.
    #[must_use]
    pub fn may(&self) -> &[Right] {
        &self.may
    }

    /// Flows in reach, all of them, by name.
    pub async fn flows(&mut self) -> Result<Vec<FlowStatus>, AdminError> {
        let (mut flows, mut after): (Vec<FlowStatus>, _) = (Vec::new(), None);
        loop {
            let question = ToBroker::Flows(ListFlows { after });
            let page: FlowPage = asks!(self, "list flows", question, ToClient::Flows(page) => page)?;
            flows.extend(page.flows);
            after = flows.last().map(|flow| flow.flow.clone());
            if !page.more {
                return Ok(flows);
            }
        }
    }

    /// Stages of flows in reach that are left alone because their plugins fail, all of them.
    pub async fn breakers(&mut self) -> Result<Vec<BreakerStatus>, AdminError> {
        let mut breakers: Vec<BreakerStatus> = Vec::new();
        loop {
            let question = ToBroker::Breakers(ListBreakers { from: breakers.len() as u64 });
            let page: BreakerPage = asks!(self, "list breakers", question, ToClient::Breakers(page) => page)?;
            breakers.extend(page.breakers);
            if !page.more {
                return Ok(breakers);
            }
        }
    }

    /// Subscriptions of a flow, all of them, by name.
    pub async fn subscriptions(&mut self, flow: &FlowName) -> Result<Vec<SubscriptionStatus>, AdminError> {
        let (mut all, mut after): (Vec<SubscriptionStatus>, _) = (Vec::new(), None);
        loop {
            let question = ToBroker::Subscriptions(ListSubscriptions { flow: flow.clone(), after });
            let page: SubscriptionPage =
                asks!(self, "list subscriptions", question, ToClient::Subscriptions(page) => page)?;
            all.extend(page.subscriptions);
            after = all.last().map(|subscription| subscription.subscription.clone());
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// One page of what is in a flow's quarantine.
    pub async fn quarantine(&mut self, list: ListQuarantine) -> Result<QuarantinePage, AdminError> {
        asks!(self, "list the quarantine", ToBroker::Quarantine(list), ToClient::Quarantine(page) => page)
    }

    /// One record in quarantine, without what may identify a patient.
    pub async fn show(&mut self, flow: &FlowName, id: Offset) -> Result<Shown, AdminError> {
        let of = QuarantineId { flow: flow.clone(), id };
        let question = ToBroker::Show(ShowQuarantined { of, disclose: false });
        asks!(self, "show a record in quarantine", question, ToClient::Shown(shown) => shown)
    }

    /// One record in quarantine with its key and attributes. Needs the right `bodies`.
    pub async fn disclose(&mut self, flow: &FlowName, id: Offset) -> Result<(Shown, Disclosed), AdminError> {
        let of = QuarantineId { flow: flow.clone(), id };
        let question = ToBroker::Show(ShowQuarantined { of, disclose: true });
        let mut shown: Shown =
            asks!(self, "show a record in quarantine", question, ToClient::Shown(shown) => shown)?;
        let disclosed = shown.disclosed.take();
        let source = wrong_answer();
        let disclosed = disclosed.ok_or(AdminError { purpose: "show a record in quarantine", source })?;
        Ok((shown, disclosed))
    }

    /// Writes the body of a record in quarantine to `out`, and checks it. Needs the right `bodies`.
    pub async fn write_body(
        &mut self,
        flow: &FlowName,
        id: Offset,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, BodyError> {
        let (shown, disclosed) = self.disclose(flow, id).await?;
        let (mut from, mut hasher) = (0, Hasher::new());
        loop {
            let octets = self.body_part(flow, id, from).await?;
            if octets.is_empty() {
                break;
            }
            from += octets.len() as u64;
            hasher.update(&octets);
            out.write_all(&octets).await?;
        }
        out.flush().await?;
        let announced = shown.entry.octets;
        if from != announced || hasher.finish() != disclosed.digest {
            return Err(BodyError::Differs { announced, actual: from });
        }
        Ok(from)
    }

    async fn body_part(&mut self, flow: &FlowName, id: Offset, from: u64) -> Result<Bytes, AdminError> {
        let of = QuarantineId { flow: flow.clone(), id };
        let question = ToBroker::Body(ReadBody { of, from });
        asks!(self, "read the body of a record in quarantine", question, ToClient::Body(part) => part.octets)
    }

    /// Sends a record in quarantine through its flow's chain again. Needs the right `quarantine`.
    pub async fn release(&mut self, flow: &FlowName, id: Offset) -> Result<Released, AdminError> {
        let question = ToBroker::Release(QuarantineId { flow: flow.clone(), id });
        asks!(self, "release a record from quarantine", question, ToClient::Released(released) => released)
    }

    /// Destroys a record in quarantine. Needs the right `quarantine`.
    pub async fn destroy(&mut self, flow: &FlowName, id: Offset) -> Result<(), AdminError> {
        let question = ToBroker::Destroy(QuarantineId { flow: flow.clone(), id });
        asks!(self, "destroy a record in quarantine", question, ToClient::Done => ())
    }

    /// Delivers no more to the readers of a subscription until it is resumed. Needs the right `subscriptions` and a note.
    pub async fn pause(
        &mut self,
        flow: &FlowName,
        subscription: &SubscriptionName,
    ) -> Result<(), AdminError> {
        let question = ToBroker::Pause(subscription_id(flow, subscription));
        asks!(self, "pause a subscription", question, ToClient::Done => ())
    }

    /// Lets a paused subscription go on. Needs the right `subscriptions`.
    pub async fn resume(
        &mut self,
        flow: &FlowName,
        subscription: &SubscriptionName,
    ) -> Result<(), AdminError> {
        let question = ToBroker::Resume(subscription_id(flow, subscription));
        asks!(self, "resume a subscription", question, ToClient::Done => ())
    }

    /// Moves a subscription; gives where it goes on. Needs the right `subscriptions`.
    pub async fn seek(
        &mut self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        to: SeekTo,
    ) -> Result<Offset, AdminError> {
        let question = ToBroker::Seek(SeekSubscription { of: subscription_id(flow, subscription), to });
        asks!(self, "move a subscription", question, ToClient::Sought(offset) => offset)
    }

    /// Legal holds in reach, all of them.
    pub async fn holds(&mut self) -> Result<Vec<HoldStatus>, AdminError> {
        let (mut holds, mut after): (Vec<HoldStatus>, _) = (Vec::new(), None);
        loop {
            let question = ToBroker::Holds(ListHolds { after });
            let page: HoldPage = asks!(self, "list legal holds", question, ToClient::Holds(page) => page)?;
            holds.extend(page.holds);
            after = holds.last().map(|hold| hold.id);
            if !page.more {
                return Ok(holds);
            }
        }
    }

    /// Places a legal hold on a flow, or on its records of one key. Needs the right `holds` and a note.
    pub async fn add_hold(&mut self, flow: &FlowName, key: Option<&str>) -> Result<HoldId, AdminError> {
        let question = ToBroker::AddHold(AddHold { flow: flow.clone(), key: key.map(str::to_owned) });
        asks!(self, "place a legal hold", question, ToClient::HoldAdded(id) => id)
    }

    /// Lifts a legal hold. Needs the right `holds`.
    pub async fn remove_hold(&mut self, flow: &FlowName, id: HoldId) -> Result<(), AdminError> {
        let question = ToBroker::RemoveHold(RemoveHold { flow: flow.clone(), id });
        asks!(self, "lift a legal hold", question, ToClient::Done => ())
    }

    /// One page of the audit.
    pub async fn audit(&mut self, read: ReadAudit) -> Result<AuditPage, AdminError> {
        asks!(self, "read the audit", ToBroker::Audit(read), ToClient::Audit(page) => page)
    }

    /// What the broker would change if it took the configuration that is in its directory, all of it; or what is wrong with it.
    /// Needs the right `configure`.
    pub async fn preview(&mut self) -> Result<Preview, AdminError> {
        let mut whole: Option<Preview> = None;
        loop {
            let from = whole.as_ref().map_or(0, |whole| whole.changes.len() + whole.problems.len());
            let question = ToBroker::Preview(PreviewReload { from: from as u64 });
            let page: Preview =
                asks!(self, "see what a reload would change", question, ToClient::Preview(page) => page)?;
            let more = page.more;
            whole = match whole {
                // Where it was edited meanwhile, the list begins anew.
                Some(mut whole) if whole.digest == page.digest => {
                    whole.changes.extend(page.changes);
                    whole.problems.extend(page.problems);
                    Some(whole)
                }
                Some(_) => None,
                None => Some(page),
            };
            if let (false, Some(whole)) = (more, &mut whole) {
                whole.more = false;
                return Ok(whole.clone());
            }
        }
    }

    /// Lets the broker take the configuration of this digest, which [`Admin::preview`] gave: another one is refused. Gives how many
    /// things changed. Needs the right `configure`.
    pub async fn reload(&mut self, digest: Digest) -> Result<u64, AdminError> {
        let question = ToBroker::Reload(Reload { digest });
        asks!(self, "reload the configuration", question, ToClient::Reloaded(changes) => changes)
    }

    /// Which configuration the broker runs, when no reload is under way there; and how far the chains are that the last one replaced,
    /// for which it waits as long as it is told to, and no longer than a second. Needs the right `configure`.
    pub async fn standing(&mut self, wait: Duration) -> Result<Standing, AdminError> {
        let wait_milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let question = ToBroker::Standing(AskStanding { wait_milliseconds });
        asks!(self, "learn what the broker runs", question, ToClient::Standing(standing) => standing)
    }

    /// Stages of all flows in reach, with their plugins.
    pub async fn stages(&mut self) -> Result<Vec<StageStatus>, AdminError> {
        let (mut all, mut after): (Vec<StageStatus>, _) = (Vec::new(), None);
        loop {
            let question = ToBroker::Stages(ListStages { after });
            let page: StagePage = asks!(self, "list stages", question, ToClient::Stages(page) => page)?;
            all.extend(page.stages);
            after = all.last().map(|stage| stage.place.clone());
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// How much the observing stages of a flow keep, all of them, by name.
    pub async fn states(&mut self, flow: &FlowName) -> Result<Vec<StateStatus>, AdminError> {
        let (mut all, mut after): (Vec<StateStatus>, _) = (Vec::new(), None);
        loop {
            let question = ToBroker::States(ListStates { flow: flow.clone(), after });
            let page: StatePage =
                asks!(self, "list what plugins keep", question, ToClient::States(page) => page)?;
            all.extend(page.stages);
            after = all.last().map(|status| status.stage.clone());
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// One page of what a stage keeps, of keys after one; none at the end. Needs the right `bodies`.
    pub async fn values(
        &mut self,
        flow: &FlowName,
        stage: &StageName,
        after: Option<&str>,
    ) -> Result<Vec<StateValue>, AdminError> {
        let after = after.map(str::to_owned);
        let question = ToBroker::Values(ReadValues { flow: flow.clone(), stage: stage.clone(), after });
        asks!(self, "read what a plugin keeps", question, ToClient::Values(page) => page.values)
    }

    /// Keys of which it is kept what pseudonyms stand for, and how much, all of them.
    pub async fn originals(&mut self) -> Result<Vec<OriginalsStatus>, AdminError> {
        let (mut all, mut after): (Vec<OriginalsStatus>, _) = (Vec::new(), None);
        loop {
            let question = ToBroker::Originals(ListOriginals { after });
            let page: OriginalsPage =
                asks!(self, "list what is kept for keys", question, ToClient::Originals(page) => page)?;
            all.extend(page.keys);
            after = all.last().map(|status| status.key.clone());
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// What pseudonyms stood for, sealed to the holders of their key, of whom we have to be one: [`hilum_core::originals::open`] opens
    /// it. Up to [`hilum_core::limits::ASKED_MAX`], each as it stands in a record. Needs the right `pseudonyms` and a note.
    pub async fn reveal(
        &mut self,
        key: &KeyName,
        pseudonyms: &[String],
    ) -> Result<Vec<Revealed>, AdminError> {
        let question = ToBroker::Reveal(AskOriginals { key: key.clone(), pseudonyms: shorts(pseudonyms) });
        let page: RevealedPage =
            asks!(self, "reveal what pseudonyms stood for", question, ToClient::Revealed(page) => page)?;
        Ok(page.revealed)
    }

    /// Destroys what is kept of what pseudonyms stood for; all that is kept for the key where none are named. Gives how much that was.
    /// Needs the right `pseudonyms` and a note.
    pub async fn forget(&mut self, key: &KeyName, pseudonyms: Option<&[String]>) -> Result<u64, AdminError> {
        let what = pseudonyms.map_or(Forget::All, |pseudonyms| Forget::These(shorts(pseudonyms)));
        let question = ToBroker::Forget(ForgetOriginals { key: key.clone(), what });
        asks!(self, "forget what pseudonyms stood for", question, ToClient::Forgotten(count) => count)
    }

    async fn ask(&mut self, question: ToBroker) -> Result<ToClient, StreamError> {
        self.machine.ask(question).map_err(|_| StreamError::Finished)?;
        match self.stream.next_event(&mut self.machine).await? {
            Some(ToClient::Refused(refusal)) => Err(refusal.into()),
            Some(answer) => Ok(answer),
            None => Err(StreamError::Finished),
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.machine.finish();
        self.stream.abandon(CloseCode::Done);
    }
}

fn shorts(texts: &[String]) -> Vec<Short> {
    texts.iter().map(|text| Short::new(text)).collect()
}

fn subscription_id(flow: &FlowName, subscription: &SubscriptionName) -> SubscriptionId {
    SubscriptionId { flow: flow.clone(), subscription: subscription.clone() }
}
