//! A `transform` plugin that does what its configuration says, well-behaved or not.

use std::collections::HashMap;
use std::hint::black_box;

use hilum_plugin::{
    Attribute, BodyWriter, ConfigError, Context, Description, Draft, Message, Outcome, Refusal, Transform,
    keys, log, metrics, random, time, timing, trace,
};
use serde::Deserialize;

mod reach;

/// The plugin.
pub struct Hostile(Behaviour);

/// What it does with each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Lets it pass.
    Pass,
    /// Adds an attribute.
    Annotate,
    /// Replaces the body by its reverse.
    Reverse,
    /// Copies a large body on the host, with one octet before it.
    Forward,
    /// Replaces the body by itself and one octet more, through a writer.
    Append,
    /// Makes two of one.
    Split,
    /// Refuses with a reason over every limit.
    Refuse,
    /// Panics on a record with the attribute `bad`, with its body in the message; lets others pass.
    PanicOnBad,
    /// Never ends.
    Spin,
    /// Traps.
    Trap,
    /// Recurses without end.
    Recurse,
    /// The same, and counts how deep it is in the metric `depth`.
    CountDepth,
    /// Allocates without end.
    Allocate,
    /// Writes a body without end.
    WriteForever,
    /// Returns a body over every limit.
    HugeBody,
    /// Makes a thousand records of one.
    SplitMany,
    /// Gives no outcome at all.
    TooFew,
    /// Logs without end.
    LogForever,
    /// Logs a hundred lines, and lets the record pass.
    LogMuch,
    /// Counts under a thousand names, each of them ten times, and lets the record pass.
    CountMuch,
    /// Asks for the time without end.
    AskForever,
    /// Asks for random octets without end.
    DrawForever,
    /// Asks for pseudonyms without end.
    NameForever,
    /// Begins bodies without end, and keeps them.
    HoardWriters,
    /// Reads a large body octet by octet.
    Drip,
    /// Reads a large body in small pieces, and works for long on each.
    Dawdle,
    /// Reads the first piece of a large body, and never ends.
    Stall,
    /// Reads all of a large body at once, and never ends.
    ReadAndStall,
    /// Never ends on a record with the attribute `bad`; lets others pass.
    SpinOnBad,
    /// Asks for something of the machine through `std`.
    Reach(reach::Reach),
    /// Begins spans, tells values, and logs.
    Trace,
    /// Uses a key in three ways, and two more interfaces.
    Keys,
    /// Seals as many values at once as the body says.
    Seal,
    /// Sets times as the attribute `times` says (`MESSAGE=TIME`, several with commas), and then does what `then` says. Where one is not set, the
    /// record is refused.
    Retime,
    /// The same while it is configured.
    RetimeEarly,
    /// Fails in its configuration.
    Misconfigured,
}

/// Its configuration.
#[derive(Deserialize)]
pub struct Settings {
    behaviour: Behaviour,
}

const SCHEMA: &str = r#"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["behaviour"],
    "properties": { "behaviour": { "type": ["string", "object"], "minLength": 1 } },
    "additionalProperties": false
}"#;

impl Transform for Hostile {
    type Config = Settings;

    fn describe(config: Option<&Settings>) -> Description {
        let described = Description::new("hostile", "0.1.0").config_schema(SCHEMA);
        match config {
            Some(Settings { behaviour: Behaviour::Reverse }) => described.removes("phi"),
            _ => described,
        }
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        if settings.behaviour == Behaviour::Misconfigured {
            return Err(ConfigError::new("/behaviour", "this one is never right"));
        }
        if settings.behaviour == Behaviour::RetimeEarly {
            timing::set_time(1).map_err(|error| ConfigError::new("/behaviour", error.to_string()))?;
        }
        Ok(Self(settings.behaviour))
    }

    fn transform(&mut self, _: &Context, message: Message) -> Outcome {
        behave(self.0, message)
    }

    fn transform_batch(&mut self, context: &Context, messages: Vec<Message>) -> Vec<Outcome> {
        if self.0 == Behaviour::TooFew {
            return Vec::new();
        }
        messages.into_iter().map(|message| self.transform(context, message)).collect()
    }
}

/// Sets times as the record says.
fn retime(message: Message) -> Outcome {
    let times = message.head.attribute("times").unwrap_or_default().split(',').map(|pair| {
        let (of, to) = pair.split_once('=').expect("a message and a time");
        (of.parse().expect("a number"), to.parse().expect("a time"))
    });
    for (of, to) in times.collect::<Vec<(u32, u64)>>() {
        if let Err(error) = timing::set_time_of(of, to) {
            return Refusal::new("not-set", error).into();
        }
    }
    let then = match message.head.attribute("then") {
        Some("annotate") => Behaviour::Annotate,
        Some("replace") => Behaviour::Reverse,
        Some("split") => Behaviour::Split,
        Some("refuse") => Behaviour::Refuse,
        Some("trap") => Behaviour::Trap,
        _ => Behaviour::Pass,
    };
    behave(then, message)
}

fn behave(behaviour: Behaviour, message: Message) -> Outcome {
    match behaviour {
        Behaviour::Retime | Behaviour::RetimeEarly => retime(message),
        Behaviour::Pass | Behaviour::Misconfigured | Behaviour::TooFew => Outcome::Pass,
        Behaviour::Annotate => Outcome::Annotate(vec![Attribute::new("seen", "yes")]),
        Behaviour::Reverse => reverse(message),
        Behaviour::Forward => forward(message),
        Behaviour::Append => append(message),
        Behaviour::Split => Outcome::Split(vec![
            Draft::of(message.head.clone(), b"one".to_vec()),
            Draft::of(message.head, b"two".to_vec()),
        ]),
        Behaviour::Refuse => Refusal::new("x".repeat(10_000), "long\n".repeat(100_000)).into(),
        Behaviour::PanicOnBad => {
            assert!(message.head.attribute("bad").is_none(), "DOE^JOHN {:?}", message.body);
            Outcome::Pass
        }
        Behaviour::SpinOnBad if message.head.attribute("bad").is_none() => Outcome::Pass,
        Behaviour::Keys => pseudonymise(message),
        Behaviour::Seal => seal(message),
        Behaviour::Drip | Behaviour::Dawdle | Behaviour::Stall | Behaviour::ReadAndStall => {
            read_badly(behaviour, message)
        }
        Behaviour::Trace => traced(&message),
        _ => misbehave(behaviour, message),
    }
}

fn misbehave(behaviour: Behaviour, message: Message) -> Outcome {
    match behaviour {
        Behaviour::Spin | Behaviour::SpinOnBad => spin(),
        Behaviour::Recurse => Refusal::new("depth", recurse(1)).into(),
        Behaviour::CountDepth => Refusal::new("depth", count_depth()).into(),
        Behaviour::Allocate => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        Behaviour::WriteForever => {
            let mut writer = BodyWriter::new();
            while writer.write(&[0; 65_536]).is_ok() {}
            Outcome::Pass
        }
        Behaviour::HugeBody => Draft::of(message.head, vec![0; 40 << 20]).into(),
        Behaviour::SplitMany => {
            Outcome::Split((0..1000).map(|_| Draft::of(message.head.clone(), Vec::new())).collect())
        }
        Behaviour::LogForever => loop {
            log::info("x".repeat(100_000));
        },
        Behaviour::Reach(what) => reach::reach(what),
        _ => burden(behaviour),
    }
}

/// What it does to the host.
fn burden(behaviour: Behaviour) -> Outcome {
    match behaviour {
        Behaviour::LogMuch => {
            (0..100).for_each(|line| log::error(format!("line {line}")));
            Outcome::Pass
        }
        Behaviour::CountMuch => {
            (0..10_000).for_each(|n| metrics::add(&format!("name.{}", n % 1000), 1));
            Outcome::Pass
        }
        Behaviour::AskForever => loop {
            black_box(time::now());
        },
        Behaviour::DrawForever => loop {
            black_box(random::octets(1 << 16));
        },
        Behaviour::NameForever => loop {
            let values = vec![vec![7; 64]; 1024];
            let _ = black_box(keys::pseudonyms("research", "test", &values));
        },
        Behaviour::HoardWriters => loop {
            std::mem::forget(BodyWriter::new());
        },
        _ => std::process::abort(),
    }
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn read_badly(behaviour: Behaviour, message: Message) -> Outcome {
    let hilum_plugin::Body::Large(mut reader) = message.body else {
        return Refusal::new("inline", "the body is not large").into();
    };
    let piece = match behaviour {
        Behaviour::Drip => 1,
        Behaviour::Dawdle => 1 << 16,
        _ => 1 << 20,
    };
    while let Ok(octets) = reader.read(piece) {
        match behaviour {
            Behaviour::Stall => spin(),
            _ if octets.is_empty() => break,
            Behaviour::Dawdle => {
                (0..100_000_000_u64).map(black_box).max();
            }
            _ => {}
        }
    }
    if behaviour == Behaviour::ReadAndStall { spin() } else { Outcome::Pass }
}

/// Two spans, one in the other, and everything about them that is not taken, with the record's body in it.
fn traced(message: &Message) -> Outcome {
    let told = match &message.body {
        hilum_plugin::Body::Inline(octets) => String::from_utf8_lossy(octets).to_uppercase(),
        hilum_plugin::Body::Large(_) => String::new(),
    };
    let kept = {
        let mut outer = trace::span("clean");
        outer.count("octets", message.body.size());
        outer.measure("ratio", 0.5);
        outer.measure("nothing", f64::INFINITY);
        outer.flag("changed", false);
        outer.flag("changed", true);
        outer.count(&told, 1);
        log::warn(format!("within the outer: {told}"));
        trace::within("find", || log::info("within the inner"));
        let nameless = trace::span(&told);
        let kept = trace::span("kept");
        drop(outer);
        drop(nameless);
        kept
    };
    log::error("after all");
    drop(kept);
    if message.head.attribute("many").is_some() {
        for n in 0..100 {
            // Open all at once, so that the last one is not only one name too many but deep.
            std::mem::forget(trace::span(&format!("step-{n}")));
        }
    }
    Outcome::Pass
}

fn reverse(message: Message) -> Outcome {
    match message.body.into_octets(1 << 20) {
        Ok(mut octets) => {
            octets.reverse();
            // A map with the standard hasher: its seed comes from the host.
            let kept: HashMap<u8, Vec<u8>> = HashMap::from([(0, octets)]);
            Draft::of(message.head, kept[&0].clone()).into()
        }
        Err(error) => Refusal::new("too-large", error).into(),
    }
}

fn forward(message: Message) -> Outcome {
    let hilum_plugin::Body::Large(mut reader) = message.body else {
        return Refusal::new("inline", "the body is not large").into();
    };
    let mut made = || {
        let mut writer = BodyWriter::new();
        writer.write(b"!")?;
        writer.forward(&mut reader, u64::MAX)?;
        writer.finish()
    };
    match made() {
        Ok(body) => Draft::of(message.head, body).into(),
        Err(error) => Refusal::new("body", error).into(),
    }
}

fn append(message: Message) -> Outcome {
    let Message { head, body } = message;
    let made = || {
        let mut writer = BodyWriter::new();
        for piece in body.into_octets(1 << 20)?.chunks(65_536) {
            writer.write(piece)?;
        }
        writer.write(b"!")?;
        writer.finish()
    };
    match made() {
        Ok(body) => Draft::of(head, body).into(),
        Err(error) => Refusal::new("body", error).into(),
    }
}

fn pseudonymise(message: Message) -> Outcome {
    log::info(format!("at {} with {} random octets", time::now(), random::octets(8).len()));
    let made = || {
        let mut made = keys::pseudonym("research", "test", b"value")?.to_vec();
        made.extend(keys::mac("research", b"value")?);
        made.extend(keys::date_shift("research", "test", b"value", 365)?.to_be_bytes());
        Ok::<_, keys::KeyError>(made)
    };
    match made() {
        Ok(made) => Draft::of(message.head, made).into(),
        Err(error) => Refusal::new("key", error).into(),
    }
}

fn seal(message: Message) -> Outcome {
    let count =
        message.body.into_octets(16).ok().and_then(|octets| String::from_utf8(octets).ok()?.parse().ok());
    let values =
        vec![keys::BoundValue { context: Vec::new(), plain: b"x".to_vec() }; count.unwrap_or_default()];
    match keys::seal_values(&["gp".to_owned()], values) {
        Ok(sealed) => Draft::of(message.head, sealed.len().to_string().into_bytes()).into(),
        Err(error) => Refusal::new("key", error).into(),
    }
}

#[expect(unconditional_recursion, reason = "this is what it is for")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    black_box(recurse(depth + 1)) + frame[63]
}

#[expect(unconditional_recursion, reason = "this is what it is for")]
#[inline(never)]
fn count_depth() -> u64 {
    metrics::add("depth", 1);
    black_box(count_depth()) + 1
}

hilum_plugin::export_transform!(Hostile);
