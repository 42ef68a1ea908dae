//! Compares what came with what [`super::plan`] expects.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hilum_client::Offset;

use super::made;
use super::plan::{Form, READINGS, Reading};
use super::publish::Published;
use super::read::Received;
use super::report::Evidence;
use crate::leak::Canaries;
use crate::otlp;

/// Every published record by flow and offset.
pub(super) type Index<'a> = HashMap<(&'a str, Offset), &'a Published>;

/// Makes the index.
pub(super) fn index(published: &[Published]) -> Index<'_> {
    published.iter().map(|record| ((record.flow.as_str(), record.offset), record)).collect()
}

/// How many deliveries there will be, if all goes well: at least one of each reading whose records a plugin makes.
pub(super) fn deliveries_expected(published: &[Published]) -> usize {
    let of = |reading: &Reading| match reading.form {
        Form::Made(_) => 1,
        _ => expected(reading, published).count(),
    };
    READINGS.iter().map(of).sum()
}

/// The records that a reader shall get.
fn expected<'a>(reading: &'a Reading, published: &'a [Published]) -> impl Iterator<Item = &'a Published> {
    published
        .iter()
        .filter(|record| record.flow.as_str() == reading.flow && reading.wants(record.kind, record.patient))
}

/// Everything that is not as expected.
pub(super) fn complaints(evidence: &Evidence, canaries: &Canaries) -> Vec<String> {
    let index = index(&evidence.published);
    let mut found = Vec::new();
    for (number, reading) in READINGS.iter().enumerate() {
        let came: Vec<&Received> = evidence.received.iter().filter(|r| r.reading == number).collect();
        let about = |complaint: String| format!("{} of {}: {complaint}", reading.subscription, reading.flow);
        let complaints = match reading.form {
            Form::Made(maker) => made::complaints(maker, &came),
            _ => reading_complaints(reading, &came, &index, &evidence.published),
        };
        found.extend(complaints.into_iter().map(about));
    }
    for (what, octets) in [
        ("the store", &evidence.stored),
        ("the broker's log", &evidence.log),
        ("the traces", &evidence.traces),
    ] {
        match canaries.found_in(octets) {
            0 => {}
            count => found.push(format!("{count} planted identifiers are in {what}")),
        }
    }
    if evidence.endpoint.is_none() {
        found.extend(trace_complaints(evidence));
    }
    found
}

/// What the traces must tell, if they came to our own collector: each record, and why each one withheld was.
fn trace_complaints(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    if !evidence.published.iter().all(|record| spans(evidence, record) > 0) {
        found.push("some records have no span in the exported traces".to_owned());
    }
    let reasons = otlp::withheld(&evidence.traces);
    for (number, reading) in READINGS.iter().enumerate() {
        let of_reading = |key: &[String; 3]| key[0] == reading.flow && key[1] == reading.subscription;
        let of_reading: Vec<_> = reasons.iter().filter(|(key, _)| of_reading(key)).collect();
        let explained: usize = of_reading.iter().map(|(_, count)| **count).sum();
        let withheld = withheld(evidence, number);
        if explained != withheld {
            found.push(format!(
                "{} of {}: {withheld} records were withheld, the traces give reasons for {explained}",
                reading.subscription, reading.flow
            ));
        }
        for ([.., reason], _) in of_reading {
            // ``stage `clean`: code``, then perhaps a sentence.
            if !reason.split(": ").nth(1).is_some_and(|code| reading.withheld.contains(&code)) {
                found.push(format!("{} of {}: withheld for `{reason}`", reading.subscription, reading.flow));
            }
        }
    }
    found
}

/// How many records of a reading's flow its reader did not get.
#[must_use]
pub(super) fn withheld(evidence: &Evidence, number: usize) -> usize {
    let reading = &READINGS[number];
    if reading.form.maker().is_some() {
        return 0;
    }
    let in_flow = evidence.published.iter().filter(|record| record.flow.as_str() == reading.flow).count();
    let came: BTreeSet<Offset> =
        evidence.received.iter().filter(|received| received.reading == number).map(|r| r.offset).collect();
    in_flow.saturating_sub(came.len())
}

fn reading_complaints(
    reading: &Reading,
    came: &[&Received],
    index: &Index<'_>,
    published: &[Published],
) -> Vec<String> {
    let mut found = Vec::new();
    let expected: BTreeSet<Offset> = expected(reading, published).map(|record| record.offset).collect();
    let actual: BTreeSet<Offset> = came.iter().map(|received| received.offset).collect();
    let (missing, extra) = (expected.difference(&actual).count(), actual.difference(&expected).count());
    if missing + extra > 0 {
        found.push(format!("{missing} records are missing, {extra} came that should be withheld"));
    }
    if actual.len() != came.len() {
        found.push(format!("{} deliveries came twice", came.len() - actual.len()));
    }
    let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
    for received in came {
        if let Some(record) = index.get(&(reading.flow, received.offset)) {
            form_complaints(reading.form, received, record).for_each(|c| *wrong.entry(c).or_default() += 1);
        }
    }
    found.extend(wrong.into_iter().map(|(complaint, count)| format!("{count} records: {complaint}")));
    found
}

/// What is wrong with one delivery of one record.
fn form_complaints(
    form: Form,
    received: &Received,
    record: &Published,
) -> impl Iterator<Item = &'static str> {
    let is_original = received.digest == record.digest;
    let wrong_form = match form {
        Form::Original => (received.sealed || !is_original).then_some("not the original"),
        Form::Sealed => {
            (!received.sealed || !is_original).then_some("not the original, encrypted to its reader")
        }
        Form::Deidentified => (received.sealed || is_original).then_some("not de-identified"),
        Form::Made(_) => Some("no plugin makes these"),
    };
    let is_bare = form == Form::Original && record.kind.names_patient();
    let scan = match (is_bare, received.canaries) {
        // What is found in no original would be found in nothing else either.
        (true, 0) => Some("the scan for planted identifiers finds none in an original"),
        (false, 1..) => Some("a planted identifier is in it"),
        _ => None,
    };
    let trace = (received.trace != Some(record.trace)).then_some("not in the trace that its publisher began");
    [wrong_form, scan, trace].into_iter().flatten()
}

/// How many spans the exported traces have of a record: each span names its trace (OTLP, `Span.trace_id`).
#[must_use]
pub(super) fn spans(evidence: &Evidence, record: &Published) -> usize {
    otlp::count(&evidence.traces, &record.trace)
}

#[cfg(test)]
mod tests;
