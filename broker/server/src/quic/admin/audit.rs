//! The audit, for operators: a page at a time. Events of a flow are shown to those who can reach it.

use hilum_core::audit::{Action, Event, Filter};
use hilum_core::limits::ADMIN_PAGE_ITEMS_MAX;
use hilum_core::policy::Right;
use hilum_core::wire::admin::{AuditEvent, AuditPage, ReadAudit, Short};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{LogName, Offset};

use super::{Operator, unavailable};

/// Octets read from the log at once.
const READ_OCTETS: usize = 1 << 20;
/// Reads for one page. What fits the filter may be far apart; the operator asks again from there.
const PAGE_READS_MAX: usize = 8;
/// Octets of reasons in one page, so that it fits a frame.
const PAGE_REASONS_OCTETS_MAX: usize = 512 * 1024;
/// Octets of one reason: the plan of a chain of the longest names is shorter.
const REASON_OCTETS_MAX: usize = 64 * 1024;

impl Operator<'_> {
    pub(super) async fn audit(&mut self, read: ReadAudit) -> Result<AuditPage, Refusal> {
        let permit = self.permit(Right::Inspect, None).await?;
        let action = read.action.map(|action| action.0.parse::<Action>()).transpose();
        let action = action.map_err(|error| Refusal::new(RefusalCode::NotFound, &error.to_string()))?;
        let ReadAudit { from, since, until, flow, principal, .. } = read;
        if let Some(flow) = flow.as_ref().filter(|flow| !self.is_in_sight(flow)) {
            self.permit(Right::Inspect, Some(flow)).await?;
        }
        self.looks(&permit, Action::Inspected, "the audit".to_owned()).await?;
        let filter = Filter { since, until, flow, principal, action };
        self.page(from, &filter).await.map_err(|error| {
            tracing::error!(error, "the audit cannot be read");
            unavailable("the audit cannot be read; the broker's log says why")
        })
    }

    /// Flows that the configuration does not have belong to nobody: who tried to use one is of interest to all operators.
    fn is_in_sight(&self, flow: &hilum_core::FlowName) -> bool {
        !self.session.flows.rules().policy.flows.contains_key(flow) || self.may(Right::Inspect, flow)
    }

    async fn page(&self, from: Offset, filter: &Filter) -> Result<AuditPage, String> {
        let log = &self.session.flows.shared.log;
        let bounds = log.bounds(&LogName::Audit).await.map_err(|error| error.to_string())?;
        let (mut at, mut events, mut octets) = (Offset(from.0.max(bounds.start)), Vec::new(), 0);
        for _ in 0..PAGE_READS_MAX {
            if at.0 >= bounds.end {
                break;
            }
            let entries =
                log.read(&LogName::Audit, at, READ_OCTETS).await.map_err(|error| error.to_string())?;
            if entries.is_empty() {
                at = Offset(bounds.end);
            }
            for entry in entries {
                at = entry.offset.next();
                let event = Event::decode(&entry.octets)
                    .map_err(|error| format!("event {}: {error}", entry.offset))?;
                if filter.fits(&event) && event.flow.as_ref().is_none_or(|flow| self.is_in_sight(flow)) {
                    let event = shown(entry.offset, event);
                    octets += event.reason.len();
                    events.push(event);
                }
                if events.len() == ADMIN_PAGE_ITEMS_MAX || octets >= PAGE_REASONS_OCTETS_MAX {
                    return Ok(AuditPage { events, next: at, at_end: at.0 >= bounds.end });
                }
            }
        }
        Ok(AuditPage { events, next: at, at_end: at.0 >= bounds.end })
    }
}

fn shown(number: Offset, event: Event) -> AuditEvent {
    let Event { time, principal, flow, subscription, offset, action, mut reason } = event;
    reason.truncate(reason.floor_char_boundary(REASON_OCTETS_MAX));
    AuditEvent {
        number,
        time,
        principal,
        flow,
        subscription,
        offset,
        action: Short::new(action.as_str()),
        reason,
    }
}
