//! Records that a chain refuses: their publisher hears why, they are kept in quarantine, and the flow goes on.

use std::io::Cursor;

use bytes::Bytes;
use hilum_client::{DeliveryBody, PublishError, Publisher, Record, RefusalCode};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_core::quarantine::Quarantined;
use hilum_core::record::Body;
use hilum_core::{LogName, Offset, Timestamp};
use hilum_hospital::simulator::{Case, mr};
use hilum_server::provision::read_secret;
use hilum_store::{MasterKey, embedded};
use hilum_tests::{Flow, Hospital, Stage, Subscription};

use crate::support::{Scene, name, next, says};

const CONTENT_TYPE: &str = "application/dicom";

#[tokio::test]
async fn a_truncated_image_is_refused_and_kept_and_the_next_one_passes() {
    let images = Flow::new("images").class("imaging").ingress(Stage::clean());
    let images = images.subscription(Subscription::all().purpose("HRESCH"));
    let scene = Scene::new(&[Flow::plain(), images]).await;
    let case = Case::new(5, 0, Timestamp(1_790_000_000_000));
    let (small, large) = (&mr::series(&case, 1, 64)[0].octets, &mr::series(&case, 1, 512)[0].octets);
    assert!(small.len() < INLINE_BODY_OCTETS_MAX && large.len() * 2 / 3 > INLINE_BODY_OCTETS_MAX);
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("images")).await.unwrap();
    for image in [small, large] {
        let error = publish(&publisher, &image[..image.len() * 2 / 3]).await.unwrap_err();
        says(&error.to_string(), &["flow `images`", "refused by plugin", "stage `clean`: truncated: "]);
        let PublishError::Refused { refusal, .. } = &error else { panic!("{error:?}") };
        assert_eq!((refusal.code, refusal.retryable), (RefusalCode::RefusedByPlugin, false));
        publish(&publisher, image).await.unwrap();
    }

    let reader = scene.connect("reader").await;
    let mut images = reader.subscribe(&name("images"), &name("all"), crate::support::CREDIT).await.unwrap();
    for image in [small, large] {
        let delivery = next(&mut images).await;
        let mut read = Vec::new();
        match delivery.body() {
            DeliveryBody::Inline(octets) => read.extend_from_slice(octets),
            DeliveryBody::Large { .. } => {
                delivery.open_large(0).await.unwrap().write_to(&mut read).await.unwrap();
            }
        }
        assert!(read.len() > image.len() / 2, "the pixels go on");
        let found = case.identifiers().into_iter().find(|id| contains(&read, id.as_bytes()));
        assert_eq!(found, None, "is in a de-identified image");
        assert!(delivery.head().labels.is_empty(), "the plugin took the label away");
    }
    scene.lost_nothing().await;
    let Scene { hospital, broker } = scene;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    says(
        &log,
        &["records went to quarantine", "flow=images", "first_stage=\"clean\"", "first_code=\"truncated\""],
    );
    let kept = quarantined(&hospital, "images").await;
    let sizes: Vec<u64> = kept.iter().map(|record| record.body.size()).collect();
    assert_eq!(sizes, [small.len() as u64 * 2 / 3, large.len() as u64 * 2 / 3]);
    for record in kept {
        assert_eq!(record.cause.stage, Some(name("clean")));
        assert_eq!(record.cause.code, "truncated");
        assert_eq!(record.principal.id.as_str(), "spiffe://test/device/scanner");
        assert!(!matches!(&record.body, Body::Inline(octets) if octets.is_empty()));
    }
}

/// Publishes an image the way that its size asks for.
async fn publish(publisher: &Publisher, image: &[u8]) -> Result<(), PublishError> {
    let record = Record::new(CONTENT_TYPE, Bytes::copy_from_slice(image)).with_key("MRN-1");
    if image.len() <= INLINE_BODY_OCTETS_MAX {
        publisher.publish(record).await?;
    } else {
        publisher.publish_large(record.head, image.len() as u64, Cursor::new(image)).await?;
    }
    Ok(())
}

/// What is in a flow's quarantine, read from the store of a broker that has stopped.
async fn quarantined(hospital: &Hospital, flow: &str) -> Vec<Quarantined> {
    let key = MasterKey::new(*read_secret(&hospital.file("keys/kek")).unwrap());
    let store = embedded::Store::open(&hospital.file("data"), key, embedded::Settings::default()).unwrap();
    let entries = store.log().read(&LogName::Quarantine(name(flow)), Offset(0), 64 << 20).await.unwrap();
    entries.iter().map(|entry| Quarantined::decode(&entry.octets).unwrap()).collect()
}

fn contains(octets: &[u8], needle: &[u8]) -> bool {
    octets.windows(needle.len()).any(|window| window == needle)
}
