//! Uploads that break off, on a store in memory and under virtual time.

use hilum_core::record::ProducerId;
use hilum_store::memory;

use super::*;
use crate::fixture::{flow, principal};

const CHUNK: usize = 300_000;
const BODY_MAX: u64 = 3 * CHUNK as u64;

fn key(sender: &str, producer: u8) -> UploadKey {
    let position = ProducerPosition { producer: ProducerId([producer; 16]), sequence: 1 };
    UploadKey { principal: principal(sender).id.clone(), flow: flow(), position }
}

/// A body of which one chunk came.
async fn staging(store: &memory::Store, size: u64) -> Staging {
    let log = LogName::Flow(flow());
    let blobs = store.blobs();
    let mut staging = Staging::new(&*blobs, &log, &principal("imaging").id, size).await.unwrap();
    staging.write(Bytes::from(vec![7; CHUNK])).await.unwrap();
    staging
}

/// Begins an upload and breaks it off.
async fn park(uploads: &Arc<Uploads>, store: &memory::Store, key: &UploadKey) {
    let (turn, staged) = uploads.take(key, BODY_MAX).await.unwrap();
    assert!(staged.is_none());
    turn.park(staging(store, BODY_MAX).await).await;
}

/// Octets that are here of an upload.
async fn kept(uploads: &Arc<Uploads>, key: &UploadKey, size: u64) -> u64 {
    let (turn, staged) = uploads.take(key, size).await.unwrap();
    let Some(staging) = staged else { return 0 };
    let received = staging.received();
    turn.park(staging).await;
    received
}

#[tokio::test(start_paused = true)]
async fn a_parked_upload_is_gone_on_with_by_its_name_and_size_only() {
    let (store, uploads) = (memory::Store::new(), Uploads::new(BODY_MAX));
    park(&uploads, &store, &key("imaging", 1)).await;
    assert_eq!(kept(&uploads, &key("imaging", 2), BODY_MAX).await, 0, "another position");
    assert_eq!(kept(&uploads, &key("radiology", 1), BODY_MAX).await, 0, "another principal");
    assert_eq!(kept(&uploads, &key("imaging", 1), BODY_MAX).await, CHUNK as u64);
    assert_eq!(kept(&uploads, &key("imaging", 1), BODY_MAX - 1).await, 0, "another size");
    assert_eq!(kept(&uploads, &key("imaging", 1), BODY_MAX).await, 0, "it was given up for the other");
    assert!(uploads.entries.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_parked_upload_is_deleted_when_its_time_is_over() {
    let (store, uploads) = (memory::Store::new(), Uploads::new(BODY_MAX));
    park(&uploads, &store, &key("imaging", 1)).await;
    tokio::time::sleep(PARKED_TIME - Duration::from_secs(1)).await;
    assert_eq!(kept(&uploads, &key("imaging", 1), BODY_MAX).await, CHUNK as u64);
    // The time begins anew with each break.
    tokio::time::sleep(PARKED_TIME - Duration::from_secs(1)).await;
    assert_eq!(uploads.entries.lock().len(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(uploads.entries.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_principal_keeps_so_many_octets_and_the_oldest_give_way() {
    let (store, uploads) = (memory::Store::new(), Uploads::new(BODY_MAX));
    for producer in 1..=4 {
        park(&uploads, &store, &key("imaging", producer)).await;
    }
    park(&uploads, &store, &key("radiology", 9)).await;
    let mut names: Vec<_> = uploads.entries.lock().keys().map(|key| key.position.producer.0[0]).collect();
    names.sort_unstable();
    assert_eq!(names, [2, 3, 4, 9], "three chunks of each principal are the limit");
}

#[tokio::test(start_paused = true)]
async fn one_principal_keeps_so_many_uploads_and_all_together_so_many() {
    let (store, uploads) = (memory::Store::new(), Uploads::new(u64::MAX));
    for producer in 0..20 {
        park(&uploads, &store, &key("imaging", producer)).await;
    }
    assert_eq!(uploads.entries.lock().len(), PARKED_OF_PRINCIPAL_MAX);
    for other in 0..PARKED_MAX {
        park(&uploads, &store, &key(&format!("p{other}"), 0)).await;
    }
    assert_eq!(uploads.entries.lock().len(), PARKED_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_newer_stream_takes_an_upload_over() {
    let (store, uploads) = (memory::Store::new(), Uploads::new(BODY_MAX));
    let key = key("imaging", 1);
    let (turn, _) = uploads.take(&key, BODY_MAX).await.unwrap();
    let staging = staging(&store, BODY_MAX).await;
    let newer = tokio::spawn({
        let (uploads, key) = (uploads.clone(), key.clone());
        async move { uploads.take(&key, BODY_MAX).await.unwrap().1.map(|staging| staging.received()) }
    });
    turn.asked_to_leave().await;
    turn.park(staging).await;
    assert_eq!(newer.await.unwrap(), Some(CHUNK as u64));
    assert!(uploads.entries.lock().is_empty(), "the newer one is gone too");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_leave_keeps_its_upload() {
    let uploads = Uploads::new(BODY_MAX);
    let key = key("imaging", 1);
    let (_turn, _) = uploads.take(&key, BODY_MAX).await.unwrap();
    assert!(uploads.take(&key, BODY_MAX).await.is_none());
}
