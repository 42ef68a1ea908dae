//! What has to be so when a start comes back.

use std::fs;
use std::time::SystemTime;

use hilum_core::Offset;
use hilum_core::delivery::Progress;
use hilum_store::memory;

use super::*;
use crate::provision;

const HOSPITAL: &str = r#"
[hospital]
name = "st-marys"

[broker]
listen = "127.0.0.1:0"

[zones]
clinical = { description = "where everything is" }

[stakeholders.radiology]
description = "publishes and reads"

[principals.radiology]
path = "service/radiology"
stakeholder = "radiology"
zone = "clinical"
"#;

const FLOW: &str = r#"
name = "scans"
class = "imaging"
zone = "clinical"
ack = "memory"

[[publish]]
stakeholder = "radiology"

[[subscription]]
name = "all"
stakeholder = "radiology"
purpose = "TREAT"
"#;

/// Of a flow that is acked from memory a crash may take the end. It is forgotten that this was settled before anything can come in its place:
/// nothing else of the broker has run yet when the start comes back, as this runtime has one thread.
#[tokio::test]
async fn a_start_forgets_what_a_crash_took_before_its_flow_takes_anything() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hilum.toml"), HOSPITAL).unwrap();
    fs::create_dir(directory.path().join("flows")).unwrap();
    fs::write(directory.path().join("flows/scans.toml"), FLOW).unwrap();
    provision::init(directory.path(), None, &[], SystemTime::now()).unwrap();
    let hospital = crate::config::load(directory.path()).unwrap();
    let (identity, address) = (server_identity(&hospital).unwrap(), hospital.listen);

    let store = memory::Store::new();
    let (meta, key) = (store.meta(), b"cursor/scans/all");
    let settled = Progress::from(Offset(7)).encode();
    assert!(meta.compare_and_set(key, None, Some(&settled)).await.unwrap());
    let broker = Broker::assemble(Parts {
        hospital,
        identity,
        store: OpenStore {
            log: store.log(),
            blobs: store.blobs(),
            meta: meta.clone(),
            close: futures_util::future::ready(()).boxed(),
        },
        clock: Clock::SYSTEM,
        chain_slots: Slots::on_threads(),
        sandbox: None,
        listen: Box::new(move |config| endpoint::bind(address, config)),
    });
    let broker = broker.await.unwrap();

    let kept = meta.get(key).await.unwrap().unwrap();
    assert_eq!(Progress::decode(&kept).unwrap(), Progress::from(Offset(0)), "the flow is empty");
    broker.stop().await;
}
