//! The plugin on claims as billing systems send them.

use hilum_plugin::testing::{self, Host, context, message};
use serde_json::{Value, json};

use super::*;

/// An interchange of one professional claim, some of whose parts can be chosen.
#[derive(Clone, Copy)]
struct Sent<'a> {
    control: u32,
    provider: &'a str,
    member: &'a str,
    /// A dependent's given name and birth date.
    dependent: Option<(&'a str, &'a str)>,
    claim: &'a str,
    charge: &'a str,
    frequency: &'a str,
    lines: &'a [(&'a str, &'a str, &'a str)],
}

const LINES: [(&str, &str, &str); 2] =
    [("HC:70551", "1250", "20261120"), ("HC:99213:25", "80.5", "20261121")];
const CLAIM: Sent<'_> = Sent {
    control: 42,
    provider: "1234567893",
    member: "MEMBER4711",
    dependent: None,
    claim: "ACCOUNT-1",
    charge: "1330.5",
    frequency: "1",
    lines: &LINES,
};

impl Sent<'_> {
    fn octets(&self) -> Vec<u8> {
        let Sent { control, provider, member, dependent, claim, charge, frequency, lines } = self;
        let mut body = vec![
            "ST*837*0001*005010X222A1".to_owned(),
            "BHT*0019*00*1*20261126*1000*CH".into(),
            "NM1*41*2*ST MARYS*****46*STMARYS".into(),
            "HL*1**20*1".into(),
            format!("NM1*85*2*ST MARYS*****XX*{provider}"),
            "HL*2*1*22*0".into(),
            "SBR*P*18*******CI".into(),
            format!("NM1*IL*1*DOE*JANE****MI*{member}"),
            "DMG*D8*19800102*F".into(),
            "NM1*PR*2*KEY INSURANCE*****PI*999996666".into(),
        ];
        if let Some((given, born)) = dependent {
            body.extend([
                "HL*3*2*23*0".into(),
                "PAT*19".into(),
                format!("NM1*QC*1*DOE*{given}"),
                format!("DMG*D8*{born}*M"),
            ]);
        }
        body.push(format!("CLM*{claim}*{charge}***22:B:{frequency}*Y*A*Y*Y"));
        body.push("HI*ABK:R519".into());
        for (index, (procedure, charge, date)) in lines.iter().enumerate() {
            body.push(format!("LX*{}", index + 1));
            body.push(format!("SV1*{procedure}*{charge}*UN*1***1"));
            body.push(format!("DTP*472*D8*{date}"));
        }
        body.push(format!("SE*{}*0001", body.len() + 1));
        let envelope = format!(
            "ISA*00*          *00*          *ZZ*STMARYS        *ZZ*KEYINSURANCE   *261126*1000*^*00501*{control:09}*0*P*:~\
             GS*HC*STMARYS*KEYINSURANCE*20261126*1000*1*X*005010X222A1~"
        );
        format!("{envelope}{}~GE*1*1~IEA*1*{control:09}~", body.join("~")).into_bytes()
    }

    fn message(&self) -> Message {
        message("application/EDI-X12", self.octets())
    }
}

/// Each record goes to a fresh instance: nothing may depend on an instance's own memory.
fn observe(messages: Vec<Message>) -> Host {
    for message in messages {
        together(vec![message]);
    }
    testing::with(|host| host.clone())
}

fn together(messages: Vec<Message>) {
    let config = json!({"alerts_flow": "billing-alerts", "key": "claims", "window_days": 90});
    ClaimDuplicates::configure(testing::config(config)).unwrap().observe(&context(), messages);
}

fn alerts(host: &Host) -> Vec<Value> {
    host.emitted.iter().map(|emitted| serde_json::from_slice(&emitted.body).unwrap()).collect()
}

#[test]
fn the_same_claim_again_is_told_and_nothing_identifies_anybody() {
    let reordered = [LINES[1], LINES[0]];
    let again = Sent { control: 43, claim: "ACCOUNT-2", charge: "1330.50", lines: &reordered, ..CLAIM };
    let host = observe(vec![CLAIM.message(), again.message()]);
    assert_eq!(
        alerts(&host),
        [json!({"count": 1, "claims": [
            {"interchange": "000000043", "transaction": "0001", "segment": 13, "first_seen": "2023-11-14", "times": 2}]})]
    );
    assert_eq!(host.emitted[0].flow, "billing-alerts");
    assert_eq!((host.counters["claims"], host.counters["duplicates"]), (2, 1));
    let everything = format!("{:?} {:?} {:?}", host.emitted, host.logs, host.state.keys());
    let values: Vec<u8> = host.state.values().flat_map(|kept| kept.value.clone()).collect();
    for identifier in ["4711", "DOE", "JANE", "ACCOUNT", "1234567893", "19800102"] {
        assert!(!everything.contains(identifier), "{identifier} is told");
        assert!(
            !values.windows(identifier.len()).any(|window| window == identifier.as_bytes()),
            "it is kept"
        );
    }
}

#[test]
fn each_part_makes_it_another_claim() {
    let others = [
        Sent { provider: "1993999998", ..CLAIM },
        Sent { member: "MEMBER4712", ..CLAIM },
        Sent { dependent: Some(("JIM", "20150505")), ..CLAIM },
        Sent { dependent: Some(("TIM", "20150505")), ..CLAIM },
        Sent { charge: "1330.51", ..CLAIM },
        Sent { lines: &LINES[..1], ..CLAIM },
        Sent { lines: &[("HC:70551", "1250", "20261121"), LINES[1]], ..CLAIM },
        Sent { lines: &[("HC:70551:26", "1250", "20261120"), LINES[1]], ..CLAIM },
        Sent { lines: &[LINES[0], LINES[1], LINES[1]], ..CLAIM },
    ];
    let messages: Vec<Message> = [CLAIM].iter().chain(&others).map(Sent::message).collect();
    let host = observe(messages);
    assert_eq!((host.emitted.len(), host.counters["claims"]), (0, 10));
    // In one batch each is found again.
    together([CLAIM].iter().chain(&others).map(Sent::message).collect());
    assert_eq!(testing::take().counters["duplicates"], 10);
}

#[test]
fn a_correction_is_no_duplicate() {
    let replacement = Sent { frequency: "7", ..CLAIM };
    let host = observe(vec![CLAIM.message(), replacement.message(), replacement.message()]);
    assert!(host.emitted.is_empty());
    // A void takes the claim back, so that it can be made anew; once.
    let void = Sent { frequency: "8", ..CLAIM };
    assert!(observe(vec![void.message(), CLAIM.message()]).emitted.is_empty());
    assert_eq!(observe(vec![CLAIM.message()]).emitted.len(), 1);
}

#[test]
fn a_claim_is_forgotten_after_its_window() {
    let at = |day: u64| {
        let mut message = CLAIM.message();
        message.head.time += day * DAY_MS;
        message
    };
    assert_eq!(observe(vec![at(0), at(90)]).emitted.len(), 0);
    assert_eq!(observe(vec![at(179)]).emitted.len(), 1, "within 90 days of the second");
    assert_eq!(testing::take().state.len(), 1);
}

#[test]
fn institutional_and_dental_claims_are_read_too() {
    let octets = |institutional: bool| {
        let text = String::from_utf8(CLAIM.octets()).unwrap();
        let text = match institutional {
            true => text
                .replace("HI*ABK:R519", "DTP*434*RD8*20261120-20261121")
                .replace("SV1*HC:70551*1250*UN*1***1", "SV2*0611*HC:70551*1250*UN*1")
                .replace("SV1*HC:99213:25*80.5*UN*1***1", "SV2*0510**80.5*UN*1")
                .replace("X222A1", "X223A2"),
            false => text
                .replace("SV1*HC:70551*1250*UN*1***1", "SV3*AD:D0120*1250****1")
                .replace("SV1*HC:99213:25*80.5*UN*1***1", "SV3*AD:D1110*80.5****1")
                .replace("X222A1", "X224A2"),
        };
        text.into_bytes()
    };
    let sent = |institutional| message(X12_CONTENT_TYPE, octets(institutional));
    let host = observe(vec![sent(true), sent(false), CLAIM.message()]);
    assert_eq!((host.emitted.len(), host.counters["claims"], host.counters.get("incomplete")), (0, 3, None));
    assert_eq!(observe(vec![sent(true), sent(false)]).emitted.len(), 2);
}

#[test]
fn what_cannot_be_compared_is_counted_and_logged_without_values() {
    let whole = CLAIM.octets();
    let host = observe(vec![
        message(X12_CONTENT_TYPE, whole[..whole.len() - 40].to_vec()),
        Sent { member: "", ..CLAIM }.message(),
        Sent { charge: "DOE", ..CLAIM }.message(),
        Sent { lines: &[], ..CLAIM }.message(),
        message("application/dicom", whole),
    ]);
    assert_eq!((host.counters["malformed"], host.counters["incomplete"]), (1, 3));
    assert!(host.state.is_empty() && host.logs.len() == 1 && !format!("{:?}", host.logs).contains("DOE"));
    testing::with(|host| host.denied.insert("claims".into()));
    let host = observe(vec![CLAIM.message()]);
    assert_eq!((host.counters["unkept"], host.logs.len()), (1, 2));
}

#[test]
fn the_schema_and_the_check_agree() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&json!({"alerts_flow": "a", "key": "k"})));
    for (wrong, at) in [
        (json!({"alerts_flow": "", "key": "k"}), "/alerts_flow"),
        (json!({"alerts_flow": "a", "key": ""}), "/key"),
        (json!({"alerts_flow": "a", "key": "k", "window_days": 0}), "/window_days"),
    ] {
        assert!(!validator.is_valid(&wrong));
        assert_eq!(ClaimDuplicates::configure(testing::config(wrong)).unwrap_err().at, at);
    }
}
