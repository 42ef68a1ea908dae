//! Asynchronous client of a Hilum broker, over QUIC with mutual TLS 1.3.
//!
//! ```no_run
//! use bytes::Bytes;
//! use hilum_client::{Client, Config, Credit, Record};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = std::path::Path::new("st-marys/identities/mri-1");
//! let client = Client::connect(Config::new(
//!     "127.0.0.1:4433",
//!     "st-marys",
//!     std::fs::read("st-marys/authority/ca.pem")?,
//!     std::fs::read(identity.join("cert.pem"))?,
//!     std::fs::read(identity.join("key.pem"))?,
//! ))
//! .await?;
//!
//! // Publish: wait for each ack, or put many in line and wait for the acks later.
//! let publisher = client.publisher(&"imaging".parse()?).await?;
//! publisher.publish(Record::new("text/plain", Bytes::from_static(b"hello"))).await?;
//! let first = publisher.enqueue(Record::new("text/plain", Bytes::from_static(b"one"))).await?;
//! let second = publisher.enqueue(Record::new("text/plain", Bytes::from_static(b"two"))).await?;
//! first.await?;
//! second.await?;
//!
//! // Subscribe: what is not acked comes again when the subscription is opened the next time.
//! let credit = Credit { records: 1024, octets: 16 << 20 };
//! let mut subscription = client.subscribe(&"imaging".parse()?, &"radiology".parse()?, credit).await?;
//! while let Some(delivery) = subscription.next().await? {
//!     println!("{} at offset {}", delivery.head().content_type, delivery.offset());
//!     delivery.ack();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Client`] is a connection. It needs a tokio runtime, and is cheap to clone.
//! - [`Publisher`] sends records to a flow in as few frames as possible and gives their acks; large bodies go over streams of
//!   their own. Records that belong together go as a batch ([`Publisher::publish_batch`]).
//! - [`Subscription`] gives [`Delivery`]s, whose bodies are here or are read as a [`LargeBody`].
//! - [`admin`] is for operators: quarantine, subscriptions, holds, audit.
//! - [`sealed`] opens what the plugin `encrypt` sealed to us.
//! - [`error`] says what went wrong, on which flow, with which certificate, and the broker's reason.
//!
//! The protocol itself is in [`hilum_core::session`]; this crate moves its octets.

pub mod admin;
mod connection;
pub mod error;
mod large;
mod publisher;
mod retry;
pub mod sealed;
mod stream;
mod subscription;
mod tls;

pub use connection::{Client, Config};
pub use error::{ConnectError, Lost, OpenError, PublishError, ReadError, StreamError};
pub use hilum_core::wire::{Credit, Refusal, RefusalCode, admin::SeekTo, publisher::Durability};
pub use hilum_core::{Attribute, Digest, FlowName, Head, Offset, ReasonCode, SubscriptionName, Timestamp};
pub use large::LargeBody;
pub use publisher::{Ack, PendingAck, Publisher, Record, Resume};
pub use subscription::{Delivery, DeliveryBody, SubscribeOptions, Subscription};
