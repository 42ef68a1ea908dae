//! A hospital's configuration: read all of it, report everything that is wrong with it, or give a [`Hospital`].
//!
//! 1. `main_file` reads `hilum.toml`: who and what there is.
//! 2. `flow` reads each file in `flows/`: what flows where, and through which plugins.
//!    `stage` reads the plugins' part of it, `config_files` the files that this names.
//! 3. `emission` looks at what plugins emit from flow to flow, `audit` at the flow that gets the audit.
//!    `observation` looks at what stages read of each other.
//!    `originals` looks whether those who may come back to a patient may see one.
//! 4. [`check_labels`] follows every label to every stakeholder. It needs to ask plugins what they remove.
//!
//! Every problem names file, line, column and key, and says what to do; keys that are not read are problems.

mod audit;
mod config_files;
mod directory;
mod emission;
mod flow;
mod labels;
mod main_file;
mod memory;
mod model;
mod observation;
mod operators;
mod originals;
mod outline;
mod problem;
mod purpose;
mod reader;
mod retention;
mod stage;
mod subscription;
#[cfg(test)]
mod tests;
mod trust;
pub mod units;

use std::collections::BTreeMap;
use std::path::Path;

pub use audit::AuditFlow;
pub use config_files::ConfigFile;
pub use directory::{Directory, IdentityFiles, SigningFiles};
pub use labels::{PluginCatalog, Received, StageProblem, check_labels, received_labels};
pub use model::{
    CanaryConfig, FlowConfig, Hospital, HostGrant, KeyFile, KeyKind, Limits, Place, PluginFile, StageConfig,
    Stakeholder, SubscriptionConfig,
};
pub use originals::KeepOriginals;
pub use outline::{Change, Outline};
pub use problem::{Problem, Problems};
pub use subscription::{DeadLetter, DeliveryConfig, Start};
pub use trust::{Trust, TrustedKeyFile};

use hilum_sandbox::package::Package;
use reader::{Sink, Source};

/// Octets of one configuration file.
const FILE_OCTETS_MAX: u64 = 1 << 20;
/// Files in `flows/`.
const FLOWS_MAX: usize = 1024;

/// Reads a hospital directory. Looks at no file but the configuration's and those that are part of it (`config_files`); see [`check_files`] for the others.
pub fn load(directory: &Path) -> Result<Hospital, Problems> {
    let sink = Sink::default();
    let directory = Directory::new(directory);
    let hospital = load_into(&directory, &sink);
    match Problems::new(sink.into_problems()) {
        None => Ok(hospital.expect("what cannot be read is reported")),
        Some(problems) => Err(problems),
    }
}

fn load_into(directory: &Directory, sink: &Sink) -> Option<Hospital> {
    let main = read_file(directory, Directory::MAIN_FILE, sink)?;
    let mut outline = Outline::default();
    outline.add_main(main.text());
    let mut main = main.read(sink, |table| main_file::read(table, directory))?;
    let mut emissions = Vec::new();
    for file in flow_files(directory, sink) {
        let Some(source) = read_file(directory, &file, sink) else { continue };
        outline.add_flow(source.text());
        let flow = source.read(sink, |table| flow::read(table, &main, &mut emissions));
        let Some(flow) = flow.flatten() else { continue };
        if let Some(first) = main.flows.get(&flow.name) {
            let what = format!("flow `{}` is already in {}", flow.name, first.place.file);
            sink.report(Problem::at(&flow.place, "name", what, "give one of the two another name"));
            continue;
        }
        outline.add_config_files(&flow);
        main.flows.insert(flow.name.clone(), flow);
    }
    main.outline = outline;
    emission::check(&main, &emissions, sink);
    observation::check(&main, sink);
    audit::check(&main, &emissions, sink);
    subscription::check(&main, sink);
    memory::check(&main, sink);
    originals::check(&main, sink);
    Some(main)
}

/// Whether the files that the configuration names are there: plugins, keys, certificates.
pub fn check_files(hospital: &Hospital) -> Result<(), Problems> {
    let directory = &hospital.directory;
    let mut needed: BTreeMap<std::path::PathBuf, &str> = BTreeMap::new();
    let init = "run `hilum init` on the directory: it makes what is missing";
    needed.insert(directory.authority().certificate, init);
    needed.insert(directory.key_encryption_key(), init);
    for name in hospital.identities.keys().map(String::as_str).chain([Hospital::BROKER_IDENTITY]) {
        let files = directory.identity(name);
        needed.insert(files.certificate, init);
        if name == Hospital::BROKER_IDENTITY {
            needed.insert(files.key, init);
        }
    }
    needed.extend(hospital.keys.values().map(|key| (key.path.clone(), init)));
    let plugin = "put the component there, or run `hilum init` on the directory if it is a bundled one";
    let package =
        "put the package's directory there (`hilum plugin pull`), or run `hilum init` if it is a bundled one";
    needed.extend(hospital.plugins.values().map(|file| match file.is_package() {
        true => (file.path.join(Package::MANIFEST), package),
        false => (file.path.clone(), plugin),
    }));
    if !hospital.plugins.is_empty() {
        let key = "put the public key there; if it is the hospital's own, `hilum init` makes it";
        needed.extend(hospital.trust.keys.iter().map(|file| (file.path.clone(), key)));
    }
    let missing = needed.into_iter().filter(|(path, _)| !path.is_file());
    let problem = |(path, help): (std::path::PathBuf, &str)| {
        let shown = path.strip_prefix(directory.path()).unwrap_or(&path);
        Problem::of_file(&shown.to_string_lossy(), "this file is missing", help)
    };
    Problems::new(missing.map(problem).collect()).map_or(Ok(()), Err)
}

fn read_file(directory: &Directory, file: &str, sink: &Sink) -> Option<Source> {
    let path = directory.join(file);
    let too_large = path.metadata().is_ok_and(|metadata| metadata.len() > FILE_OCTETS_MAX);
    if too_large {
        let what = format!("the file is larger than {FILE_OCTETS_MAX} octets");
        sink.report(Problem::of_file(file, what, "split it: each flow has its own file"));
        return None;
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(Source::new(file, text)),
        Err(error) => {
            let help = "make a hospital directory with `hilum init DIR`, or name another one";
            sink.report(Problem::of_file(file, format!("cannot be read: {error}"), help));
            None
        }
    }
}

/// The files in `flows/`, relative to the hospital directory, in order.
fn flow_files(directory: &Directory, sink: &Sink) -> Vec<String> {
    let folder = Directory::FLOWS_FOLDER;
    let entries = match std::fs::read_dir(directory.flows()) {
        Ok(entries) => entries,
        Err(error) => {
            let help = "make the folder; each flow has its own file in it";
            sink.report(Problem::of_file(folder, format!("cannot be read: {error}"), help));
            return Vec::new();
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut files: Vec<_> = names.filter(|n| n.ends_with(".toml")).map(|n| format!("{folder}/{n}")).collect();
    files.sort();
    if files.is_empty() {
        let help = "describe a flow in a file `flows/NAME.toml`";
        sink.report(Problem::of_file(folder, "there is no flow", help));
    }
    if files.len() > FLOWS_MAX {
        let what = format!("there are {} flows, the limit is {FLOWS_MAX}", files.len());
        sink.report(Problem::of_file(folder, what, "divide the hospital"));
        files.truncate(FLOWS_MAX);
    }
    files
}

/// 32 octets from 64 hexadecimal digits: how digests and secrets are written.
pub(crate) fn octets_of_hex(hex: &str) -> Option<[u8; 32]> {
    hilum_core::Digest::from_hex(hex).map(|digest| digest.0)
}
