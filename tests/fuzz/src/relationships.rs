//! The plugin `relationships`: whatever comes is learned from or stopped, what is kept is bounded and names nobody, and what comes again
//! changes nothing.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use hilum_formats::care::{KNOWN_OCTETS_MAX, Known, Tag};
use hilum_plugin::testing::{self, Host};
use hilum_plugin::{Body, Message, Observe as _};
use hilum_relationships::{FHIR, HL7, OPT_OUT, Relationships};
use serde_json::{Value, json};

use crate::memory;
use crate::plugin::observe;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Of one patient.
const STAYS_MAX: usize = 48;
const CARERS_MAX: usize = 64;
const CONSENTS_MAX: usize = 64;
/// What the plugin ends a call with whose record it stops.
const STOPPED: &str = "a record cannot be learned from";

thread_local! {
    static PLUGIN: RefCell<Relationships> = RefCell::new(observe(&json!({
        "identifiers": {
            "authorities": {"st-marys": ["ST-MARYS", "urn:oid:1.2.3"], "fhir": []},
            "unnamed": "st-marys", "references": "fhir",
        },
        "grace_hours": 48, "time_zone": "CET-1CEST,M3.5.0,M10.5.0/3",
    })));
}

/// The first octet chooses the content type; the others are a record.
pub fn check(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else { return };
    let content_type = [HL7, FHIR, OPT_OUT][usize::from(choice % 3)];
    drop(testing::take());
    testing::with(|host| host.now = testing::head("").time + 3_600_000);
    if !learned(content_type, body) {
        drop(testing::take());
        return;
    }
    let first = testing::with(|host| host.clone());
    let patients = known(&first);
    // A batch may end one stay and begin it again, and what is merged in a row leads elsewhere afterwards; other messages say one thing.
    let is_single = hilum_formats::hl7::Document::parse(body).is_ok_and(|of| of.messages().count() == 1);
    let is_merged = patients.iter().any(|(_, known)| known.get("merged_into").is_some());
    if content_type != HL7 || (is_single && !is_merged) {
        assert!(learned(content_type, body), "what was kept once is kept again");
        assert_eq!(known(&testing::with(|host| host.clone())), patients, "the same record said something else");
    }
    PLUGIN.with_borrow_mut(|plugin| plugin.tick(testing::head("").time + 7_200_000));
    drop(testing::take());
}

/// Shows a record to the plugin; whether it was taken in.
fn learned(content_type: &str, body: &[u8]) -> bool {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            if about.payload().downcast_ref::<&str>() != Some(&STOPPED) {
                before(about);
            }
        }));
    });
    let message = Message { head: testing::head(content_type), body: Body::Inline(body.to_vec()) };
    let told = |plugin: &mut Relationships| plugin.observe(&testing::context(), vec![message]);
    let done = PLUGIN.with_borrow_mut(|plugin| panic::catch_unwind(AssertUnwindSafe(|| told(plugin))));
    if let Err(cause) = &done {
        assert_eq!(cause.downcast_ref::<&str>(), Some(&STOPPED));
        let said = testing::with(|host| host.logs.last().map(|(_, line)| line.clone()));
        assert!(said.is_some_and(|line| line.starts_with("a record is stopped: ")));
    }
    done.is_ok()
}

/// What is kept of each patient, by key; when somebody looks whether it is over is left out.
fn known(host: &Host) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, kept) in &host.state {
        assert!(kept.value.len() <= KNOWN_OCTETS_MAX, "{key}");
        let Some(tag) = key.strip_prefix("patient/") else {
            let is_hour = key.strip_prefix("due/").is_some_and(|hour| hour.parse::<u64>().is_ok());
            assert!(is_hour && kept.value.chunks(32).all(|tag| Tag::parse(tag).is_some()), "{key}");
            continue;
        };
        assert!(Tag::parse(tag.as_bytes()).is_some(), "{key}");
        let known = Known::decode(&kept.value).expect("what was written can be read");
        assert_eq!(known.encode(), kept.value);
        assert!(known.stays.len() <= STAYS_MAX && known.consents.len() <= CONSENTS_MAX, "{known:?}");
        assert!(known.stays.iter().all(|stay| stay.carers.len() <= CARERS_MAX), "{known:?}");
        let mut document = serde_json::from_slice(&kept.value).expect("it is JSON");
        names_nobody(&document);
        document["due"] = Value::Null;
        found.push((key.clone(), document));
    }
    found
}

/// Every text is a tag or a word of a vocabulary; labels and classes are codes as the consent has them.
fn names_nobody(value: &Value) {
    match value {
        Value::String(text) => {
            let is_word = text.len() <= 32 && text.bytes().all(|octet| octet.is_ascii_alphabetic() || octet == b'-');
            assert!(is_word || Tag::parse(text.as_bytes()).is_some(), "`{text}` is kept");
        }
        Value::Array(items) => items.iter().for_each(names_nobody),
        Value::Object(members) => {
            let others = members.iter().filter(|(name, _)| !["labels", "classes"].contains(&name.as_str()));
            others.for_each(|(_, member)| names_nobody(member));
        }
        _ => {}
    }
}

/// Messages of the reader's target, one of each kind that teaches something, a batch of them, a consent and a list.
pub fn seeds() -> Vec<Vec<u8>> {
    let pid = "PID|1||4711^^^ST-MARYS^MR~99^^^GOV^SS||Doe^Jane||19700101|F\r";
    let visit = "PV1|1|I|4-WEST^101^A^ST-MARYS||||D1^Lee^Ann|D2^Ref^Eve|D3~D5||||||||D4^Adm^Max||V-1\r";
    let header = |kind: &str| format!("MSH|^~\\&|ADT|ST-MARYS|||20260301||{kind}|7|P|2.5.1\rEVN||20260301\r");
    let mut texts: Vec<String> = Vec::new();
    for kind in ["A01", "A02", "A03", "A04", "A08", "A11", "A13"] {
        texts.push(format!("{}{pid}{visit}", header(&format!("ADT^{kind}^ADT_A01"))));
    }
    texts.push(format!("{}{pid}MRG|4712^^^ST-MARYS^MR\r", header("ADT^A40^ADT_A39")));
    for kind in ["S12", "S14", "S15"] {
        texts.push(format!(
            "{}SCH|P-1|F-1^RIS|||||ROUTINE|MR|30|min|^^30^202603111000\rTQ1|1||||||202603111000|202603111030\r\
             {pid}RGS|1\rAIP|1|A|D1^Scan^Sue|MD\rAIP|2|D|D9^Off\rAIL|1|A|MR-ROOM^^^ST-MARYS\r",
            header(&format!("SIU^{kind}^SIU_S12"))
        ));
    }
    texts.push(format!("BHS|^~\\&|HUB\r{}BTS|3\r", texts[..3].concat()));
    let consent = json!({
        "resourceType": "Consent", "id": "c1", "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "patient": {"reference": "Patient/77", "identifier": {"system": "urn:oid:1.2.3", "value": "4711"}},
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "provision": {
            "type": "permit", "period": {"start": "2026-01-01", "end": "2026-12-31"}, "purpose": [{"code": "HRESCH"}],
            "provision": [{
                "type": "deny", "actor": [{"role": {}, "reference": {"reference": "Organization/pharma"}}],
                "action": [{"coding": [{"code": "access"}]}], "securityLabel": [{"code": "R"}],
                "class": [{"code": "ImagingStudy"}]
            }]
        }
    });
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": consent.clone()}]});
    let list = json!({"patients": [
        {"authority": "st-marys", "value": "4711", "purposes": ["HRESCH"], "opts": "out"},
        {"authority": "st-marys", "value": "4712", "opts": "in"},
    ]});
    let of = |choice: u8, text: &[u8]| [&[choice][..], text].concat();
    let mut seeds: Vec<Vec<u8>> = crate::hl7::seeds().iter().map(|text| of(0, text)).collect();
    seeds.extend(texts.iter().map(|text| of(0, text.as_bytes())));
    seeds.extend([consent, bundle].map(|resource| of(1, resource.to_string().as_bytes())));
    seeds.push(of(2, list.to_string().as_bytes()));
    seeds
}
