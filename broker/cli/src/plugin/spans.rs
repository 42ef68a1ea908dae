//! The spans of a plugin run: what was in what, how long it took, and what was told of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hilum_core::record::TraceContext;
use hilum_sandbox::{Span, SpanStart, SpanValue};

/// The span around the whole run.
pub(super) const RUN: TraceContext = TraceContext { trace: [1; 16], span: [0; 8], flags: 1 };

/// All spans of a run, by the numbers that they are given as they begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans(Arc<Mutex<BTreeMap<u64, Line>>>);

/// One span.
#[derive(Debug)]
struct Line {
    within: u64,
    name: String,
    values: Vec<(String, SpanValue)>,
    failed: Option<&'static str>,
    took: Duration,
}

struct Open {
    all: Spans,
    number: u64,
    begun: Instant,
}

impl Spans {
    /// Begins one.
    pub(super) fn begin(&self, start: SpanStart<'_>) -> Box<dyn Span> {
        let SpanStart { under, name, link: _, values } = start;
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let within = u64::from_be_bytes(under.span);
        let line = Line { within, name, values, failed: None, took: Duration::ZERO };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = all.len() as u64 + 1;
        all.insert(number, line);
        Box::new(Open { all: self.clone(), number, begun: Instant::now() })
    }

    /// One line for each, inner ones further to the right.
    pub(super) fn lines(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|line| format!("{:1$}{2}", "", 2 * depth(&all, line), line.text())).collect()
    }
}

fn depth(all: &BTreeMap<u64, Line>, line: &Line) -> usize {
    // Each one is within one that began before it, so that this ends.
    all.get(&line.within).map_or(0, |outer| 1 + depth(all, outer))
}

impl Line {
    fn text(&self) -> String {
        let mut text = format!("{}, {} us", self.name, self.took.as_micros());
        for (name, value) in &self.values {
            let name = name.strip_prefix("hilum.plugin.value.").unwrap_or(name);
            text += &match value {
                SpanValue::Text(value) => format!(", {name}={value}"),
                SpanValue::Count(value) => format!(", {name}={value}"),
                SpanValue::Measure(value) => format!(", {name}={value}"),
                SpanValue::Flag(value) => format!(", {name}={value}"),
            };
        }
        text + &self.failed.map_or_else(String::new, |kind| format!(", failed: {kind}"))
    }
}

impl Open {
    fn change(&self, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.all.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.number) {
            change(line);
        }
    }
}

impl Span for Open {
    fn context(&self) -> TraceContext {
        TraceContext { span: self.number.to_be_bytes(), ..RUN }
    }

    fn set(&mut self, name: String, value: SpanValue) {
        self.change(|line| line.values.push((name, value)));
    }

    fn event(&mut self, _: &'static str, _: Vec<(&'static str, SpanValue)>) {}

    fn fail(&mut self, kind: &'static str) {
        self.change(|line| line.failed = Some(kind));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        self.change(|line| line.took = took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_within_each_other() {
        let spans = Spans::default();
        let start = |under| SpanStart { under, name: "step".into(), link: None, values: Vec::new() };
        let mut outer = spans.begin(start(&RUN));
        outer.set("hilum.plugin.value.octets".into(), SpanValue::Count(7));
        let inner = spans.begin(start(&outer.context()));
        drop(inner);
        outer.fail("trap");
        drop(outer);
        let lines = spans.lines();
        assert!(
            lines[0].starts_with("step, ") && lines[0].ends_with(" us, octets=7, failed: trap"),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("  step, "), "{lines:?}");
    }
}
