//! `hilum plugin verify`: whether a package is what its signers signed, and whether they are those who must.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_core::ZoneName;
use hilum_sandbox::package::Package;
use hilum_sandbox::trust::{Examined, Policy, Refusal, Rule, TrustedKey};
use hilum_server::chains::{policy, read_public_key};
use hilum_server::clock::Clock;
use hilum_server::config;
use serde_json::json;

use super::read;
use crate::output::{Exit, Failure, print, print_json};
use crate::plugin::load_component;

/// What `hilum plugin verify` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --trust the rules of the hospital decide, as they do when its broker starts; without --zone the plugin must be allowed in at \
least one of its zones. With --key each of the keys must have signed.

Exit code 0 if the package is right and signed by those who must, 3 if it is refused.

Examples:
  hilum plugin verify clean-1.2.0 --key vendor.pub
  hilum plugin verify clean-1.2.0 --trust st-marys --zone clinical")]
pub(in crate::plugin) struct Args {
    /// The package
    #[arg(value_name = "DIR")]
    package: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// The zone of the flow that it is to run on
    #[arg(long, value_name = "ZONE", requires = "trust")]
    zone: Option<ZoneName>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Whose signatures count.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// A hospital directory, whose [trust] decides
    #[arg(long, value_name = "HOSPITAL_DIR")]
    trust: Option<PathBuf>,
    /// A public key that must have signed; may be repeated
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// Verifies everything, and prints what was found.
pub(in crate::plugin) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let refused = |what: String, help: &str| Failure {
        exit: Exit::Refused,
        what: format!("{}: {what}", args.package.display()),
        help: help.to_owned(),
    };
    let judged = |refusal: Refusal| refused(refusal.to_string(), refusal.help());
    let package = read(&args.package)?;
    let (policy, zones) = match &args.whose.trust {
        Some(hospital) => of_hospital(hospital, args.zone.as_ref())?,
        None => of_keys(&args.whose.keys)?,
    };
    let examined = policy.examine(&package, Clock::SYSTEM.now()).map_err(judged)?;
    let plugin = load_component(package.component())?;
    package.manifest().agrees_with(&plugin).map_err(|error| refused(error.to_string(), "tell its vendor"))?;
    let (mut allowed, mut refusals) = (Vec::new(), Vec::new());
    for zone in zones {
        match policy.permits(&examined, package.manifest().world, &zone) {
            Ok(()) => allowed.push(zone),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if let (true, Some(refusal)) = (allowed.is_empty(), refusals.into_iter().next()) {
        return Err(judged(refusal).into());
    }
    let zones = args.whose.trust.as_ref().map(|_| allowed.as_slice());
    if args.json {
        print_json(&as_json(&package, &examined, zones))?;
    } else {
        print(as_text(&args.package, &package, &examined, zones))?;
    }
    Ok(Exit::Ok.into())
}

/// The rules of a hospital, for one of its zones or for all.
fn of_hospital(directory: &Path, zone: Option<&ZoneName>) -> anyhow::Result<(Policy, Vec<ZoneName>)> {
    let hospital = config::load(directory)?;
    let zones = match zone {
        Some(zone) if !hospital.zones.contains_key(zone) => {
            let help = "hilum.toml names the zones in [zones]";
            return Err(Failure::new(format!("there is no zone `{zone}`"), help).into());
        }
        Some(zone) => vec![zone.clone()],
        None => hospital.zones.keys().cloned().collect(),
    };
    Ok((policy(&hospital)?, zones))
}

/// All of these keys, wherever it runs.
fn of_keys(files: &[PathBuf]) -> anyhow::Result<(Policy, Vec<ZoneName>)> {
    let mut keys: Vec<TrustedKey> = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let key = read_public_key(path).map_err(|what| {
            let help = "give the public key, which `hilum plugin keygen` puts beside the private one";
            Failure::new(format!("{name}: {what}"), help)
        })?;
        if keys.iter().all(|other| other.key != key) {
            keys.push(TrustedKey { name, key, not_after: None, revoked: false });
        }
    }
    let all_of = keys.iter().map(|key| key.name.clone()).collect();
    let rules = vec![Rule { all_of, ..Rule::default() }];
    Ok((Policy { keys, rules, ..Policy::default() }, vec!["any".parse().context("it is a name")?]))
}

fn as_json(package: &Package, examined: &Examined, zones: Option<&[ZoneName]>) -> serde_json::Value {
    let signer = |signer: &hilum_sandbox::trust::Signer| json!({"name": signer.name, "key": signer.key.to_string(), "counts": signer.counts()});
    json!({
        "name": package.manifest().name,
        "version": package.manifest().version,
        "sha256": package.digest().to_string(),
        "signers": examined.signers.iter().map(signer).collect::<Vec<_>>(),
        "end_of_support": package.manifest().end_of_support,
        "zones": zones,
        "warnings": examined.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn as_text(directory: &Path, package: &Package, examined: &Examined, zones: Option<&[ZoneName]>) -> String {
    let manifest = package.manifest();
    let (shown, name, version) = (directory.display(), &manifest.name, &manifest.version);
    let mut lines = vec![format!("{shown}: {name} {version} is as it was signed")];
    lines.push(format!("sha256     {}", package.digest()));
    lines.extend(examined.signers.iter().map(|signer| format!("signed by  {signer}")));
    lines.push(format!("supported  until {}", manifest.end_of_support));
    if let Some(zones) = zones {
        let zones: Vec<_> = zones.iter().map(ZoneName::as_str).collect();
        lines.push(format!("may run    in {}", zones.join(", ")));
    }
    lines.extend(examined.warnings.iter().map(|warning| format!("warning    {warning}")));
    lines.join("\n")
}
