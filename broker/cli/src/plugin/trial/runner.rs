//! Runs records through one stage, with time and chance fixed.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_client::sealed::{is_sealed, open_sealed};
use hilum_core::chain::StageOutcome;
use hilum_core::cose;
use hilum_core::limits::{BLOB_CHUNK_OCTETS, INLINE_BODY_OCTETS_MAX};
use hilum_core::record::{Measured, Output};
use hilum_core::{Body, Digest, FlowName, Head, StageName};
use hilum_sandbox::{
    BatchRun, Chain, ChainContext, Emission, Failure, Grant, Grants, Input, Limits, Plugin, Ran, Sandbox,
    Services, StageSpec,
};

use super::super::host::{Host, fixed_private_key};
use super::super::project::Project;
use super::outcome::{Kind, Made, Outcome};
use super::records::{BODY_OCTETS_MAX, Record};

/// A stage, and where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) context: ChainContext,
    pub(crate) stage: StageName,
    pub(crate) config: serde_json::Value,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    /// Whether the records follow each other, on one state.
    pub(crate) in_order: bool,
    /// What stages of other flows keep, by `FLOW/STAGE`.
    pub(crate) observed: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl Setting {
    /// As a project's file has it.
    pub(crate) fn of(project: &Project) -> anyhow::Result<Self> {
        let test = &project.test;
        let context = ChainContext {
            flow: FlowName::new(&test.flow).context("`test.flow`")?,
            class: test.class.clone(),
            subscription: None,
            recipient: None,
            purpose: test.purpose.clone(),
            break_glass: None,
        };
        Ok(Self {
            context,
            stage: StageName::new(&project.name)?,
            config: project.stage.config.clone(),
            grants: project.stage.grants()?,
            limits: project.stage.limits(),
            in_order: test.in_order,
            observed: BTreeMap::new(),
        })
    }
}

/// Runs records through one plugin in one setting.
pub(crate) struct Runner {
    sandbox: Sandbox,
    plugin: Arc<Plugin>,
    setting: Setting,
    /// What the records share where they follow each other.
    shared: Option<(Arc<Host>, Chain)>,
}

impl Runner {
    /// A configuration that is wrong is told here, before any record.
    pub(crate) fn new(sandbox: &Sandbox, plugin: &Arc<Plugin>, setting: Setting) -> anyhow::Result<Self> {
        let mut runner = Self { sandbox: sandbox.clone(), plugin: Arc::clone(plugin), setting, shared: None };
        let stage = runner.stage()?;
        runner.shared = runner.setting.in_order.then_some(stage);
        Ok(runner)
    }

    /// The digest of the configuration, as plans and receipts have it.
    pub(crate) fn configuration(&self) -> anyhow::Result<Digest> {
        self.on_stage(|_, chain| {
            Ok(chain.plan().stages().first().context("there is one stage")?.configuration)
        })
    }

    /// What becomes of a record.
    pub(crate) fn run(&self, record: &Record) -> anyhow::Result<Outcome> {
        self.on_stage(|host, chain| {
            let input = input(host, record)?;
            let BatchRun { records, emitted } = chain.run(vec![input.clone()]);
            let mut outcome = match records.into_iter().next().context("the sandbox gave no result")? {
                Ok(ran) => self.made(host, &input, ran)?,
                Err(failure) => stopped(failure),
            };
            outcome.emitted = emitted.into_iter().map(emission).collect();
            let shown = |(key, value): (String, Vec<u8>)| (key, String::from_utf8_lossy(&value).into_owned());
            outcome.state = host.state().into_iter().map(shown).collect();
            Ok(outcome)
        })
    }

    /// What the stage keeps after these records, each of which it has to take.
    pub(crate) fn kept(&self, records: &[Record]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        self.on_stage(|host, chain| {
            for record in records {
                if let Some(Err(failure)) = chain.run(vec![input(host, record)?]).records.into_iter().next() {
                    anyhow::bail!("`{}` is not taken in: {failure}", record.name);
                }
            }
            Ok(host.state())
        })
    }

    /// The records that it goes on as, for another stage; none if it does not.
    pub(crate) fn outputs(&self, record: &Record) -> anyhow::Result<Vec<Record>> {
        self.on_stage(|host, chain| {
            let ran = chain.run(vec![input(host, record)?]).records.into_iter().next();
            let Ok(ran) = ran.context("the sandbox gave no result")? else { return Ok(Vec::new()) };
            let outputs = ran.run.outputs.into_iter().map(|output| {
                let body = host.octets(output.body.body(), BODY_OCTETS_MAX)?.into();
                let Output { key, content_type, attributes, time, .. } = output;
                let time = time.unwrap_or(record.head.time);
                let removed = &chain.plan().stages().first().context("there is one stage")?.removes;
                let labels =
                    record.head.labels.iter().filter(|label| !removed.contains(label)).cloned().collect();
                let head = Head { time, key, content_type, attributes, labels, ..record.head.clone() };
                Ok(Record { head, body, ..record.clone() })
            });
            outputs.collect()
        })
    }

    /// On the stage that all records share, or on a fresh one.
    fn on_stage<R>(&self, run: impl FnOnce(&Host, &Chain) -> anyhow::Result<R>) -> anyhow::Result<R> {
        match &self.shared {
            Some((host, chain)) => run(host, chain),
            None => {
                let (host, chain) = self.stage()?;
                run(&host, &chain)
            }
        }
    }

    fn stage(&self) -> anyhow::Result<(Arc<Host>, Chain)> {
        let host = Arc::new(Host::fixed().context("no temporary directory")?);
        host.set_observed(self.setting.observed.clone());
        let stage = StageSpec {
            name: self.setting.stage.clone(),
            plugin: Arc::clone(&self.plugin),
            config: self.setting.config.clone(),
            grants: self.setting.grants.clone(),
            limits: self.setting.limits.clone(),
        };
        let services: Arc<dyn Services> = host.clone();
        let chain = Chain::load(&self.sandbox, self.setting.context.clone(), vec![stage], services)?;
        Ok((host, chain))
    }

    fn made(&self, host: &Host, input: &Input, ran: Ran) -> anyhow::Result<Outcome> {
        let kind = match ran.run.receipt.outcomes.first().context("one stage has one outcome")? {
            StageOutcome::Passed => Kind::Passed,
            StageOutcome::Annotated => Kind::Annotated,
            StageOutcome::Replaced => Kind::Replaced,
            StageOutcome::Split => Kind::Split,
            StageOutcome::Obliged => Kind::Obliged,
        };
        let mut outcome = Outcome::of(kind);
        outcome.obligations = ran.obligations.into_iter().map(|of| (of.name, of.value)).collect();
        if matches!(kind, Kind::Annotated | Kind::Replaced | Kind::Split) {
            let outputs = ran.run.outputs.into_iter().map(|output| self.output(host, input, output));
            outcome.outputs = outputs.collect::<anyhow::Result<_>>()?;
        }
        Ok(outcome)
    }

    fn output(&self, host: &Host, input: &Input, output: Output) -> anyhow::Result<Made> {
        let is_new = output.body.digest() != input.body.digest();
        let octets = is_new.then(|| host.octets(output.body.body(), BODY_OCTETS_MAX)).transpose()?;
        let Output { key, content_type, attributes, time, .. } = output;
        let head = Head {
            time: time.unwrap_or(input.head.time),
            key: key.clone(),
            content_type: content_type.clone(),
            attributes: attributes.clone(),
            ..input.head.clone()
        };
        let mut made = Made::new(content_type, key, attributes, octets);
        made.time = time.map(|time| time.0);
        if is_sealed(&head) {
            self.open(&head, &mut made);
        }
        Ok(made)
    }

    /// Opens a sealed body for all recipients of the stage whose it is: each run seals to other octets.
    fn open(&self, head: &Head, made: &mut Made) {
        let Some(sealed) = made.octets.take() else { return };
        let mut plain = None;
        for grant in self.setting.grants.iter() {
            let Grant::Recipient(name) = grant else { continue };
            let Ok(key) = fixed_private_key(name) else { continue };
            let bound =
                open_sealed(&key, &self.setting.context.flow, head, &sealed).map(|opened| opened.body).ok();
            let unbound =
                || cose::open(&key, b"", &sealed).or_else(|_| cose::open_stream(&key, b"", &sealed));
            if let Some(opened) = bound.or_else(|| unbound().ok()) {
                made.sealed_to.push(name.clone());
                plain = Some(opened);
            }
        }
        made.octets = Some(plain.unwrap_or(sealed));
    }
}

/// The record as a chain takes it; from now on it is its time.
fn input(host: &Host, record: &Record) -> anyhow::Result<Input> {
    host.set_now(record.head.time);
    Ok(Input {
        head: record.head.clone(),
        source: Arc::new(record.source.clone()),
        offset: record.offset,
        body: Measured::new(stored(host, record)?),
    })
}

fn stopped(failure: Failure) -> Outcome {
    let (kind, code, reason) = match failure {
        Failure::Refused { code, reason, .. } => (Kind::Refused, code, reason),
        Failure::Failed { kind, reason, .. } => (Kind::Failed, kind.code().to_owned(), reason),
    };
    Outcome { code: Some(code), reason: Some(reason), ..Outcome::of(kind) }
}

fn emission(emission: Emission) -> Made {
    let Emission { flow, key, content_type, attributes, body, .. } = emission;
    let flow = Some(flow.to_string());
    Made { flow, ..Made::new(content_type, key, attributes, Some(body.to_vec())) }
}

/// The body as a broker would hold it: a large one beside the record.
fn stored(host: &Host, record: &Record) -> anyhow::Result<Body> {
    if record.body.len() <= INLINE_BODY_OCTETS_MAX {
        return Ok(Body::Inline(record.body.clone()));
    }
    let mut sink = host.create_blob(&record.source.id)?;
    record.body.chunks(BLOB_CHUNK_OCTETS).try_for_each(|chunk| sink.write(record.body.slice_ref(chunk)))?;
    Ok(Body::Blob(sink.finish()?))
}
