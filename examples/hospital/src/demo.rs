//! `hospital demo`: the example hospital, run once from beginning to end, with a table of who received what.
//!
//! A broker process of its own on a temporary hospital directory, publishers and readers under the identities that
//! `hilum init` made, and a verdict: what [`plan`] expects is compared with what came, octet by octet.

mod made;
mod plan;
mod publish;
mod read;
mod report;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hilum_client::{Client, OpenError, RefusalCode, StreamError};
use hilum_core::Timestamp;
use hilum_core::cose::PrivateKey;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::collector::Collector;
use crate::connect::{CREDIT, connect};
use crate::leak::Canaries;
use crate::process::{Broker, Hospital, find_hilum};
use crate::simulator::Case;
use crate::simulator::random::Random;
use plan::{PROWLER, PROWLER_TRIES, READINGS, TRESPASSES, Trespass};
use publish::Published;
use read::{Judge, Received};
use report::Evidence;

/// How long to wait for a delivery after everything was published.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long nothing may come until it is believed that nothing more will.
const QUIET_TIME: Duration = Duration::from_secs(1);
/// Name the endpoint that traces go to (OpenTelemetry, OTLP exporter configuration).
const ENDPOINT_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The broker's binary; by default `hilum` beside this one.
    #[arg(long)]
    pub hilum: Option<PathBuf>,
    /// Decides patients, images and noise.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs the demo; an error if anything is not as expected.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(tell(arguments))
}

async fn tell(arguments: &Arguments) -> anyhow::Result<()> {
    let begin = Instant::now();
    let hospital = Hospital::init(&find_hilum(arguments.hilum.as_deref())?)?;
    println!("hilum init     a hospital with its authority, identities, keys and plugins");
    let collector = Collector::start().await?;
    let broker = start(&hospital, &collector)?;
    println!("hilum serve    on {}, after {:.1} s", broker.address(), begin.elapsed().as_secs_f64());

    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    let cases = plan::cases(arguments.seed, now);
    let canaries = Arc::new(planted(&cases));
    let stage = Stage { hospital, broker, canaries };
    let refused = stage.trespass(&cases).await?;
    let (published, received) = stage.play(arguments.seed, &cases, now).await?;

    let stopped = stage.broker.stop()?;
    println!("SIGTERM        the broker stopped in good order after {:.1} s", stopped.as_secs_f64());
    let evidence = Evidence {
        published,
        received,
        refused,
        traces: collector.kept(),
        endpoint: endpoint(),
        stored: stored_octets(&stage.hospital.path().join("data"))?,
        log: fs::read(stage.hospital.path().join("broker.log"))?,
    };
    report::print(&evidence);
    let complaints = verdict::complaints(&evidence, &stage.canaries);
    println!("{}", report::proof(&evidence, &stage.canaries));
    if !complaints.is_empty() {
        bail!("not as expected:\n  {}", complaints.join("\n  "));
    }
    println!("\nAll as expected, in {:.1} s.", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Starts the broker; its traces go to our collector unless the environment names another.
fn start(hospital: &Hospital, collector: &Collector) -> anyhow::Result<Broker> {
    if endpoint().is_some() {
        return hospital.serve(&[]);
    }
    let address = collector.endpoint();
    hospital.serve(&[
        (ENDPOINT_VARIABLES[0], &address),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_SDK_DISABLED", "false"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
        // Every span counts here, and publishers send all that they have within seconds.
        ("OTEL_BSP_MAX_QUEUE_SIZE", "65536"),
    ])
}

/// The collector that the environment names.
fn endpoint() -> Option<String> {
    ENDPOINT_VARIABLES
        .iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|value| !value.is_empty()))
}

fn planted(cases: &[Case]) -> Canaries {
    let mut canaries = Canaries::default();
    cases.iter().for_each(|case| canaries.plant(case.identifiers()));
    canaries.plant(plan::claimed_twice(cases).identifiers());
    canaries
}

/// All octets of all files below a directory, one file after the other.
fn stored_octets(directory: &Path) -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let content = if path.is_dir() { stored_octets(&path)? } else { fs::read(&path)? };
        octets.extend(content);
    }
    Ok(octets)
}

/// A running hospital.
struct Stage {
    hospital: Hospital,
    broker: Broker,
    canaries: Arc<Canaries>,
}

impl Stage {
    /// Tries what must not work; what the broker said to each try.
    async fn trespass(&self, cases: &[Case]) -> anyhow::Result<Vec<(String, String)>> {
        let mut refused = Vec::new();
        for trespass in TRESPASSES {
            let client = connect(&self.hospital, &self.broker, trespass.identity).await?;
            let reason = denied(&client, trespass).await?;
            client.close().await;
            refused.push((trespass.to_string(), reason));
        }
        let client = connect(&self.hospital, &self.broker, PROWLER.identity).await?;
        for _ in 0..PROWLER_TRIES {
            denied(&client, PROWLER).await?;
        }
        client.close().await;
        let client = connect(&self.hospital, &self.broker, "mri-1").await?;
        let reason =
            publish::publish_refused(&client, "imaging", plan::unreasoned_emergency(&cases[0])).await?;
        refused.push(("mri-1 publishes an emergency without a reason".to_owned(), reason));
        client.close().await;
        Ok(refused)
    }

    /// Opens all readers, publishes everything, and waits until all that is expected came and nothing more comes.
    async fn play(
        &self,
        seed: u64,
        cases: &[Case],
        now: Timestamp,
    ) -> anyhow::Result<(Vec<Published>, Vec<Received>)> {
        let (sender, mut arrivals) = mpsc::unbounded_channel();
        let mut readers = JoinSet::new();
        for (index, reading) in READINGS.into_iter().enumerate() {
            let client = connect(&self.hospital, &self.broker, reading.identity).await?;
            readers.spawn(read::read(client, index, reading, self.judge(reading.identity)?, sender.clone()));
        }
        drop(sender);
        let mut published = Vec::new();
        let mut numbers = 1..;
        for together in plan::publications(seed, cases, now) {
            let mut publishers = JoinSet::new();
            for (publication, number) in together.into_iter().zip(&mut numbers) {
                let client = connect(&self.hospital, &self.broker, publication.identity).await?;
                publishers.spawn(publish::publish_all(client, publication, Random::new(seed).fork(number)));
            }
            while let Some(done) = publishers.join_next().await {
                published.extend(done??);
            }
        }
        println!("publishers     {} records, all acked", published.len());

        let received = wait_for(&mut arrivals, verdict::deliveries_expected(&published)).await?;
        // A reader only comes to an end by an error while its receiver is here.
        if let Some(ended) = readers.try_join_next() {
            ended?.context("a reader ended")?;
        }
        readers.shutdown().await;
        Ok((published, received))
    }

    fn judge(&self, identity: &str) -> anyhow::Result<Judge> {
        let other = if identity == "billing-1" { "research-1" } else { "billing-1" };
        Ok(Judge { canaries: self.canaries.clone(), key: self.key(identity)?, other_key: self.key(other)? })
    }

    fn key(&self, identity: &str) -> anyhow::Result<PrivateKey> {
        let path = self.hospital.path().join("identities").join(identity).join("key.pem");
        let pem = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(PrivateKey::from_pem(&pem)?)
    }
}

/// Waits until so many deliveries came, or for as long as they may take; then until nothing more comes.
async fn wait_for(
    arrivals: &mut mpsc::UnboundedReceiver<Received>,
    expected: usize,
) -> anyhow::Result<Vec<Received>> {
    let start = Instant::now();
    let mut received = Vec::new();
    loop {
        let left = DELIVERY_TIME_MAX.saturating_sub(start.elapsed());
        let patience = if received.len() < expected { left } else { QUIET_TIME };
        match timeout(patience, arrivals.recv()).await {
            Ok(Some(delivery)) if start.elapsed() < DELIVERY_TIME_MAX + QUIET_TIME => received.push(delivery),
            Ok(Some(_)) => bail!("deliveries go on and on"),
            Ok(None) | Err(_) => return Ok(received),
        }
    }
}

/// Tries it, and wants a denial.
async fn denied(client: &Client, trespass: Trespass) -> anyhow::Result<String> {
    let flow = trespass.flow.parse()?;
    let answer = match trespass.subscription {
        Some(subscription) => client.subscribe(&flow, &subscription.parse()?, CREDIT).await.map(|_| ()),
        None => client.publisher(&flow).await.map(|_| ()),
    };
    match answer {
        Err(OpenError { source: StreamError::Refused(refusal), .. })
            if refusal.code == RefusalCode::Denied =>
        {
            Ok(refusal.reason)
        }
        Err(error) => Err(error).with_context(|| format!("{trespass}: it should have been denied")),
        Ok(()) => bail!("{trespass}: it should have been denied, and was allowed"),
    }
}
