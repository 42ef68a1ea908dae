//! What happened, for a person to read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::made;
use super::plan::{Form, Kind, Maker, READINGS, Reading};
use super::publish::Published;
use super::read::Received;
use super::verdict::{self, Index};
use crate::leak::Canaries;
use crate::otlp;
use crate::text_table::TextTable;

/// Everything that a run left.
#[derive(Debug)]
pub(super) struct Evidence {
    /// What was acked.
    pub(super) published: Vec<Published>,
    /// What came.
    pub(super) received: Vec<Received>,
    /// Who tried what, and what the broker said.
    pub(super) refused: Vec<(String, String)>,
    /// What the broker exported to our own collector.
    pub(super) traces: Vec<u8>,
    /// Where traces went instead, if the environment named a collector.
    pub(super) endpoint: Option<String>,
    /// All files of the store.
    pub(super) stored: Vec<u8>,
    /// The broker's log.
    pub(super) log: Vec<u8>,
}

/// Prints all of it.
pub(super) fn print(evidence: &Evidence) {
    let index = verdict::index(&evidence.published);
    println!("\nWho received what\n");
    let head = ["stakeholder", "flow", "received", "", "how", "withheld", "p50", "p99"];
    let mut table = TextTable::new(&head, &[2, 5, 6, 7]);
    for (number, reading) in READINGS.iter().enumerate() {
        table.row(row(evidence, &index, number, reading));
    }
    print!("{}", table.render());
    println!(
        "\nLatency is from the beginning of publishing until the reader has the last octet, in milliseconds."
    );

    println!("\nWhy records were withheld\n");
    print_withheld(evidence);

    println!("\nWho was refused\n");
    for (attempt, answer) in &evidence.refused {
        println!("  {attempt}\n      {answer}");
    }

    for (maker, head) in [
        (Maker::Analytics, "What the machine will need"),
        (Maker::Rooms, "How the room was used"),
        (Maker::Claims, "What was claimed and does not fit what was done"),
        (Maker::Security, "What security should look at"),
    ] {
        println!("\n{head}\n");
        // Of forecasts two readers get the same.
        let reading = READINGS.iter().position(|reading| reading.form == Form::Made(maker));
        let came: Vec<&Received> =
            evidence.received.iter().filter(|received| Some(received.reading) == reading).collect();
        made::sentences(maker, &came).iter().for_each(|sentence| println!("  {sentence}"));
    }

    println!("\nWhere the traces went\n");
    print_traces(evidence);
    println!();
}

fn row(evidence: &Evidence, index: &Index<'_>, number: usize, reading: &Reading) -> Vec<String> {
    let came: Vec<&Received> =
        evidence.received.iter().filter(|received| received.reading == number).collect();
    let record = |received: &&Received| index.get(&(reading.flow, received.offset)).copied();
    let withheld = verdict::withheld(evidence, number);
    let mut latencies: Vec<Duration> =
        came.iter().filter_map(|received| Some(received.at - record(received)?.at)).collect();
    latencies.sort_unstable();
    vec![
        reading.stakeholder.to_owned(),
        reading.flow.to_owned(),
        came.len().to_string(),
        kinds(reading, came.iter().filter_map(record)),
        reading.form.label().to_owned(),
        if withheld == 0 { "-".to_owned() } else { withheld.to_string() },
        percentile(&latencies, 50),
        percentile(&latencies, 99),
    ]
}

/// `22 images, 1 image with burned-in text`.
fn kinds<'a>(reading: &Reading, came: impl Iterator<Item = &'a Published>) -> String {
    match reading.form.maker() {
        Some(Maker::Analytics) => return "forecasts".to_owned(),
        Some(Maker::Rooms) => return "states of the room".to_owned(),
        Some(Maker::Claims) => return "findings".to_owned(),
        Some(Maker::Security) => return "alerts".to_owned(),
        None => {}
    }
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    came.for_each(|record| *counts.entry(record.kind).or_default() += 1);
    if let (1, Some(kind)) = (counts.len(), counts.keys().next()) {
        return kind.label().to_owned();
    }
    counts.iter().map(|(kind, count)| format!("{count} {}", kind.label())).collect::<Vec<_>>().join(", ")
}

/// The nearest-rank percentile, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let at_rank = sorted.get(rank - 1);
    at_rank.map_or_else(|| "-".to_owned(), |latency| format!("{:.1}", latency.as_secs_f64() * 1000.0))
}

fn print_withheld(evidence: &Evidence) {
    if evidence.endpoint.is_some() {
        println!("  the spans with attribute `hilum.delivery.withheld` say it, at your collector");
        return;
    }
    for ([flow, subscription, reason], count) in otlp::withheld(&evidence.traces) {
        println!("  {count} from {subscription} of {flow}: {reason}");
    }
}

fn print_traces(evidence: &Evidence) {
    if let Some(endpoint) = &evidence.endpoint {
        println!("  to {endpoint}, as OTEL_EXPORTER_OTLP_ENDPOINT says");
        return;
    }
    println!(
        "  to a collector inside this demo, {} KiB; set OTEL_EXPORTER_OTLP_ENDPOINT to send them to yours",
        evidence.traces.len().div_ceil(1024)
    );
    if let Some(record) = evidence.published.iter().find(|record| record.kind == Kind::Image) {
        let trace: String = record.trace.iter().map(|octet| format!("{octet:02x}")).collect();
        let count = verdict::spans(evidence, record);
        println!("  for example {trace}: one image from the scanner to its readers, {count} spans");
    }
}

/// What was proved about identifiers.
#[must_use]
pub(super) fn proof(evidence: &Evidence, canaries: &Canaries) -> String {
    let of =
        |form: Form| evidence.received.iter().filter(move |received| READINGS[received.reading].form == form);
    let found = |form: Form| of(form).map(|received| received.canaries).sum::<usize>();
    format!(
        "Of {} planted identifiers {} are in {} de-identified records, {} in {} encrypted ones, {} in the store's files, {} in \
         the log, {} in the traces.\nEach encrypted record opened with its reader's key, and with nobody else's.",
        canaries.count(),
        found(Form::Deidentified),
        of(Form::Deidentified).count(),
        found(Form::Sealed),
        of(Form::Sealed).count(),
        canaries.found_in(&evidence.stored),
        canaries.found_in(&evidence.log),
        canaries.found_in(&evidence.traces),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latencies: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(
            (percentile(&latencies, 50), percentile(&latencies, 99)),
            ("100.0".into(), "198.0".into())
        );
        assert_eq!(percentile(&latencies[..1], 99), "1.0");
        assert_eq!(percentile(&[], 50), "-");
    }
}
