//! `hilum bench plugin`: what a chain costs beside the WebAssembly engine alone, side by side in one run.

mod large;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hilum_core::limits::BATCH_RECORDS_MAX;
use hilum_core::record::Measured;
use hilum_core::{Attribute, Body, Head};
use hilum_sandbox::bare::Bare;
use hilum_sandbox::{
    Cache, Chain, ChainContext, Grants, Input, Limits, Plugin, Sandbox, Services, Settings, StageSpec,
};
use serde_json::{Value, json};

use crate::bundled;
use crate::output::print_json;
use crate::plugin::{Host, command_line};

/// How long each side works before the other one has its turn.
const TURN: Duration = Duration::from_millis(10);
/// The rule with which plugin `access` lets everything pass.
const ALLOW: &str = r#"{"policies":"@id(\"everybody\") permit(principal, action, resource);"}"#;

/// What `hilum bench plugin` is given.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Each figure stands beside that of the engine alone: the same component, engine settings and types, without limits, counts, receipts and \
reports. The two take turns of some milliseconds, and the figures are the medians of all turns, so that whatever else the machine \
does meets both.

  transform  a plugin that lets records of --size octets pass, in calls of --batch
  authorize  plugin `access`, which reads no body, on one record a call
  instance   a configured instance of the first, made afresh; the engine alone only makes it
  large      a body of --body-size on its way from publisher to reader through a broker, without a plugin and with one that writes an
             octet of its own and lets the broker copy the rest
  load       plugin `deidentify`, compiled, and loaded from the cache of compiled plugins

Example:
  hilum bench plugin --json")]
pub(super) struct Args {
    /// Octets of a record
    #[arg(long, default_value_t = 1024)]
    size: u32,
    /// Records of one call
    #[arg(long, default_value_t = 64)]
    batch: u16,
    /// Turns of each side
    #[arg(long, default_value_t = 200)]
    turns: u32,
    /// Octets of the large body; 0 leaves it out
    #[arg(long, default_value_t = 500_000_000)]
    body_size: u64,
    /// Put the directory of the broker that the large body goes through there
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Nanoseconds of one record, or of one instance.
struct Pair {
    bare: f64,
    hilum: f64,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.hilum / self.bare
    }

    fn json(&self, of: &str) -> Value {
        let round = |of: f64| (of * 10.0).round() / 10.0;
        json!({
            (format!("bare_ns_per_{of}")): round(self.bare),
            (format!("hilum_ns_per_{of}")): round(self.hilum),
            "ratio": (self.ratio() * 1000.0).round() / 1000.0,
        })
    }
}

/// Everything that is measured.
struct Figures {
    transform: Pair,
    authorize: Pair,
    instance: Pair,
    large: Option<large::Figures>,
    /// Milliseconds to compile, and to load what was compiled.
    load: (f64, f64),
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.turns > 0 && args.batch > 0, "count from 1");
    ensure!(usize::from(args.batch) <= BATCH_RECORDS_MAX, "a call has at most {BATCH_RECORDS_MAX} records");
    let calls = {
        let args = args.clone();
        tokio::task::spawn_blocking(move || measure(&args))
    };
    let mut figures = calls.await.context("the benchmark ended abnormally")??;
    if args.body_size > 0 {
        figures.large = Some(large::measure(&args.dir, args.body_size).await?);
    }
    if args.json {
        print_json(&figures.json(&args))?;
    } else {
        figures.print(&args);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> anyhow::Result<Figures> {
    let host = Arc::new(Host::new().context("no temporary directory")?);
    let sandbox = Sandbox::new(Settings { instances: 16, ..Settings::default() })?;
    let pass = Side::new(&sandbox, bundled::PASS.component, "{}", &host)?;
    let access = Side::new(&sandbox, bundled_plugin("access")?, ALLOW, &host)?;
    let records =
        vec![input(Measured::new(Body::Inline(vec![7; args.size as usize].into())))?; args.batch.into()];
    Ok(Figures {
        transform: pass.calls(&records, args.turns)?,
        authorize: access.calls(&records[..1], args.turns)?,
        instance: pass.instances(args.turns)?,
        large: None,
        load: load()?,
    })
}

fn bundled_plugin(name: &str) -> anyhow::Result<&'static [u8]> {
    let found = bundled::PLUGINS.iter().find(|(bundled, _)| *bundled == name);
    found.map(|(_, octets)| *octets).with_context(|| format!("plugin `{name}` is not bundled"))
}

/// One plugin, as a chain and alone.
struct Side {
    chain: Chain,
    bare: Bare,
    config: &'static str,
}

impl Side {
    fn new(sandbox: &Sandbox, octets: &[u8], config: &'static str, host: &Arc<Host>) -> anyhow::Result<Self> {
        let plugin = sandbox.load(octets)?;
        let bare = Bare::link(sandbox, &plugin).map_err(anyhow::Error::msg)?;
        Ok(Self { chain: chain(sandbox, plugin, config, host)?, bare, config })
    }

    /// Nanoseconds of a record in calls on these.
    fn calls(&self, records: &[Input], turns: u32) -> anyhow::Result<Pair> {
        let mut instance = self.bare.instance().map_err(anyhow::Error::msg)?;
        instance.configure(self.config).map_err(anyhow::Error::msg)?;
        let each = records.len() as f64;
        let pair = take_turns(
            turns,
            || {
                let answers = instance.call(records).map_err(anyhow::Error::msg)?;
                ensure!(answers == records.len(), "the plugin gave {answers} answers");
                Ok(Duration::ZERO)
            },
            || {
                // A chain takes its records over and hands them on; making them and dropping them is no part of it.
                let began = Instant::now();
                let own = records.to_vec();
                let made = began.elapsed();
                let run = self.chain.run(own);
                let began = Instant::now();
                if let Some(failure) = run.records.iter().find_map(|record| record.as_ref().err()) {
                    bail!("the plugin failed: {failure}");
                }
                drop(run);
                Ok(made + began.elapsed())
            },
        )?;
        Ok(Pair { bare: pair.bare / each, hilum: pair.hilum / each })
    }

    /// Nanoseconds of an instance.
    fn instances(&self, turns: u32) -> anyhow::Result<Pair> {
        take_turns(
            turns,
            || self.bare.instance().map(|_| Duration::ZERO).map_err(anyhow::Error::msg),
            || Ok(self.chain.start_afresh().map(|()| Duration::ZERO)?),
        )
    }
}

/// Lets both work in turn; gives the median of the nanoseconds that one piece of work took in each turn. The work says how much of
/// its time does not count.
fn take_turns(
    turns: u32,
    mut bare: impl FnMut() -> anyhow::Result<Duration>,
    mut hilum: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<Pair> {
    let (mut bares, mut hilums) = (Vec::new(), Vec::new());
    turn(&mut bare)?;
    turn(&mut hilum)?;
    for _ in 0..turns {
        bares.push(turn(&mut bare)?);
        hilums.push(turn(&mut hilum)?);
    }
    Ok(Pair { bare: median(bares), hilum: median(hilums) })
}

fn turn(work: &mut impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<f64> {
    let (began, mut beside, mut count) = (Instant::now(), Duration::ZERO, 0_u32);
    loop {
        beside += work()?;
        count += 1;
        let took = began.elapsed();
        if took >= TURN {
            return Ok((took.saturating_sub(beside)).as_nanos() as f64 / f64::from(count));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds of compiling a plugin, and of loading it from the cache: the median of some times.
fn load() -> anyhow::Result<(f64, f64)> {
    let octets = bundled_plugin("deidentify")?;
    let directory = tempfile::tempdir()?;
    let sandbox = || -> anyhow::Result<Sandbox> {
        let cache = Cache::open(&directory.path().join("compiled"), b"hilum bench plugin")?;
        Ok(Sandbox::new(Settings { instances: 16, ..Settings::default() })?.with_cache(cache))
    };
    let timed = |sandbox: &Sandbox| -> anyhow::Result<f64> {
        let began = Instant::now();
        sandbox.load(octets)?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let compiled = timed(&sandbox()?)?;
    let cached = (0..9).map(|_| timed(&sandbox()?)).collect::<Result<Vec<_>, _>>()?;
    Ok((compiled, median(cached)))
}

fn chain(sandbox: &Sandbox, plugin: Arc<Plugin>, config: &str, host: &Arc<Host>) -> anyhow::Result<Chain> {
    let context = ChainContext {
        flow: "bench".parse()?,
        class: "bench".into(),
        subscription: None,
        recipient: None,
        purpose: None,
        break_glass: None,
    };
    let stage = StageSpec {
        name: "plugin".parse()?,
        plugin,
        config: serde_json::from_str(config)?,
        grants: Grants::parse(["log", "time"])?,
        limits: Limits::default(),
    };
    let services: Arc<dyn Services> = host.clone();
    Ok(Chain::load(sandbox, context, vec![stage], services)?)
}

/// A record with six texts in its head.
fn input(body: Measured) -> anyhow::Result<Input> {
    let attribute = |name: &str, value: &str| Attribute { name: name.into(), value: value.into() };
    let head = Head {
        time: hilum_core::Timestamp(1_790_000_000_000),
        expires: None,
        deliver_after: None,
        key: Some("MRN-12345678".into()),
        content_type: "application/octet-stream".into(),
        attributes: vec![attribute("sensor", "helium-level"), attribute("unit", "percent")],
        labels: vec!["phi".parse()?],
        trace: None,
    };
    let source = command_line()?;
    Ok(Input { head, source: Arc::new(source), offset: None, body })
}

impl Figures {
    fn json(&self, args: &Args) -> Value {
        let mut object = self.transform.json("record");
        object["size"] = args.size.into();
        object["batch"] = args.batch.into();
        object["authorize"] = self.authorize.json("record");
        object["instance"] = self.instance.json("instance");
        object["load"] =
            json!({"compile_ms": self.load.0.round(), "cached_ms": (self.load.1 * 100.0).round() / 100.0});
        if let Some(large::Figures { without, through }) = self.large {
            object["large"] = json!({
                "octets": args.body_size,
                "without_mb_per_second": without.round(),
                "through_mb_per_second": through.round(),
                "ratio": (through / without * 1000.0).round() / 1000.0,
            });
        }
        object
    }

    fn print(&self, args: &Args) {
        println!("A plugin beside the engine alone");
        let pair = |name: &str, pair: &Pair, unit: &str| {
            let (bare, hilum, ratio) = (pair.bare, pair.hilum, pair.ratio());
            println!("  {name:10} {bare:>10.0} ns {unit} alone, {hilum:.0} ns in a chain: {ratio:.2} times");
        };
        pair(
            "transform",
            &self.transform,
            &format!("a record of {} octets, {} in a call,", args.size, args.batch),
        );
        pair("authorize", &self.authorize, "a record, one in a call,");
        pair("instance", &self.instance, "an instance");
        if let Some(large::Figures { without, through }) = self.large {
            let part = through / without * 100.0;
            println!(
                "  large      {without:>10.0} MB/s through a broker without a plugin, {through:.0} MB/s with one: {part:.0} %"
            );
        }
        let (compile, cached) = self.load;
        println!("  load       {compile:>10.0} ms to compile, {cached:.1} ms from the cache");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_there() {
        let args = Args { size: 64, batch: 4, turns: 1, body_size: 0, dir: std::env::temp_dir(), json: true };
        let figures = measure(&args).unwrap().json(&args);
        for figure in
            ["/ratio", "/bare_ns_per_record", "/hilum_ns_per_record", "/authorize/ratio", "/instance/ratio"]
        {
            assert!(
                figures.pointer(figure).and_then(Value::as_f64).is_some_and(|of| of > 0.0),
                "{figure}: {figures}"
            );
        }
        assert!(figures["load"]["cached_ms"].as_f64() < figures["load"]["compile_ms"].as_f64(), "{figures}");
    }
}
