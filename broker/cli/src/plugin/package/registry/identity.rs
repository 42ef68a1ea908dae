//! Who we are to a registry: from the environment, or from Docker's configuration.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::output::Failure;

const TOKEN: &str = "HILUM_REGISTRY_TOKEN";
const USER: &str = "HILUM_REGISTRY_USER";
const PASSWORD: &str = "HILUM_REGISTRY_PASSWORD";
/// Octets of Docker's configuration.
const CONFIG_OCTETS_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
}

/// Who we are to this registry.
pub(super) fn of(registry: &str) -> anyhow::Result<RegistryAuth> {
    if let Ok(token) = env::var(TOKEN) {
        return Ok(RegistryAuth::Bearer(token));
    }
    match (env::var(USER), env::var(PASSWORD)) {
        (Ok(user), Ok(password)) => return Ok(RegistryAuth::Basic(user, password)),
        (Err(_), Err(_)) => {}
        _ => {
            return Err(Failure::new(
                format!("one of {USER} and {PASSWORD} is set alone"),
                "set both or none",
            )
            .into());
        }
    }
    let Some(file) = docker_config().filter(|file| file.is_file()) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let shown = || file.display().to_string();
    if std::fs::metadata(&file).with_context(shown)?.len() > CONFIG_OCTETS_MAX {
        return Err(Failure::new(
            format!("{} is too large", shown()),
            "set DOCKER_CONFIG to another directory",
        )
        .into());
    }
    in_config(&std::fs::read(&file).with_context(shown)?, registry).with_context(shown)
}

fn docker_config() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".docker")));
    Some(directory?.join("config.json"))
}

/// The entry of a registry in Docker's configuration. Helpers that keep passwords elsewhere are not called.
fn in_config(octets: &[u8], registry: &str) -> anyhow::Result<RegistryAuth> {
    let config: DockerConfig = serde_json::from_slice(octets)?;
    let Some(auth) = config.auths.get(registry).and_then(|entry| entry.auth.as_ref()) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let decoded = STANDARD.decode(auth).ok().and_then(|octets| String::from_utf8(octets).ok());
    let pair = decoded.as_ref().and_then(|text| text.split_once(':'));
    let (user, password) = pair.context("an entry of `auths` is malformed")?;
    Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_dockers_configuration_is_for_its_registry_alone() {
        let config =
            br#"{"auths": {"registry.example.org": {"auth": "YW5uOnNlY3JldDp4"}, "empty.example.org": {}}}"#;
        let of = |registry| in_config(config, registry).unwrap();
        assert_eq!(of("registry.example.org"), RegistryAuth::Basic("ann".into(), "secret:x".into()));
        assert_eq!(of("empty.example.org"), RegistryAuth::Anonymous);
        assert_eq!(of("example.org"), RegistryAuth::Anonymous);
        assert!(in_config(br#"{"auths": {"a": {"auth": "%%"}}}"#, "a").is_err());
        assert!(in_config(b"no JSON", "a").is_err());
    }
}
