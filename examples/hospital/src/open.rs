//! `hospital open`: opens a sealed body, or the sealed fields of one, that is a file, as the client SDK does. Makes sure of what others sealed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use hilum_client::sealed::{Opener, open_fields};
use hilum_client::{Attribute, FlowName, Head, Timestamp};
use hilum_core::cose::PrivateKey;

/// Octets that are read at once.
const READ_OCTETS: usize = 1 << 18;

/// What to open, and what its record says of it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The recipient's private key, PKCS #8 in PEM.
    #[arg(long)]
    pub key: PathBuf,
    /// The flow that the record came from.
    #[arg(long)]
    pub flow: FlowName,
    /// The record's content type.
    #[arg(long)]
    pub content_type: String,
    /// Its key, where it has one.
    #[arg(long)]
    pub record_key: Option<String>,
    /// Its attributes, in order.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    pub attributes: Vec<Attribute>,
    /// Single fields are sealed, and the rest is in the clear.
    #[arg(long)]
    pub fields: bool,
    /// Its time, in milliseconds since 1970.
    #[arg(long)]
    pub time: u64,
    /// The sealed body.
    pub sealed: PathBuf,
    /// Where to write what is in it.
    pub to: PathBuf,
}

/// Opens it, holding no more than the format asks for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let named = |path: &PathBuf| path.display().to_string();
    let pem = std::fs::read_to_string(&arguments.key).with_context(|| named(&arguments.key))?;
    let key = PrivateKey::from_pem(&pem).with_context(|| named(&arguments.key))?;
    if arguments.fields {
        let body = std::fs::read(&arguments.sealed).with_context(|| named(&arguments.sealed))?;
        let opened = open_fields(&key, &arguments.flow, &head(arguments), &body)?;
        return std::fs::write(&arguments.to, opened.body).with_context(|| named(&arguments.to));
    }
    let mut opener = Opener::new(&key, &arguments.flow, &head(arguments))?;
    let mut sealed = File::open(&arguments.sealed).with_context(|| named(&arguments.sealed))?;
    let mut out = File::create(&arguments.to).with_context(|| named(&arguments.to))?;
    let (mut piece, mut plain) = (vec![0; READ_OCTETS], Vec::new());
    loop {
        let octets = sealed.read(&mut piece).with_context(|| named(&arguments.sealed))?;
        if octets == 0 {
            break;
        }
        opener.push(&piece[..octets], &mut plain)?;
        out.write_all(&plain).with_context(|| named(&arguments.to))?;
        plain.clear();
    }
    opener.finish(&mut plain)?;
    out.write_all(&plain).with_context(|| named(&arguments.to))
}

fn attribute(text: &str) -> Result<Attribute, String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok(Attribute { name: name.into(), value: value.into() })
}

fn head(arguments: &Arguments) -> Head {
    Head {
        time: Timestamp(arguments.time),
        expires: None,
        deliver_after: None,
        key: arguments.record_key.clone(),
        content_type: arguments.content_type.clone(),
        attributes: arguments.attributes.clone(),
        labels: Vec::new(),
        trace: None,
    }
}
