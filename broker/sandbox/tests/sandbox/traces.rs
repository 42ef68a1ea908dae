//! Spans of stages and of plugins: what is begun where, what is told of it, and that nothing of a record is in it.

use std::sync::{Arc, Mutex};

use hilum_core::record::TraceContext;
use hilum_sandbox::{Input, Span, SpanStart, SpanValue};
use serde_json::json;

use crate::support::{Memory, bad, behaving, from_another, load, record, stage, text};

/// One span as it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    id: u8,
    under: TraceContext,
    name: String,
    link: Option<TraceContext>,
    values: Vec<(String, SpanValue)>,
    events: Vec<&'static str>,
    failed: Option<&'static str>,
    ended: bool,
}

/// Records all spans, in the order in which they begin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Recorded>>>);

struct Recording {
    all: Recorder,
    at: usize,
    context: TraceContext,
}

impl Recorder {
    pub(crate) fn begin(&self, start: SpanStart<'_>) -> Box<dyn Span> {
        let SpanStart { under, name, link, values } = start;
        let mut all = self.0.lock().unwrap();
        let (at, id) = (all.len(), u8::try_from(all.len() + 1).unwrap());
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        all.push(Recorded {
            id,
            under: *under,
            name,
            link,
            values,
            events: Vec::new(),
            failed: None,
            ended: false,
        });
        Box::new(Recording { all: self.clone(), at, context: TraceContext { span: [id; 8], ..*under } })
    }

    fn taken(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Recording {
    fn change(&self, change: impl FnOnce(&mut Recorded)) {
        change(&mut self.all.0.lock().unwrap()[self.at]);
    }
}

impl Span for Recording {
    fn context(&self) -> TraceContext {
        self.context
    }

    fn set(&mut self, name: String, value: SpanValue) {
        self.change(|span| span.values.push((name, value)));
    }

    fn event(&mut self, name: &'static str, _: Vec<(&'static str, SpanValue)>) {
        self.change(|span| span.events.push(name));
    }

    fn fail(&mut self, kind: &'static str) {
        self.change(|span| span.failed = Some(kind));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.change(|span| span.ended = true);
    }
}

impl Recorded {
    fn value(&self, name: &str) -> Option<&SpanValue> {
        self.values.iter().find(|(named, _)| named == name).map(|(_, value)| value)
    }

    #[track_caller]
    fn says(&self, name: &str, value: impl std::borrow::Borrow<SpanValue>) {
        assert_eq!(self.value(name), Some(value.borrow()), "{name} of {self:?}");
    }
}

fn context(trace: u8) -> TraceContext {
    TraceContext { trace: [trace; 16], span: [0xee; 8], flags: 1 }
}

/// A record whose trace is sampled.
fn sampled(mut input: Input, trace: u8) -> Input {
    input.head.trace = Some(context(trace));
    input
}

fn words(text: &str) -> SpanValue {
    SpanValue::Text(text.to_owned())
}

#[test]
fn a_stage_has_a_span_with_plugin_outcome_and_sizes() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("split"), stage("gate", json!({}))], &services).unwrap();
    assert!(
        chain
            .run(vec![text("before"), sampled(text("four"), 1), text("after")])
            .records
            .iter()
            .all(Result::is_ok)
    );
    let spans = services.traces.taken();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["stage hostile", "stage gate"], "one a stage, though the second got two records");
    let (split, gate) = (&spans[0], &spans[1]);
    for span in &spans {
        assert!(span.ended && span.failed.is_none() && span.link.is_none());
        assert_eq!(span.under, context(1));
        span.says("hilum.plugin.version", words("0.1.0"));
    }
    split.says("hilum.stage.name", words("hostile"));
    split.says("hilum.plugin.name", words("hostile"));
    split.says("hilum.plugin.digest", words(&chain.plan().stages()[0].component.to_string()));
    split.says("hilum.stage.batch.records", SpanValue::Count(3));
    split.says("hilum.stage.outcome", words("split"));
    split.says("hilum.stage.size.in", SpanValue::Count(4));
    split.says("hilum.stage.size.out", SpanValue::Count(6));
    gate.says("hilum.stage.batch.records", SpanValue::Count(6));
    gate.says("hilum.stage.outcome", words("passed"));
    gate.says("hilum.stage.size.in", SpanValue::Count(6));
}

#[test]
fn what_nobody_samples_has_no_span() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("trace")], &services).unwrap();
    let mut unsampled = sampled(text("a"), 1);
    unsampled.head.trace.as_mut().unwrap().flags = 0;
    assert!(chain.run(vec![unsampled, text("b")]).records.iter().all(Result::is_ok));
    assert!(services.traces.taken().is_empty());
}

#[test]
fn spans_of_a_plugin_nest_below_its_stage_with_lines_and_numbers() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("trace")], &services).unwrap();
    assert!(chain.run(vec![sampled(text("DOE^JOHN"), 1)]).records[0].is_ok());
    let spans = services.traces.taken();
    assert!(!format!("{spans:?}").contains("DOE"), "{spans:?}");
    assert!(spans.iter().all(|span| span.ended));
    let seen: Vec<_> =
        spans.iter().map(|span| (span.name.as_str(), span.under.span[0], span.events.len())).collect();
    // Under the record's own span, then under the stage's, then one in the other; `kept` outlives the one around it.
    assert_eq!(seen, [("stage hostile", 0xee, 0), ("clean", 1, 1), ("find", 2, 1), ("kept", 2, 1)]);
    let values = [
        ("hilum.plugin.value.changed", SpanValue::Flag(true)),
        ("hilum.plugin.value.octets", SpanValue::Count(8)),
        ("hilum.plugin.value.ratio", SpanValue::Measure(0.5)),
    ];
    assert_eq!(spans[1].values, values.map(|(name, value)| (name.to_owned(), value)), "and no more");
}

#[test]
fn spans_and_their_names_are_few() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("trace")], &services).unwrap();
    let many = || record(hilum_core::Body::Inline("x".into()), &[("many", "yes")]);
    assert!(chain.run(vec![sampled(many(), 1)]).records[0].is_ok());
    let spans = services.traces.taken();
    assert!(spans.iter().all(|span| span.ended), "what the plugin left open ends with the call");
    // `clean`, `find`, `kept`, `octets`, `ratio` and `changed` are six of the 32 names.
    assert_eq!(spans.iter().filter(|span| span.name.starts_with("step-")).count(), 26);
    // The instance that kept its handles is gone, and the names that were used stay the only ones.
    let both = vec![sampled(many(), 1), sampled(many(), 1), sampled(many(), 1)];
    assert!(chain.run(both).records.iter().all(Result::is_ok));
    let spans = services.traces.taken();
    assert_eq!(spans.len(), 1 + 64, "of one call no more than 64 are taken");
}

#[test]
fn of_several_sampled_records_the_first_is_the_home_and_the_others_link_to_it() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("trace")], &services).unwrap();
    let inputs =
        vec![text("a"), sampled(text("b"), 1), sampled(text("c"), 2), from_another(sampled(text("d"), 3))];
    assert!(chain.run(inputs).records.iter().all(Result::is_ok));
    let spans = services.traces.taken();
    let stages: Vec<_> = spans.iter().filter(|span| span.name == "stage hostile").collect();
    let traces: Vec<u8> = stages.iter().map(|span| span.under.trace[0]).collect();
    assert_eq!(traces, [1, 2, 3], "each sampled record has the stage in its own trace");
    let home = TraceContext { span: [stages[0].id; 8], ..context(1) };
    assert_eq!((stages[0].link, stages[1].link), (None, Some(home)));
    assert_eq!(stages[2].link, None, "records of another source are another call");
    assert!(stages.iter().all(|span| span.value("hilum.stage.size.in") == Some(&SpanValue::Count(1))));
    let below =
        |trace| spans.iter().filter(|span| span.name == "clean" && span.under.trace[0] == trace).count();
    assert_eq!((below(1), below(2), below(3)), (3, 0, 1), "a call's spans are there once");
}

#[test]
fn a_call_that_fails_has_a_span_that_says_how_and_so_has_each_record_that_is_tried_again() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("panic-on-bad")], &services).unwrap();
    let records = chain.run(vec![sampled(text("a"), 1), sampled(bad("DOE^JANE"), 2)]).records;
    assert!(records[0].is_ok() && records[1].is_err());
    let spans = services.traces.taken();
    let seen: Vec<_> = spans.iter().map(|span| (span.under.trace[0], span.failed, span.ended)).collect();
    let (trap, fine) = (Some("trap"), None);
    assert_eq!(seen, [(1, trap, true), (2, trap, true), (1, fine, true), (2, trap, true)]);
    spans[3].says("hilum.stage.outcome", words("failed"));
    assert!(!format!("{spans:?}").contains("DOE"), "{spans:?}");
}

#[test]
fn a_refusal_is_an_outcome_without_the_plugins_words() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("refuse")], &services).unwrap();
    assert!(chain.run(vec![sampled(text("abc"), 1)]).records[0].is_err());
    let spans = services.traces.taken();
    spans[0].says("hilum.stage.outcome", words("refused"));
    spans[0].says("hilum.stage.size.out", SpanValue::Count(0));
    assert!(!format!("{spans:?}").contains("long"), "{spans:?}");
}
