//! Predictive maintenance: learns from a machine's telemetry and says in advance when a part will fail.
//!
//! Each watched sensor of each machine has running statistics and a trend, and where asked a baseline of its own past. When the trend
//! leads across a threshold within the horizon, a reading is across it, it is not as it used to be, or the sensor itself is broken, a
//! maintenance record goes to the configured flow: once for each cause, until it has gone away. A batch of records is one step:
//! readings are grouped by sensor ([`batch`]), waveforms becoming readings of their own ([`vibration`]); each sensor is read from the
//! stage's state, follows its readings ([`watched`]: [`fault`], [`sensor`] with [`trend`] and [`curves`], [`baseline`] with [`season`]) and is
//! written back ([`keep`]), and then alerts are emitted. Silence is noticed between batches ([`presence`]).

mod baseline;
mod batch;
mod curves;
mod fault;
mod fft;
mod keep;
mod maintenance;
mod octets;
mod presence;
mod season;
mod sensor;
mod settings;
#[cfg(test)]
mod simulate;
mod telemetry;
#[cfg(test)]
mod tests;
mod trend;
mod vibration;
mod watched;

use std::mem;

use hilum_plugin::{ConfigError, Context, Description, Message, Observe, emit, log, metrics};

pub use baseline::Learn;
use batch::{Batch, Machine, Series};
pub use maintenance::CONTENT_TYPE as MAINTENANCE_CONTENT_TYPE;
pub use season::Season;
pub use settings::{Settings, Statistic, Watch};
pub use telemetry::CONTENT_TYPE as TELEMETRY_CONTENT_TYPE;
pub use vibration::{Bearing, Waveforms};

/// The plugin: one instance of many, without any memory of its own.
#[derive(Debug)]
pub struct Analytics(Settings);

impl Observe for Analytics {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("analytics", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(TELEMETRY_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn observe(&mut self, context: &Context, messages: Vec<Message>) {
        let mut batch = Batch::new(&self.0);
        for message in messages {
            batch.add(context, message);
        }
        let mut tally = mem::take(&mut batch.tally);
        for machine in batch.machines() {
            for series in &machine.series {
                self.follow(series, &mut tally);
            }
            self.hear(&machine, &mut tally);
        }
        tally.report();
    }

    fn tick(&mut self, now: u64) {
        let mut tally = Tally::default();
        let noticed = presence::silent(&self.0, now, |change| self.tell(change, &mut tally));
        if let Err(error) = noticed {
            tally.trouble = Some(format!("silence was not looked for: {error}"));
        }
        tally.report();
    }
}

hilum_plugin::export_observe!(Analytics);

impl Analytics {
    /// Takes one sensor's readings of this batch into its state, and tells of what changed.
    fn follow(&self, series: &Series<'_>, tally: &mut Tally) {
        let updated = keep::update(&series.key, series.watch, self.0.sensors_max, |sensor| {
            sensor.follow(series.watch, &series.points)
        });
        let (mut kept, followed) = match updated {
            Ok(updated) => updated,
            Err(error) => {
                tally.unkept += series.points.len() as u64;
                tally.trouble = Some(format!("readings of one sensor were not kept: {error}"));
                return;
            }
        };
        tally.late += followed.late;
        tally.strays += followed.strays;
        tally.faulty += followed.faulty;
        let statistics = kept.sensor.statistics();
        for change in &followed.changes {
            let record = maintenance::record(&series.machine, series.watch, change, &statistics);
            match emit::emit(&self.0.alerts_flow, record) {
                Ok(()) => tally.alerts += 1,
                Err(error) => {
                    tally.trouble = Some(format!("an alert was not emitted: {error}"));
                    kept.sensor.take_back(change);
                    if let Err(error) = kept.write_again() {
                        tally.trouble = Some(format!("an alert was not emitted and is lost: {error}"));
                    }
                    // What follows builds on this one.
                    break;
                }
            }
        }
    }
}

impl Analytics {
    /// Notes that sensors of a machine were heard of.
    fn hear(&self, machine: &Machine<'_>, tally: &mut Tally) {
        let heard: Vec<(&Watch, u64)> =
            machine.series.iter().map(|series| (series.watch, series.at_ms)).collect();
        match presence::heard(&machine.key, &heard) {
            Ok(changes) => changes.iter().for_each(|change| _ = self.tell(change, tally)),
            Err(error) => tally.trouble = Some(format!("a machine is not watched for silence: {error}")),
        }
    }

    /// Tells of silence, or of its end; says whether that could be told.
    fn tell(&self, change: &presence::Change<'_>, tally: &mut Tally) -> bool {
        let told = emit::emit(&self.0.alerts_flow, maintenance::silence(change));
        match &told {
            Ok(()) => tally.alerts += 1,
            Err(error) => tally.trouble = Some(format!("an alert was not emitted: {error}")),
        }
        told.is_ok()
    }
}

/// What happened in a batch, for the metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    readings: u64,
    alerts: u64,
    malformed: u64,
    unwatched: u64,
    late: u64,
    strays: u64,
    faulty: u64,
    waveforms: u64,
    unkept: u64,
    /// The last thing that an operator should see; one line a batch is enough.
    trouble: Option<String>,
}

impl Tally {
    fn report(&self) {
        for (counter, value) in [
            ("readings", self.readings),
            ("alerts", self.alerts),
            ("malformed", self.malformed),
            ("unwatched", self.unwatched),
            ("late", self.late),
            ("strays", self.strays),
            ("faulty", self.faulty),
            ("waveforms", self.waveforms),
            ("unkept", self.unkept),
        ] {
            if value > 0 {
                metrics::add(counter, value);
            }
        }
        if let Some(trouble) = &self.trouble {
            log::warn(trouble);
        }
    }
}
