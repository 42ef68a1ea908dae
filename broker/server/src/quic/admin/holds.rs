//! Legal holds, as frames. A hold's key may identify a patient: it is shown to who may see bodies.

use hilum_core::audit::Action;
use hilum_core::control::{Hold, HoldId, HoldScope};
use hilum_core::limits::ADMIN_PAGE_ITEMS_MAX;
use hilum_core::policy::Right;
use hilum_core::wire::admin::{AddHold, HoldPage, HoldStatus, ListHolds, RemoveHold, Short};
use hilum_core::wire::{Refusal, RefusalCode};

use super::Operator;
use crate::holds::Holds;

impl Operator<'_> {
    fn all_holds(&self) -> Holds {
        Holds::new(self.session.flows.shared.clone())
    }

    pub(super) async fn holds(&mut self, list: ListHolds) -> Result<HoldPage, Refusal> {
        let permit = self.permit(Right::Inspect, None).await?;
        let follows = |hold: &Hold| list.after.is_none_or(|after| hold.id > after);
        let mut holds = self.all_holds().list();
        holds.retain(|hold| follows(hold) && self.may(Right::Inspect, &hold.scope.flow));
        let more = holds.len() > ADMIN_PAGE_ITEMS_MAX;
        holds.truncate(ADMIN_PAGE_ITEMS_MAX);
        let holds: Vec<HoldStatus> = holds.into_iter().map(|hold| self.hold_status(hold)).collect();
        let action =
            if holds.iter().any(|hold| hold.key.is_some()) { Action::Disclosed } else { Action::Inspected };
        self.looks(&permit, action, "list of legal holds".to_owned()).await?;
        Ok(HoldPage { holds, more })
    }

    fn hold_status(&self, hold: Hold) -> HoldStatus {
        let Hold { id, scope: HoldScope { flow, key }, reason, by, time } = hold;
        let has_key = key.is_some();
        let key = key.filter(|_| self.may(Right::Bodies, &flow));
        HoldStatus { id, flow, has_key, key, reason: Short::new(&reason), by, time }
    }

    pub(super) async fn add_hold(&self, hold: AddHold) -> Result<HoldId, Refusal> {
        let AddHold { flow, key } = hold;
        let permit = self.permit(Right::Holds, Some(&flow)).await?;
        let scope = HoldScope { flow: flow.clone(), key };
        let added = self.all_holds().add(scope, &self.note, &permit.principal().id).await;
        Ok(self.decided(&flow, added).await?.id)
    }

    pub(super) async fn remove_hold(&self, hold: RemoveHold) -> Result<(), Refusal> {
        let RemoveHold { flow, id } = hold;
        let permit = self.permit(Right::Holds, Some(&flow)).await?;
        let lies_there = |hold: &Hold| hold.id == id && hold.scope.flow == flow;
        if !self.all_holds().list().iter().any(lies_there) {
            let reason = format!("there is no hold {id} on flow `{flow}`");
            return Err(Refusal::new(RefusalCode::NotFound, &reason));
        }
        let removed = self.all_holds().remove(id, &permit.principal().id).await;
        self.decided(&flow, removed).await
    }
}
