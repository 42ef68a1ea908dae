//! What pseudonyms stood for, for holders of their key: who has the right, holds the key and says what for is given it as it is
//! sealed, when it is in the audit that he was. And how much is kept, and how that ends.
//!
//! The audit names pseudonyms of which something is kept, and no other text that was sent: it may be an original by mistake.

use std::sync::Arc;

use hilum_core::audit::Action;
use hilum_core::limits::{ADMIN_PAGE_ITEMS_MAX, FRAME_OCTETS_MAX};
use hilum_core::originals::Asked;
use hilum_core::policy::{OperatorPermit, Right};
use hilum_core::wire::admin::{
    AskOriginals, Forget, ForgetOriginals, ListOriginals, OriginalsPage, OriginalsStatus, Revealed,
    RevealedPage, Short,
};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{KeyName, Offset};

use super::{Operator, unavailable};
use crate::config::KeepOriginals;
use crate::originals::{Found, OriginalsError, Table};
use crate::reload::Running;

/// Octets of one answer, beside what stands around them.
const ANSWER_OCTETS_MAX: usize = FRAME_OCTETS_MAX / 2;

/// What an operator learns of a key that he does not hold, and of one that is not there.
const NOT_A_HOLDER: &str =
    "no key of this name is one whose originals are kept, and of which you are a holder";

impl Operator<'_> {
    pub(super) async fn originals(&mut self, list: ListOriginals) -> Result<OriginalsPage, Refusal> {
        let permit = self.permit(Right::Inspect, None).await?;
        self.looks(&permit, Action::Inspected, "list of what is kept for keys".to_owned()).await?;
        let running = self.configuration()?;
        let mut kept: Vec<_> = running.hospital.kept_keys().collect();
        kept.retain(|(key, _)| list.after.as_ref().is_none_or(|after| key > after));
        let more = kept.len() > ADMIN_PAGE_ITEMS_MAX;
        kept.truncate(ADMIN_PAGE_ITEMS_MAX);
        let mut keys = Vec::new();
        for (key, originals) in kept {
            keys.push(self.status(key, originals).await);
        }
        Ok(OriginalsPage { keys, more })
    }

    async fn status(&self, key: KeyName, originals: &KeepOriginals) -> OriginalsStatus {
        let table = self.table(&key);
        let fault = table.load(&self.session.flows.shared).await.err();
        let (count, octets) = table.usage();
        OriginalsStatus {
            key,
            count,
            count_max: originals.count_max,
            octets,
            octets_max: originals.octets_max,
            fault: fault.map(|error| Short::new(&error.to_string())),
        }
    }

    pub(super) async fn reveal(&self, ask: AskOriginals) -> Result<RevealedPage, Refusal> {
        let permit = self.permit(Right::Pseudonyms, None).await?;
        self.hold(&ask.key).await?;
        self.explained().await?;
        let (asked, table) = (asked(&ask.pseudonyms)?, self.table(&ask.key));
        let mut found = Vec::new();
        for asked in &asked {
            found.push(self.kept(table.find(&self.session.flows.shared, asked).await)?);
        }
        let octets: usize = found.iter().flatten().map(|found| found.kept.sealed.len()).sum();
        if octets > ANSWER_OCTETS_MAX {
            let reason = "what these pseudonyms stand for does not fit into an answer: ask for fewer";
            return Err(Refusal::new(RefusalCode::Overloaded, reason));
        }
        let named = asked.iter().zip(&found);
        let whats = named.map(|(asked, found)| pseudonym_of(&ask.key, asked, found)).collect();
        self.write_down(&permit, Action::Revealed, whats).await?;
        let revealed = (0..).zip(found).flat_map(|(asked, found)| {
            found.into_iter().map(move |Found { kept, .. }| Revealed {
                asked,
                pseudonym: kept.pseudonym,
                sealed: kept.sealed.into(),
            })
        });
        Ok(RevealedPage { revealed: revealed.collect() })
    }

    pub(super) async fn forget(&self, forget: ForgetOriginals) -> Result<u64, Refusal> {
        let permit = self.permit(Right::Pseudonyms, None).await?;
        self.explained().await?;
        let ForgetOriginals { key, what } = forget;
        let (shared, table) = (&self.session.flows.shared, self.table(&key));
        if !self.configuration()?.hospital.kept_keys().any(|(kept, _)| kept == key) {
            return Err(Refusal::new(RefusalCode::NotFound, "nothing is kept for a key of this name"));
        }
        if !shared.control.holds().is_empty() {
            let reason = "there are legal holds, so what pseudonyms stand for stays: lift them first";
            return Err(self.denied(None, reason).await);
        }
        let (whats, which) = match what {
            Forget::All => {
                self.kept(table.load(shared).await)?;
                (vec![format!("all {} of key `{key}`", table.usage().0)], None)
            }
            Forget::These(texts) => {
                let (mut whats, mut offsets) = (Vec::new(), Vec::<Offset>::new());
                for asked in asked(&texts)? {
                    let found = self.kept(table.find(shared, &asked).await)?;
                    whats.push(pseudonym_of(&key, &asked, &found));
                    offsets.extend(found.iter().map(|found| found.offset));
                }
                (whats, Some(offsets))
            }
        };
        self.write_down(&permit, Action::Forgotten, whats).await?;
        self.kept(table.forget(shared, which).await)
    }

    fn table(&self, key: &KeyName) -> Arc<Table> {
        self.session.flows.shared.originals.of(key)
    }

    fn configuration(&self) -> Result<Arc<Running>, Refusal> {
        self.session.flows.reloader.running().ok_or_else(|| unavailable("the broker is only about to run"))
    }

    /// Whether we hold the key, and may see what its stages hide of every flow that they are in.
    async fn hold(&self, key: &KeyName) -> Result<(), Refusal> {
        let running = self.configuration()?;
        let hospital = &running.hospital;
        let id = |holder: &String| hospital.identities.get(holder).map(|principal| &principal.id);
        let is_ours = |(kept, originals): (KeyName, &KeepOriginals)| {
            kept == *key && originals.holders.iter().any(|h| id(h) == Some(&self.session.principal.id))
        };
        if !hospital.kept_keys().any(is_ours) {
            return Err(self.denied(None, NOT_A_HOLDER).await);
        }
        for flow in hospital.flows_with_key(key) {
            self.permit(Right::Pseudonyms, Some(flow)).await?;
        }
        Ok(())
    }

    async fn explained(&self) -> Result<(), Refusal> {
        if self.note.trim().is_empty() {
            return Err(self.denied(None, "a reason is needed: say what for").await);
        }
        Ok(())
    }

    /// Writes down what is about to be done, durably.
    async fn write_down(
        &self,
        permit: &OperatorPermit,
        action: Action,
        whats: Vec<String>,
    ) -> Result<(), Refusal> {
        let shared = &self.session.flows.shared;
        let event = |what: String| {
            let reason = format!("{what}, by rule `{}`; note: {}", permit.rule(), self.note);
            self.about(None).event(shared.now(), action, reason)
        };
        let events = whats.into_iter().map(event).collect();
        shared.audit(events).await.map_err(|error| {
            tracing::error!(%error, "what a holder of a key asks for cannot be audited");
            unavailable("the audit cannot be written, so nothing is told and nothing destroyed")
        })
    }

    fn kept<T>(&self, outcome: Result<T, OriginalsError>) -> Result<T, Refusal> {
        outcome.map_err(|error| {
            tracing::error!(%error, "an operator's question about pseudonyms has no answer");
            unavailable(&error.to_string())
        })
    }
}

fn asked(texts: &[Short]) -> Result<Vec<Asked>, Refusal> {
    let asked = |text: &Short| text.0.parse::<Asked>();
    let asked = texts.iter().map(asked).collect::<Result<Vec<_>, _>>();
    let asked = asked.map_err(|error| Refusal::new(RefusalCode::NotFound, &error.to_string()))?;
    if asked.is_empty() {
        return Err(Refusal::new(RefusalCode::NotFound, "say which pseudonyms"));
    }
    Ok(asked)
}

fn pseudonym_of(key: &KeyName, asked: &Asked, found: &[Found]) -> String {
    match found {
        [] => format!("a pseudonym of key `{key}` of which nothing is kept"),
        _ => format!("pseudonym {asked} of key `{key}`"),
    }
}
