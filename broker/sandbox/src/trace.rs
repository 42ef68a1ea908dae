//! Spans inside the traces of records: one for each run of a stage, and below it those that the plugin begins.
//!
//! A call may work on several records whose traces are sampled. Each of them gets a span for the stage. The first one's is the
//! home of the call: what the plugin begins and logs is below it, once, and the other records' spans link to it. A call without a
//! sampled record makes none and costs one look at each head.

use std::collections::BTreeMap;

use hilum_core::chain::PlannedStage;
use hilum_core::record::TraceContext;

use crate::limits::{SPAN_VALUES_MAX, SPANS_MAX};
use crate::services::Services;
use crate::stage::{Item, Verdict};

/// Something that is told of a span.
#[derive(Debug, Clone, PartialEq)]
pub enum SpanValue {
    /// Words of the broker or of a plugin's description, never of a record.
    Text(String),
    /// A number of things or of octets.
    Count(u64),
    /// A finite quantity.
    Measure(f64),
    /// Whether something is so.
    Flag(bool),
}

/// A span that is about to begin.
#[derive(Debug)]
pub struct SpanStart<'a> {
    /// The span above it.
    pub under: &'a TraceContext,
    /// Its name.
    pub name: String,
    /// A span that has more about the same.
    pub link: Option<TraceContext>,
    /// What is known of it from the start.
    pub values: Vec<(&'static str, SpanValue)>,
}

/// A span that has begun. It ends when it is dropped.
pub trait Span: Send {
    /// What a span below it is begun with.
    fn context(&self) -> TraceContext;
    /// Tells a value.
    fn set(&mut self, name: String, value: SpanValue);
    /// Something happened just now.
    fn event(&mut self, name: &'static str, values: Vec<(&'static str, SpanValue)>);
    /// It ended badly; `kind` is short and stable and has no words of a plugin.
    fn fail(&mut self, kind: &'static str);
}

/// The spans of one call of a stage.
pub(crate) struct CallSpans {
    stages: Vec<StageSpan>,
}

/// The span of one record; of several, where a stage before made them of one.
struct StageSpan {
    under: TraceContext,
    span: Box<dyn Span>,
}

impl CallSpans {
    /// Begins a span for each sampled record of a call, as far as somebody records them.
    pub(crate) fn begin(services: &dyn Services, stage: &PlannedStage, items: &[&Item]) -> Option<Self> {
        let mut stages: Vec<StageSpan> = Vec::new();
        for item in items {
            let Some(under) = sampled(item) else { continue };
            if stages.last().is_some_and(|last| last.under == *under) {
                continue;
            }
            let link = stages.first().map(|home| home.span.context());
            let values = stage_values(stage, items.len());
            let start = SpanStart { under, name: format!("stage {}", stage.name), link, values };
            let Some(span) = services.span(start) else { continue };
            stages.push(StageSpan { under: *under, span });
        }
        if stages.is_empty() { None } else { Some(Self { stages }) }
    }

    /// Where the plugin's own spans and lines belong.
    pub(crate) fn home(&self) -> TraceContext {
        self.stages[0].span.context()
    }

    /// Tells outcomes and sizes, and ends all.
    pub(crate) fn end(mut self, items: &[&Item], verdicts: Result<&[Verdict], &'static str>) {
        let Ok(verdicts) = verdicts else {
            let kind = verdicts.err().unwrap_or_default();
            for StageSpan { span, .. } in &mut self.stages {
                span.set("hilum.stage.outcome".into(), SpanValue::Text("failed".into()));
                span.fail(kind);
            }
            return;
        };
        for StageSpan { under, span } in &mut self.stages {
            let own = items.iter().zip(verdicts).filter(|(item, _)| sampled(item) == Some(under));
            let mut sum = Sum::default();
            own.for_each(|(item, verdict)| sum.add(item, verdict));
            sum.tell(&mut **span);
        }
    }

    /// A line was logged in the stage's own span.
    pub(crate) fn logged(&mut self, level: &'static str) {
        logged(&mut *self.stages[0].span, level);
    }
}

fn logged(span: &mut dyn Span, level: &'static str) {
    // Not its words: they are the plugin's own, and traces leave the hospital. The log has them, under this span's id.
    span.event("log", vec![("log.level", SpanValue::Text(level.into()))]);
}

fn sampled(item: &Item) -> Option<&TraceContext> {
    item.head.trace.as_ref().filter(|trace| trace.flags & 1 != 0)
}

fn stage_values(stage: &PlannedStage, records: usize) -> Vec<(&'static str, SpanValue)> {
    vec![
        ("hilum.stage.name", SpanValue::Text(stage.name.to_string())),
        ("hilum.plugin.name", SpanValue::Text(stage.plugin.clone())),
        ("hilum.plugin.version", SpanValue::Text(stage.version.clone())),
        ("hilum.plugin.digest", SpanValue::Text(stage.component.to_string())),
        ("hilum.stage.batch.records", SpanValue::Count(records as u64)),
    ]
}

/// What a stage made of the records of one span.
#[derive(Default)]
struct Sum {
    outcome: Option<(u8, &'static str)>,
    failed: Option<&'static str>,
    octets_in: u64,
    octets_out: u64,
}

impl Sum {
    fn add(&mut self, item: &Item, verdict: &Verdict) {
        let size = item.body.body().size();
        self.octets_in += size;
        self.octets_out += verdict.size(size);
        if let Verdict::Fail(fault) = verdict {
            self.failed = Some(fault.kind.code());
        }
        let (rank, name) = verdict.rank_and_name();
        // Of several records the one with which most happened is told.
        if self.outcome.is_none_or(|(highest, _)| rank > highest) {
            self.outcome = Some((rank, name));
        }
    }

    fn tell(self, span: &mut dyn Span) {
        let (_, outcome) = self.outcome.unwrap_or((0, "passed"));
        span.set("hilum.stage.outcome".into(), SpanValue::Text(outcome.into()));
        span.set("hilum.stage.size.in".into(), SpanValue::Count(self.octets_in));
        span.set("hilum.stage.size.out".into(), SpanValue::Count(self.octets_out));
        if let Some(kind) = self.failed {
            span.fail(kind);
        }
    }
}

/// What a plugin has begun during the call that is under way.
pub(crate) struct GuestSpans {
    stage: CallSpans,
    /// Innermost last, with the numbers under which the plugin holds them.
    open: Vec<Open>,
    begun: u64,
}

struct Open {
    number: u64,
    values: BTreeMap<String, SpanValue>,
    span: Box<dyn Span>,
}

impl Open {
    fn end(mut self) {
        for (name, value) in self.values {
            self.span.set(format!("hilum.plugin.value.{name}"), value);
        }
    }
}

impl GuestSpans {
    pub(crate) fn new(stage: CallSpans) -> Self {
        Self { stage, open: Vec::new(), begun: 0 }
    }

    /// Ends what is still open; gives the stage's own back.
    pub(crate) fn close(mut self) -> CallSpans {
        self.open.drain(..).rev().for_each(Open::end);
        self.stage
    }

    /// Where the next span and the next line belong.
    pub(crate) fn innermost(&self) -> TraceContext {
        self.open.last().map_or_else(|| self.stage.home(), |open| open.span.context())
    }

    /// Begins a span, unless there were too many.
    pub(crate) fn begin(&mut self, services: &dyn Services, name: String) -> Option<u64> {
        if self.begun >= SPANS_MAX {
            return None;
        }
        let under = self.innermost();
        let span = services.span(SpanStart { under: &under, name, link: None, values: Vec::new() })?;
        self.begun += 1;
        self.open.push(Open { number: self.begun, values: BTreeMap::new(), span });
        Some(self.begun)
    }

    /// Tells a value of an open span, unless there were too many.
    pub(crate) fn set(&mut self, number: u64, name: String, value: SpanValue) {
        let Some(open) = self.open.iter_mut().find(|open| open.number == number) else { return };
        if open.values.len() < SPAN_VALUES_MAX || open.values.contains_key(&name) {
            open.values.insert(name, value);
        }
    }

    /// Ends a span.
    pub(crate) fn end(&mut self, number: u64) {
        if let Some(at) = self.open.iter().rposition(|open| open.number == number) {
            self.open.remove(at).end();
        }
    }

    /// A line was logged.
    pub(crate) fn logged(&mut self, level: &'static str) {
        match self.open.last_mut() {
            Some(open) => logged(&mut *open.span, level),
            None => self.stage.logged(level),
        }
    }
}
