//! Routes HL7v2 messages: reads what the header, the patient and the visit say, sets attributes by configured rules, and makes
//! single messages of a batch, so that subscriptions can choose by attribute.
//!
//! A record goes this way: [`read`] finds the messages and checks them, [`rules`] decides about each, and the plugin
//! annotates the record, or splits it if there are several messages.

mod read;
mod rules;
#[cfg(test)]
mod tests;

use hilum_formats::hl7::{Document, Message as Hl7};
use hilum_plugin::{
    Attribute, Body, ConfigError, Context, Description, Draft, Head, Message, Outcome, Refusal, Transform,
};

pub use rules::{Condition, Key, Otherwise, Rule, Settings, When};

/// The media types that HL7v2 in its vertical-bar encoding goes by.
pub const CONTENT_TYPES: [&str; 2] = ["application/hl7-v2", "x-application/hl7-v2+er7"];
/// Octets of one record; a batch of a night fits, a file that is something else does not fill the memory.
const BODY_OCTETS_MAX: usize = 16 << 20;
/// Messages of one record: as many as a record may be split into.
const MESSAGES_MAX: usize = 64;

/// The plugin, configured.
#[derive(Debug)]
pub struct Route(Settings);

impl Transform for Route {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        let description = Description::new("hl7-route", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"));
        CONTENT_TYPES.iter().fold(description, |description, name| description.content_type(name))
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn transform(&mut self, _: &Context, Message { head, body }: Message) -> Outcome {
        if !CONTENT_TYPES.iter().any(|name| head.is(name)) {
            return Refusal::new("unsupported-content-type", "only HL7v2 messages are routed").into();
        }
        route(&self.0, head, body).into()
    }
}

hilum_plugin::export_transform!(Route);

fn route(settings: &Settings, head: Head, body: Body) -> Result<Outcome, Refusal> {
    let octets = body.into_octets(BODY_OCTETS_MAX)?;
    let document = Document::parse(&octets).map_err(|error| Refusal::new("malformed", error))?;
    let messages: Vec<Hl7<'_, '_>> = document.messages().collect();
    read::check_counts(&document, messages.len())?;
    match messages[..] {
        [] => Err(Refusal::new("no-message", "the batch has no message")),
        [only] if !read::is_batch(&document) => {
            let (head, key) = describe(settings, head, &only)?;
            if key == head.key {
                return Ok(Outcome::Annotate(head.attributes));
            }
            let body = Body::of(octets.clone())?;
            Ok(Draft { key, ..Draft::of(head, body) }.into())
        }
        _ if messages.len() > MESSAGES_MAX => Err(Refusal::new(
            "batch-too-large",
            format!("the batch has {} messages, {MESSAGES_MAX} can be taken apart", messages.len()),
        )),
        _ => {
            let single = |(index, message): (usize, &Hl7<'_, '_>)| {
                let place = |Refusal { code, reason }| {
                    Refusal::new(code, format!("message {} of the batch: {reason}", index + 1))
                };
                let (mut head, key) = describe(settings, head.clone(), message).map_err(place)?;
                head.attributes.push(Attribute::new("hl7-batch-place", (index + 1).to_string()));
                Ok(Draft { key, ..Draft::of(head, Body::of(read::octets(&octets, message))?) })
            };
            let singles: Result<Vec<Draft>, Refusal> = messages.iter().enumerate().map(single).collect();
            singles.map(Outcome::from)
        }
    }
}

/// The head of one message with what it says and what the rules set; the key that its record shall have.
fn describe(
    settings: &Settings,
    mut head: Head,
    message: &Hl7<'_, '_>,
) -> Result<(Head, Option<String>), Refusal> {
    let facts = read::Facts::of(message)?;
    if settings.describe {
        for (name, value) in facts.attributes() {
            head.set_attribute(name, value);
        }
    }
    match settings.rules.iter().find(|rule| rule.when.holds(&facts, message)) {
        Some(rule) => {
            for (name, value) in &rule.set {
                head.set_attribute(name, value);
            }
        }
        None if settings.otherwise == Otherwise::Refuse => {
            return Err(Refusal::new("unrouted", "no rule says where this message goes"));
        }
        None => {}
    }
    let key = match settings.key {
        Key::Keep => head.key.clone(),
        Key::Patient => facts.patient.clone().or_else(|| head.key.clone()),
        Key::Visit => facts.visit.clone().or_else(|| head.key.clone()),
    };
    Ok((head, key))
}
