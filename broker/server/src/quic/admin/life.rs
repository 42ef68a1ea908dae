//! The configuration and the plugins of a running broker, for operators: what a reload would change, the reload, how stages stand.

use std::collections::BTreeMap;
use std::time::Duration;

use hilum_core::audit::Action;
use hilum_core::canary::StagePlace;
use hilum_core::chain::Plan;
use hilum_core::limits::ADMIN_PAGE_ITEMS_MAX;
use hilum_core::policy::Right;
use hilum_core::wire::admin::{
    AskStanding, CanaryStatus, Change, ListStages, PluginStatus, Preview, PreviewReload, Problem, Reload,
    Short, StagePage, StageStatus, Standing,
};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{FlowName, SubscriptionName};

use super::{Operator, unavailable};
use crate::chains::{Tallies, Tally, Trial};
use crate::config::{self, StageConfig};
use crate::flows::Flow;
use crate::reload::{self, ReloadError};

/// Octets of one text of a problem.
const PROBLEM_OCTETS_MAX: usize = 2048;

impl Operator<'_> {
    pub(super) async fn preview(&mut self, preview: PreviewReload) -> Result<Preview, Refusal> {
        let permit = self.permit(Right::Configure, None).await?;
        self.looks(&permit, Action::Inspected, "what a reload would change".to_owned()).await?;
        let flows = &self.session.flows;
        let from = usize::try_from(preview.from).unwrap_or(usize::MAX);
        match flows.reloader.prepare(&flows.shared).await {
            Ok(prepared) => {
                let (changes, more) = page(prepared.changes.iter().map(change), from);
                Ok(Preview { digest: Some(prepared.digest), problems: Vec::new(), changes, more })
            }
            Err(ReloadError::Problems(problems)) => {
                let (problems, more) = page(problems.iter().map(problem), from);
                Ok(Preview { digest: None, problems, changes: Vec::new(), more })
            }
            Err(error) => Err(not_taken(&error)),
        }
    }

    pub(super) async fn reload(&mut self, reload: Reload) -> Result<u64, Refusal> {
        let permit = self.permit(Right::Configure, None).await?;
        match reload::apply(&self.session.flows, reload.digest, &permit, &self.note).await {
            Ok(changes) => Ok(changes),
            Err(error) => {
                let shared = &self.session.flows.shared;
                let reason = format!("reload of configuration {}: {}", reload.digest, brief(&error));
                let event = self.about(None).event(shared.now(), Action::Denied, reason);
                shared.audit_refusal(event).await;
                Err(not_taken(&error))
            }
        }
    }

    pub(super) async fn standing(&mut self, ask: AskStanding) -> Result<Standing, Refusal> {
        let permit = self.permit(Right::Configure, None).await?;
        self.looks(&permit, Action::Inspected, "what the broker runs".to_owned()).await?;
        let wait = Duration::from_millis(ask.wait_milliseconds);
        self.session.flows.reloader.standing(wait).await.ok_or_else(not_running)
    }

    pub(super) async fn stages(&mut self, list: ListStages) -> Result<StagePage, Refusal> {
        let permit = self.permit(Right::Inspect, None).await?;
        self.looks(&permit, Action::Inspected, "list of stages".to_owned()).await?;
        let flows = &self.session.flows;
        let running = flows.reloader.running();
        let hospital = running.as_ref().map(|running| &running.hospital).ok_or_else(not_running)?;
        let mut all = BTreeMap::new();
        for (name, flow) in &flows.by_name {
            if !self.may(Right::Inspect, name) {
                continue;
            }
            let Some(config) = hospital.flows.get(name) else { continue };
            for status in ingress(name, flow, &config.ingress) {
                all.insert(status.place.clone(), status);
            }
            for subscription in &config.subscriptions {
                for status in egress(name, flow, &subscription.name, &subscription.egress) {
                    all.insert(status.place.clone(), status);
                }
            }
        }
        let follows = |place: &StagePlace| list.after.as_ref().is_none_or(|after| place > after);
        let (stages, more) = page(all.into_values().filter(|status| follows(&status.place)), 0);
        Ok(StagePage { stages, more })
    }
}

fn not_running() -> Refusal {
    unavailable("the broker is starting")
}

/// The audit takes no words of a plugin or of files that are not its own.
fn brief(error: &ReloadError) -> String {
    match error {
        ReloadError::Problems(problems) => format!("{} problems", problems.iter().count()),
        other => other.to_string(),
    }
}

fn not_taken(error: &ReloadError) -> Refusal {
    match error {
        ReloadError::Problems(problems) => {
            let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
            Refusal::new(RefusalCode::Configuration, &first)
        }
        ReloadError::Changed => Refusal::retryable(RefusalCode::Changed, &error.to_string()),
        ReloadError::NeedsRestart(_) => Refusal::new(RefusalCode::Configuration, &error.to_string()),
        ReloadError::Audit(source) => {
            tracing::error!(error = %source, "a reload cannot be audited");
            unavailable("the audit cannot be written, so nothing was changed")
        }
        ReloadError::GivenUp => {
            tracing::error!("a reload was given up");
            Refusal::new(RefusalCode::Internal, "the reload was given up; the broker's log says why")
        }
    }
}

/// The items of one page, and whether there are more.
pub(super) fn page<T>(items: impl Iterator<Item = T>, from: usize) -> (Vec<T>, bool) {
    let mut items = items.skip(from);
    let page = items.by_ref().take(ADMIN_PAGE_ITEMS_MAX).collect();
    (page, items.next().is_some())
}

fn change(change: &config::Change) -> Change {
    Change {
        path: clipped(&change.path),
        before: change.before.as_deref().map(Short::new),
        after: change.after.as_deref().map(Short::new),
        needs_restart: change.needs_restart(),
    }
}

fn problem(problem: &config::Problem) -> Problem {
    let number = |number: usize| number as u64;
    Problem {
        file: clipped(&problem.file),
        position: problem.position.map(|(line, column)| (number(line), number(column))),
        key: clipped(&problem.key),
        what: clipped(&problem.what),
        help: clipped(&problem.help),
    }
}

fn clipped(text: &str) -> String {
    text[..text.floor_char_boundary(PROBLEM_OCTETS_MAX)].to_owned()
}

fn ingress(name: &FlowName, flow: &Flow, stages: &[StageConfig]) -> Vec<StageStatus> {
    let route = flow.lane.route();
    statuses((name, None), stages, route.plan(), route.canary(), route.tallies())
}

fn egress(
    name: &FlowName,
    flow: &Flow,
    subscription: &SubscriptionName,
    stages: &[StageConfig],
) -> Vec<StageStatus> {
    let Some(seat) = flow.outlets.get(subscription) else { return Vec::new() };
    let setup = seat.outlet.setup();
    let chain = &setup.chain;
    statuses((name, Some(subscription)), stages, chain.plan(), chain.canary(), chain.tallies())
}

fn statuses(
    (flow, subscription): (&FlowName, Option<&SubscriptionName>),
    stages: &[StageConfig],
    plan: &Plan,
    canary: Option<(&Plan, &Trial)>,
    tallies: &Tallies,
) -> Vec<StageStatus> {
    let status = |stage: &StageConfig| {
        let tried = stage.canary.as_ref().zip(canary);
        let canary = tried.and_then(|(config, (plan, trial))| {
            Some(CanaryStatus {
                candidate: plugin(&config.plugin, stage, plan, &tallies.candidate.lock())?,
                share: trial.rules.share,
                error_rate_max: trial.rules.error_rate_max,
                records_min: trial.rules.records_min,
                rolled_back: trial.is_over().then(|| Short::new(&trial.reason().unwrap_or_default())),
            })
        });
        let (flow, subscription) = (flow.clone(), subscription.cloned());
        let place = StagePlace { flow, subscription, stage: stage.stage.clone() };
        let current = plugin(&stage.plugin, stage, plan, &tallies.current.lock())?;
        Some(StageStatus { place, current, canary })
    };
    stages.iter().filter_map(status).collect()
}

/// None while the stage's chain is being put in its place.
fn plugin(name: &str, stage: &StageConfig, plan: &Plan, tally: &Tally) -> Option<PluginStatus> {
    let planned = plan.stages().iter().find(|planned| planned.name == stage.stage)?;
    let (refused, failed) = tally.stopped.get(&stage.stage).copied().unwrap_or_default();
    Some(PluginStatus {
        name: Short::new(name),
        plugin: Short::new(&planned.plugin),
        version: Short::new(&planned.version),
        world: planned.world,
        digest: planned.component,
        records: tally.records,
        refused,
        failed,
    })
}
