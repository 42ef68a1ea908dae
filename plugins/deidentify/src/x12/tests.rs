//! Identifiers planted in every element of claims, and what must be left.

mod replies;
mod shifted;

use hilum_formats::x12::{Interchange, Separators};
use proptest::prelude::*;

use super::*;
use crate::pseudonym::patient;
use crate::pseudonym::tests::TestKeys;
use crate::{PatientId, Staff};

/// A professional claim for a dependent, with another subscriber, an ambulance and a service line.
const CLAIM: &[&str] = &[
    "ST*837*0021*005010X222A1",
    "BHT*0019*00*SENTINEL01*20261015*1023*CH",
    "NM1*41*2*BILLING SERVICE*****46*TGJ23",
    "PER*IC*SENTINEL02*TE*3055552222*EM*SENTINEL03",
    "NM1*40*2*PAYER*****46*66783JJT",
    "HL*1**20*1",
    "NM1*85*1*SENTINEL04*SENTINEL05*M***XX*1999996666",
    "N3*SENTINEL06",
    "N4*MIAMI*FL*331110000",
    "REF*EI*SENTINEL07",
    "HL*2*1*22*1",
    "SBR*P**SENTINEL08*SENTINEL09*****CI",
    "NM1*IL*1*SENTINEL10*SENTINEL11*Q**JR*MI*SENTINEL12",
    "N3*SENTINEL13*SENTINEL14",
    "N4*SENTINEL15*FL*33111",
    "DMG*D8*19330501*F",
    "REF*SY*SENTINEL16",
    "REF*Y4*SENTINEL17",
    "PER*IC*SENTINEL18*TE*5551234567",
    "NM1*PR*2*KEY INSURANCE*****PI*999996666",
    "REF*G1*SENTINEL19",
    "HL*3*2*23*0",
    "PAT*19****D8*20261001*01*150",
    "NM1*QC*1*SENTINEL20*SENTINEL21",
    "N3*SENTINEL22",
    "N4*SENTINEL23*FL*33413",
    "DMG*D8*19730501*M",
    "CLM*SENTINEL24*79.04***11:B:1*Y*A*Y*I*P",
    "DTP*439*D8*20261003",
    "DTP*435*DT*202610031530",
    "PWK*OZ*BM***AC*SENTINEL25",
    "REF*EA*SENTINEL26",
    "REF*9F*SENTINEL27",
    "K3*SENTINEL28",
    "NTE*ADD*SENTINEL29",
    "CR1*LB*275**A*DH*21***SENTINEL30*SENTINEL31",
    "HI*BK:4779*BF:2724",
    "NM1*82*1*SENTINEL32*BEN****XX*1999996666",
    "REF*0B*SENTINEL33",
    "NM1*PW*2",
    "N3*SENTINEL34",
    "N4*SENTINEL35*WY*82001",
    "NM1*QD*1*SENTINEL36*SENTINEL37",
    "SBR*S*01*SENTINEL38******CI",
    "OI***Y***Y",
    "NM1*IL*1*SENTINEL39*JACK****MI*SENTINEL40",
    "LX*1",
    "SV1*HC:J3490:::::SENTINEL41*43*UN*1***1",
    "DTP*472*RD8*20261003-20261004",
    "REF*6R*SENTINEL42",
    "NTE*ADD*SENTINEL43",
    "LQ*UT*1.02",
    "FRM*1*Y*SENTINEL44*20261003",
    "SE*0*0021",
];

fn interchange(transaction: &[&str], end: &str) -> Vec<u8> {
    let mut text = Interchange { date: "261015", time: "1023", ..Interchange::default() }
        .header(&Separators::default())
        .unwrap();
    text.extend_from_slice(end.trim_start_matches('~').as_bytes());
    let group = ["GS*HC*A*B*20261015*1023*7*X*005010X222A1"];
    for segment in group.iter().chain(transaction).chain(&["GE*1*7", "IEA*1*000000001"]) {
        text.extend_from_slice(segment.as_bytes());
        text.extend_from_slice(end.as_bytes());
    }
    recount(&text).unwrap()
}

/// A claim of these segments.
pub(crate) fn claim(segments: &[&str]) -> Vec<u8> {
    interchange(&[&CLAIM[..2], segments, &["SE*0*0021"]].concat(), "~")
}

fn clean(text: &[u8]) -> String {
    clean_as(text, &Config::default())
}

fn clean_as(text: &[u8], config: &Config) -> String {
    String::from_utf8(deidentify(text, config, &TestKeys(1)).unwrap()).unwrap()
}

fn code_of(text: &[u8]) -> &'static str {
    let refusal = deidentify(text, &Config::default(), &TestKeys(1)).unwrap_err();
    assert!(!refusal.reason.contains("SENTINEL"), "{refusal}");
    refusal.code
}

/// What one segment becomes in a claim between ST, BHT and SE, after the named ones.
fn cleaned(before: &[&str], segment: &str) -> Option<String> {
    let all = [before, &[segment]].concat();
    let text = clean(&claim(&all));
    let document = Document::parse(text.as_bytes()).unwrap();
    let segments = document.transactions().next().unwrap().segments().to_vec();
    let kept = segments.len() == all.len() + 3;
    kept.then(|| String::from_utf8(segments[all.len() + 1].text().to_vec()).unwrap())
}

#[test]
fn nobody_planted_in_a_claim_survives_and_the_claim_does() {
    for end in ["~", "~\n", "~\r\n"] {
        let text = interchange(CLAIM, end);
        let cleaned = clean(&text);
        assert!(!cleaned.contains("SENTINEL"), "{cleaned}");
        for trace in ["1023*", "20261", "261015", "305555", "555123", "19330501", "1999996666"] {
            assert!(!cleaned.contains(trace), "{trace}: {cleaned}");
        }
        let document = Document::parse(cleaned.as_bytes()).unwrap();
        document.check_counts().unwrap();
        let left = |text: &[u8]| -> Vec<String> {
            let document = Document::parse(text).unwrap();
            document.segments().iter().map(|segment| segment.identifier().to_owned()).collect()
        };
        // The notes, the fixed text, the subscriber's security number and contact.
        assert_eq!(left(&text).len() - left(cleaned.as_bytes()).len(), 5);
        assert_eq!(left(clean(cleaned.as_bytes()).as_bytes()), left(cleaned.as_bytes()), "and again");
        assert!(cleaned.contains(&format!("HI*BK:4779*BF:2724{end}")), "codes go on");
        assert!(
            cleaned.contains(&format!("LX*1{end}SV1*HC:J3490*43*UN*1***1{end}")),
            "the service line goes on"
        );
    }
}

#[test]
fn a_patient_is_who_they_are_in_dicom() {
    let pseudonym = patient(&TestKeys(1), b"4711").unwrap();
    let subscriber = cleaned(&["HL*2*1*22*0"], "NM1*IL*1*DOE*JANE*Q**JR*MI*4711").unwrap();
    assert_eq!(subscriber, format!("NM1*IL*1*ANONYMOUS*ANONYMOUS****MI*{pseudonym}"));
    assert_eq!(cleaned(&["CLM*1*2"], "REF*EA*4711").unwrap(), format!("REF*EA*{pseudonym}"));
    let all = [&CLAIM[..2], &["NM1*IL*1*DOE*JANE****MI*4711", "SE*0*0021"]].concat();
    let empty = Config { patient_id: PatientId::Empty, ..Config::default() };
    assert!(
        clean_as(&interchange(&all, "~"), &empty).contains("NM1*IL*1*ANONYMOUS*ANONYMOUS****MI*ANONYMOUS~")
    );
}

#[test]
fn dates_are_reduced_to_their_year_and_stay_dates() {
    let date = |segment| cleaned(&["CLM*1*2"], segment).unwrap();
    assert_eq!(date("DTP*472*D8*20051003"), "DTP*472*D8*20050101");
    assert_eq!(date("DTP*472*RD8*20051003-20060104"), "DTP*472*RD8*20050101-20060101");
    assert_eq!(date("DTP*435*DT*200510031530"), "DTP*435*DT*200501010000");
    assert_eq!(date("DTP*096*TM*1530"), "DTP*096*TM*0000");
    assert_eq!(date("PAT*****D8*20051003"), "PAT*****D8*20050101");
    assert_eq!(date("HI*BBR:4491:D8:20050709*BE:08:::1740"), "HI*BBR:4491:D8:20050101*BE:08:::1740");
    assert_eq!(date("HI*BI:70:RD8:20050709-20050809"), "HI*BI:70:RD8:20050101-20050101");
    assert_eq!(date("HI*BH:A1:D8:19301111"), "HI*BH:A1:D8:19360101", "the birth date of an insured");
    assert_eq!(date("DMG*D8*19730501*M**SENTINEL"), "DMG*D8*19730101*M");
    assert_eq!(date("DMG*D8*19100501*M"), "DMG*D8*19360101*M", "an age over 89 is given as 90");
    for wrong in [
        "DTP*472*D8*2005100",
        "DTP*472*D8*2005SENT",
        "DTP*472*XX*20051003",
        "DTP*472*RD8*20051003",
        "DMG*DT*197305011200",
    ] {
        let all = [&CLAIM[..2], &["CLM*1*2", wrong, "SE*0*0021"]].concat();
        assert_eq!(code_of(&interchange(&all, "~")), "unsupported-date", "{wrong}");
    }
}

#[test]
fn each_party_is_treated_as_what_it_is() {
    let after = |name: &str, segment: &str| cleaned(&[name], segment);
    assert_eq!(after("NM1*QC*1*DOE", "N3*1 MAIN ST*APT 2").unwrap(), "N3*XX");
    assert_eq!(after("NM1*QC*1*DOE", "N4*DENVER*CO*80020**CY*DENVER").unwrap(), "N4*ANYTOWN*CO*00000");
    assert_eq!(after("NM1*85*1*DOE", "N4*DENVER*CO*800201234").unwrap(), "N4*ANONYMOUS*CO*000000000");
    assert_eq!(after("NM1*QC*1*DOE", "REF*SY*555667777"), None);
    assert_eq!(after("NM1*85*2*CLINIC", "N4*DENVER*CO*80020").unwrap(), "N4*DENVER*CO*80020");
    assert_eq!(after("NM1*85*2*CLINIC", "PER*IC*JANE*EM*J@X").unwrap(), "PER*IC**TE*0000000000");
    assert_eq!(after("NM1*PR*2*PAYER", "REF*2U*12345").unwrap(), "REF*2U*12345");
    assert_ne!(after("NM1*PR*2*PAYER", "REF*F8*12345").unwrap(), "REF*F8*12345");
    assert_eq!(after("CLM*1*2", "REF*4N*1").unwrap(), "REF*4N*1");
    assert_eq!(
        after("CLM*1*2", "NM1*82*2*CLINIC*****XX*1999996666").unwrap(),
        "NM1*82*2*CLINIC*****XX*1999996666"
    );
    assert_eq!(
        after("CLM*1*2", "NM1*GD*2*DOE*JANE").unwrap(),
        "NM1*GD*2*ANONYMOUS*ANONYMOUS",
        "unknown parties may be relatives"
    );
}

#[test]
fn what_goes_on_is_of_the_type_and_length_of_its_element() {
    let left = |segment: &str| cleaned(&["CLM*1*2"], segment).unwrap();
    for (segment, expected) in [
        ("HI*ABK:JANE DOE 123-45-6789", "HI*ABK:XX"),
        ("HI*ABK:4779::::::JANE DOE", "HI*ABK:4779::::::XX"),
        ("HI*ABK:4779^ABF:DOE*ABF:E119", "HI*ABK:4779^ABF:XX*ABF:E119"),
        ("HI*BE:08:::1740.50*BG:A1", "HI*BE:08:::1740.50*BG:A1"),
        ("SV1*HC:JANE DOE:DOE*43*UN*1***1", "SV1*HC:XX*43*UN*1***1"),
        ("SV1*HC:99213:25:TC*43*UN*1***1:2", "SV1*HC:99213:25:TC*43*UN*1***1:2"),
        ("SV1*HC:123456789*43*UN*1", "SV1*HC:XX*43*UN*1"),
        ("LIN**N4*01234567891", "LIN**N4*01234567891"),
        ("LIN**N4*123-45-6789", "LIN**N4*XX"),
        ("DMG*D8*19730501*JANE", "DMG*D8*19730101"),
        ("PWK*JANE DOE*BM", "PWK**BM"),
        ("SBR*P****JANE DOE***CI", "SBR*P*******CI"),
        ("AMT*F5*JANE DOE", "AMT*F5*0"),
        ("AMT*F5*123456789", "AMT*F5*0"),
        ("AMT*F5*-1234.56", "AMT*F5*-1234.56"),
        ("REF*LU*FL", "REF*LU*FL"),
        ("REF*F4*45D0470381", "REF*F4*45D0470381"),
        ("LQ*UT*1.02", "LQ*UT*1.02"),
        ("CAS*CO*45*73348.57*1", "CAS*CO*45*73348.57*1"),
    ] {
        assert_eq!(left(segment), expected, "{segment}");
    }
    assert_eq!(cleaned(&[], "CLM*1*2***JANE DOE:B:1*Y").unwrap().split_once("*2***").unwrap().1, "XX:B:1*Y");
    for reference in ["LU", "P4", "F4"] {
        let made = left(&format!("REF*{reference}*JANE DOE 123-45-6789"));
        assert_eq!(made.len(), 7 + 20, "a pseudonym, as one is required: {made}");
    }
    let after = |name: &str, segment: &str| cleaned(&[name], segment).unwrap();
    assert_eq!(after("NM1*QC*1*DOE", "N4*DENVER*12 MAIN ST DOE*80020"), "N4*ANYTOWN**00000");
    assert_eq!(after("NM1*85*2*CLINIC", "N4*DENVER*CO*800201234"), "N4*DENVER*CO*800201234");
    assert!(!left("NM1*PR*2*KEY INSURANCE*****PI*123456789").contains("123456789"));
    assert_eq!(left("NM1*PR*2*KEY INSURANCE*****PI*60054"), "NM1*PR*2*KEY INSURANCE*****PI*60054");
    assert_eq!(after("NM1*85*2*CLINIC", "REF*EI*10-1234567"), "REF*EI*10-1234567");
    assert!(!after("NM1*85*2*CLINIC", "REF*EI*123-45-6789").contains("6789"));
    let text = String::from_utf8(interchange(CLAIM, "~")).unwrap();
    let cleaned = clean(text.replace("GS*HC*A*B*", "GS*HC*JANE DOE*123-45-6789*").as_bytes());
    assert!(cleaned.contains("~GS*HC*ANONYMOUS*ANONYMOUS*"), "{cleaned}");
}

#[test]
fn staff_are_pseudonyms_unless_kept() {
    let provider = cleaned(&["CLM*1*2"], "NM1*82*1*KILDARE*BEN****XX*1999996666").unwrap();
    let number = provider.strip_prefix("NM1*82*1*ANONYMOUS*****XX*").unwrap();
    assert!(number.len() == 10 && number != "1999996666" && is_valid_provider(number), "{number}");
    assert!(is_valid_provider("1234567893"), "the example of the standard");
    let keep = Config { staff: Staff::Keep, ..Config::default() };
    let kept = clean_as(&interchange(CLAIM, "~"), &keep);
    for sentinel in
        ["SENTINEL02*TE*3055552222*EM*SENTINEL03", "SENTINEL04*SENTINEL05*M***XX*1999996666", "SENTINEL07"]
    {
        assert!(kept.contains(sentinel), "{sentinel}");
    }
    for sentinel in ["SENTINEL10", "SENTINEL18", "SENTINEL20", "SENTINEL24", "SENTINEL26", "SENTINEL36"] {
        assert!(!kept.contains(sentinel), "{sentinel}");
    }
}

/// The Luhn check over the prefix 80840 and the number, written apart from the code.
fn is_valid_provider(number: &str) -> bool {
    let digits = format!("80840{number}");
    let sum: u32 = digits
        .chars()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = digit.to_digit(10).unwrap() * if index % 2 == 1 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[test]
fn envelopes_keep_their_control_numbers_and_lose_their_passwords() {
    let text = String::from_utf8(interchange(CLAIM, "~")).unwrap();
    let text = text.replacen("ISA*00*          *00*          *", "ISA*03*SENTINEL  *01*SENTINEL99*", 1);
    let cleaned = clean(text.as_bytes());
    assert!(cleaned.starts_with("ISA*00*          *00*          *ZZ*"));
    assert_eq!(cleaned.find("~GS*"), Some(105), "the header is as long as it was");
    assert!(cleaned.contains("*260101*0000*^*00501*000000001*"));
    assert!(cleaned.contains("~GS*HC*A*B*20260101*0000*7*X*005010X222A1~"));
    assert!(cleaned.ends_with("GE*1*7~IEA*1*000000001~"));
}

#[test]
fn what_nobody_described_is_refused() {
    let with = |transaction: &[&str]| interchange(transaction, "~");
    assert_eq!(code_of(&with(&["ST*834*1", "NM1*QC*1*SENTINEL", "SE*3*1"])), "unsupported-transaction");
    assert_eq!(code_of(&with(&["ST*837*1", "EB*SENTINEL", "SE*3*1"])), "unknown-segment");
    let text = String::from_utf8(with(CLAIM)).unwrap();
    assert_eq!(code_of(text.replace("SE*54*", "SE*53*").as_bytes()), "invalid-count");
    assert_eq!(code_of(text.replace("IEA*1*000000001", "IEA*1*000000002").as_bytes()), "invalid-count");
    assert_eq!(code_of(b""), "invalid-x12");
    assert_eq!(code_of(b"SENTINEL"), "invalid-x12");
    assert_eq!(code_of(&text.as_bytes()[..text.len() - 30]), "invalid-x12");
    let undated = text.replace("*20261015*1023*CH", "**1023*CH").replace("*20261015*1023*7", "**1023*7");
    assert_eq!(code_of(undated.as_bytes()), "unsupported-date", "an age cannot be told without today");
}

#[test]
fn a_claim_cut_anywhere_is_refused() {
    let text = interchange(CLAIM, "~");
    for end in 0..text.len() {
        assert_eq!(code_of(&text[..end]), "invalid-x12", "cut at {end}");
    }
}

proptest! {
    #[test]
    fn no_octets_panic_and_no_value_is_in_a_refusal(octets in prop::collection::vec(any::<u8>(), 0..20), at in 0..2000usize) {
        let mut damaged = interchange(CLAIM, "~");
        let at = at.min(damaged.len());
        damaged.splice(at..at, octets.iter().copied());
        for input in [&octets, &damaged] {
            if let Err(refusal) = deidentify(input, &Config::default(), &TestKeys(1)) {
                prop_assert!(!refusal.reason.contains("SENTINEL"));
            }
        }
    }

    #[test]
    fn any_other_separators_will_do(element in "[|!]", component in "[>%]", terminator in "[\n'\"]") {
        let text = String::from_utf8(interchange(CLAIM, "~")).unwrap();
        let text = text.replace('*', &element).replace(':', &component).replace('~', &terminator);
        let cleaned = clean(text.as_bytes());
        prop_assert!(!cleaned.contains("SENTINEL"));
    }
}
