//! The subscription stream's two sides: deliveries within credit, settled by ranges.

mod client;
mod server;

pub use client::{SubscriptionClient, SubscriptionClientEvent};
pub use server::{DeliverError, SubscriptionServer, SubscriptionServerEvent};
