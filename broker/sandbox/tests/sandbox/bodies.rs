//! Large bodies: read and written through the host, and nothing left behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_core::{Body, Digest};
use hilum_sandbox::{Failure, FailureKind};
use serde_json::json;

use crate::support::{Memory, behaving, from_another, inline, load, record, stage};

const LARGE: usize = 3 * INLINE_BODY_OCTETS_MAX + 17;

fn octets() -> Vec<u8> {
    (0..LARGE).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

#[test]
fn a_large_body_passes_as_what_it_is() {
    let services = Arc::<Memory>::default();
    let body = services.blob(octets());
    let chain = load(vec![behaving("pass"), stage("gate", json!({}))], &services).unwrap();
    let ran = chain.run(vec![record(body.clone(), &[])]).records.remove(0).unwrap().run;
    assert_eq!(*ran.outputs[0].body.body(), body);
    assert_eq!(ran.receipt.output, Digest::of(&octets()));
}

#[test]
fn forward_copies_on_the_host() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("forward")], &services).unwrap();
    let ran = chain.run(vec![record(services.blob(octets()), &[])]).records.remove(0).unwrap().run;
    let Body::Blob(made) = *ran.outputs[0].body.body() else { panic!("it is not large") };
    let blobs = services.blobs.lock().unwrap();
    assert_eq!((blobs[&made.id][0], &blobs[&made.id][1..]), (b'!', octets().as_slice()));
    assert_eq!(ran.receipt.output, Digest::of(&blobs[&made.id]));
}

#[test]
fn a_body_that_got_small_becomes_inline() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("forward")], &services).unwrap();
    let ran = chain.run(vec![record(services.blob(vec![7; 100]), &[])]).records.remove(0).unwrap().run;
    assert_eq!(inline(&ran.outputs[0].body).len(), 101);
    assert_eq!(services.blobs.lock().unwrap().len(), 1);
}

#[test]
fn a_body_between_two_stages_is_discarded() {
    let services = Arc::<Memory>::default();
    let mut second = behaving("forward");
    second.name = "second".parse().unwrap();
    let chain = load(vec![behaving("forward"), second], &services).unwrap();
    let ran = chain.run(vec![record(services.blob(octets()), &[])]).records.remove(0).unwrap().run;
    // The input's and the output's.
    assert_eq!(ran.outputs[0].body.body().size(), LARGE as u64 + 2);
    assert_eq!(services.blobs.lock().unwrap().len(), 2);
}

#[test]
fn what_a_chain_makes_of_a_record_is_kept_under_the_key_of_its_source() {
    let services = Arc::<Memory>::default();
    // Inline on the way in, too large to be so on the way out.
    let body = || Body::Inline(vec![7; INLINE_BODY_OCTETS_MAX].into());
    let chain = load(vec![behaving("append")], &services).unwrap();
    let inputs = vec![record(body(), &[]), from_another(record(body(), &[])), record(body(), &[])];
    let expected: Vec<_> = inputs.iter().map(|input| input.source.id.clone()).collect();
    let records = chain.run(inputs).records;
    assert!(
        records.iter().all(|ran| matches!(ran.as_ref().unwrap().run.outputs[0].body.body(), Body::Blob(_)))
    );
    assert_eq!(*services.sources.lock().unwrap(), expected);
}

#[test]
fn a_store_that_fails_is_not_a_refusal() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("forward")], &services).unwrap();
    let input = record(services.blob(octets()), &[]);
    services.broken.store(true, Ordering::Relaxed);
    let failure = chain.run(vec![input.clone()]).records.remove(0).unwrap_err();
    assert!(
        matches!(&failure, Failure::Failed { kind: FailureKind::Host, reason, .. } if reason == "the disk is gone")
    );
    services.broken.store(false, Ordering::Relaxed);
    assert!(chain.run(vec![input]).records[0].is_ok());
}
