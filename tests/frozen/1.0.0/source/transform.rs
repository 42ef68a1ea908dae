//! A `transform` plugin of 1.0.0: every function that a transform may import is called, and every outcome is given.

wit_bindgen::generate!({ path: "../../../../wit/frozen/1.0.0", world: "transform", generate_all });

use exports::hilum::plugin::plugin::Guest as Plugin;
use exports::hilum::plugin::transformer::{Guest, Outcome};
use hilum::plugin::types::{
    Attribute, Body, BodyReader, BodyWriter, ConfigError, Context, Description, Draft, Message, Refusal,
};
use hilum::plugin::{keys, log, metrics, random, time};

struct Frozen;

impl Plugin for Frozen {
    fn describe() -> Description {
        Description {
            name: "frozen-transform".into(),
            version: "1.0.0".into(),
            config_schema: r#"{"type": "object"}"#.into(),
            removes: vec!["phi".into()],
            content_types: Vec::new(),
        }
    }

    fn configure(config: String) -> Result<(), ConfigError> {
        if config == "{}" {
            return Ok(());
        }
        Err(ConfigError { at: String::new(), reason: "nothing can be configured".into() })
    }
}

impl Guest for Frozen {
    fn transform(of: Context, messages: Vec<Message>) -> Vec<Outcome> {
        log::log(log::Level::Info, &of.flow);
        metrics::add("frozen.records", messages.len() as u64);
        metrics::sample("frozen.batch", messages.len() as f64);
        messages.into_iter().map(outcome).collect()
    }
}

/// What the attribute `do` says.
fn outcome(message: Message) -> Outcome {
    let wanted = message.head.attributes.iter().find(|attribute| attribute.name == "do");
    match wanted.map_or("pass", |attribute| attribute.value.as_str()) {
        "annotate" => {
            let value = format!("{} {}", time::now(), random::octets(2).len());
            Outcome::Annotate(vec![Attribute { name: "seen".into(), value }])
        }
        "replace" => Outcome::Replace(draft(&message, pseudonym())),
        "split" => Outcome::Split(vec![draft(&message, b"one".to_vec()), draft(&message, b"two".to_vec())]),
        "seal" => sealed(message),
        "copy" => copied(message),
        "refuse" => refuse("refused", "the record says so"),
        _ => Outcome::Pass,
    }
}

fn draft(of: &Message, body: Vec<u8>) -> Draft {
    Draft {
        key: of.head.key.clone(),
        content_type: of.head.content_type.clone(),
        attributes: Vec::new(),
        body: Body::Inline(body),
    }
}

fn refuse(code: &str, reason: &str) -> Outcome {
    Outcome::Refuse(Refusal { code: code.into(), reason: reason.into() })
}

fn pseudonym() -> Vec<u8> {
    match keys::pseudonyms("research", "test", &[b"value".to_vec()]) {
        Ok(mut pseudonyms) => pseudonyms.pop().unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// Sealed to a recipient, as octets or as a reader; and a try to open what was not sealed.
fn sealed(message: Message) -> Outcome {
    if !matches!(keys::open("research", b"", b"nothing"), Err(_)) {
        return refuse("opened", "what was never sealed was opened");
    }
    let recipients = ["gp".to_owned()];
    let Message { head, body } = message;
    let body = match body {
        Body::Inline(octets) => keys::seal(&recipients, b"", &octets).map(Body::Inline),
        Body::Large(reader) => keys::seal_body(&recipients, b"", reader).map(Body::Large),
    };
    let Ok(body) = body else { return refuse("key", "there is no key") };
    Outcome::Replace(Draft { key: head.key, content_type: "application/cose".into(), attributes: Vec::new(), body })
}

/// A large body: its first octet read, the second passed over, `!` written, the rest forwarded.
fn copied(message: Message) -> Outcome {
    let Message { head, body: Body::Large(reader) } = message else {
        return refuse("inline", "the body is not large");
    };
    let Some(body) = rest(&reader) else { return refuse("body", "the body cannot be copied") };
    let attributes = Vec::new();
    Outcome::Replace(Draft { key: head.key, content_type: head.content_type, attributes, body: Body::Large(body) })
}

fn rest(reader: &BodyReader) -> Option<BodyReader> {
    let first = reader.read(1).ok()?;
    reader.skip(1).ok()?;
    let writer = BodyWriter::new();
    writer.write(&first).ok()?;
    writer.write(b"!").ok()?;
    writer.forward(reader, reader.size()).ok()?;
    BodyWriter::finish(writer).ok()
}

export!(Frozen);
