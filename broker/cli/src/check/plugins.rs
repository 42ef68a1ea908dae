//! What `hilum check` says of plugins: who signed each and until when it is supported, or why one is refused.

use std::collections::BTreeMap;
use std::path::Path;

use hilum_sandbox::trust::Refusal;
use hilum_server::chains::{Admitted, PluginError, TrustError};
use hilum_server::config::{Hospital, Problem};
use serde_json::{Value, json};

use crate::bundled;

/// A line for each plugin, and one for each thing that somebody should do something about.
pub(super) fn as_text(hospital: &Hospital, admitted: &BTreeMap<String, Admitted>) -> String {
    let width = hospital.plugins.keys().map(String::len).max().unwrap_or(0);
    let mut lines = vec![format!("\n{} plugins", hospital.plugins.len())];
    for name in hospital.plugins.keys() {
        let Some(plugin) = admitted.get(name) else {
            lines.push(format!("  {name:width$}  not used by any stage, not looked at"));
            continue;
        };
        let signers: Vec<_> = plugin.examined.signers.iter().map(ToString::to_string).collect();
        let signers = if signers.is_empty() { "nobody".to_owned() } else { signers.join("; ") };
        let support = plugin.package.as_ref().map(|(_, manifest)| {
            format!(", made by {}, supported until {}", manifest.vendor, manifest.end_of_support)
        });
        let support = support.unwrap_or_else(|| ", without a package".to_owned());
        lines.push(format!("  {name:width$}  {}, signed by {signers}{support}", plugin.version));
        lines.extend(
            plugin.examined.warnings.iter().map(|warning| format!("  {:width$}  warning: {warning}", "")),
        );
    }
    lines.join("\n")
}

/// The same for scripts.
pub(super) fn as_json(hospital: &Hospital, admitted: &BTreeMap<String, Admitted>) -> Value {
    let plugin = |name: &String| {
        let Some(plugin) = admitted.get(name) else { return json!({"name": name, "used": false}) };
        let signers = plugin.examined.signers.iter();
        let signers: Vec<_> =
            signers.map(|signer| json!({"name": signer.name, "key": signer.key.to_string()})).collect();
        let warnings: Vec<_> = plugin.examined.warnings.iter().map(ToString::to_string).collect();
        let (digest, manifest) = plugin.package.as_ref().map(|(digest, manifest)| (digest, manifest)).unzip();
        json!({
            "name": name,
            "used": true,
            "version": plugin.version,
            "component": plugin.component.to_string(),
            "package": digest.map(ToString::to_string),
            "vendor": manifest.map(|manifest| &manifest.vendor),
            "end_of_support": manifest.map(|manifest| manifest.end_of_support),
            "signers": signers,
            "warnings": warnings,
        })
    };
    hospital.plugins.keys().map(plugin).collect()
}

/// Why a plugin is refused, as a problem of its file or of the stage that uses it.
pub(super) fn problem(hospital: &Hospital, error: &PluginError) -> Problem {
    let again = |name: &str| {
        format!(
            "put a component of the WIT package `hilum:plugin` there; if `{name}` comes with Hilum, remove it and run `hilum init`"
        )
    };
    let (path, what, help) = match error {
        PluginError::Read { name, path, source } => (path, source.to_string(), again(name)),
        PluginError::Load { name, path, source } => (path, source.to_string(), again(name)),
        PluginError::Package { name, path, source } => (path, source.to_string(), again(name)),
        PluginError::Disagrees { name, path, source } => (path, source.to_string(), again(name)),
        PluginError::Pin { name, path, .. } | PluginError::TooLarge { name, path, .. } => {
            (path, error.to_string(), again(name))
        }
        PluginError::Refused { name, path, source } => (path, source.to_string(), refused(name, source)),
        PluginError::NotPermitted { name, place, source, .. } => {
            return Problem::at(place, "plugin", format!("plugin `{name}`: {source}"), source.help());
        }
    };
    Problem::of_file(&within(hospital, path), what, help)
}

/// What to do about a refusal; of a plugin that comes with Hilum, `hilum init` makes a package.
fn refused(name: &str, refusal: &Refusal) -> String {
    let is_bundled = bundled::PLUGINS.iter().any(|(bundled, _)| *bundled == name);
    match refusal {
        Refusal::Unsigned if is_bundled => format!(
            "write `path = \"plugins/{name}\"` and run `hilum init`, which packs and signs it; or {}",
            refusal.help()
        ),
        _ => refusal.help().to_owned(),
    }
}

/// Why a key of `[trust]` cannot be used.
pub(super) fn key_problem(hospital: &Hospital, error: &TrustError) -> Problem {
    let help = "put the public key there in PEM; `hilum plugin keygen` makes a pair, and `hilum init` the hospital's own";
    Problem::of_file(&within(hospital, &error.path), format!("key `{}`: {}", error.name, error.what), help)
}

fn within(hospital: &Hospital, path: &Path) -> String {
    path.strip_prefix(hospital.directory.path()).unwrap_or(path).to_string_lossy().into_owned()
}
