//! A large body's way from its publisher to its reader, with a plugin that forwards it and without one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hilum_client::{Delivery, DeliveryBody};

use crate::bench::bodies::{self, Bodies, download};
use crate::bench::broker::ThrowAway;

/// How often each way is taken.
const ROUNDS: usize = 5;

/// MB/s of a body of `size` octets on its whole way through a broker.
pub(super) struct Figures {
    pub(super) without: f64,
    pub(super) through: f64,
}

/// Both ways in turn, one body at a time; the median of each.
pub(super) async fn measure(parent: &Path, size: u64) -> anyhow::Result<Figures> {
    let broker = ThrowAway::start(parent, 0).await?;
    let figures = turns(&broker, size).await;
    broker.stop().await?;
    figures
}

async fn turns(broker: &ThrowAway, size: u64) -> anyhow::Result<Figures> {
    let client = broker.connect().await?;
    let mut plain = Bodies::new(&client, bodies::PLAIN, size, 1).await?;
    let mut forwarded = Bodies::new(&client, bodies::FORWARDED, size, 1).await?;
    let (mut without, mut through) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (alone, beside) = (way(&mut plain, size).await?, way(&mut forwarded, size + 1).await?);
        // The first of each warms up.
        if round > 0 {
            without.push(alone.as_secs_f64());
            through.push(beside.as_secs_f64());
        }
    }
    let rate = |took: Vec<f64>| size as f64 / super::median(took) / 1e6;
    Ok(Figures { without: rate(without), through: rate(through) })
}

/// From the first octet sent to the last one checked by the reader.
async fn way(bodies: &mut Bodies, expected: u64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    bodies.upload(1).await?;
    let deliveries = download(bodies.take(1).await?).await?;
    let took = began.elapsed();
    for delivery in &deliveries {
        let DeliveryBody::Large { size, .. } = *delivery.body() else { bail!("the body is not large") };
        ensure!(size == expected, "a body of {expected} octets came with {size}");
    }
    deliveries.into_iter().for_each(Delivery::ack);
    Ok(took)
}
