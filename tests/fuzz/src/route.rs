//! The example `hl7-route`: whatever comes is refused or routed, and a message of a batch is routed as it would be alone.

use std::cell::RefCell;

use hilum_hl7_route::{CONTENT_TYPES, Route};
use hilum_plugin::{Attribute, testing};
use serde_json::json;

use crate::memory;
use crate::plugin::{Made, run, transform};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Of a value that becomes an attribute: the limit that the plugin's page names.
const VALUE_OCTETS_MAX: usize = 256;

thread_local! {
    static PLUGINS: RefCell<[Route; 3]> = RefCell::new(["keep", "patient", "visit"].map(|key| {
        let fields = json!([{"field": "PID-8.1", "in": ["F"]}, {"field": "PV1-10", "in": ["C*"]}]);
        transform(&json!({"key": key, "describe": key != "visit", "rules": [
            {"name": "test", "when": {"processing": ["T"]}, "set": {"route": "test"}},
            {"name": "ward", "when": {"message": ["ADT^*"], "location": ["I*"]}, "set": {"route": "ward"}},
            {"name": "fields", "when": {"fields": fields}, "set": {"route": "fields"}},
        ]}))
    }));
}

/// The first octet chooses what becomes the key; the others are a message or a batch.
pub fn check(octets: &[u8]) {
    let Some((choice, text)) = octets.split_first() else { return };
    PLUGINS.with_borrow_mut(|plugins| {
        let plugin = &mut plugins[usize::from(choice % 3)];
        let mut routed = |body: &[u8]| run(plugin, testing::message(CONTENT_TYPES[0], body));
        match routed(text) {
            None => {}
            Some(Made::Same(attributes)) => attributes.iter().for_each(plain),
            Some(Made::Other(records)) => {
                for record in &records {
                    record.attributes.iter().for_each(plain);
                    let place = |attribute: &&Attribute| attribute.name != "hl7-batch-place";
                    let expected: Vec<_> = record.attributes.iter().filter(place).cloned().collect();
                    match routed(&record.body).expect("a message of the batch is a message") {
                        Made::Same(attributes) => {
                            assert_eq!((attributes, None), (expected, record.key.as_ref()))
                        }
                        Made::Other(alone) => {
                            let [alone] = &alone[..] else { panic!("one message became several") };
                            assert_eq!((&alone.key, &alone.body), (&record.key, &record.body));
                            assert_eq!(alone.attributes, expected);
                        }
                    }
                }
                // Nothing is made up: the headers and trailers of the batch are left out.
                let of_messages: usize = records.iter().map(|record| record.body.len()).sum();
                assert!(of_messages <= text.len());
            }
        }
    });
}

fn plain(attribute: &Attribute) {
    let value = &attribute.value;
    assert!(value.len() <= VALUE_OCTETS_MAX && !value.contains(char::is_control), "{}", attribute.name);
}

/// The messages of the reader's target, and batches with all that routes are chosen by.
pub fn seeds() -> Vec<Vec<u8>> {
    let admission = "MSH|^~\\&|ADT1|ST-MARYS|HILUM|ST-MARYS|20261126||ADT^A01^ADT_A01|1|P|2.5.1\rEVN|A01\r\
PID|1||4711^^^ST-MARYS^MR||Doe^Jane||1980|F\rPV1|1|I|ICU^3||||D^R|||CAR|||||||||V0815\r";
    let result = "MSH|^~\\&|LAB|EAST|||20261126||ORU^R01|2|T|2.3\rPID|1||4712\rOBX|1|NM|2345-7||95\r";
    let batch = format!(
        "FHS|^~\\&|HUB\rBHS|^~\\&|HUB\r{admission}{result}BTS|2\rBHS|^~\\&|HUB\r{admission}BTS|1\rFTS|2\r"
    );
    let mut texts = crate::hl7::seeds();
    texts.extend(
        [admission, result, &batch, &format!("{admission}{result}")].map(|text| text.as_bytes().to_vec()),
    );
    texts.iter().flat_map(|text| (0..3).map(|choice| [&[choice][..], text].concat())).collect()
}
