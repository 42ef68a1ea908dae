//! Connections to a broker under the identities that `hilum init` made, for bodies of any size.

use std::fs;
use std::path::Path;

use anyhow::Context;
use hilum_client::{
    Ack, Client, Config, Credit, Delivery, DeliveryBody, PublishError, Publisher, ReadError, Record,
};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;

use crate::process::{Broker, Hospital};

/// The trust domain of the example.
pub const HOSPITAL_NAME: &str = "st-marys";
/// What a reader lets the broker send ahead.
pub const CREDIT: Credit = Credit { records: 256, octets: 16 << 20 };

/// Connects as `identity`, the name of a folder in `identities`.
pub async fn connect(hospital: &Hospital, broker: &Broker, identity: &str) -> anyhow::Result<Client> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let folder = hospital.path().join("identities").join(identity);
    let config = Config::new(
        &broker.address().to_string(),
        HOSPITAL_NAME,
        read(&hospital.path().join("authority/ca.pem"))?,
        read(&folder.join("cert.pem"))?,
        read(&folder.join("key.pem"))?,
    );
    Client::connect(config).await.with_context(|| format!("connecting as `{identity}`"))
}

/// Publishes a record inside a frame, or by a stream of its own where it is over the limit.
pub async fn publish(publisher: &Publisher, record: Record) -> Result<Ack, PublishError> {
    if record.body.len() <= INLINE_BODY_OCTETS_MAX {
        return publisher.publish(record).await;
    }
    let Record { head, body } = record;
    publisher.publish_large(head, body.len() as u64, std::io::Cursor::new(&body)).await
}

/// The whole body of a delivery.
pub async fn read_body(delivery: &Delivery) -> Result<Vec<u8>, ReadError> {
    match delivery.body() {
        DeliveryBody::Inline(octets) => Ok(octets.to_vec()),
        DeliveryBody::Large { .. } => {
            let mut octets = Vec::new();
            delivery.open_large(0).await?.write_to(&mut octets).await?;
            Ok(octets)
        }
    }
}
