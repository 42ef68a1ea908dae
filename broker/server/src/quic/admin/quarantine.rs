//! What operators ask about the quarantine, as frames.

use hilum_core::audit::Action;
use hilum_core::policy::Right;
use hilum_core::quarantine::{Filter, Quarantined};
use hilum_core::record::{Body, Measured};
use hilum_core::wire::admin::{
    BodyPart, Disclosed, ListQuarantine, QuarantineEntry, QuarantineId, QuarantinePage, ReadBody, Released,
    Short, ShowQuarantined, Shown,
};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{FlowName, Offset};

use super::{Operator, unavailable};
use crate::quarantine::{DeskError, QuarantineDesk, Released as Outcome};

impl Operator<'_> {
    fn desk(&self) -> QuarantineDesk {
        QuarantineDesk::new(self.session.flows.clone())
    }

    pub(super) async fn quarantine(&mut self, list: ListQuarantine) -> Result<QuarantinePage, Refusal> {
        let permit = self.permit(Right::Inspect, Some(&list.flow)).await?;
        self.looks(&permit, Action::Inspected, "list of the quarantine".to_owned()).await?;
        let ListQuarantine { flow, from, since, until, code } = list;
        let filter = Filter { since, until, code: code.map(|code| code.0) };
        let page = self.desk().list(&flow, from, &filter).await;
        let page = self.desked(&flow, page).await?;
        let entries = page.records.iter().map(|(id, record)| entry(*id, record)).collect();
        Ok(QuarantinePage { entries, next: page.next })
    }

    pub(super) async fn show(&mut self, show: ShowQuarantined) -> Result<Shown, Refusal> {
        let QuarantineId { flow, id } = show.of;
        let permit = self.permit(Right::Inspect, Some(&flow)).await?;
        if show.disclose {
            let permit = self.permit(Right::Bodies, Some(&flow)).await?;
            self.looks(&permit, Action::Disclosed, format!("head of quarantine record {id}")).await?;
        } else {
            self.looks(&permit, Action::Inspected, format!("quarantine record {id}")).await?;
        }
        let record = self.desk().find(&flow, id).await;
        let record = self.desked(&flow, record).await?;
        let disclosed = show.disclose.then(|| Disclosed {
            head: record.head.clone(),
            digest: Measured::new(record.body.clone()).digest(),
        });
        Ok(Shown {
            entry: entry(id, &record),
            made: record.head.time,
            stakeholder: record.principal.stakeholder.clone(),
            labels: record.head.labels.clone(),
            is_large: matches!(record.body, Body::Blob(_)),
            disclosed,
        })
    }

    pub(super) async fn body(&mut self, read: ReadBody) -> Result<BodyPart, Refusal> {
        let QuarantineId { flow, id } = read.of;
        let permit = self.permit(Right::Bodies, Some(&flow)).await?;
        self.looks(&permit, Action::Disclosed, format!("body of quarantine record {id}")).await?;
        let octets = self.desk().body(&flow, id, read.from).await;
        Ok(BodyPart { octets: self.desked(&flow, octets).await? })
    }

    pub(super) async fn release(&self, of: QuarantineId) -> Result<Released, Refusal> {
        let permit = self.permit(Right::Quarantine, Some(&of.flow)).await?;
        let released = self.desk().release(permit, of.id, self.note.clone()).await;
        Ok(match self.desked(&of.flow, released).await? {
            Outcome::Stored(offset) => Released::Stored(offset),
            Outcome::Already => Released::Already,
            Outcome::Redelivered => Released::Redelivered,
        })
    }

    pub(super) async fn destroy(&self, of: QuarantineId) -> Result<(), Refusal> {
        let permit = self.permit(Right::Quarantine, Some(&of.flow)).await?;
        let destroyed = self.desk().destroy(permit, of.id, self.note.clone()).await;
        self.desked(&of.flow, destroyed).await
    }

    async fn desked<T>(&self, flow: &FlowName, outcome: Result<T, DeskError>) -> Result<T, Refusal> {
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let reason = error.to_string();
        Err(match error {
            DeskError::NotFound(..) => Refusal::new(RefusalCode::NotFound, &reason),
            // The desk has written down what policy said.
            DeskError::Denied(_) => Refusal::new(RefusalCode::Denied, &reason),
            DeskError::Held(..) | DeskError::NotReleasable(_) => self.denied(Some(flow), &reason).await,
            DeskError::Stopped(_) => Refusal::new(RefusalCode::RefusedByPlugin, &reason),
            DeskError::Unavailable(reason) => unavailable(reason),
        })
    }
}

fn entry(id: Offset, record: &Quarantined) -> QuarantineEntry {
    QuarantineEntry {
        id,
        time: record.time,
        delivery: record.delivery.clone(),
        stage: record.cause.stage.clone(),
        code: Short::new(&record.cause.code),
        reason: Short::new(&record.cause.reason),
        octets: record.body.size(),
        source: record.principal.id.clone(),
    }
}
