//! One plugin as a chain of one stage, with a host and a record for it: what `run` and `bench` share.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use hilum_core::limits::{BLOB_CHUNK_OCTETS, BLOB_OCTETS_MAX, INLINE_BODY_OCTETS_MAX};
use hilum_core::record::Measured;
use hilum_core::{Attribute, Body, FlowName, Head, PrincipalId, StageName};
use hilum_sandbox::{Chain, ChainContext, Grant, Grants, Input, Limits, Plugin, Services, StageSpec};
use serde_json::{Value, json};

use super::host::{Host, command_line};
use super::load;
use crate::output::Failure;

/// Which plugin, how it is configured, and what record it gets.
#[derive(Debug, clap::Args)]
pub(super) struct Setup {
    /// The path of a component, or the name of a bundled plugin
    component: String,
    /// A file with the plugin's configuration as JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The media type of the body
    #[arg(long, value_name = "TYPE")]
    content_type: String,
    /// Grant just this, e.g. `log` or `keys:research`; may be repeated
    #[arg(long = "grant", value_name = "GRANT")]
    pub(super) grants: Vec<String>,
    /// An attribute of the record; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// The purpose of use, as a reader would state it, e.g. TREAT
    #[arg(long, value_name = "CODE")]
    purpose: Option<String>,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Setup {
    /// A plugin with everything else as it is by default.
    #[cfg(test)]
    pub(super) fn new(component: &str, content_type: &str) -> Self {
        Self {
            component: component.into(),
            config: None,
            content_type: content_type.into(),
            grants: Vec::new(),
            attributes: Vec::new(),
            purpose: None,
        }
    }

    /// The plugin as the only stage of a chain.
    pub(super) fn chain(&self, host: &Arc<Host>) -> anyhow::Result<(Chain, Arc<Plugin>)> {
        let (sandbox, plugin) = load(&self.component)?;
        let config = match &self.config {
            Some(file) => read_config(file)?,
            None => default_config(&plugin),
        };
        let grants =
            if self.grants.is_empty() { all_grants(&plugin, &config) } else { Grants::parse(&self.grants)? };
        let context = ChainContext {
            flow: FlowName::new("local")?,
            class: "local".into(),
            subscription: None,
            recipient: None,
            purpose: self.purpose.clone(),
            break_glass: None,
        };
        let name = StageName::new("plugin")?;
        let stage = StageSpec { name, plugin: plugin.clone(), config, grants, limits: Limits::default() };
        let services: Arc<dyn Services> = host.clone();
        Ok((Chain::load(&sandbox, context, vec![stage], services)?, plugin))
    }

    /// A record with what is read as its body, which is expected to have so many octets.
    pub(super) fn input(&self, host: &Host, from: &mut dyn Read, expected: u64) -> anyhow::Result<Input> {
        let attribute =
            |(name, value): &(String, String)| Attribute { name: name.clone(), value: value.clone() };
        let head = Head {
            time: host.now(),
            expires: None,
            deliver_after: None,
            key: None,
            content_type: self.content_type.clone(),
            attributes: self.attributes.iter().map(attribute).collect(),
            labels: Vec::new(),
            trace: None,
        };
        let source = command_line()?;
        let body = read_body(host, &source.id, from, expected).context("standard input")?;
        Ok(Input { head, source: Arc::new(source), offset: None, body: Measured::new(body) })
    }
}

pub(super) fn read_config(file: &PathBuf) -> anyhow::Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

/// A configuration with which a bundled plugin does something sensible on its own.
fn default_config(plugin: &Plugin) -> Value {
    match plugin.description().name.as_str() {
        "access" => json!({"policies": "@id(\"everybody\") permit(principal, action, resource);"}),
        "analytics" => json!({
            "alerts_flow": "maintenance",
            "watch": [
                {"sensor": "helium-level", "below": 60},
                {"sensor": "cold-head-temperature", "above": 5.0},
                {"sensor": "vibration", "above": 2.5}
            ]
        }),
        "claims" => json!({"part": "performed", "notices_flow": "procedures", "key": "claims"}),
        "relationships" => json!({"identifiers": {"authorities": {"local": []}, "unnamed": "local"}}),
        "encrypt" => json!({"recipients": ["ephemeral"]}),
        "rooms" => json!({
            "part": "room",
            "reports_flow": "room-use",
            "rooms": [{"name": "room-1", "motion": ["motion"], "people": ["staff-present", "patients-present"]}]
        }),
        "security" => json!({"alerts_flow": "security"}),
        _ => json!({}),
    }
}

/// Everything: keys, recipients and flows are granted by name, and the names that a plugin will ask for are in its
/// configuration or are defaults in its schema.
pub(super) fn all_grants(plugin: &Plugin, config: &Value) -> Grants {
    let mut names = BTreeSet::from(["default"]);
    texts(config, &mut names);
    texts(&plugin.description().config_schema, &mut names);
    let named = names.into_iter().flat_map(|name| {
        let emit = FlowName::new(name).ok().map(Grant::Emit);
        let observed =
            hilum_sandbox::grants::stage_of(name).map(|(flow, stage)| Grant::Observed(flow, stage));
        [observed, Some(Grant::Key(name.to_owned())), Some(Grant::Recipient(name.to_owned())), emit]
    });
    let plain = [Grant::Log, Grant::Metrics, Grant::Trace, Grant::Time, Grant::Random, Grant::State];
    named.flatten().chain(plain).collect()
}

fn texts<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) if (1..=64).contains(&text.len()) => {
            found.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// The body, in memory if it is small and in a temporary file if it is not.
fn read_body(host: &Host, source: &PrincipalId, from: &mut dyn Read, expected: u64) -> anyhow::Result<Body> {
    let mut start = Vec::new();
    let expected = usize::try_from(expected).unwrap_or(usize::MAX).min(INLINE_BODY_OCTETS_MAX + 1);
    // One call for what is expected; another one finds the end, or what nobody expected.
    start.resize(expected, 0);
    let n = loop {
        match from.read(&mut start) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    start.truncate(n);
    from.take((INLINE_BODY_OCTETS_MAX + 1 - n) as u64).read_to_end(&mut start)?;
    if start.len() <= INLINE_BODY_OCTETS_MAX {
        return Ok(Body::Inline(start.into()));
    }
    let mut sink = host.create_blob(source)?;
    let mut size = start.len() as u64;
    start.chunks(BLOB_CHUNK_OCTETS).try_for_each(|chunk| sink.write(Bytes::copy_from_slice(chunk)))?;
    let mut chunk = vec![0; BLOB_CHUNK_OCTETS];
    loop {
        let n = from.read(&mut chunk)?;
        if n == 0 {
            return Ok(Body::Blob(sink.finish()?));
        }
        size += n as u64;
        if size > BLOB_OCTETS_MAX {
            let help = format!("a body has at most {BLOB_OCTETS_MAX} octets");
            return Err(Failure::new("the body is too large", help).into());
        }
        sink.write(Bytes::copy_from_slice(&chunk[..n]))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_configuration_and_schema_are_granted() {
        let (_, plugin) = load("deidentify").unwrap();
        let grants = all_grants(&plugin, &json!({"recipients": ["dr-lee"]}));
        for grant in ["keys:research", "recipient:dr-lee", "state"] {
            assert!(grants.has(&grant.parse().unwrap()), "{grant}");
        }
    }
}
