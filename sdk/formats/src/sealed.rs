//! What a sealed body or field is bound to: the head of its record, as whoever opens it sees it. Both sides make this text, the plugin
//! `encrypt` and the client SDK; `plugins/encrypt/README.md` describes it for all others.

use std::fmt::Write as _;

/// The attribute with the media type of what is sealed.
pub const ORIGINAL_CONTENT_TYPE: &str = "original-content-type";
/// The attribute that says how many fields of a body are sealed in their places.
pub const SEALED_FIELDS: &str = "sealed-fields";
/// The attribute that says who the record comes from.
pub const RECORD_SOURCE: &str = "record-source";
/// The attribute that no other sealed record has with this value. It ends what is bound: attributes behind it were added later.
pub const RECORD_ID: &str = "record-id";

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A body, as one message.
    Message,
    /// A body, as a stream of segments.
    Stream,
    /// A field in its place.
    Field,
}

impl Form {
    /// Begins the text, so that nothing of one form opens as another.
    #[must_use]
    pub fn first_line(self) -> &'static str {
        match self {
            Self::Message => "hilum-encrypt-v2",
            Self::Stream => "hilum-encrypt-stream-v2",
            Self::Field => "hilum-encrypt-field-v2",
        }
    }
}

/// The head of a sealed record, and where it is.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The flow's name.
    pub flow: &'a str,
    /// The record's own media type, as it is when it is sealed.
    pub content_type: &'a str,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The record's key, where it kept one.
    pub key: Option<&'a str>,
}

/// Why a head has no such text. Names parts of the head, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// A line would be two.
    #[error("{0} holds a line feed")]
    LineFeed(&'static str),
    /// It is not known where what is bound ends.
    #[error("the record has no attribute `{RECORD_ID}`, which a sealed one has")]
    RecordId,
}

/// The text: the first line of the form; flow, content type and time; the key; and each attribute up to [`RECORD_ID`], in the record's
/// order. A line feed is between two lines, and none at the end.
///
/// # Errors
///
/// [`BoundError`].
pub fn bound_text<'a>(
    form: Form,
    place: Place<'_>,
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, BoundError> {
    let Place { flow, content_type, time, key } = place;
    let whole = |what, text: &str| match text.contains('\n') {
        true => Err(BoundError::LineFeed(what)),
        false => Ok(()),
    };
    whole("the flow", flow)?;
    whole("the content type", content_type)?;
    let mut text = format!("{}\n{flow}\n{content_type}\n{time}\nkey", form.first_line());
    if let Some(key) = key {
        whole("the key", key)?;
        text.extend([" ", key]);
    }
    for (name, value) in attributes {
        whole("an attribute", name)?;
        whole("an attribute", value)?;
        // Names have no space, so that where a value begins is certain.
        write!(text, "\n{name} {value}").expect("a string takes all");
        if name == RECORD_ID {
            return Ok(text);
        }
    }
    Err(BoundError::RecordId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { flow: "imaging", content_type: "a/b", time: 7, key: None };

    #[test]
    fn the_text_is_the_head_up_to_the_records_own_id() {
        let attributes = [("ward", "3 b"), (RECORD_ID, "0a"), ("later", "x")];
        let text = bound_text(Form::Message, PLACE, attributes).unwrap();
        assert_eq!(text, "hilum-encrypt-v2\nimaging\na/b\n7\nkey\nward 3 b\nrecord-id 0a");
        let keyed = Place { key: Some("4711"), ..PLACE };
        let text = bound_text(Form::Stream, keyed, [(RECORD_ID, "0a")]).unwrap();
        assert_eq!(text, "hilum-encrypt-stream-v2\nimaging\na/b\n7\nkey 4711\nrecord-id 0a");
        let empty = bound_text(Form::Stream, Place { key: Some(""), ..PLACE }, [(RECORD_ID, "0a")]).unwrap();
        assert_ne!(empty, bound_text(Form::Stream, PLACE, [(RECORD_ID, "0a")]).unwrap());
    }

    #[test]
    fn no_line_becomes_two_and_none_is_missing() {
        let id = (RECORD_ID, "0a");
        let bound = |place, attributes: &[(&'static str, &'static str)]| {
            bound_text(Form::Field, place, attributes.iter().copied()).unwrap_err()
        };
        let key = Place { key: Some("a\nb"), ..PLACE };
        assert_eq!(bound(key, &[id]), BoundError::LineFeed("the key"));
        let content_type = Place { content_type: "a/b\n1", ..PLACE };
        assert_eq!(bound(content_type, &[id]), BoundError::LineFeed("the content type"));
        assert_eq!(bound(PLACE, &[("ward", "3\n4"), id]), BoundError::LineFeed("an attribute"));
        assert_eq!(bound(PLACE, &[("ward", "3")]), BoundError::RecordId);
    }
}
