//! Finding what we look for in OTLP's protobuf messages, without a decoder for all of them.
//!
//! An attribute is a `KeyValue` (opentelemetry/proto/common/v1): its key's octets, then field 2 with an `AnyValue`, in which
//! field 1 is a string. Attributes of one span follow each other.

use std::collections::BTreeMap;

/// The attributes that say of a delivery what became of it; the first two come before the third.
const FLOW: &str = "messaging.destination.name";
const SUBSCRIPTION: &str = "messaging.consumer.group.name";
const WITHHELD: &str = "hilum.delivery.withheld";

/// Tag of a `KeyValue`'s value: field 2, with a length.
const VALUE_TAG: u8 = 0x12;
/// Tag of an `AnyValue`'s string: field 1, with a length.
const STRING_TAG: u8 = 0x0A;

/// How often `needle` is in `octets`: a trace's identifier, for example, is once in each of its spans.
#[must_use]
pub fn count(octets: &[u8], needle: &[u8]) -> usize {
    octets.windows(needle.len().max(1)).filter(|window| *window == needle).count()
}

/// Why records were withheld: flow, subscription and reason, with how often.
#[must_use]
pub fn withheld(octets: &[u8]) -> BTreeMap<[String; 3], usize> {
    let (mut flow, mut subscription) = (String::new(), String::new());
    let mut reasons = BTreeMap::new();
    for position in 0..octets.len() {
        let rest = &octets[position..];
        if let Some(value) = string_attribute(rest, FLOW) {
            flow = value;
        } else if let Some(value) = string_attribute(rest, SUBSCRIPTION) {
            subscription = value;
        } else if let Some(reason) = string_attribute(rest, WITHHELD) {
            *reasons.entry([flow.clone(), subscription.clone(), reason]).or_default() += 1;
        }
    }
    reasons
}

/// The value of the attribute `key`, if `octets` begin with it.
fn string_attribute(octets: &[u8], key: &str) -> Option<String> {
    let rest = octets.strip_prefix(key.as_bytes())?;
    let (_, rest) = length(rest.strip_prefix(&[VALUE_TAG])?)?;
    let (octets_of_string, rest) = length(rest.strip_prefix(&[STRING_TAG])?)?;
    String::from_utf8(rest.get(..octets_of_string)?.to_vec()).ok()
}

/// A varint of up to four octets, and what follows it.
fn length(octets: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, octet) in octets.iter().take(4).enumerate() {
        value |= usize::from(octet & 0x7F) << (7 * index);
        if octet & 0x80 == 0 {
            return Some((value, &octets[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `KeyValue` with a string, as an exporter writes it.
    fn key_value(key: &str, value: &str) -> Vec<u8> {
        let varint = |length: usize| match u8::try_from(length) {
            Ok(octet) if octet < 0x80 => vec![octet],
            _ => vec![u8::try_from(length & 0x7F).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()],
        };
        let string = [&[STRING_TAG][..], &varint(value.len()), value.as_bytes()].concat();
        [&varint(key.len()), key.as_bytes(), &[VALUE_TAG], &varint(string.len()), &string].concat()
    }

    #[test]
    fn reads_the_reasons_of_each_subscription() {
        let long = "x".repeat(200);
        let span = |flow: &str, subscription: &str, reason: &str| {
            [key_value(FLOW, flow), key_value(SUBSCRIPTION, subscription), key_value(WITHHELD, reason)]
                .concat()
        };
        let octets = [
            span("imaging", "research", &long),
            key_value(FLOW, "device"),
            span("billing", "insurer", "no-policy"),
            span("billing", "insurer", "no-policy"),
        ];
        let expected = BTreeMap::from([
            (["billing".into(), "insurer".into(), "no-policy".into()], 2),
            (["imaging".into(), "research".into(), long], 1),
        ]);
        assert_eq!(withheld(&octets.concat()), expected);
    }

    #[test]
    fn octets_that_end_early_are_no_attribute() {
        let whole = key_value(WITHHELD, "reason");
        for end in 0..whole.len() {
            assert_eq!(withheld(&whole[..end]), BTreeMap::new());
        }
    }

    #[test]
    fn counts_every_place() {
        assert_eq!(count(b"abcabcab", b"ab"), 3);
        assert_eq!(count(b"", b"ab"), 0);
    }
}
