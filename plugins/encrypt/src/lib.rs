//! End-to-end encryption: what leaves this stage can be read by the named recipients and by nobody between.
//!
//! A record's body becomes a COSE_Encrypt message (RFC 9052, section 5.1) to recipients that the stage was granted; a large one a stream
//! of segments in Tink's format, with the key in such a message before it. The
//! keys and the arithmetic stay with the broker; this plugin decides what is sealed, what it is bound to, and what of the
//! head may stay in the clear. Anything that cannot be sealed is refused, never passed.

mod fields;
mod settings;
#[cfg(test)]
mod tests;

use hilum_plugin::keys::{self, KeyError};
use hilum_plugin::{
    Attribute, Body, ConfigError, Context, Description, Draft, Head, Message, Outcome, Refusal, Transform,
};

pub use fields::FieldSettings;
pub use settings::Settings;

use fields::{Fields, Format};

/// Media type of what comes out of an inline body (RFC 9052, section 11.3.3).
pub const SEALED_CONTENT_TYPE: &str = r#"application/cose; cose-type="cose-encrypt""#;
/// Media type of what comes out of a large body.
pub const STREAM_CONTENT_TYPE: &str = "application/vnd.hilum.sealed-stream";
/// The attribute that carries the media type of what is inside.
pub const ORIGINAL_CONTENT_TYPE: &str = "original-content-type";
/// The attribute that says how many fields of a body are sealed in their places.
pub const SEALED_FIELDS: &str = "sealed-fields";
/// Attributes of a record that the broker takes.
const ATTRIBUTES_MAX: usize = 32;

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
        let form = match &body {
            Body::Inline(_) => Form::Message,
            Body::Large(_) => Form::Stream,
        };
        let associated = associated_data(form, &context.flow, &head.content_type, head.time)?;
        let recipients = &self.settings.recipients;
        let sealed = match body {
            Body::Inline(plain) => keys::seal(recipients, &associated, &plain).map(Body::Inline),
            Body::Large(plain) => keys::seal_stream(recipients, &associated, plain).map(Body::Large),
        };
        let sealed = sealed.map_err(|error| refusal(&error))?;
        let original = Attribute::new(ORIGINAL_CONTENT_TYPE, head.content_type.as_str());
        Ok(self.envelope(form.content_type().into(), original, head, sealed))
    }

    fn seal_fields(
        &self,
        context: &Context,
        format: Format,
        Message { head, body }: Message,
    ) -> Result<Draft, Refusal> {
        let record = bound_to(FIELD_FIRST_LINE, &context.flow, &head.content_type, head.time)?;
        let field = |place: &str| format!("{record}\n{place}").into_bytes();
        let plain = fields::octets(body)?;
        let Some((body, count)) = self.fields.seal(format, &plain, &self.settings.recipients, field)? else {
            return self.seal(context, Message { head, body: fields::body_of(plain)? });
        };
        let sealed = Attribute::new(SEALED_FIELDS, count.to_string());
        Ok(self.envelope(head.content_type.clone(), sealed, head, body))
    }

    /// The record that carries what is sealed: of the old head only what was configured to stay.
    fn envelope(&self, content_type: String, first: Attribute, head: Head, body: Body) -> Draft {
        let kept = |attribute: &Attribute| self.settings.keep_attributes.contains(&attribute.name);
        let mut attributes = vec![first];
        attributes.extend(head.attributes.into_iter().filter(kept).take(ATTRIBUTES_MAX - 1));
        Draft { key: head.key.filter(|_| self.settings.keep_key), content_type, attributes, body }
    }
}

/// What a sealed body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One COSE_Encrypt message.
    Message,
    /// A message with a key, and segments under it.
    Stream,
}

impl Form {
    /// The media type of the record that carries it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Message => SEALED_CONTENT_TYPE,
            Self::Stream => STREAM_CONTENT_TYPE,
        }
    }

    /// Begins what it is bound to, so that no part of one form opens as the other.
    fn first_line(self) -> &'static str {
        match self {
            Self::Message => "hilum-encrypt-v1",
            Self::Stream => "hilum-encrypt-stream-v1",
        }
    }
}

/// What the sealed body is bound to, so that it opens in no other place: four lines of text without a last line feed.
///
/// A reader knows all of it: the flow it subscribed to, the attribute [`ORIGINAL_CONTENT_TYPE`] and the time in the head.
///
/// # Errors
///
/// A [`Refusal`] where the flow or content type holds a control character, because lines could then be shifted.
pub fn associated_data(form: Form, flow: &str, content_type: &str, time: u64) -> Result<Vec<u8>, Refusal> {
    bound_to(form.first_line(), flow, content_type, time).map(String::into_bytes)
}

/// Begins what a field is bound to; the record's lines follow, and the field's place.
const FIELD_FIRST_LINE: &str = "hilum-encrypt-field-v1";

fn bound_to(first: &str, flow: &str, content_type: &str, time: u64) -> Result<String, Refusal> {
    if [flow, content_type].iter().any(|line| line.chars().any(char::is_control)) {
        return Err(Refusal::new("malformed", "the content type holds a control character"));
    }
    Ok(format!("{first}\n{flow}\n{content_type}\n{time}"))
}

fn refusal(error: &KeyError) -> Refusal {
    let code = match error {
        KeyError::NotGranted(_) => "not-granted",
        KeyError::NoValidKey(_) => "no-valid-key",
        KeyError::Malformed | KeyError::Other(_) => "not-sealed",
    };
    Refusal::new(code, format_args!("the body could not be sealed: {error}"))
}
