//! A record's head on the wire: fixed here, so that the record's type may grow without changing the protocol.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bounded;
use crate::limits;
use crate::name::Label;
use crate::record::{Attribute, Head, Timestamp, TraceContext};

#[derive(Serialize)]
struct Sent<'a> {
    time: Timestamp,
    expires: Option<Timestamp>,
    deliver_after: Option<Timestamp>,
    key: Option<&'a str>,
    content_type: &'a str,
    attributes: &'a [Attribute],
    #[serde(serialize_with = "labels_as_text")]
    labels: &'a [Label],
    trace: Option<TraceContext>,
}

#[derive(Deserialize)]
struct Received {
    time: Timestamp,
    expires: Option<Timestamp>,
    deliver_after: Option<Timestamp>,
    key: Option<String>,
    content_type: String,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ATTRIBUTES_MAX }>")]
    attributes: Vec<Attribute>,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::LABELS_MAX }>")]
    labels: Vec<Label>,
    trace: Option<TraceContext>,
}

fn labels_as_text<S: Serializer>(labels: &&[Label], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(labels.iter().map(Label::as_str))
}

pub(super) fn serialize<S: Serializer>(head: &Head, serializer: S) -> Result<S::Ok, S::Error> {
    let Head { time, expires, deliver_after, key, content_type, attributes, labels, trace } = head;
    let (time, expires, deliver_after, trace) = (*time, *expires, *deliver_after, *trace);
    let key = key.as_deref();
    Sent { time, expires, deliver_after, key, content_type, attributes, labels, trace }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Head, D::Error> {
    let Received { time, expires, deliver_after, key, content_type, attributes, labels, trace } =
        Received::deserialize(deserializer)?;
    Ok(Head { time, expires, deliver_after, key, content_type, attributes, labels, trace })
}
