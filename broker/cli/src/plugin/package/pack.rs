//! `hilum plugin pack`: a component becomes a package, which nobody has signed yet.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_sandbox::package::{About, Date, Package, SBOM_OCTETS_MAX, sbom};
use hilum_server::clock::Clock;
use serde_json::json;

use super::write_below;
use crate::output::{Exit, Failure, print, print_json};
use crate::plugin::load_octets;

/// What `hilum plugin pack` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the directory NAME-VERSION/ with the component, its SBOM, and a manifest that names both by digest. Name, version, world, \
imports and labels are what the component says of itself.

A plugin in Rust needs no SBOM file: --cargo lists what cargo links into it, with licences and checksums. Other languages have \
tools that write CycloneDX.

Examples:
  hilum plugin pack target/wasm32-wasip2/release/clean.wasm --cargo Cargo.toml \\
      --vendor 'Example GmbH' --end-of-support 2030-12-31 --out dist
  hilum plugin pack clean.wasm --sbom clean.cdx.json --licence MIT --vendor Example --end-of-support 2030-12-31")]
pub(in crate::plugin) struct Args {
    /// The path of a component
    component: String,
    /// Who made it
    #[arg(long, value_name = "NAME")]
    vendor: String,
    /// The last day on which its vendor repairs what is wrong with it
    #[arg(long, value_name = "DATE")]
    end_of_support: Date,
    /// A Cargo.toml, whose package the component was made from
    #[arg(long, value_name = "MANIFEST_PATH", required_unless_present = "sbom", conflicts_with = "sbom")]
    cargo: Option<PathBuf>,
    /// Which package, where the Cargo.toml is that of a workspace
    #[arg(long, value_name = "NAME", requires = "cargo")]
    package: Option<String>,
    /// A file with its SBOM, as CycloneDX in JSON
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// An SPDX expression, instead of the one in the SBOM
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// A sentence for people, instead of the one in the SBOM
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where NAME-VERSION/ is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Compiles the component, asks it what it is, and writes the package.
pub(in crate::plugin) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (_, plugin, component) = load_octets(&args.component)?;
    let sbom = sbom_of(args)?;
    let stated = sbom::Summary::parse(&sbom).map_err(|error| {
        Failure::new(
            format!("the SBOM: {error}"),
            "see https://cyclonedx.org/tool-center/ for tools that write it",
        )
    })?;
    let licence = args.licence.clone().or(stated.licence).ok_or_else(|| {
        let help = "add --licence, e.g. --licence MIT";
        Failure::new("neither the SBOM nor the command line states a licence", help)
    })?;
    let about = About {
        licence,
        vendor: args.vendor.clone(),
        description: args.description.clone().or(stated.description).unwrap_or_default(),
        created: Date::at(Clock::SYSTEM.now()),
        end_of_support: args.end_of_support,
    };
    let package = Package::pack(&plugin, component, sbom, about)?;
    let directory = write_below(&args.out, &package)?;
    let digest = package.digest().to_string();
    if args.json {
        print_json(&json!({"package": directory, "sha256": digest, "manifest": package.manifest()}))?;
    } else {
        let shown = directory.display();
        print(format_args!("{shown}\nsha256 {digest}\n\nnext: hilum plugin sign {shown} --key FILE"))?;
    }
    Ok(Exit::Ok.into())
}

fn sbom_of(args: &Args) -> anyhow::Result<Vec<u8>> {
    if let Some(manifest) = &args.cargo {
        return Ok(hilum_plugin_build::sbom(manifest, args.package.as_deref())?);
    }
    let file = args.sbom.as_ref().context("there is no SBOM")?;
    let shown = || file.display().to_string();
    let length = std::fs::metadata(file).with_context(shown)?.len();
    if length > SBOM_OCTETS_MAX as u64 {
        let what = format!("{} has {length} octets, at most {SBOM_OCTETS_MAX} are taken", file.display());
        return Err(Failure::new(what, "leave out of it what is not in the component").into());
    }
    std::fs::read(file).with_context(shown)
}
