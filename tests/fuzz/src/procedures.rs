//! The plugin `claims`: what the sides say is what the middle believes, has MACs and coarse facts only, and is said again to no effect.

use std::cell::RefCell;

use hilum_claims::{
    Claims, DICOM_CONTENT_TYPE, FINDING_CONTENT_TYPE, HL7_CONTENT_TYPE, NOTICE_CONTENT_TYPE, X12_CONTENT_TYPE,
};
use hilum_plugin::testing::{self, Host};
use hilum_plugin::{Body, Context, Message, Observe as _};
use serde_json::{Value, json};

use crate::memory;
use crate::plugin::{count, emitted, observe, twice};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Of the middle's state.
const VALUES_MAX: usize = 4096;
const VALUE_OCTETS_MAX: usize = 4096;

thread_local! {
    static PERFORMED: RefCell<Claims> = RefCell::new(observe(&json!({"part": "performed", "notices_flow": "procedures",
        "key": "claims", "procedures": {"24590-2": "MR/head"}})));
    static CLAIMED: RefCell<Claims> = RefCell::new(observe(&json!({"part": "claimed", "notices_flow": "procedures",
        "key": "claims", "crosswalk": "70551-70553 MR head\n70450-70470 CT head\n71045-71048 DX chest"})));
    static MATCH: RefCell<Claims> = RefCell::new(observe(&json!({"part": "match", "findings_flow": "findings"})));
}

/// The first octet chooses the side; the others are an object, a message, an interchange, or notices in lines.
pub fn check(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else { return };
    match choice % 4 {
        0 => performed(DICOM_CONTENT_TYPE, body),
        1 => performed(HL7_CONTENT_TYPE, body),
        2 => claimed(body),
        _ => {
            drop(matched(body.split(|octet| *octet == b'\n').map(<[u8]>::to_vec)));
        }
    }
}

fn performed(content_type: &str, body: &[u8]) {
    let [first, both] = PERFORMED.with_borrow_mut(|plugin| twice(plugin, content_type, body));
    assert_eq!(emitted(&both).len(), emitted(&first).len(), "what was done was said twice");
    assert_eq!(emitted(&first).len() as u64, count(&first, "performed"));
    believed(&first);
}

fn claimed(body: &[u8]) {
    let [first, both] = CLAIMED.with_borrow_mut(|plugin| twice(plugin, X12_CONTENT_TYPE, body));
    let (once, again) = (emitted(&first), emitted(&both));
    assert!(again.starts_with(&once) && again.ends_with(&once) && again.len() == 2 * once.len());
    assert_eq!(count(&both, "claimed"), 2 * count(&first, "claimed"));
    believed(&first);
}

/// The middle reads all of what a side says, and finds nothing malformed in it.
fn believed(side: &Host) {
    assert!(side.emitted.iter().all(|notice| {
        notice.content_type == NOTICE_CONTENT_TYPE && notice.key.is_none() && notice.attributes.is_empty()
    }));
    let host = matched(side.emitted.iter().map(|notice| notice.body.clone()));
    assert_eq!(count(&host, "malformed"), 0, "{:?}", emitted(side));
}

/// Shows notices to the middle, each of them twice; what the host has seen.
fn matched(notices: impl Iterator<Item = Vec<u8>>) -> Host {
    drop(testing::take());
    let mut context: Context = testing::context();
    context.source.principal = "spiffe://st-marys/plugin/seen".into();
    for body in notices {
        let findings = [(); 2].map(|()| {
            let message = Message { head: testing::head(NOTICE_CONTENT_TYPE), body: Body::Inline(body.clone()) };
            MATCH.with_borrow_mut(|plugin| plugin.observe(&context, vec![message]));
            testing::with(|host| host.emitted.len())
        });
        let told = || testing::with(|host| emitted(host));
        assert_eq!(findings[0], findings[1], "the same notice again is no finding: {:?}", told());
    }
    let host = testing::take();
    assert!(host.logs.is_empty(), "{:?}", host.logs);
    assert!(host.state.len() < VALUES_MAX);
    assert!(host.state.values().all(|kept| kept.value.len() <= VALUE_OCTETS_MAX));
    assert!(host.emitted.iter().all(|finding| finding.content_type == FINDING_CONTENT_TYPE));
    emitted(&host).iter().for_each(is_coarse);
    host
}

/// A finding has a place in an interchange, a code, years and words of a vocabulary.
fn is_coarse(finding: &Value) {
    match finding {
        Value::String(text) => {
            let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'/';
            assert!(text.len() <= 40 && text.bytes().all(plain), "{text}");
        }
        Value::Array(items) => items.iter().for_each(is_coarse),
        Value::Object(members) => members.values().for_each(is_coarse),
        _ => {}
    }
}

/// The objects, messages and interchanges of other targets, results and orders with their numbers, and notices of both sides.
pub fn seeds() -> Vec<Vec<u8>> {
    let of = |choice: u8, text: &[u8]| [&[choice][..], text].concat();
    let mut seeds: Vec<Vec<u8>> = crate::deidentify::dicom_seeds().iter().map(|object| of(0, object)).collect();
    seeds.extend(crate::hl7::seeds().iter().map(|text| of(1, text)));
    let header = "MSH|^~\\&|RIS|SM|H|SM|20261102||";
    let body = "PID|1||MRN4711^^^SM^MR||DOE^JANE\r";
    for text in [
        format!(
            "{header}ORU^R01^ORU_R01|1|P|2.5.1\r{body}OBR|1|ACC1||24590-2^MR^LN|||20261102093000||||||||||||||||||F\r"
        ),
        format!(
            "{header}ORM^O01|1|P|2.3\r{body}ORC|SC|A1|A2||CM\rOBR|1|A1|A2|24590-2|||20261102|||||||||||A3\r"
        ),
        format!("{header}ORM^O01|1|P|2.3\r{body}ORC|CA|A1|A2||CA\rOBR|1|A1|A2|24590-2|||20261102\r"),
    ] {
        seeds.push(of(1, text.as_bytes()));
    }
    seeds.extend(crate::claims::seeds().iter().map(|text| of(2, text)));
    // Each number has a code of its own.
    let code = |of: &str| of.repeat(16);
    let [accession, study, visit, one, other] = ["a1", "b2", "c3", "d4", "e5"].map(code);
    let performed = json!({"side": "performed", "accession": accession, "study": study, "visit": visit, "modality": "MR", "region": "head",
        "year": 2023, "hidden_day": 4711});
    let claimed = |claim: &str, frequency: &str, code: &str, kind: &str| {
        json!({"side": "claimed", "claim": claim, "frequency": frequency, "at": "000000042/0001/8", "lines": [
            {"accession": accession, "visit": visit, "code": code, "component": "global", "year": 2023, "hidden_day": 4711,
             "fits": [{"modality": kind, "region": "head"}]}]})
    };
    let mut cancelled = performed.clone();
    cancelled["cancelled"] = true.into();
    let lines = [
        performed,
        claimed(&one, "original", "70551", "MR"),
        claimed(&other, "original", "70551", "MR"),
        claimed(&other, "replacement", "70450", "CT"),
        claimed(&one, "void", "70551", "MR"),
        cancelled,
    ];
    let lines = lines.map(|notice| notice.to_string());
    seeds.extend(lines.iter().map(|line| of(3, line.as_bytes())));
    seeds.push(of(3, lines.join("\n").as_bytes()));
    seeds
}
