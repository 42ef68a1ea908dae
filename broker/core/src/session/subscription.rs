//! The subscription stream's two sides: deliveries within credit, answered by number.

mod client;
mod flights;
mod server;

pub use client::{SubscriptionClient, SubscriptionClientEvent};
pub use server::{DeliverError, Delivering, SubscriptionServer, SubscriptionServerEvent};
