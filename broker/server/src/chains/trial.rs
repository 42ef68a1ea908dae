//! A plugin that is tried at one stage: which records it gets, how it does, and whether it was taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::{hmac, rand};
use hilum_core::Digest;
use hilum_core::canary::{Counts, Exceeded, Rules, StagePlace, Trial as Judge};
use hilum_core::chain::Plan;
use hilum_sandbox::{Failure, FailureKind, Ran};
use hilum_store::{Meta, MetaError};
use parking_lot::Mutex;

use crate::broker::Shared;

/// Where the secret is that lots are drawn with: records of one key stay on their side when the broker starts again.
const SECRET_KEY: &[u8] = b"canary/secret";
const SECRET_OCTETS: usize = 32;

/// Draws lots. Publishers do not know the secret, so that they cannot choose keys that are tried, or that are not.
pub(crate) struct Lots(hmac::Key);

impl Lots {
    /// With the secret that is kept, or a new one.
    pub(crate) async fn load(meta: &dyn Meta) -> Result<Self, MetaError> {
        let mut secret = [0; SECRET_OCTETS];
        rand::fill(&mut secret).expect("the system has random octets");
        meta.compare_and_set(SECRET_KEY, None, Some(&secret)).await?;
        let kept = meta.get(SECRET_KEY).await?;
        // Where it is not there in spite of that, the new one serves as well.
        let secret = kept.as_deref().unwrap_or(&secret);
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

/// What a record's lot is drawn by.
pub(crate) enum Drawn<'a> {
    /// Its key, so that all records of the key draw the same.
    Key(&'a str),
    /// A record without a key: its publisher and number, or its place in the flow.
    Place([u8; 24]),
}

impl Drawn<'_> {
    fn octets(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Key(key) => (b"key", key.as_bytes()),
            Self::Place(place) => (b"place", place),
        }
    }
}

/// The trial of a plugin at one stage, over all readers where it is a subscription's.
pub(crate) struct Trial {
    pub(crate) place: StagePlace,
    pub(crate) rules: Rules,
    /// What is tried, and how: if any of it changes it is another trial.
    pub(crate) identity: Digest,
    /// The stage's number in its chain.
    stage: usize,
    lots: Arc<Lots>,
    judge: Mutex<Judge>,
    is_over: AtomicBool,
    /// Why it is over.
    reason: Mutex<Option<String>>,
    /// What has to be written down.
    exceeded: Mutex<Option<Exceeded>>,
}

impl Trial {
    /// A trial, or the end of one that was rolled back before.
    pub(crate) fn new(
        shared: &Shared,
        lots: Arc<Lots>,
        place: StagePlace,
        (stage, plan): (usize, &Plan),
        rules: Rules,
    ) -> Self {
        let identity = identity(plan, stage, rules);
        let rolled = shared.control.rollback_of(&place).filter(|rolled| rolled.trial == identity);
        Self {
            place,
            rules,
            identity,
            stage,
            lots,
            judge: Mutex::new(Judge::new(rules)),
            is_over: AtomicBool::new(rolled.is_some()),
            reason: Mutex::new(rolled.map(|rolled| rolled.reason)),
            exceeded: Mutex::default(),
        }
    }

    /// Whether the candidate gets nothing any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Why it is over.
    pub(crate) fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// Whether the candidate gets a record.
    pub(crate) fn takes(&self, drawn: &Drawn<'_>) -> bool {
        let (kind, octets) = drawn.octets();
        let mut context = hmac::Context::with_key(&self.lots.0);
        // Another trial takes others, so that not always the same patients come first.
        for part in [&self.identity.0[..], kind, octets] {
            context.update(part);
        }
        let tag = context.sign();
        let lot = tag.as_ref().first_chunk::<8>().map_or(0, |octets| u64::from_be_bytes(*octets));
        self.rules.takes(lot)
    }

    /// What became of records at the stage and after it. The plugin is not at fault where the broker could not do its part.
    pub(crate) fn counts<'r>(
        &self,
        plan: &Plan,
        results: impl Iterator<Item = &'r Result<Ran, Failure>>,
    ) -> Counts {
        let mut counts = Counts::default();
        for result in results {
            counts.records += 1;
            let Err(failure) = result else { continue };
            let at = plan.stages().iter().position(|stage| stage.name == *failure.stage());
            match (at, failure) {
                (_, Failure::Failed { kind: FailureKind::Host, .. }) | (None, _) => {}
                (Some(at), _) if at < self.stage => {}
                (Some(at), Failure::Failed { .. }) if at == self.stage => counts.failed += 1,
                (Some(_), _) => counts.stopped += 1,
            }
        }
        counts
    }

    /// Counts what became of records of both; ends the trial where the candidate made too many errors.
    pub(crate) fn note(&self, candidate: Counts, current: Counts) {
        let Some(exceeded) = self.judge.lock().note(candidate, current) else { return };
        *self.reason.lock() = Some(exceeded.to_string());
        self.is_over.store(true, Ordering::Release);
        *self.exceeded.lock() = Some(exceeded);
    }

    /// Writes down that the trial is over, if that is new: then it stays so when the broker starts again.
    pub(crate) async fn settle(&self, shared: &Arc<Shared>) {
        let Some(exceeded) = self.exceeded.lock().take() else { return };
        let (place, reason) = (&self.place, exceeded.to_string());
        tracing::warn!(flow = %place.flow, subscription = place.subscription.as_ref().map(ToString::to_string),
            stage = %place.stage, reason, "a plugin that was tried made too many errors and was rolled back");
        let by = &shared.identity;
        let decided =
            shared.decide(|state, now| state.roll_back(place.clone(), self.identity, &reason, by, now)).await;
        if let Err(error) = decided {
            tracing::error!(flow = %place.flow, stage = %place.stage, %error,
                "the roll-back could not be written down: it holds until the broker stops");
        }
    }
}

fn identity(plan: &Plan, stage: usize, rules: Rules) -> Digest {
    let mut octets = Vec::new();
    if let Some(planned) = plan.stages().get(stage) {
        octets.extend_from_slice(&planned.component.0);
        octets.extend_from_slice(&planned.configuration.0);
    }
    octets.extend_from_slice(&rules.share.0.to_be_bytes());
    octets.extend_from_slice(&rules.error_rate_max.0.to_be_bytes());
    octets.extend_from_slice(&rules.records_min.to_be_bytes());
    Digest::of(&octets)
}
