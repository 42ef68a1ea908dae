//! Spans of single records, inside the trace that their publisher began.
//!
//! A record whose trace is not sampled costs nothing here. One that is gets a span for its ingest with a child for each
//! stage and for the append, and one for each delivery. The sandbox begins those of stages when it calls them, and below them those of
//! plugins. The record is stored with the ingest span's context and handed to the reader with the delivery span's, so that the
//! reader's own spans join the same trace.
//!
//! | attribute of a stage's span | meaning |
//! |---|---|
//! | `hilum.stage.name` | the stage's name in its chain |
//! | `hilum.plugin.name`, `hilum.plugin.version`, `hilum.plugin.digest` | which plugin, and SHA-256 of its component |
//! | `hilum.stage.outcome` | `passed`, `annotated`, `replaced`, `split`, `obliged`, `refused` or `failed` |
//! | `error.type` | where it failed: `trap`, `time-limit`, `memory-limit`, `output-limit` or `host` |
//! | `hilum.stage.size.in`, `hilum.stage.size.out` | octets of this record before and after |
//! | `hilum.stage.batch.records` | records that the call had, sampled or not |
//!
//! A plugin's span has its own name, and numbers as `hilum.plugin.value.NAME`. A line that a plugin logged is an event `log` with
//! its `log.level`; its words are in the broker's log only, with `trace_id` and `span_id`.

use std::time::SystemTime;

use hilum_core::record::TraceContext;
use hilum_core::{FlowName, SubscriptionName};
use hilum_sandbox::{SpanStart, SpanValue};
use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue, Value};

use crate::ingest::Settled;

fn remote(trace: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(trace.trace),
        SpanId::from_bytes(trace.span),
        TraceFlags::new(trace.flags),
        true,
        TraceState::default(),
    )
}

fn parent(trace: &TraceContext) -> Context {
    Context::new().with_remote_span_context(remote(trace))
}

fn context_of(span: &BoxedSpan) -> TraceContext {
    let context = span.span_context();
    TraceContext {
        trace: context.trace_id().to_bytes(),
        span: context.span_id().to_bytes(),
        flags: context.trace_flags().to_u8(),
    }
}

fn is_sampled(trace: &TraceContext) -> bool {
    trace.flags & TraceFlags::SAMPLED.to_u8() != 0
}

/// Starts a span below `trace`; none if nobody records spans.
fn start(name: String, kind: SpanKind, trace: &TraceContext, attributes: Vec<KeyValue>) -> Option<BoxedSpan> {
    let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
    let span = global::tracer("hilum").build_with_context(builder, &parent(trace));
    span.is_recording().then_some(span)
}

fn messaging(flow: &FlowName, operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "hilum"),
        KeyValue::new("messaging.destination.name", flow.to_string()),
        KeyValue::new("messaging.operation.name", operation),
    ]
}

/// A span of the sandbox: of a stage, or of something that a plugin does.
struct Inner {
    span: BoxedSpan,
}

/// Begins a span of the sandbox; none where nobody records it.
pub(crate) fn inner(start: SpanStart<'_>) -> Option<Box<dyn hilum_sandbox::Span>> {
    let SpanStart { under, name, link, values } = start;
    let mut span = self::start(name, SpanKind::Internal, under, all(values))?;
    if let Some(link) = link {
        span.add_link(remote(&link), Vec::new());
    }
    Some(Box::new(Inner { span }))
}

impl hilum_sandbox::Span for Inner {
    fn context(&self) -> TraceContext {
        context_of(&self.span)
    }

    fn set(&mut self, name: String, value: SpanValue) {
        self.span.set_attribute(KeyValue::new(name, attribute(value)));
    }

    fn event(&mut self, name: &'static str, values: Vec<(&'static str, SpanValue)>) {
        self.span.add_event(name, all(values));
    }

    fn fail(&mut self, kind: &'static str) {
        self.span.set_attribute(KeyValue::new("error.type", kind));
        self.span.set_status(Status::error(kind));
    }
}

fn all(values: Vec<(&'static str, SpanValue)>) -> Vec<KeyValue> {
    values.into_iter().map(|(name, value)| KeyValue::new(name, attribute(value))).collect()
}

fn attribute(value: SpanValue) -> Value {
    match value {
        SpanValue::Text(text) => text.into(),
        SpanValue::Count(count) => i64::try_from(count).unwrap_or(i64::MAX).into(),
        SpanValue::Measure(measure) => measure.into(),
        SpanValue::Flag(flag) => flag.into(),
    }
}

/// The span of one record's ingest: from its arrival to its answer.
pub struct RecordSpan {
    span: BoxedSpan,
}

impl RecordSpan {
    /// Begins at the arrival of a record whose publisher sampled its trace.
    #[must_use]
    pub fn begin(flow: &FlowName, trace: Option<&TraceContext>, octets: u64) -> Option<Self> {
        let trace = trace.filter(|trace| is_sampled(trace))?;
        let mut attributes = messaging(flow, "publish");
        attributes.push(KeyValue::new("messaging.operation.type", "receive"));
        attributes
            .push(KeyValue::new("messaging.message.body.size", i64::try_from(octets).unwrap_or(i64::MAX)));
        let span = start(format!("publish {flow}"), SpanKind::Server, trace, attributes)?;
        Some(Self { span })
    }

    /// What the record is stored with.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        context_of(&self.span)
    }

    /// The record's group was appended.
    pub fn append(&self, flow: &FlowName, started: SystemTime) {
        let builder = SpanBuilder::from_name(format!("append {flow}"))
            .with_kind(SpanKind::Internal)
            .with_start_time(started)
            .with_attributes(messaging(flow, "append"));
        global::tracer("hilum").build_with_context(builder, &parent(&self.context())).end();
    }

    /// The record was answered.
    pub fn end(mut self, settled: &Settled) {
        match settled {
            Settled::Stored(offset) => {
                self.span.set_attribute(KeyValue::new("messaging.message.id", offset.to_string()));
            }
            Settled::Repeat => self.span.set_attribute(KeyValue::new("hilum.record.repeat", true)),
            Settled::Refused(refusal) => {
                self.span.set_attribute(KeyValue::new("error.type", format!("{:?}", refusal.kind)));
                // Not the reason: it may have a plugin's own words, and traces leave the hospital's store.
                self.span.set_status(Status::error("refused"));
            }
        }
        self.span.end();
    }
}

/// The span of one record's delivery to one subscription: from the log to the reader's stream.
pub struct DeliverySpan {
    span: BoxedSpan,
}

impl DeliverySpan {
    /// Begins when a record is read for a subscription.
    #[must_use]
    pub fn begin(
        flow: &FlowName,
        subscription: &SubscriptionName,
        trace: Option<&TraceContext>,
    ) -> Option<Self> {
        let trace = trace.filter(|trace| is_sampled(trace))?;
        let mut attributes = messaging(flow, "deliver");
        attributes.push(KeyValue::new("messaging.operation.type", "send"));
        attributes.push(KeyValue::new("messaging.consumer.group.name", subscription.to_string()));
        let span = start(format!("deliver {flow}"), SpanKind::Producer, trace, attributes)?;
        Some(Self { span })
    }

    /// What the reader gets.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        context_of(&self.span)
    }

    /// The record is on its way to the reader, or was withheld for a reason, which has no words of a plugin.
    pub fn end(mut self, withheld: Option<&str>) {
        if let Some(reason) = withheld {
            self.span.set_attribute(KeyValue::new("hilum.delivery.withheld", reason.to_owned()));
        }
        self.span.end();
    }
}
