//! The broker's end of an admin stream: asks policy, writes down what is done, and hands each question to whom it concerns.
//!
//! Policy is asked before anything is looked at, so that whoever has no right learns nothing, not even whether there is
//! something. What is done and what is denied is in the audit before it is done or answered. A question that goes on where
//! the one before ended, with the next page of a list or the next part of a body, is written down once.

mod audit;
mod breakers;
mod flows;
mod holds;
mod life;
mod originals;
mod quarantine;
mod state;

use hilum_core::FlowName;
use hilum_core::audit::Action;
use hilum_core::policy::{OperatorDenial, OperatorPermit, Right};
use hilum_core::session::{AdminServer, AdminServerEvent, Machine as _};
use hilum_core::wire::admin::{ToBroker, ToClient};
use hilum_core::wire::{Refusal, RefusalCode};

use super::{Session, Stream, StreamError, read};
use crate::broker::About;
use crate::control::DecideError;

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: AdminServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    let mut operator = Operator { session, note: machine.request().note.clone(), looked_at: None };
    let rights = session.flows.rules().policy.rights(&session.principal);
    if rights.is_empty() {
        let denial = OperatorDenial::NoRight(session.principal.stakeholder.clone(), Right::Inspect);
        machine.refuse(operator.denied(None, &denial.to_string()).await);
    } else {
        machine.open(&rights);
    }
    loop {
        if stream.flush(&mut machine).await? {
            return Ok(());
        }
        match machine.poll_event()? {
            Some(AdminServerEvent::Asked(asked)) => {
                let answer = operator.answer(asked).await;
                machine.answer(answer.unwrap_or_else(ToClient::Refused));
            }
            Some(AdminServerEvent::Finished) => {}
            None => match read(&mut stream.recv).await? {
                Some(octets) => machine.handle_data(&octets),
                None => machine.handle_finish(),
            },
        }
    }
}

/// Who asks.
struct Operator<'a> {
    session: &'a Session,
    /// What for, in the operator's words.
    note: String,
    /// What was shown last, as the audit has it.
    looked_at: Option<(Action, Option<FlowName>, String)>,
}

impl Operator<'_> {
    async fn answer(&mut self, asked: ToBroker) -> Result<ToClient, Refusal> {
        Ok(match asked {
            ToBroker::Flows(list) => ToClient::Flows(self.flows(list).await?),
            ToBroker::Subscriptions(list) => ToClient::Subscriptions(self.subscriptions(list).await?),
            ToBroker::Quarantine(list) => ToClient::Quarantine(self.quarantine(list).await?),
            ToBroker::Show(show) => ToClient::Shown(self.show(show).await?),
            ToBroker::Body(read) => ToClient::Body(self.body(read).await?),
            ToBroker::Release(id) => ToClient::Released(self.release(id).await?),
            ToBroker::Destroy(id) => {
                self.destroy(id).await?;
                ToClient::Done
            }
            ToBroker::Pause(id) => {
                self.pause(id).await?;
                ToClient::Done
            }
            ToBroker::Resume(id) => {
                self.resume(id).await?;
                ToClient::Done
            }
            ToBroker::Seek(seek) => ToClient::Sought(self.seek(seek).await?),
            ToBroker::Holds(list) => ToClient::Holds(self.holds(list).await?),
            ToBroker::AddHold(hold) => ToClient::HoldAdded(self.add_hold(hold).await?),
            ToBroker::RemoveHold(hold) => {
                self.remove_hold(hold).await?;
                ToClient::Done
            }
            ToBroker::Audit(read) => ToClient::Audit(self.audit(read).await?),
            ToBroker::Preview(preview) => ToClient::Preview(self.preview(preview).await?),
            ToBroker::Reload(reload) => ToClient::Reloaded(self.reload(reload).await?),
            ToBroker::Stages(list) => ToClient::Stages(self.stages(list).await?),
            ToBroker::States(list) => ToClient::States(self.states(list).await?),
            ToBroker::Values(read) => ToClient::Values(self.values(read).await?),
            ToBroker::Breakers(list) => ToClient::Breakers(self.breakers(list).await?),
            ToBroker::Standing(ask) => ToClient::Standing(self.standing(ask).await?),
            ToBroker::Originals(list) => ToClient::Originals(self.originals(list).await?),
            ToBroker::Reveal(ask) => ToClient::Revealed(self.reveal(ask).await?),
            ToBroker::Forget(forget) => ToClient::Forgotten(self.forget(forget).await?),
        })
    }

    /// Asks policy. What it denies is written down.
    async fn permit(&self, right: Right, flow: Option<&FlowName>) -> Result<OperatorPermit, Refusal> {
        match self.session.flows.rules().policy.operate(&self.session.principal, right, flow) {
            Ok(permit) => Ok(permit),
            Err(denial) => Err(self.denied(flow, &denial.to_string()).await),
        }
    }

    /// Whether policy would permit it; nothing is done with it that needs to be written down.
    fn may(&self, right: Right, flow: &FlowName) -> bool {
        self.session.flows.rules().policy.operate(&self.session.principal, right, Some(flow)).is_ok()
    }

    /// Writes down what is shown, before it is.
    async fn looks(&mut self, permit: &OperatorPermit, action: Action, at: String) -> Result<(), Refusal> {
        let looks_at = (action, permit.flow().cloned(), at);
        if self.looked_at.as_ref() == Some(&looks_at) {
            return Ok(());
        }
        let shared = &self.session.flows.shared;
        let note = if self.note.is_empty() { String::new() } else { format!("; note: {}", self.note) };
        let reason = format!("{}, by rule `{}`{note}", looks_at.2, permit.rule());
        let event = self.about(permit.flow()).event(shared.now(), action, reason);
        if let Err(error) = shared.audit(vec![event]).await {
            tracing::error!(%error, "what an operator looks at cannot be audited");
            return Err(unavailable("the audit cannot be written, so nothing is shown"));
        }
        self.looked_at = Some(looks_at);
        Ok(())
    }

    /// Writes down that something was denied, and makes the answer.
    async fn denied(&self, flow: Option<&FlowName>, reason: &str) -> Refusal {
        let shared = &self.session.flows.shared;
        tracing::warn!(principal = %self.session.principal.id, reason, "an operator was denied");
        shared.instruments.denied();
        let event = self.about(flow).event(shared.now(), Action::Denied, format!("operator: {reason}"));
        shared.audit_refusal(event).await;
        Refusal::new(RefusalCode::Denied, reason)
    }

    fn about(&self, flow: Option<&FlowName>) -> About {
        About { principal: Some(self.session.principal.id.clone()), flow: flow.cloned(), ..About::default() }
    }

    /// What became of a decision that [`crate::control`] audits itself.
    async fn decided<T>(&self, flow: &FlowName, decided: Result<T, DecideError>) -> Result<T, Refusal> {
        match decided {
            Ok(done) => Ok(done),
            Err(DecideError::Decision(error)) => Err(self.denied(Some(flow), &error.to_string()).await),
            Err(error) => {
                tracing::error!(%flow, %error, "an operator's decision did not take effect");
                Err(unavailable("the decision could not be written down, so it has no effect"))
            }
        }
    }
}

fn unavailable(reason: &str) -> Refusal {
    Refusal::retryable(RefusalCode::Unavailable, reason)
}
