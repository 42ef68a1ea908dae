//! `hilum bench large`: what large bodies cost, and what they cost others.

mod alarms;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hilum_client::Delivery;
use hilum_server::config::units;

use self::alarms::{Alarms, Latencies};
use super::bodies::{self, Bodies, download};
use super::broker::ThrowAway;
use super::memory::Memory;
use super::report::{Report, percentile};
use super::workload::Workload;

/// What `hilum bench large` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Four things are timed one after the other, in each round: alarms alone; alarms beside bodies on their way to the broker; beside
bodies on their way from it; and beside both. The alarms are records of SIZE octets that go to a flow of their own at a steady
rate and come back by a subscription of it, all on the connection of the bodies. Their time runs from the moment at which they
were due to be sent. With --chain they go through the four bundled plugins; the bodies never do.

The bodies are made while they are sent, and checked and dropped while they come. The broker keeps them until the end: it
takes two times BODIES times BODY-SIZE of the disk in each round.

What the memory of broker and client grew by is the most of it (VmHWM) above what it was (VmRSS) before the first body.

Example:
  hilum bench large --body-size 500MiB --bodies 2 --rounds 3")]
pub(super) struct Args {
    /// Octets of one body, e.g. 500MiB
    #[arg(long, value_name = "OCTETS", default_value = "500MiB", value_parser = units::octets)]
    body_size: u64,
    /// Bodies in flight at a time, each way
    #[arg(long, default_value_t = 2)]
    bodies: usize,
    /// How often
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Alarms a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long alarms are sent alone in each round, e.g. 5s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = units::duration)]
    idle: Duration,
    #[command(flatten)]
    workload: Workload,
}

/// How long alarms are sent before anything counts: plugin instances, keys and memory are there then.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is done beside alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Uploads,
    Downloads,
    Both,
}

impl Beside {
    const ALL: [Self; 4] = [Self::Nothing, Self::Uploads, Self::Downloads, Self::Both];

    fn key(self) -> &'static str {
        match self {
            Self::Nothing => "idle",
            Self::Uploads => "upload",
            Self::Downloads => "download",
            Self::Both => "both",
        }
    }
}

/// The rounds of one kind together.
#[derive(Debug, Default)]
struct Phase {
    latencies: Latencies,
    time: Duration,
}

struct Measured {
    phases: [Phase; 4],
    broker_grown: u64,
    client_grown: u64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.bodies > 0 && args.rounds > 0 && args.rate > 0, "count from 1");
    ensure!(!args.idle.is_zero(), "alarms alone take some time");
    args.workload.check()?;
    let broker = ThrowAway::start(&args.workload.dir, 0).await?;
    let measured = args.measure(&broker).await;
    broker.stop().await?;
    args.report(&measured?);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<Measured> {
        let client = broker.connect().await?;
        let flow = self.workload.flow()?;
        let mut alarms = Alarms::new(&client, &flow, self.workload.record(), self.rate).await?;
        let mut bodies = Bodies::new(&client, bodies::PLAIN, self.body_size, self.bodies).await?;
        alarms.beside(pause(WARM_UP)).await?;
        let (broker, own) = (Memory::of(broker.process()?)?, Memory::of(std::process::id())?);
        let mut phases: [Phase; 4] = Default::default();
        for _ in 0..self.rounds {
            let mut deliveries = Vec::new();
            for (what, phase) in Beside::ALL.into_iter().zip(&mut phases) {
                let started = Instant::now();
                let latencies = match what {
                    Beside::Nothing => alarms.beside(pause(self.idle)).await?.1,
                    Beside::Uploads => alarms.beside(bodies.upload(self.bodies)).await?.1,
                    Beside::Downloads | Beside::Both => {
                        if what == Beside::Downloads {
                            deliveries = bodies.take(self.bodies).await?;
                        }
                        let uploads = if what == Beside::Both { self.bodies } else { 0 };
                        let both = async { tokio::try_join!(download(deliveries), bodies.upload(uploads)) };
                        let ((fetched, _), latencies) = alarms.beside(both).await?;
                        deliveries = fetched;
                        latencies
                    }
                };
                phase.time += started.elapsed();
                phase.latencies.extend(latencies);
            }
            deliveries.into_iter().for_each(Delivery::ack);
            bodies.take(self.bodies).await?.into_iter().for_each(Delivery::ack);
        }
        Ok(Measured { phases, broker_grown: broker.grown()?, client_grown: own.grown()? })
    }

    fn report(&self, measured: &Measured) {
        let Self { body_size, bodies, rounds, rate, workload, .. } = self;
        let (size, words) = (workload.size, workload.words());
        let mut report = Report::new(format!(
            "{bodies} bodies of {body_size} octets each way, {rounds} rounds; {rate} alarms a second of {size} octets, {words}"
        ));
        report.setting("body_octets", *body_size);
        report.setting("bodies", *bodies);
        report.setting("rounds", *rounds);
        report.setting("rate", *rate);
        report.setting("size", size);
        report.setting("chain", workload.chain);
        let octets = *body_size as f64 * *bodies as f64 * f64::from(*rounds);
        for (what, phase) in Beside::ALL.into_iter().zip(&measured.phases).skip(1) {
            let key = what.key();
            let ways = if what == Beside::Both { 2.0 } else { 1.0 };
            let rate = ways * octets / 1e6 / phase.time.as_secs_f64();
            report.per_second(&format!("{key}_mb_per_second"), key, rate, "MB/s");
        }
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        report.number("broker_grown_mib", "broker's memory grew", mib(measured.broker_grown), "MiB");
        report.number("client_grown_mib", "client's memory grew", mib(measured.client_grown), "MiB");
        for (what, phase) in Beside::ALL.into_iter().zip(&measured.phases) {
            let key = what.key();
            report.latency(&format!("{key}_"), &format!("delivered, {key}"), &phase.latencies.delivered);
            report.latency(&format!("{key}_ack_"), &format!("acked, {key}"), &phase.latencies.acked);
        }
        let [idle, rest @ ..] = &measured.phases;
        for (what, phase) in Beside::ALL.into_iter().skip(1).zip(rest) {
            let ratio = |of: fn(&Latencies) -> &Vec<u64>| {
                percentile(of(&phase.latencies), 99) as f64 / percentile(of(&idle.latencies), 99) as f64
            };
            let key = what.key();
            let (delivered, acked) = (ratio(|times| &times.delivered), ratio(|times| &times.acked));
            report.number(&format!("{key}_p99_ratio"), &format!("p99, {key} to idle"), delivered, "");
            report.number(&format!("{key}_ack_p99_ratio"), &format!("p99 of acks, {key} to idle"), acked, "");
        }
        report.print(workload.json);
    }
}

async fn pause(time: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(time).await;
    Ok(())
}
