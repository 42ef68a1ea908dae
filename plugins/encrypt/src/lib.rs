//! End-to-end encryption: what leaves this stage can be read by the named recipients and by nobody between.
//!
//! A record's body becomes a COSE_Encrypt message (RFC 9052, section 5.1) to recipients that the stage was granted; a large one a stream
//! of segments in Tink's format, with the key in such a message before it. The
//! keys and the arithmetic stay with the broker; this plugin decides what is sealed, what it is bound to, and what of the
//! head may stay in the clear; what stays is bound to the body. Anything that cannot be sealed is refused, never passed.

mod fields;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use hilum_formats::sealed::{
    BoundError, Form, ORIGINAL_CONTENT_TYPE, Place, RECORD_ID, RECORD_SOURCE, SEALED_FIELDS, bound_text,
};
use hilum_plugin::keys::{self, KeyError};
use hilum_plugin::{
    Attribute, Body, ConfigError, Context, Description, Draft, Head, Message, Outcome, Refusal, Transform,
    random,
};

pub use fields::FieldSettings;
pub use settings::Settings;

use fields::{Fields, Format};

/// Media type of what comes out of an inline body (RFC 9052, section 11.3.3).
pub const SEALED_CONTENT_TYPE: &str = r#"application/cose; cose-type="cose-encrypt""#;
/// Media type of what comes out of a large body.
pub const STREAM_CONTENT_TYPE: &str = "application/vnd.hilum.sealed-stream";
/// Attributes of a record that the broker takes.
const ATTRIBUTES_MAX: usize = 32;
/// Octets of an attribute's value that the broker takes.
const ATTRIBUTE_OCTETS_MAX: usize = 1024;
/// Random octets of a record's own id: two records that share one are not to be expected in the life of a hospital.
const RECORD_ID_OCTETS: u32 = 16;

/// The plugin: seals every record to the configured recipients.
#[derive(Debug)]
pub struct Encrypt {
    settings: Settings,
    fields: Fields,
}

impl Transform for Encrypt {
    type Config = Settings;

    fn describe(settings: Option<&Settings>) -> Description {
        let description = Description::new("encrypt", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"));
        let removed = settings.map_or(&[][..], |settings| &settings.removes);
        removed.iter().fold(description, |description, label| description.removes(label))
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        let fields = Fields::new(&settings.fields)?;
        Ok(Self { settings, fields })
    }

    fn transform(&mut self, context: &Context, message: Message) -> Outcome {
        match self.fields.format(&message.head.content_type) {
            Some(format) => self.seal_fields(context, format, message).into(),
            None => self.seal(context, message).into(),
        }
    }
}

hilum_plugin::export_transform!(Encrypt);

impl Encrypt {
    fn seal(&self, context: &Context, Message { head, body }: Message) -> Result<Draft, Refusal> {
        let (form, content_type) = match &body {
            Body::Inline(_) => (Form::Message, SEALED_CONTENT_TYPE),
            Body::Large(_) => (Form::Stream, STREAM_CONTENT_TYPE),
        };
        let original = Attribute::new(ORIGINAL_CONTENT_TYPE, head.content_type.as_str());
        let envelope = self.envelope(context, content_type.into(), original, head)?;
        let associated = envelope.bound(form, context)?.into_bytes();
        let recipients = &self.settings.recipients;
        let sealed = match body {
            Body::Inline(plain) => keys::seal(recipients, &associated, &plain).map(Body::Inline),
            Body::Large(plain) => keys::seal_stream(recipients, &associated, plain).map(Body::Large),
        };
        Ok(envelope.around(sealed.map_err(|error| refusal(&error))?))
    }

    fn seal_fields(
        &self,
        context: &Context,
        format: Format,
        Message { head, body }: Message,
    ) -> Result<Draft, Refusal> {
        let plain = fields::octets(body)?;
        let found = self.fields.find(format, &plain)?;
        if found.is_empty() {
            return self.seal(context, Message { head, body: fields::body_of(plain)? });
        }
        let count = Attribute::new(SEALED_FIELDS, found.len().to_string());
        let envelope = self.envelope(context, head.content_type.clone(), count, head)?;
        let record = envelope.bound(Form::Field, context)?;
        let sealed = fields::seal(found, &record, &self.settings.recipients)?;
        Ok(envelope.around(self.fields.replace(format, &plain, sealed)?))
    }

    /// The record that will carry what is sealed: of the old head only what was configured to stay.
    fn envelope(
        &self,
        context: &Context,
        content_type: String,
        first: Attribute,
        head: Head,
    ) -> Result<Envelope, Refusal> {
        let source = &context.source.principal;
        let source = self.settings.keep_source.then(|| Attribute::new(RECORD_SOURCE, source.as_str()));
        if source.iter().any(|source| source.value.len() > ATTRIBUTE_OCTETS_MAX) {
            let reason = format!(
                "who it comes from is named in over {ATTRIBUTE_OCTETS_MAX} octets, which no attribute takes"
            );
            return Err(Refusal::new("not-sealed", reason));
        }
        let kept = |attribute: &Attribute| self.settings.keep_attributes.contains(&attribute.name);
        let ours = 2 + usize::from(self.settings.keep_source);
        let mut attributes = vec![first];
        attributes.extend(head.attributes.into_iter().filter(kept).take(ATTRIBUTES_MAX - ours));
        attributes.extend(source);
        attributes.push(Attribute::new(RECORD_ID, record_id()));
        let key = head.key.filter(|_| self.settings.keep_key);
        Ok(Envelope { time: head.time, key, content_type, attributes })
    }
}

/// A record of which the body is still to come.
struct Envelope {
    time: u64,
    key: Option<String>,
    content_type: String,
    attributes: Vec<Attribute>,
}

impl Envelope {
    /// What is sealed for this record is bound to: all of what its readers see of it.
    fn bound(&self, form: Form, context: &Context) -> Result<String, Refusal> {
        let Self { time, key, content_type, attributes } = self;
        let place = Place { flow: &context.flow, content_type, time: *time, key: key.as_deref() };
        let attributes = attributes.iter().map(|of| (of.name.as_str(), of.value.as_str()));
        bound_text(form, place, attributes)
            .map_err(|error: BoundError| Refusal::new("malformed", error.to_string()))
    }

    fn around(self, body: Body) -> Draft {
        let Self { key, content_type, attributes, .. } = self;
        Draft { key, content_type, attributes, body }
    }
}

/// 128 random bits in hexadecimal digits.
fn record_id() -> String {
    random::octets(RECORD_ID_OCTETS).iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").expect("a string takes all");
        text
    })
}

fn refusal(error: &KeyError) -> Refusal {
    let code = match error {
        KeyError::NotGranted(_) => "not-granted",
        KeyError::NoValidKey(_) => "no-valid-key",
        KeyError::Malformed | KeyError::Other(_) => "not-sealed",
    };
    Refusal::new(code, format_args!("the body could not be sealed: {error}"))
}
