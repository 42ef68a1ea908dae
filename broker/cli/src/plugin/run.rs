//! `hilum plugin run`: one plugin on one body, in the real sandbox and without a broker.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_core::limits::{BLOB_CHUNK_OCTETS, BLOB_OCTETS_MAX, INLINE_BODY_OCTETS_MAX};
use hilum_core::record::Measured;
use hilum_core::{Attribute, Body, FlowName, Head, Principal, PrincipalId, StageName};
use hilum_sandbox::{
    BatchRun, Chain, ChainContext, Emission, Failure as RunFailure, Grant, Grants, Input, Limits, Plugin,
    Services, StageSpec,
};
use serde_json::{Value, json};

use super::host::Host;
use super::load;
use crate::output::{Exit, Failure};

/// What `hilum plugin run` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Standard output gets the body: as it was if the plugin lets it pass, otherwise the one that the plugin made. Where it makes \
several of one, their bodies follow each other without anything between. Everything else is on standard error: head, \
obligations, emitted records, refusals.

Without --config a bundled plugin gets a configuration that works, another plugin `{}`. Without --grant everything is \
granted, with keys that are made up for this run: pseudonyms differ from run to run, and nobody can open what is sealed.

Exit code 0 if the body passed or was replaced, 3 if the plugin refused it, 1 if something failed.

Examples:
  hilum plugin run deidentify --content-type application/dicom < scan.dcm > clean.dcm
  hilum plugin run ./mine.wasm --config mine.json --content-type text/plain < in > out")]
pub(super) struct Args {
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
    grants: Vec<String>,
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

/// Runs standard input through the plugin.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let host = Arc::new(Host::new().context("no temporary directory")?);
    let exit = run_on(args, &host, &mut io::stdin().lock(), &mut io::stdout().lock())?;
    let (secrets, recipients) = host.made_up();
    if !secrets.is_empty() {
        eprintln!("note: made up for this run: a secret for {}", secrets.join(", "));
    }
    if !recipients.is_empty() {
        eprintln!(
            "note: made up for this run: a recipient {}, so nobody can open the result",
            recipients.join(", ")
        );
    }
    Ok(exit.into())
}

fn run_on(args: &Args, host: &Arc<Host>, from: &mut dyn Read, to: &mut dyn Write) -> anyhow::Result<Exit> {
    let (sandbox, plugin) = load(&args.component)?;
    let config = match &args.config {
        Some(file) => read_config(file)?,
        None => default_config(&plugin),
    };
    let grants =
        if args.grants.is_empty() { all_grants(&plugin, &config) } else { Grants::parse(&args.grants)? };
    let context = ChainContext {
        flow: FlowName::new("local")?,
        class: "local".into(),
        subscription: None,
        recipient: None,
        purpose: args.purpose.clone(),
    };
    let name = StageName::new("plugin")?;
    let stage = StageSpec { name, plugin, config, grants, limits: Limits::default() };
    let services: Arc<dyn Services> = host.clone();
    let chain = Chain::load(&sandbox, context, vec![stage], services)?;
    let input = input(args, host, from)?;
    finish(host, chain.run(vec![input]), to)
}

fn read_config(file: &PathBuf) -> anyhow::Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

/// A configuration with which a bundled plugin does something sensible on its own.
fn default_config(plugin: &Plugin) -> Value {
    match plugin.description().name.as_str() {
        "access" => json!({"rules": [{"name": "everybody", "effect": "allow"}]}),
        "analytics" => json!({
            "alerts_flow": "maintenance",
            "watch": [
                {"sensor": "helium-level", "below": 60},
                {"sensor": "cold-head-temperature", "above": 5.0},
                {"sensor": "vibration", "above": 2.5}
            ]
        }),
        "encrypt" => json!({"recipients": ["ephemeral"]}),
        _ => json!({}),
    }
}

/// Everything: keys, recipients and flows are granted by name, and the names that a plugin will ask for are in its
/// configuration or are defaults in its schema.
fn all_grants(plugin: &Plugin, config: &Value) -> Grants {
    let mut names = BTreeSet::from(["default"]);
    texts(config, &mut names);
    texts(&plugin.description().config_schema, &mut names);
    let named = names.into_iter().flat_map(|name| {
        let emit = FlowName::new(name).ok().map(Grant::Emit);
        [Some(Grant::Key(name.to_owned())), Some(Grant::Recipient(name.to_owned())), emit]
    });
    let plain = [Grant::Log, Grant::Metrics, Grant::Time, Grant::Random, Grant::State];
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

fn input(args: &Args, host: &Host, from: &mut dyn Read) -> anyhow::Result<Input> {
    let attribute = |(name, value): &(String, String)| Attribute { name: name.clone(), value: value.clone() };
    let head = Head {
        time: host.now(),
        expires: None,
        deliver_after: None,
        key: None,
        content_type: args.content_type.clone(),
        attributes: args.attributes.iter().map(attribute).collect(),
        labels: Vec::new(),
        trace: None,
    };
    let source = Principal {
        id: PrincipalId::new("spiffe://local/command-line")?,
        stakeholder: "local".parse()?,
        zone: "local".parse()?,
        roles: Vec::new(),
    };
    let body = read_body(host, &source.id, from).context("standard input")?;
    Ok(Input { head, source: Arc::new(source), offset: None, body: Measured::new(body) })
}

/// The body, in memory if it is small and in a temporary file if it is not.
fn read_body(host: &Host, source: &PrincipalId, from: &mut dyn Read) -> anyhow::Result<Body> {
    let mut start = Vec::new();
    from.take(INLINE_BODY_OCTETS_MAX as u64 + 1).read_to_end(&mut start)?;
    if start.len() <= INLINE_BODY_OCTETS_MAX {
        return Ok(Body::Inline(start.into()));
    }
    let mut sink = host.create_blob(source)?;
    let mut size = start.len() as u64;
    start.chunks(BLOB_CHUNK_OCTETS).try_for_each(|chunk| sink.write(chunk))?;
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
        sink.write(&chunk[..n])?;
    }
}

fn finish(host: &Host, run: BatchRun, to: &mut dyn Write) -> anyhow::Result<Exit> {
    run.emitted.iter().for_each(show_emission);
    let ran = match run.records.into_iter().next().context("the sandbox gave no result")? {
        Ok(ran) => ran,
        Err(failure) => return ended(failure),
    };
    for obligation in &ran.obligations {
        eprintln!("obligation: {} = {}", obligation.name, obligation.value);
    }
    if let [outcome] = ran.run.receipt.outcomes.as_slice() {
        eprintln!("outcome: {outcome:?}, {} of one", ran.run.outputs.len());
    }
    for output in &ran.run.outputs {
        eprintln!("content type: {}, {} octets", output.content_type, output.body.body().size());
        output.attributes.iter().for_each(|of| eprintln!("attribute: {} = {}", of.name, of.value));
        write_body(host, output.body.body(), to)?;
    }
    to.flush()?;
    Ok(Exit::Ok)
}

fn ended(failure: RunFailure) -> anyhow::Result<Exit> {
    match failure {
        RunFailure::Refused { code, reason, .. } => {
            eprintln!("refused: {reason} ({code})");
            Ok(Exit::Refused)
        }
        RunFailure::Failed { kind, reason, .. } => Err(Failure::new(
            format!("the plugin failed: {reason} ({kind})"),
            "this is a defect of the plugin, or a limit",
        )
        .into()),
    }
}

fn show_emission(emission: &Emission) {
    let Emission { flow, content_type, body, .. } = emission;
    eprintln!("emitted to {flow}: {content_type}, {} octets: {}", body.len(), String::from_utf8_lossy(body));
}

fn write_body(host: &Host, body: &Body, to: &mut dyn Write) -> anyhow::Result<()> {
    let blob = match body {
        Body::Inline(octets) => return Ok(to.write_all(octets)?),
        Body::Blob(blob) => blob,
    };
    let mut at = 0;
    while at < blob.size {
        let chunk = host.read_blob(blob, at, BLOB_CHUNK_OCTETS)?;
        anyhow::ensure!(!chunk.is_empty(), "the temporary file is shorter than it was");
        to.write_all(&chunk)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(component: &str, content_type: &str) -> Args {
        Args {
            component: component.into(),
            config: None,
            content_type: content_type.into(),
            grants: Vec::new(),
            attributes: Vec::new(),
            purpose: None,
        }
    }

    fn run_plugin(args: &Args, body: &[u8]) -> (anyhow::Result<Exit>, Vec<u8>) {
        let host = Arc::new(Host::new().unwrap());
        let mut out = Vec::new();
        let exit = run_on(args, &host, &mut &body[..], &mut out);
        (exit, out)
    }

    #[test]
    fn access_and_analytics_let_a_body_pass_by_default() {
        for (plugin, content_type) in [("access", "text/plain"), ("analytics", "application/json")] {
            let (exit, out) = run_plugin(&args(plugin, content_type), b"{}");
            assert_eq!((exit.unwrap(), out.as_slice()), (Exit::Ok, &b"{}"[..]), "{plugin}");
        }
    }

    #[test]
    fn encrypt_seals_small_and_large_bodies_by_default() {
        for size in [10, INLINE_BODY_OCTETS_MAX + 1] {
            let (exit, out) = run_plugin(&args("encrypt", "text/plain"), &vec![b'x'; size]);
            assert_eq!(exit.unwrap(), Exit::Ok);
            assert!(out.len() > size && !out.windows(8).any(|window| window == b"xxxxxxxx"));
        }
    }

    #[test]
    fn deidentify_refuses_what_it_cannot_parse() {
        let (exit, out) = run_plugin(&args("deidentify", "application/dicom"), b"not DICOM at all");
        assert_eq!((exit.unwrap(), out.len()), (Exit::Refused, 0));
    }

    #[test]
    fn a_grant_that_is_missing_is_named() {
        let mut args = args("deidentify", "application/dicom");
        args.grants = vec!["log".into()];
        let error = run_plugin(&args, b"").0.unwrap_err().to_string();
        assert!(error.contains("hilum:plugin/keys@1.0.0") && error.contains("keys:NAME"), "{error}");
    }

    #[test]
    fn names_in_configuration_and_schema_are_granted() {
        let (_, plugin) = load("deidentify").unwrap();
        let grants = all_grants(&plugin, &json!({"recipients": ["dr-lee"]}));
        for grant in ["keys:research", "recipient:dr-lee", "state"] {
            assert!(grants.has(&grant.parse().unwrap()), "{grant}");
        }
    }
}
