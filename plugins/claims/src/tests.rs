//! All three parts, one after the other: what goes in at the sides, what the middle gets, and what is found.

use hilum_formats::dicom::Encoding;
use hilum_formats::dicom::build::{EXPLICIT, Elements};
use hilum_plugin::testing::{self, Emitted, context, message, with};
use hilum_plugin::{Config, Context};
use serde_json::{Value, json};

use super::*;

/// Numbers that name a patient, an examination or a claim.
const PLANTED: [&str; 5] = ["MRN4711", "ACC0815", "1.2.826.0.1.3680043.99.7", "CLAIM99", "MEMBER42"];
const CROSSWALK: &str =
    "70551-70553 MR head # brain\n70450-70470 CT head\n71250-71275 CT chest\n71045-71048 DX chest\n\n";
/// Days of services, as records and people write them, and as they are counted.
const PLANTED_DAYS: [&str; 6] = ["20261102", "2026-11-02", "20261109", "2026-11-09", "20759", "20766"];
/// 2026-11-02, a Monday.
const TODAY: u64 = 20_759;

fn configured(config: Value) -> Claims {
    fn settings<C: Config>(config: Value) -> C {
        serde_json::from_value(config).unwrap()
    }
    Claims::configure(settings(config)).unwrap()
}

fn clinical() -> Claims {
    configured(json!({"part": "performed", "notices_flow": "procedures", "key": "claims",
        "procedures": {"24590-2": "MR/head"}}))
}

fn billing() -> Claims {
    configured(
        json!({"part": "claimed", "notices_flow": "procedures", "key": "claims", "crosswalk": CROSSWALK}),
    )
}

fn matching() -> Claims {
    configured(json!({"part": "match", "findings_flow": "findings", "claim_days": 30, "procedure_days": 7}))
}

fn at(mut message: Message, day: u64) -> Message {
    message.head.time = day * DAY_MS + 1000;
    message
}

fn image(accession: &str, modality: &str, part: &str) -> Message {
    let object = Elements::new(Encoding::EXPLICIT_LITTLE)
        .text(0x0008_0016, "UI", "1.2.840.10008.5.1.4.1.1.4")
        .text(0x0008_0018, "UI", "1.2.3.4")
        .text(0x0008_0020, "DA", "20261102")
        .text(0x0008_0050, "SH", accession)
        .text(0x0008_0060, "CS", modality)
        .text(0x0010_0010, "PN", "DOE^JANE")
        .text(0x0010_0020, "LO", "MRN4711")
        .text(0x0018_0015, "CS", part)
        .text(0x0020_000D, "UI", "1.2.826.0.1.3680043.99.7")
        .text(0x0020_0010, "SH", "x")
        .part_10(EXPLICIT);
    at(message(DICOM_CONTENT_TYPE, object), TODAY)
}

fn result(accession: &str, status: &str) -> Message {
    let text = format!(
        "MSH|^~\\&|RIS|SM|H|SM|20261102||ORU^R01^ORU_R01|1|P|2.5.1\rPID|1||MRN4711^^^SM^MR||DOE^JANE\rOBR|1|{accession}||24590-2^MR^LN|||20261102093000||||||||||||||||||{status}\r"
    );
    at(message(HL7_CONTENT_TYPE, text), TODAY)
}

/// A claim: number, frequency, lines of procedure, day and accession number.
fn claim(number: &str, frequency: &str, lines: &[(&str, &str, &str)]) -> Message {
    let header = "ISA*00*          *00*          *ZZ*CLINIC         *ZZ*PAYER          *261103*0000*^*00501*000000042*0*P*:~";
    let mut text = format!(
        "{header}GS*HC*CLINIC*PAYER*20261103*0000*1*X*005010X222A1~ST*837*0001*005010X222A1~HL*1**20*1~\
         NM1*85*2*CLINIC*****XX*1234567893~HL*2*1*22*0~NM1*IL*1*DOE*JANE****MI*MEMBER42~\
         CLM*{number}*1250***22:B:{frequency}*Y*A*Y*Y~REF*EA*MRN4711~"
    );
    for (index, (procedure, day, accession)) in lines.iter().enumerate() {
        text += &format!("LX*{}~SV1*HC:{procedure}*1250*UN*1~DTP*472*D8*{day}~", index + 1);
        if !accession.is_empty() {
            text += &format!("REF*6R*{accession}~");
        }
    }
    at(message(X12_CONTENT_TYPE, text + "SE*1*0001~GE*1*1~IEA*1*000000042~"), TODAY + 1)
}

/// What was emitted since the last time.
fn emitted() -> Vec<Emitted> {
    with(|host| std::mem::take(&mut host.emitted))
}

fn plugin() -> Context {
    let mut context = context();
    context.source.principal = "spiffe://st-marys/plugin/seen".into();
    context
}

/// Lets both sides see records, carries what they say to the middle, and gives what is found.
fn through(records: Vec<Message>) -> Vec<Value> {
    let mut found = Vec::new();
    for record in records {
        let mut side = if record.head.is(X12_CONTENT_TYPE) { billing() } else { clinical() };
        let day = record.head.time / DAY_MS;
        side.observe(&context(), vec![record]);
        for notice in emitted() {
            assert_eq!(
                (notice.flow.as_str(), notice.content_type.as_str()),
                ("procedures", NOTICE_CONTENT_TYPE)
            );
            says_nothing_of_anybody(&notice);
            matching().observe(&plugin(), vec![at(message(&notice.content_type, notice.body), day)]);
            found.extend(findings());
        }
    }
    found.into_iter().filter(|document| document["cause"].is_string()).collect()
}

fn says_nothing_of_anybody(emitted: &Emitted) {
    let body = String::from_utf8(emitted.body.clone()).unwrap();
    let all = format!("{body} {:?} {:?}", emitted.key, emitted.attributes);
    for planted in PLANTED.iter().chain(&["DOE", "JANE"]) {
        assert!(!all.to_uppercase().contains(planted), "{all}");
    }
    // A summary is of a day on which something was heard of.
    if emitted.content_type != SUMMARY_CONTENT_TYPE {
        for day in PLANTED_DAYS {
            assert!(!all.contains(day), "{all}");
        }
    }
}

fn findings() -> Vec<Value> {
    let read = |emitted: &Emitted| {
        assert_eq!(emitted.flow, "findings");
        says_nothing_of_anybody(emitted);
        serde_json::from_slice(&emitted.body).unwrap()
    };
    emitted().iter().map(read).collect()
}

/// Every value of cases is looked at once on a day.
fn pass(day: u64) -> Vec<Value> {
    for second in 0..store::BUCKETS {
        matching().tick(day * DAY_MS + second * 1000);
    }
    findings()
}

fn causes(found: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = found.iter().filter(|document| document["cause"].is_string());
    causes.map(|document| format!("{} {}", text(&document["status"]), text(&document["cause"]))).collect()
}

const DAY: &str = "20261102";

#[test]
fn what_was_done_and_claimed_is_no_finding() {
    let found = through(vec![
        image("ACC0815", "MR", "BRAIN"),
        image("ACC0815", "MR", "BRAIN"),
        result("ACC0815", "F"),
        claim("CLAIM99", "1", &[("70551", DAY, "ACC0815"), ("99213", DAY, "")]),
        // Professional and technical part are two services.
        image("ACC0816", "CT", "CHEST"),
        claim("CLAIM98", "1", &[("71260:26", DAY, "ACC0816")]),
        claim("CLAIM97", "1", &[("71260:TC", DAY, "ACC0816")]),
    ]);
    assert_eq!(found, Vec::<Value>::new());
    let later = pass(TODAY + 60);
    assert_eq!(causes(&later), Vec::<String>::new());
    let summary =
        json!({"day": "2026-11-03", "performed": 1, "claimed": 3, "matched": 2, "found": {}, "resolved": 0});
    assert_eq!(later[0], summary, "the other procedure was seen the day before");
}

#[test]
fn a_study_is_said_once_however_many_images_it_has() {
    let many = (0..200).map(|_| image("ACC0815", "MR", "BRAIN")).collect();
    clinical().observe(&context(), many);
    clinical().observe(&context(), vec![image("ACC0815", "MR", "BRAIN"), image("ACC0815", "SR", "BRAIN")]);
    assert_eq!(emitted().len(), 1);
}

#[test]
fn without_an_accession_number_patient_and_day_and_kind_have_to_do() {
    let found = through(vec![
        claim("CLAIM99", "1", &[("70551", DAY, "")]),
        image("ACC0815", "MR", "BRAIN"),
        claim("CLAIM98", "1", &[("71046", DAY, "")]),
    ]);
    assert_eq!(found, Vec::<Value>::new());
    let found = pass(TODAY + 20);
    assert_eq!(causes(&found), ["found no-procedure"], "{found:?}");
    let found = found.iter().find(|document| document["cause"] == "no-procedure").unwrap();
    assert_eq!(
        (&found["claimed"]["code"], &found["claimed"]["at"]),
        (&"71046".into(), &"000000042/0001/8".into())
    );
}

#[test]
fn what_nobody_claims_is_found_and_resolved_by_a_late_claim() {
    assert!(through(vec![image("ACC0815", "MR", "BRAIN")]).is_empty());
    assert_eq!(causes(&pass(TODAY + 29)), Vec::<String>::new());
    let found = pass(TODAY + 30);
    assert_eq!(causes(&found), ["found missing-claim"]);
    assert_eq!(causes(&pass(TODAY + 31)), Vec::<String>::new(), "once");
    let resolved = through(vec![claim("CLAIM99", "1", &[("70551", DAY, "ACC0815")])]);
    assert_eq!(causes(&resolved), ["resolved missing-claim"]);
}

#[test]
fn the_same_service_twice_is_found_once_and_the_same_claim_again_is_not() {
    let once = || claim("CLAIM99", "1", &[("70551", DAY, "ACC0815")]);
    let found = through(vec![image("ACC0815", "MR", "BRAIN"), once(), once()]);
    assert_eq!(causes(&found), Vec::<String>::new());
    let other = || claim("CLAIM98", "1", &[("70551:26", DAY, "ACC0815")]);
    let found = through(vec![other(), other()]);
    assert_eq!(causes(&found), ["found duplicate-claim"]);
    assert_eq!(
        (&found[0]["claimed"]["component"], &found[0]["also_claimed"]["component"]),
        (&"professional".into(), &"global".into())
    );
}

#[test]
fn replaced_and_voided_claims_do_not_count() {
    let found = through(vec![
        image("ACC0815", "MR", "BRAIN"),
        claim("CLAIM99", "1", &[("70551", DAY, "ACC0815")]),
        claim("CLAIM99", "7", &[("70552", DAY, "ACC0815")]),
        claim("CLAIM98", "7", &[("70552", DAY, "ACC0815")]),
    ]);
    assert_eq!(causes(&found), Vec::<String>::new(), "{found:?}");
    let found =
        through(vec![claim("CLAIM98", "8", &[]), claim("CLAIM97", "1", &[("70552", DAY, "ACC0815")])]);
    assert_eq!(causes(&found), Vec::<String>::new(), "{found:?}");
    through(vec![claim("CLAIM97", "8", &[("70552", DAY, "ACC0815")])]);
    assert_eq!(causes(&pass(TODAY + 40)), ["found missing-claim"]);
}

#[test]
fn what_replaces_or_takes_back_does_so_once() {
    let replaced = || claim("CLAIM99", "7", &[("70450", DAY, "ACC0815")]);
    let first = claim("CLAIM99", "1", &[("70551", DAY, "ACC0815")]);
    let found = through(vec![image("ACC0815", "MR", "BRAIN"), first, replaced(), replaced()]);
    assert_eq!(causes(&found), ["found other-procedure"]);
    // Who takes back a claim twice takes back no other's.
    let of = |number: &str, frequency: &str| claim(number, frequency, &[("71260", DAY, "ACC0816")]);
    through(vec![image("ACC0816", "CT", "CHEST"), of("CLAIM97", "1"), of("CLAIM98", "1")]);
    through(vec![of("CLAIM97", "8"), of("CLAIM97", "8")]);
    assert_eq!(causes(&pass(TODAY + 40)), Vec::<String>::new());
    // Nor does one whose number nobody knows.
    through(vec![of("CLAIM96", "8"), of("CLAIM95", "1"), of("CLAIM96", "8")]);
    assert_eq!(causes(&pass(TODAY + 80)), Vec::<String>::new());
}

#[test]
fn another_kind_and_another_day_are_found() {
    let found = through(vec![
        image("ACC0815", "MR", "BRAIN"),
        claim("CLAIM99", "1", &[("70450", DAY, "ACC0815")]),
        claim("CLAIM98", "1", &[("70553", "20261109", "ACC0815")]),
    ]);
    assert_eq!(causes(&found), ["found other-procedure", "found other-day"]);
    assert_eq!(found[0]["performed"], json!({"year": 2026, "modality": "MR", "region": "head"}));
    assert_eq!((&found[0]["days_apart"], &found[1]["days_apart"]), (&Value::Null, &7.into()));
    assert_eq!(found[1]["claimed"]["year"], 2026);
    // Within the tolerance it is the same, and a turn of the year changes nothing.
    let within = claim("CLAIM96", "1", &[("70551:26", "20261103", "ACC0817")]);
    assert!(through(vec![image("ACC0817", "MR", "BRAIN"), within]).is_empty());
    let results =
        ["20261231", "20270101"].map(|day| claim(&format!("N{day}"), "1", &[("70551", day, "ACC0818")]));
    let [before, after] = results.map(|record| notice_of(record)["lines"][0].clone());
    assert_eq!((&before["year"], &after["year"]), (&2026.into(), &2027.into()));
    let hidden = |line: &Value| u16::try_from(line["hidden_day"].as_u64().unwrap()).unwrap();
    assert_eq!(hidden(&after).wrapping_sub(hidden(&before)), 1);
    // A part of the body that nobody names fits every region.
    assert!(
        through(vec![image("ACC0816", "CT", ""), claim("CLAIM97", "1", &[("71260", DAY, "ACC0816")])])
            .is_empty()
    );
}

/// The notice that a side makes of a record.
fn notice_of(record: Message) -> Value {
    let mut side = if record.head.is(X12_CONTENT_TYPE) { billing() } else { clinical() };
    side.observe(&context(), vec![record]);
    let [notice] = &emitted()[..] else { panic!("one notice") };
    says_nothing_of_anybody(notice);
    serde_json::from_slice(&notice.body).unwrap()
}

/// But for what is under the pad, a notice of one day is one of any other of the year; and the pad is of the number.
#[test]
fn a_day_is_told_by_nothing_but_the_difference_to_another_of_its_number() {
    let of = |day: &str, accession: &str| {
        notice_of(claim("CLAIM99", "1", &[("70551", day, accession)]))["lines"][0].clone()
    };
    let hidden = |line: &Value| u16::try_from(line["hidden_day"].as_u64().unwrap()).unwrap();
    let mut days: Vec<Value> = ["20261102", "20261103", "20260905"].map(|day| of(day, "ACC0815")).to_vec();
    assert_eq!(hidden(&days[1]).wrapping_sub(hidden(&days[0])), 1);
    assert_eq!(hidden(&days[0]).wrapping_sub(hidden(&days[2])), 58);
    assert_ne!(hidden(&of("20261102", "ACC0816")), hidden(&days[0]), "of another number");
    for day in &mut days {
        assert_eq!(day["year"], 2026);
        let line = day.as_object_mut().unwrap();
        line.remove("hidden_day");
        // One MAC of patient and day.
        line.remove("visit");
    }
    assert!(days.iter().all(|day| *day == days[0]), "{days:?}");
    assert_eq!(of("20261102", "")["hidden_day"], Value::Null, "nothing that it could be compared by");
    let clinical = notice_of(image("ACC0815", "MR", "BRAIN"));
    assert_eq!(clinical["hidden_day"], of("20261102", "ACC0815")["hidden_day"], "both sides have one pad");
}

/// An old study that is sent again, and a claim that comes after what it is for was forgotten.
#[test]
fn what_comes_very_late_is_no_finding_by_itself_and_is_compared_all_the_same() {
    let late = |record: Message, days: u64| at(record, TODAY + days);
    through(vec![
        late(image("ACC0815", "MR", "BRAIN"), 91),
        late(claim("CLAIM99", "1", &[("71260", DAY, "ACC0816")]), 91),
    ]);
    assert_eq!(causes(&pass(TODAY + 91 + 60)), Vec::<String>::new());
    // A day sooner it counts.
    through(vec![
        late(image("ACC0817", "MR", "BRAIN"), 90),
        late(claim("CLAIM98", "1", &[("71260", DAY, "ACC0818")]), 90),
    ]);
    let mut found = causes(&pass(TODAY + 91 + 61));
    found.sort();
    assert_eq!(found, ["found missing-claim", "found no-procedure"]);
    let found = through(vec![late(claim("CLAIM97", "1", &[("70450", "20261109", "ACC0815")]), 160)]);
    assert_eq!(causes(&found), ["found other-procedure", "found other-day"]);
}

/// Days that can be read were kept by the version before. They go, and the cases stay.
#[test]
fn cases_of_the_version_before_are_taken_over_without_their_days() {
    through(vec![image("ACC0815", "MR", "BRAIN"), claim("CLAIM99", "1", &[("70551", DAY, "ACC0815")])]);
    with(|host| {
        let keys: Vec<String> = host.state.keys().filter(|key| key.starts_with("hidden/")).cloned().collect();
        for key in keys {
            let mut value = host.state.remove(&key).unwrap();
            let mut rest = &value.value[..];
            let id = case::long(&mut rest).unwrap();
            let kept = case::Case::decode(&mut rest, case::Layout::Hidden).unwrap();
            value.value = [&id.to_le_bytes()[..], &before(&kept)].concat();
            host.state.insert(key.replace("hidden/", "cases/"), value);
        }
    });
    assert_eq!(causes(&pass(TODAY + 20)), Vec::<String>::new());
    with(|host| {
        assert!(
            !host.state.keys().any(|key| key.starts_with("cases/")),
            "what was kept before is still there"
        );
        let hidden = host.state.iter().filter(|(key, _)| key.starts_with("hidden/"));
        assert_eq!(hidden.clone().count(), 1);
        let decoded: Vec<case::Case> = hidden
            .map(|(_, kept)| case::Case::decode(&mut &kept.value[8..], case::Layout::Hidden).unwrap())
            .collect();
        let (_, service) = decoded[0].performed.clone().unwrap();
        assert_eq!((service.year, service.hidden, decoded[0].entries.len()), (2026, None, 1));
    });
    let other = claim("CLAIM98", "1", &[("70551", DAY, "ACC0815")]);
    assert_eq!(causes(&through(vec![other])), ["found duplicate-claim"]);
}

/// A case as it was kept when days were days since 1970.
fn before(kept: &case::Case) -> Vec<u8> {
    let mut now = Vec::new();
    kept.encode(&mut now);
    let day = u32::try_from(TODAY).unwrap().to_le_bytes();
    // Three octets, then a day of nine where there were four; so in each entry, after the claim's number.
    let mut older = [&now[..3], &day, &now[12..21]].concat();
    let mut rest = &now[21..];
    for entry in &kept.entries {
        let tail = 2 + 1 + entry.code.len() + 1 + entry.at.len() + 1 + entry.fits.len();
        older.extend([&rest[..8], &day, &rest[17..17 + tail]].concat());
        rest = &rest[17 + tail..];
    }
    older
}

#[test]
fn what_was_cancelled_was_not_done() {
    through(vec![
        result("ACC0815", "F"),
        claim("CLAIM99", "1", &[("70551", DAY, "ACC0815")]),
        result("ACC0815", "X"),
    ]);
    assert_eq!(causes(&pass(TODAY + 20)), ["found no-procedure"]);
    let order = "MSH|^~\\&|R|S|H|S|20261102||ORM^O01|1|P|2.5.1\rPID|1||MRN4711\rORC|NW|||||\rOBR|1|ACC0899||24590-2|||20261102\r";
    clinical().observe(&context(), vec![at(message(HL7_CONTENT_TYPE, order), TODAY)]);
    assert!(emitted().is_empty(), "an order was not done yet");
    clinical().observe(
        &context(),
        vec![at(message(HL7_CONTENT_TYPE, order.replace("NW|||||", "SC||||CM|")), TODAY)],
    );
    assert_eq!(emitted().len(), 1);
}

#[test]
fn only_stages_are_believed_and_only_macs_and_coarse_facts_are_read() {
    let mac = "00112233445566778899aabbccddeeff";
    let good = json!({"side": "performed", "accession": mac, "modality": "MR", "region": "head",
            "year": 2024, "hidden_day": 7});
    matching().observe(&context(), vec![message(NOTICE_CONTENT_TYPE, good.to_string())]);
    matching().observe(&plugin(), vec![message(NOTICE_CONTENT_TYPE, good.to_string())]);
    let mut bad = Vec::new();
    for (name, value) in [
        ("accession", json!("ACC0815")),
        ("modality", json!("DOE")),
        ("region", json!("Jane's head")),
        ("year", json!(20_000)),
        ("year", json!(0)),
        ("hidden_day", json!(65_536)),
        ("hidden_day", json!(-1)),
        ("hidden_day", json!("20261102")),
        ("hidden_day", Value::Null),
        ("side", json!("neither")),
    ] {
        let mut one = good.clone();
        one[name] = value;
        bad.push(one.to_string());
    }
    bad.extend([String::new(), "[".repeat(100_000), "{}".into()]);
    let count = bad.len() as u64;
    let bad = bad.into_iter().map(|body| message(NOTICE_CONTENT_TYPE, body)).collect();
    matching().observe(&plugin(), bad);
    let host = testing::take();
    let of = |name: &str| host.counters.get(name).copied().unwrap_or_default();
    assert_eq!((of("malformed"), of("foreign"), of("performed")), (count, 1, 1));
}

#[test]
fn a_side_without_its_key_is_not_loaded_and_the_middle_needs_none() {
    with(|host| host.denied.insert("claims".into()));
    for config in [
        json!({"part": "performed", "notices_flow": "procedures", "key": "claims"}),
        json!({"part": "claimed", "notices_flow": "procedures", "key": "claims", "crosswalk": CROSSWALK}),
    ] {
        let refused = Claims::configure(serde_json::from_value(config).unwrap()).unwrap_err().to_string();
        assert!(refused.contains("/key") && refused.contains("`keys:claims`"), "{refused}");
    }
    drop(matching());
    drop(testing::take());
}

#[test]
fn nothing_that_comes_makes_the_sides_stumble() {
    let whole = image("ACC0815", "MR", "BRAIN");
    let hilum_plugin::Body::Inline(object) = whole.body else { panic!("it is small") };
    for end in 0..object.len() {
        clinical().observe(&context(), vec![message(DICOM_CONTENT_TYPE, object[..end].to_vec())]);
    }
    for text in [
        "",
        "MSH",
        "MSH|^~\\&|",
        "MSH|^~\\&|R|S|H|S|||ORU^R01|1|P|2.5\rOBR\rOBR|1|||||||\rOBR|1|x||y|||20269999\r",
    ] {
        clinical().observe(&context(), vec![message(HL7_CONTENT_TYPE, text)]);
    }
    let hilum_plugin::Body::Inline(text) =
        claim("CLAIM99", "1", &[("70551", "2026", "A"), ("705", DAY, "")]).body
    else {
        panic!("it is small")
    };
    for end in (0..text.len()).step_by(7) {
        billing().observe(&context(), vec![message(X12_CONTENT_TYPE, text[..end].to_vec())]);
    }
    billing().observe(&context(), vec![message(X12_CONTENT_TYPE, text), message("text/plain", "x")]);
    assert_eq!(testing::take().counters["incomplete"], 1);
}

#[test]
fn state_is_bounded() {
    let notice = |n: u64| {
        let mac = format!("{:016x}{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n);
        let performed = json!({"side": "performed", "accession": mac, "visit": mac.chars().rev().collect::<String>(),
            "modality": "CT", "year": 2024, "hidden_day": 7});
        at(message(NOTICE_CONTENT_TYPE, performed.to_string()), TODAY)
    };
    for batch in 0..20_u64 {
        matching().observe(&plugin(), (0..200).map(|n| notice(batch * 200 + n + 1)).collect());
    }
    let host = testing::take();
    assert!(host.state.len() < 4096 && host.state.values().all(|kept| kept.value.len() <= 4096));
    assert!(host.logs.is_empty(), "{:?}", host.logs);
    // Values that make no sense are begun anew.
    for value in [vec![0xff; 100], vec![1; 9], Vec::new()] {
        let mut rest = &value[..];
        assert!(
            case::Case::decode(&mut rest, case::Layout::Hidden).is_none_or(|case| case.entries.is_empty())
        );
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    for config in [
        json!({"part": "performed", "notices_flow": "p", "key": "k"}),
        json!({"part": "claimed", "notices_flow": "p", "key": "k", "crosswalk": CROSSWALK}),
        json!({"part": "match", "findings_flow": "f"}),
    ] {
        assert!(jsonschema::is_valid(&schema, &config), "{config}");
        let mut other = config.clone();
        other["else"] = 1.into();
        assert!(!jsonschema::is_valid(&schema, &other) && serde_json::from_value::<Settings>(other).is_err());
    }
    for (crosswalk, words) in [
        ("", "no line"),
        ("7055 MR head", "line 1"),
        ("70553-70551 MR head", "the lower one first"),
        ("\n70551 XX head", "line 2: modalities"),
        ("70551 MR skull", "regions are"),
        ("70551 MR", "FROM-TO"),
    ] {
        let settings = json!({"part": "claimed", "notices_flow": "p", "key": "k", "crosswalk": crosswalk});
        let refused = Claims::configure(serde_json::from_value(settings).unwrap()).unwrap_err().to_string();
        assert!(refused.contains("/crosswalk") && refused.contains(words), "{refused}");
    }
}
