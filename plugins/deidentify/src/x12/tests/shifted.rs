//! Dates that move with their patient, and postal codes.

use super::*;
use crate::pseudonym::PATIENT;
use crate::{MessageDates, PostalCodes};

fn shifting() -> Config {
    Config { message_dates: MessageDates::Shift, ..Config::default() }
}

fn days(number: &str) -> i32 {
    TestKeys(1).date_shift(PATIENT, number.as_bytes(), 365).unwrap()
}

fn moved(date: &str, number: &str) -> String {
    let mut date = date.as_bytes().to_vec();
    assert!(crate::dates::shift(&mut date, days(number)));
    String::from_utf8(date).unwrap()
}

#[test]
fn each_patient_of_a_claim_has_their_own_days() {
    let transaction = [
        &CLAIM[..2],
        &[
            "HL*1**20*1",
            "NM1*85*2*CLINIC",
            "HL*2*1*22*0",
            "SBR*P*18",
            "PAT*****D8*20261001",
            "NM1*IL*1*DOE*JANE****MI*4711",
            "DMG*D8*19330501*F",
            "CLM*1*2",
            "DTP*472*RD8*20261003-20261004",
            "DTP*435*DT*202610031530",
            "DTP*096*TM*1530",
            "SBR*S*01",
            "NM1*IL*1*ROE*JACK****MI*9",
            "LX*1",
            "DTP*472*D8*20261005",
            "HL*3*1*22*1",
            "SBR*P",
            "NM1*IL*1*ROE*JACK****MI*4712",
            "HL*4*3*23*0",
            "PAT*19",
            "NM1*QC*1*ROE*JILL",
            "CLM*2*2",
            "DTP*472*D8*20261003",
            "SE*0*0021",
        ],
    ]
    .concat();
    let cleaned = clean_as(&interchange(&transaction, "~"), &shifting());
    let of = |number: &str, date: &str| moved(date, number);
    for expected in [
        format!("PAT*****D8*{}~", of("4711", "20261001")),
        format!("DTP*472*RD8*{}-{}~", of("4711", "20261003"), of("4711", "20261004")),
        format!("DTP*435*DT*{}~", of("4711", "202610031530")),
        "DTP*096*TM*1530~".to_owned(),
        format!("LX*1~DTP*472*D8*{}~", of("4711", "20261005")),
        format!("DTP*472*D8*{}~", of("4712", "20261003")),
        "DMG*D8*19360101*F~".to_owned(),
        "*20260101*0000*CH~".to_owned(),
    ] {
        assert!(cleaned.contains(&expected), "{expected}: {cleaned}");
    }
    assert_ne!(days("4711"), days("4712"));

    let nobody =
        [&CLAIM[..2], &["HL*2*1*22*0", "NM1*IL*1*DOE", "CLM*1*2", "DTP*472*D8*20261003", "SE*0*0021"]]
            .concat();
    let refusal = deidentify(&interchange(&nobody, "~"), &shifting(), &TestKeys(1)).unwrap_err();
    assert_eq!(refusal.code, "no-patient-id");
}

#[test]
fn a_payment_keeps_its_intervals() {
    let transaction = [
        "ST*835*1",
        "DTM*405*20261014",
        "CLP*1*1*2*3",
        "NM1*QC*1*DOE*JANE****MI*4711",
        "DTM*232*20261001",
        "SVC*HC:1*1*1",
        "DTM*472*20261002",
        "CLP*2*1*2*3",
        "NM1*QC*1*ROE",
        "NM1*IL*1*ROE*JACK****MI*4712",
        "DTM*232*20261001",
        "PLB*1999996666*20261231*FB:X*1",
        "SE*0*1",
    ];
    let cleaned = clean_as(&interchange(&transaction, "~"), &shifting());
    for expected in [
        "DTM*405*20260101~".to_owned(),
        format!("DTM*232*{}~SVC", moved("20261001", "4711")),
        format!("DTM*472*{}~", moved("20261002", "4711")),
        format!("DTM*232*{}~PLB", moved("20261001", "4712")),
        "*20260101*FB".to_owned(),
    ] {
        assert!(cleaned.contains(&expected), "{expected}: {cleaned}");
    }
}

#[test]
fn a_patient_is_found_at_whatever_level() {
    for level in ["22", "PT", "24"] {
        let transaction = [
            "ST*277*1*005010X214",
            "BHT*0085*08*1*20260318*1023*TH",
            "HL*1**20*1",
            "DTP*050*D8*20260318",
            &format!("HL*4*1*{level}"),
            "NM1*QC*1*DOE*JANE****MI*4711",
            "STC*A0:16:PR*20260319*WQ*200",
            "SE*0*1",
        ];
        let cleaned = clean_as(&interchange(&transaction, "~"), &shifting());
        assert!(cleaned.contains("DTP*050*D8*20260101~"), "{cleaned}");
        assert!(
            cleaned.contains(&format!("STC*A0:16:PR*{}*WQ*200~", moved("20260319", "4711"))),
            "{level}: {cleaned}"
        );
    }
}

#[test]
fn three_digits_of_a_zip_code_may_go_on() {
    let config = Config { postal_codes: PostalCodes::ThreeDigits, ..Config::default() };
    let n4 = |segment: &str| {
        let all = [&CLAIM[..2], &["NM1*QC*1*DOE", segment, "SE*0*0021"]].concat();
        clean_as(&interchange(&all, "~"), &config)
    };
    assert!(n4("N4*TAMPA*FL*33111").contains("N4*ANYTOWN*FL*33100~"));
    assert!(n4("N4*CONCORD*NH*036011234").contains("N4*ANYTOWN*NH*000000000~"));
    assert!(n4("N4*BERLIN**10115*DE").contains("N4*ANYTOWN**00000*DE~"));
}
