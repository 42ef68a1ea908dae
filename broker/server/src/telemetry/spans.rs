//! Spans of single records, inside the trace that their publisher began.
//!
//! A record whose trace is not sampled costs nothing here. One that is gets a span for its ingest with a child for each
//! stage and for the append, and one for each delivery. The record is stored with the ingest span's context and handed to
//! the reader with the delivery span's, so that the reader's own spans join the same trace.

use std::time::SystemTime;

use hilum_core::chain::Plan;
use hilum_core::record::TraceContext;
use hilum_core::{FlowName, SubscriptionName};
use hilum_sandbox::Ran;
use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};

use super::instruments::outcome_name;
use crate::ingest::Settled;

fn parent(trace: &TraceContext) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(trace.trace),
        SpanId::from_bytes(trace.span),
        TraceFlags::new(trace.flags),
        true,
        TraceState::default(),
    ))
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

/// A span over the run of a chain with a child for each stage. Stages of a batch are not timed one by one for each
/// record: the children share the run's time.
fn chain_spans(under: &TraceContext, plan: &Plan, ran: Option<&Ran>, started: SystemTime, ended: SystemTime) {
    for (index, stage) in plan.stages().iter().enumerate() {
        let outcome =
            ran.and_then(|ran| ran.run.receipt.outcomes.get(index)).map(|&outcome| outcome_name(outcome));
        let builder = SpanBuilder::from_name(format!("stage {}", stage.name))
            .with_kind(SpanKind::Internal)
            .with_start_time(started)
            .with_attributes([
                KeyValue::new("hilum.stage.name", stage.name.to_string()),
                KeyValue::new("hilum.plugin.name", stage.plugin.clone()),
                KeyValue::new("hilum.plugin.version", stage.version.clone()),
                KeyValue::new("hilum.plugin.digest", stage.component.to_string()),
                KeyValue::new("hilum.stage.outcome", outcome.unwrap_or("stopped")),
            ]);
        global::tracer("hilum").build_with_context(builder, &parent(under)).end_with_timestamp(ended);
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

    /// The chain ran on the record.
    pub fn chain(&self, plan: &Plan, ran: Option<&Ran>, started: SystemTime, ended: SystemTime) {
        chain_spans(&self.context(), plan, ran, started, ended);
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

    /// The chain ran on the record.
    pub fn chain(&self, plan: &Plan, ran: Option<&Ran>, started: SystemTime, ended: SystemTime) {
        chain_spans(&self.context(), plan, ran, started, ended);
    }

    /// The record is on its way to the reader, or was withheld for a reason, which has no words of a plugin.
    pub fn end(mut self, withheld: Option<&str>) {
        if let Some(reason) = withheld {
            self.span.set_attribute(KeyValue::new("hilum.delivery.withheld", reason.to_owned()));
        }
        self.span.end();
    }
}
