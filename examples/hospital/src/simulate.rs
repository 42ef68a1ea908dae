//! `hospital simulate`: the simulator's output as files, for looking at with other tools.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use hilum_core::Timestamp;

use crate::simulator::{Case, fhir, hl7, mr, telemetry, x12};

/// What to make.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory to write to; made if it is missing.
    pub directory: PathBuf,
    /// Decides everything.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Examinations.
    #[arg(long, default_value_t = 2)]
    pub cases: u64,
    /// Images of each examination.
    #[arg(long, default_value_t = 5)]
    pub slices: u16,
    /// Milliseconds since 1970 of the first examination.
    #[arg(long, default_value_t = 1_790_000_000_000)]
    pub start: u64,
}

/// Writes the files.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let start = Timestamp(arguments.start);
    fs::create_dir_all(&arguments.directory)
        .with_context(|| format!("cannot make {}", arguments.directory.display()))?;
    let write = |name: String, octets: &[u8]| {
        let path = arguments.directory.join(name);
        fs::write(&path, octets).with_context(|| format!("cannot write {}", path.display()))
    };
    for index in 0..arguments.cases {
        let case = Case::new(arguments.seed, index, start);
        for instance in mr::series(&case, arguments.slices, 256) {
            write(format!("case{index}-slice{:02}.dcm", instance.number), &instance.octets)?;
        }
        for instance in mr::series(&case, 1, 512) {
            write(format!("case{index}-fine{:02}.dcm", instance.number), &instance.octets)?;
        }
        write(format!("case{index}-admission.hl7"), &hl7::admission(&case))?;
        write(format!("case{index}-consent.json"), &fhir::consent(&case, true))?;
        write(format!("case{index}-result.hl7"), &hl7::result(&case))?;
        write(format!("case{index}-charge.hl7"), &hl7::charge(&case))?;
        let control = u32::try_from(index + 1).context("too many cases for X12's nine digits")?;
        write(format!("case{index}-claim.edi"), &x12::claim(&case, control))?;
    }
    for (index, batch) in telemetry::machine(arguments.seed, 3, start).iter().enumerate() {
        write(format!("telemetry{index}.json"), &batch.octets)?;
    }
    for (index, batch) in telemetry::room(arguments.seed, 3, start).iter().enumerate() {
        write(format!("room{index}.json"), &batch.octets)?;
    }
    Ok(())
}
