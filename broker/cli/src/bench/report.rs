//! What a benchmark prints: a table for people, or one JSON object for scripts.

use serde_json::{Map, Value};

/// The settings and figures of one run.
pub(super) struct Report {
    title: String,
    object: Map<String, Value>,
    rows: Vec<(String, String)>,
}

impl Report {
    /// A run that people know by `title`.
    pub(super) fn new(title: String) -> Self {
        Self { title, object: Map::new(), rows: Vec::new() }
    }

    /// What was asked for; in the title already, so that people are not told twice.
    pub(super) fn setting(&mut self, key: &str, value: impl Into<Value>) {
        self.object.insert(key.to_owned(), value.into());
    }

    /// A rate.
    pub(super) fn per_second(&mut self, key: &str, label: &str, rate: f64, what: &str) {
        self.setting(key, rate.round());
        self.rows.push((label.to_owned(), format!("{rate:>12.0} {what}")));
    }

    /// How long something took, by `key` with `p50_us` and `p99_us` added. `sorted` microseconds, not empty.
    pub(super) fn latency(&mut self, key: &str, label: &str, sorted: &[u64]) {
        let (p50, p99) = (percentile(sorted, 50), percentile(sorted, 99));
        let slowest = sorted[sorted.len() - 1];
        self.setting(&format!("{key}p50_us"), p50);
        self.setting(&format!("{key}p99_us"), p99);
        self.setting(&format!("{key}max_us"), slowest);
        self.rows.push((label.to_owned(), format!("{p50:>12} us p50, {p99} us p99, {slowest} us at most")));
    }

    /// A plain number.
    pub(super) fn number(&mut self, key: &str, label: &str, value: f64, unit: &str) {
        self.setting(key, value);
        self.rows.push((label.to_owned(), format!("{value:>12.2} {unit}").trim_end().to_owned()));
    }

    pub(super) fn print(self, json: bool) {
        if json {
            println!("{}", Value::Object(self.object));
            return;
        }
        println!("{}", self.title);
        let width = self.rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        self.rows.iter().for_each(|(label, text)| println!("  {label:width$} {text}"));
    }
}

/// The value below which so many of a hundred are. `sorted` is not empty.
pub(super) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (50, 99));
        assert_eq!(percentile(&[7], 99), 7);
    }

    #[test]
    fn scripts_and_people_get_the_same_figures() {
        let mut report = Report::new("three records".into());
        report.setting("records", 3);
        report.latency("", "ack latency", &[1, 2, 3]);
        assert_eq!(
            Value::Object(report.object),
            serde_json::json!({"records": 3, "p50_us": 2, "p99_us": 2, "max_us": 3})
        );
        assert_eq!(report.rows[0].1.trim(), "2 us p50, 2 us p99, 3 us at most");
    }
}
