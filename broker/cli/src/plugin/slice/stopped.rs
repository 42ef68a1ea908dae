//! What chains stopped, read from a flow's quarantine as an operator with the right `bodies`: records as they were before the chain.

use anyhow::Context as _;
use hilum_client::admin::{Admin, AdminError, BodyError};
use hilum_client::{Offset, RefusalCode, SeekTo, StreamError, SubscriptionName};
use hilum_core::Principal;
use hilum_core::wire::admin::{Disclosed, ListQuarantine, QuarantineEntry, Shown};
use hilum_server::config::Hospital;

use super::{BODY_OCTETS_MAX, Record, Seen, Slice};
use crate::output::Failure;

/// For the audit, with each record that is seen.
const NOTE: &str = "replayed on a candidate for a stage";

impl Slice {
    /// Hands each record that the ingress chain stopped, or the chain of a subscription failed on, to `take`, with its number in the
    /// quarantine. `take` may block.
    pub(in crate::plugin) async fn each_stopped(
        &self,
        chain: Option<&SubscriptionName>,
        hospital: &Hospital,
        mut take: impl FnMut(Record, Offset) -> anyhow::Result<()>,
    ) -> anyhow::Result<Seen> {
        let client = self.connection.connect().await?;
        let mut admin = client.admin(NOTE).await?;
        let (mut wanted, mut seen, mut left) = (self.wanted()?, Seen::default(), self.count);
        'pages: loop {
            let page = admin.quarantine(wanted.clone()).await?;
            for entry in page.entries {
                if entry.delivery.as_ref().map(|(subscription, _)| subscription) != chain {
                    continue;
                }
                if left == 0 {
                    break 'pages;
                }
                left -= 1;
                if entry.octets > BODY_OCTETS_MAX {
                    seen.too_large += 1;
                    continue;
                }
                let id = entry.id;
                let record = self.stopped(&mut admin, entry, hospital).await;
                let Some(record) = record.with_context(|| format!("quarantine record {id}"))? else {
                    continue;
                };
                tokio::task::block_in_place(|| take(record, id))
                    .with_context(|| format!("quarantine record {id}"))?;
                seen.records += 1;
            }
            let Some(next) = page.next else { break };
            wanted.from = next;
        }
        client.close().await;
        Ok(seen)
    }

    fn wanted(&self) -> anyhow::Result<ListQuarantine> {
        let (from, since) = match self.from {
            None | Some(SeekTo::Start) => (Offset(0), None),
            Some(SeekTo::Offset(number)) => (number, None),
            Some(SeekTo::Time(time)) => (Offset(0), Some(time)),
            Some(SeekTo::End) => {
                let help = "begin at `start`, a number of the quarantine, or a time";
                return Err(Failure::new("there is nothing after the end of a quarantine", help).into());
            }
        };
        Ok(ListQuarantine { flow: self.flow.clone(), from, since, until: None, code: None })
    }

    /// One record; none where it has been released or destroyed meanwhile.
    async fn stopped(
        &self,
        admin: &mut Admin,
        entry: QuarantineEntry,
        hospital: &Hospital,
    ) -> anyhow::Result<Option<Record>> {
        let (Shown { stakeholder, .. }, Disclosed { head, .. }) =
            match admin.disclose(&self.flow, entry.id).await {
                Err(error) if is_gone(&error) => return Ok(None),
                disclosed => disclosed?,
            };
        let mut body = Vec::new();
        match admin.write_body(&self.flow, entry.id, &mut body).await {
            Err(BodyError::Admin(error)) if is_gone(&error) => return Ok(None),
            written => written?,
        };
        // As the configuration has it now; nobody knows what it was when the record came.
        let known = hospital.identities.values().find(|principal| principal.id == entry.source);
        let source = match known {
            Some(principal) => Principal::clone(principal),
            None => Principal { id: entry.source, stakeholder, zone: "unknown".parse()?, roles: Vec::new() },
        };
        Ok(Some(Record {
            name: format!("{:012}", entry.id.0),
            head,
            source,
            offset: entry.delivery.map(|(_, offset)| offset),
            body: body.into(),
            expected: None,
        }))
    }
}

fn is_gone(error: &AdminError) -> bool {
    matches!(&error.source, StreamError::Refused(refusal) if refusal.code == RefusalCode::NotFound)
}
