//! The broker's end of an admin stream: asks policy, writes down what is done, and hands each question to whom it concerns.

use hilum_core::audit::Action;
use hilum_core::policy::{OperatorDenial, Right};
use hilum_core::session::{AdminServer, AdminServerEvent, Machine as _};
use hilum_core::wire::admin::{ToBroker, ToClient};
use hilum_core::wire::{Refusal, RefusalCode};

use super::{Session, Stream, StreamError, read};
use crate::broker::About;

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: AdminServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    let rights = session.flows.policy.rights(&session.principal);
    if rights.is_empty() {
        let denial = OperatorDenial::NoRight(session.principal.stakeholder.clone(), Right::Inspect);
        machine.refuse(denied(session, About::default(), &denial).await);
    } else {
        machine.open(&rights);
    }
    loop {
        if stream.flush(&mut machine).await? {
            return Ok(());
        }
        match machine.poll_event()? {
            Some(AdminServerEvent::Asked(asked)) => {
                let answer = answer(session, asked).await.unwrap_or_else(ToClient::Refused);
                machine.answer(answer);
            }
            Some(AdminServerEvent::Finished) => {}
            None => match read(&mut stream.recv).await? {
                Some(octets) => machine.handle_data(&octets),
                None => machine.handle_finish(),
            },
        }
    }
}

async fn answer(_: &Session, _: ToBroker) -> Result<ToClient, Refusal> {
    Err(Refusal::retryable(RefusalCode::Unavailable, "the broker is starting"))
}

async fn denied(session: &Session, about: About, denial: &OperatorDenial) -> Refusal {
    let reason = denial.to_string();
    let shared = &session.flows.shared;
    tracing::warn!(principal = %session.principal.id, reason, "an operator was denied");
    shared.instruments.denied();
    let about = About { principal: Some(session.principal.id.clone()), ..about };
    shared.audit_refusal(about.event(shared.now(), Action::Denied, reason.clone())).await;
    Refusal::new(RefusalCode::Denied, &reason)
}
