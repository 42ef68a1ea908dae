//! One stage of a chain: a linked plugin, its configured instances, and what it makes of a batch.

use std::sync::Arc;

use hilum_core::chain::{FailsOn, PlannedStage};
use hilum_core::limits::REASON_CHARS_MAX;
use hilum_core::record::{BlobRef, Measured};
use hilum_core::{Attribute, Body, Digest, Head, Offset, Principal, PrincipalId, StageName, Timestamp};
use parking_lot::Mutex;
use wasmtime::component::{Component, InstancePre, Linker, Resource};

use crate::breaker::{Admission, Breaker, Change, Standing};
use crate::capability::bindings::hilum::plugin::types as raw;
use crate::capability::{self, Host, Place, Reader, settle};
use crate::chain::{ChainContext, ChainError, StageSpec};
use crate::engine::Sandbox;
use crate::exports::{Exports, Run};
use crate::guest;
use crate::instance::{Fault, Instance, StartError};
use crate::limits::{CODE_CHARS_MAX, CONFIG_OCTETS_MAX, Exceeded, Limit, OBLIGATIONS_MAX};
use crate::plugin::{Description, Plugin, clip};
use crate::run::{Emission, FailureKind, Obligation};
use crate::schema::ConfigFault;
use crate::services::{Services, StageEvent};
use crate::trace::{CallSpans, GuestSpans};
use crate::wasi;

/// A record as it stands before a stage.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) head: Head,
    pub(crate) source: Arc<Principal>,
    pub(crate) offset: Option<Offset>,
    pub(crate) body: Measured,
}

/// What a stage makes of one record.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Annotate { attributes: Vec<Attribute>, time: Option<Timestamp> },
    Replace(Made),
    Split(Vec<Made>),
    Oblige(Vec<Obligation>),
    Refuse { code: String, reason: String },
    Fail(Fault),
}

impl Verdict {
    /// How much happened, and what, in a word.
    pub(crate) fn rank_and_name(&self) -> (u8, &'static str) {
        match self {
            Self::Pass => (0, "passed"),
            Self::Oblige(_) => (1, "obliged"),
            Self::Annotate { .. } => (2, "annotated"),
            Self::Replace(_) => (3, "replaced"),
            Self::Split(_) => (4, "split"),
            Self::Refuse { .. } => (5, "refused"),
            Self::Fail(_) => (6, "failed"),
        }
    }

    /// The same with this time for all that `item` has become. What passed has become another record by that, if only in its head.
    fn at(mut self, time: Timestamp, item: &Item) -> Self {
        let time = Some(time);
        match &mut self {
            Self::Pass => return Self::Annotate { attributes: item.head.attributes.clone(), time },
            Self::Annotate { time: set, .. } => *set = time,
            Self::Replace(made) => made.time = time,
            Self::Split(all) => all.iter_mut().for_each(|made| made.time = time),
            Self::Oblige(_) | Self::Refuse { .. } | Self::Fail(_) => {}
        }
        self
    }

    /// Octets of what a record of `size` octets has become.
    pub(crate) fn size(&self, size: u64) -> u64 {
        let of = |made: &Made| made.body.body().size();
        match self {
            Self::Pass | Self::Oblige(_) | Self::Annotate { .. } => size,
            Self::Replace(made) => of(made),
            Self::Split(all) => all.iter().map(of).sum(),
            Self::Refuse { .. } | Self::Fail(_) => 0,
        }
    }
}

/// A record that a plugin made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) key: Option<String>,
    pub(crate) content_type: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) body: Measured,
    /// The time that the plugin set; that of what it was made of where it is none.
    pub(crate) time: Option<Timestamp>,
}

/// What one call did.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) emitted: Vec<Emission>,
    /// Large bodies that were made. Those that no output refers to have to be discarded.
    pub(crate) made: Vec<BlobRef>,
}

/// One stage of a chain.
pub(crate) struct Stage {
    pub(crate) planned: PlannedStage,
    sandbox: Sandbox,
    pre: InstancePre<Host>,
    place: Arc<Place>,
    exports: Exports,
    config: String,
    idle: Mutex<Vec<Instance>>,
    breaker: Mutex<Breaker>,
}

impl Stage {
    /// Checks grants and configuration, links the plugin and configures a first instance to prove that it can be done.
    pub(crate) fn load(
        sandbox: &Sandbox,
        context: &ChainContext,
        spec: StageSpec,
        services: &Arc<dyn Services>,
    ) -> Result<Self, ChainError> {
        let StageSpec { name, plugin, config, grants, mut limits } = spec;
        if let Some((import, grant)) = plugin.not_granted(&grants) {
            let import = import.name.clone();
            return Err(ChainError::NotGranted { stage: name, import, grant });
        }
        let config = checked_config(&name, &plugin, &config)?;
        limits.memory_octets = limits.memory_octets.min(sandbox.settings().memory_octets);
        let unlinked = |error: wasmtime::Error| ChainError::Link {
            stage: name.clone(),
            reason: clip(&format!("{error:#}"), 512).to_owned(),
        };
        let stack = limits.stack_octets;
        let sandbox = sandbox.with_stack(stack).map_err(|error| ChainError::Start {
            stage: name.clone(),
            reason: format!("`{}` is {stack}: {error:#}", Limit::Stack),
        })?;
        let component = plugin.component_in(&sandbox, stack).map_err(unlinked)?;
        let breaker = Mutex::new(Breaker::new(&limits));
        let place = Arc::new(Place {
            flow: context.flow.clone(),
            stage: name.clone(),
            plugin: plugin.description().name.clone(),
            version: plugin.description().version.clone(),
            grants,
            limits,
            services: Arc::clone(services),
            lines: Mutex::default(),
            metrics: Mutex::default(),
            names: Default::default(),
        });
        let pre = link(&sandbox, &component).map_err(unlinked)?;
        let exports = Exports::find(&component, plugin.world());
        let exports = exports.map_err(|reason| ChainError::Link { stage: name.clone(), reason })?;
        let mut first = Instance::start(&sandbox, &pre, &place, &exports, &config)
            .map_err(|error| start_error(&name, error))?;
        let described = describe(&name, &mut first)?;
        let planned = PlannedStage {
            name,
            world: plugin.world(),
            plugin: described.name,
            version: described.version,
            component: plugin.digest(),
            configuration: Digest::of(config.as_bytes()),
            removes: described.removes,
        };
        Ok(Self { planned, sandbox, pre, place, exports, config, idle: Mutex::new(vec![first]), breaker })
    }

    /// Whether the stage may be called on records of this source, or by the clock where there is none, or fails on them too often and is
    /// left alone for a while.
    pub(crate) fn admission(&self, by: Option<&PrincipalId>) -> Admission {
        let now = self.place.services.now();
        self.breaker.lock().admit(by, now)
    }

    /// What of its circuit breaker is open.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        self.breaker.lock().standing()
    }

    /// Runs a batch of one source in one call. After an error nothing of the call is left: neither state nor emissions.
    pub(crate) fn call(
        &self,
        context: &ChainContext,
        items: &[&Item],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, Fault> {
        let begun = CallSpans::begin(&*self.place.services, &self.planned, items);
        let mut spans = begun.map(GuestSpans::new);
        let result = self.call_within(&mut spans, context, items, effects);
        if let Some(spans) = spans {
            spans.close().end(items, result.as_deref().map_err(|fault| fault.kind.code()));
        }
        let by = items.first().map(|item| &item.source.id);
        match &result {
            Err(fault) => self.failed(by, fault),
            Ok(verdicts) => {
                let faults = verdicts.iter().filter_map(|verdict| match verdict {
                    Verdict::Fail(fault) => Some(fault),
                    _ => None,
                });
                faults.clone().for_each(|fault| self.failed(by, fault));
                if faults.count() < verdicts.len() {
                    self.went_well(by);
                }
            }
        }
        result
    }

    fn call_within(
        &self,
        spans: &mut Option<GuestSpans>,
        context: &ChainContext,
        items: &[&Item],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, Fault> {
        let mut instance = self.instance()?;
        instance.host_mut().trace(spans.take());
        let result = self.run(&mut instance, context, items);
        *spans = instance.host_mut().spans.take();
        effects.made.append(&mut instance.host_mut().call.made);
        self.report_cut(&mut instance);
        let verdicts = result?;
        if let Some(error) = instance.host_mut().call.fault.take() {
            return Err(Fault::host(error.to_string()));
        }
        self.commit(&mut instance)?;
        effects.emitted.append(&mut instance.host_mut().call.emitted);
        self.keep(instance);
        Ok(verdicts)
    }

    /// The breaker of this stage is open.
    pub(crate) fn left_alone(&self, on: &FailsOn, left_ms: u64, faults: u32) -> Fault {
        let PlannedStage { plugin, version, .. } = &self.planned;
        let reason = format!(
            "plugin {plugin} {version} failed {faults} times one after another on {on}, and is tried again in {left_ms} ms"
        );
        Fault { kind: FailureKind::BreakerOpen, reason, limit: None }
    }

    fn failed(&self, by: Option<&PrincipalId>, fault: &Fault) {
        if let Some(Exceeded { limit, max }) = fault.limit {
            self.event(StageEvent::Limited { limit, max, count: 1 });
        }
        if fault.kind.is_fault() {
            let now = self.place.services.now();
            let changes = self.breaker.lock().fault(by, now);
            self.changed(changes);
        }
    }

    fn went_well(&self, by: Option<&PrincipalId>) {
        let changes = self.breaker.lock().success(by);
        self.changed(changes);
    }

    fn changed(&self, changes: Vec<Change>) {
        for change in changes {
            self.event(match change {
                Change::Opened { on, faults, for_ms, again } => {
                    StageEvent::BreakerOpened { on, faults, for_ms, again }
                }
                Change::Closed { on, faults } => {
                    let is_open = self.breaker.lock().is_open();
                    StageEvent::BreakerClosed { on, faults, is_open }
                }
            });
        }
    }

    fn event(&self, event: StageEvent) {
        self.place.services.stage_event(self.place.stage_of(), event);
    }

    /// Tells what was over a limit and was dropped.
    fn report_cut(&self, instance: &mut Instance) {
        for (limit, count, max) in instance.host_mut().call.take_cut() {
            self.event(StageEvent::Limited { limit, max, count });
        }
    }

    /// Tells an `observe` plugin the time.
    pub(crate) fn tick(&self, effects: &mut Effects) -> Result<(), Fault> {
        if !self.exports.ticks() || matches!(self.admission(None), Admission::Open { .. }) {
            return Ok(());
        }
        let result = self.tick_once(effects);
        match &result {
            Ok(()) => self.went_well(None),
            Err(fault) => self.failed(None, fault),
        }
        result
    }

    fn tick_once(&self, effects: &mut Effects) -> Result<(), Fault> {
        let mut instance = self.instance()?;
        instance.host_mut().source = None;
        instance.host_mut().break_glass = None;
        instance.host_mut().messages = 0;
        let result = instance.tick(self.place.services.now().0);
        effects.made.append(&mut instance.host_mut().call.made);
        self.report_cut(&mut instance);
        result?;
        self.commit(&mut instance)?;
        effects.emitted.append(&mut instance.host_mut().call.emitted);
        self.keep(instance);
        Ok(())
    }

    fn instance(&self) -> Result<Instance, Fault> {
        if let Some(instance) = self.idle.lock().pop() {
            return Ok(instance);
        }
        self.start()
    }

    /// Makes a configured instance.
    pub(crate) fn start(&self) -> Result<Instance, Fault> {
        let started = Instance::start(&self.sandbox, &self.pre, &self.place, &self.exports, &self.config);
        started.map_err(|error| match error {
            StartError::Fault(fault) => fault,
            StartError::Config(error) => Fault::output(words(&error.reason, REASON_CHARS_MAX)),
        })
    }

    fn keep(&self, instance: Instance) {
        let mut idle = self.idle.lock();
        if instance.is_clean() && idle.len() < self.place.limits.idle_instances {
            idle.push(instance);
        }
    }

    /// Uses none of the instances again that there are.
    pub(crate) fn forget(&self) {
        self.idle.lock().clear();
    }

    /// Keeps what the call has brought about: first what has to be known of pseudonyms before they go on.
    fn commit(&self, instance: &mut Instance) -> Result<(), Fault> {
        let services = &self.place.services;
        for (key, originals) in instance.host_mut().call.originals.take().into_iter().flatten() {
            let kept = services.keep_originals(&key, originals);
            kept.map_err(|error| Fault::host(error.to_string()))?;
        }
        let state = std::mem::take(&mut instance.host_mut().call.state);
        if state.is_empty() {
            return Ok(());
        }
        let changes = state.into_iter().map(|(key, overlay)| overlay.into_change(key)).collect();
        let committed = services.state_commit(&self.place.flow, &self.place.stage, changes);
        committed.map_err(|error| Fault::host(error.to_string()))
    }

    fn run(
        &self,
        instance: &mut Instance,
        context: &ChainContext,
        items: &[&Item],
    ) -> Result<Vec<Verdict>, Fault> {
        let octets = items.iter().map(|item| item.body.body().size()).sum();
        let Some(source) = items.first().map(|item| &item.source) else { return Ok(Vec::new()) };
        instance.host_mut().source = Some(source.id.clone());
        instance.host_mut().break_glass.clone_from(&context.break_glass);
        instance.host_mut().messages = 0;
        let of = self.context(context, source);
        let heads = items.iter().map(|item| guest::Head::new(&item.head, item.offset));
        match instance.function() {
            Run::Authorize(decide) => {
                let requests = heads.zip(items).map(|(head, item)| {
                    let body = reader(instance.host_mut(), item)?;
                    Ok(guest::Request { head, size: item.body.body().size(), body })
                });
                let requests = requests.collect::<Result<Vec<_>, Fault>>()?;
                let (decisions,) = instance.run(decide, octets, (of, requests))?;
                one_each(decisions.len(), items.len())?;
                Ok(decisions.into_iter().map(|decision| self.decision(decision)).collect())
            }
            Run::Transform(transform) => {
                let messages = messages(instance.host_mut(), heads, items)?;
                instance.host_mut().messages = items.len();
                let (outcomes,) = instance.run(transform, octets, (of, messages))?;
                one_each(outcomes.len(), items.len())?;
                let host = instance.host_mut();
                let mut times = std::mem::take(&mut host.call.times);
                let verdicts = outcomes.into_iter().zip(items).enumerate().map(|(at, (outcome, item))| {
                    let verdict = transformed(host, outcome);
                    match times.remove(&at) {
                        Some(time) => verdict.at(time, item),
                        None => verdict,
                    }
                });
                Ok(verdicts.collect())
            }
            Run::Observe(observe) => {
                let messages = messages(instance.host_mut(), heads, items)?;
                instance.run(observe, octets, (of, messages))?;
                Ok(items.iter().map(|_| Verdict::Pass).collect())
            }
        }
    }

    fn context<'a>(&'a self, of: &'a ChainContext, source: &'a Principal) -> guest::Context<'a> {
        guest::Context {
            flow: of.flow.as_str(),
            class: &of.class,
            stage: self.planned.name.as_str(),
            phase: if of.subscription.is_some() { guest::Phase::Egress } else { guest::Phase::Ingress },
            recipient: of.recipient.as_deref().map(Into::into),
            purpose: of.purpose.as_deref(),
            source: source.into(),
        }
    }

    fn decision(&self, decision: guest::Decision) -> Verdict {
        let stage = &self.planned.name;
        match decision {
            guest::Decision::Allow => Verdict::Pass,
            guest::Decision::AllowWith(obligations) if obligations.is_empty() => Verdict::Pass,
            guest::Decision::AllowWith(obligations) if obligations.len() > OBLIGATIONS_MAX => Verdict::Fail(
                Fault::output(format!("the plugin named more than {OBLIGATIONS_MAX} obligations")),
            ),
            guest::Decision::AllowWith(obligations) => {
                let obligation = |guest::Obligation { name, value }| Obligation {
                    stage: stage.clone(),
                    name: words(&name, CODE_CHARS_MAX),
                    value: words(&value, REASON_CHARS_MAX),
                };
                Verdict::Oblige(obligations.into_iter().map(obligation).collect())
            }
            guest::Decision::Deny(refusal) => refused(&refusal),
        }
    }
}

/// A configuration in one order of members, whatever that of the file was and whether this build keeps it: receipts name its digest.
fn canonical(config: &serde_json::Value) -> String {
    let mut sorted = config.clone();
    sorted.sort_all_objects();
    sorted.to_string()
}

fn checked_config(
    stage: &StageName,
    plugin: &Plugin,
    config: &serde_json::Value,
) -> Result<String, ChainError> {
    let text = canonical(config);
    let mut faults = plugin.schema.faults(config);
    if text.len() > CONFIG_OCTETS_MAX {
        faults.push(ConfigFault {
            at: String::new(),
            reason: format!("it has more than {CONFIG_OCTETS_MAX} octets"),
        });
    }
    match faults.into_iter().next() {
        None => Ok(text),
        Some(ConfigFault { at, reason }) => Err(ChainError::Config { stage: stage.clone(), at, reason }),
    }
}

fn link(sandbox: &Sandbox, component: &Component) -> wasmtime::Result<InstancePre<Host>> {
    let mut linker = Linker::new(sandbox.engine());
    capability::link(&mut linker)?;
    wasi::link(&mut linker, component, sandbox.hash_seed())?;
    linker.instantiate_pre(component)
}

fn start_error(stage: &StageName, error: StartError) -> ChainError {
    let stage = stage.clone();
    match error {
        StartError::Config(raw::ConfigError { at, reason }) => ChainError::Config {
            stage,
            at: words(&at, REASON_CHARS_MAX),
            reason: words(&reason, REASON_CHARS_MAX),
        },
        StartError::Fault(fault) => ChainError::Start { stage, reason: fault.reason },
    }
}

fn describe(stage: &StageName, instance: &mut Instance) -> Result<Description, ChainError> {
    let error = |reason| ChainError::Start { stage: stage.clone(), reason };
    let described = instance.describe().map_err(|fault| error(fault.reason))?;
    Description::checked(described)
        .map(|(description, _)| description)
        .map_err(|fault| error(fault.to_string()))
}

fn messages<'a>(
    host: &mut Host,
    heads: impl Iterator<Item = guest::Head<'a>>,
    items: &[&'a Item],
) -> Result<Vec<guest::Message<'a>>, Fault> {
    let message = |(head, item): (guest::Head<'a>, &&'a Item)| {
        let body = match item.body.body() {
            Body::Inline(octets) => guest::Body::Inline(octets),
            Body::Blob(_) => guest::Body::Large(reader(host, item)?),
        };
        Ok(guest::Message { head, body })
    };
    heads.zip(items).map(message).collect()
}

fn reader(host: &mut Host, item: &Item) -> Result<Resource<Reader>, Fault> {
    host.table.push(Reader::of_input(item.body.clone())).map_err(|error| {
        Fault::host(format!(
            "the batch has more bodies than the stage may hold (`{}`): {error}",
            Limit::Handles
        ))
    })
}

fn one_each(outcomes: usize, records: usize) -> Result<(), Fault> {
    if outcomes == records {
        return Ok(());
    }
    Err(Fault::output(format!("the plugin gave {outcomes} outcomes for {records} records")))
}

fn transformed(host: &mut Host, outcome: guest::Outcome) -> Verdict {
    let max = host.place.limits.split_records;
    match outcome {
        guest::Outcome::Pass => Verdict::Pass,
        guest::Outcome::Annotate(attributes) => {
            Verdict::Annotate { attributes: owned(attributes), time: None }
        }
        guest::Outcome::Replace(draft) => made(host, draft).map_or_else(Verdict::Fail, Verdict::Replace),
        guest::Outcome::Split(drafts) if drafts.is_empty() || drafts.len() > max => {
            let count = drafts.len();
            drop_bodies(host, drafts);
            let reason = format!("the plugin made {count} records of one, 1 to {max} are allowed");
            let over = Exceeded { limit: Limit::SplitRecords, max: max as u64 };
            Verdict::Fail(Fault { limit: (count > 0).then_some(over), ..Fault::output(reason) })
        }
        guest::Outcome::Split(drafts) => {
            let all: Vec<_> = drafts.into_iter().map(|draft| made(host, draft)).collect();
            all.into_iter().collect::<Result<_, _>>().map_or_else(Verdict::Fail, Verdict::Split)
        }
        guest::Outcome::Refuse(refusal) => refused(&refusal),
    }
}

fn drop_bodies(host: &mut Host, drafts: Vec<raw::Draft>) {
    for draft in drafts {
        if let raw::Body::Large(reader) = draft.body {
            // One that is not there is what we want.
            let _ = host.table.delete(reader);
        }
    }
}

fn made(host: &mut Host, draft: raw::Draft) -> Result<Made, Fault> {
    let raw::Draft { key, content_type, attributes, body } = draft;
    let body = settle(host, body).map_err(|error| Fault::host(error.to_string()))?;
    Ok(Made { key, content_type, attributes: owned(attributes), body, time: None })
}

fn owned(attributes: Vec<raw::Attribute>) -> Vec<Attribute> {
    attributes.into_iter().map(|raw::Attribute { name, value }| Attribute { name, value }).collect()
}

fn refused(refusal: &raw::Refusal) -> Verdict {
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let mut code: String = refusal.code.chars().take(CODE_CHARS_MAX).filter(allowed).collect();
    if code.is_empty() {
        code.push_str("refused");
    }
    Verdict::Refuse { code, reason: words(&refusal.reason, REASON_CHARS_MAX) }
}

/// At most `max` characters of a plugin's words, on one line.
fn words(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn the_order_of_members_makes_no_other_configuration() {
        let texts = [r#"{"b": [{"d": 1, "c": 2}], "a": "x"}"#, r#"{"a": "x", "b": [{"c": 2, "d": 1}]}"#];
        for text in texts {
            let config = serde_json::from_str(text).unwrap();
            assert_eq!(canonical(&config), r#"{"a":"x","b":[{"c":2,"d":1}]}"#);
        }
    }
}
