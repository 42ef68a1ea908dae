//! Payments, questions and answers: identifiers planted in every element that may hold one.

use super::*;
use crate::pseudonym::{ACCOUNT, short};

/// A payment of one claim.
const PAYMENT: &[&str] = &[
    "ST*835*0001",
    "BPR*I*150000*C*ACH*CTX*01*999999992*DA*SENTINEL01*1512345678**01*999988880*DA*SENTINEL02*20261015",
    "TRN*1*SENTINEL03*1512345678*SENTINEL04",
    "CUR*PR*USD",
    "REF*EV*SENTINEL05",
    "DTM*405*20261014",
    "N1*PR*KEY INSURANCE*XV*12345",
    "N3*1 MAIN STREET",
    "N4*TAMPA*FL*331110000",
    "REF*2U*999",
    "PER*CX*SENTINEL06*TE*8005551234*EM*SENTINEL07",
    "N1*PE*SENTINEL08*XX*1999996666",
    "REF*TJ*SENTINEL09",
    "RDM*EM*SENTINEL10*SENTINEL11",
    "LX*1",
    "TS3*1999996666*13*20261231*1*211366.97",
    "CLP*SENTINEL12*1*211366.97*138018.4**12*SENTINEL13*11*1",
    "CAS*CO*45*73348.57",
    "NM1*QC*1*SENTINEL14*SENTINEL15*Q***MI*SENTINEL16",
    "NM1*74*1*SENTINEL17*SENTINEL18****C*SENTINEL19",
    "NM1*82*1*SENTINEL20*BEN****XX*1999996666",
    "NM1*TT*2*CROSSOVER PAYER*****PI*77",
    "REF*EA*SENTINEL21",
    "DTM*232*20261001",
    "DTM*233*20261003",
    "PER*CX**TE*8005551234",
    "AMT*AU*150",
    "QTY*CA*8",
    "SVC*HC:99214:::::SENTINEL22*100*80**1*HC:99213:::::SENTINEL23",
    "DTM*472*20261002",
    "REF*6R*SENTINEL24",
    "LQ*HE*N25",
    "PLB*1999996666*20261231*FB:SENTINEL25*-1.27*WO:SENTINEL26*3",
    "SE*0*0001",
];
/// An answer about the eligibility of a dependent.
const ELIGIBILITY: &[&str] = &[
    "ST*271*4321*005010X279A1",
    "BHT*0022*11*SENTINEL01*20261015*1023",
    "HL*1**20*1",
    "NM1*PR*2*KEY INSURANCE*****PI*842610001",
    "PER*IC*SENTINEL02*TE*8005551234",
    "HL*2*1*21*1",
    "NM1*1P*1*SENTINEL03*BEN****XX*1999996666",
    "PRV*RF*EI*SENTINEL04",
    "HL*3*2*22*1",
    "TRN*2*SENTINEL05*9877281234*SENTINEL06",
    "NM1*IL*1*SENTINEL07*SENTINEL08****MI*SENTINEL09",
    "REF*1L*SENTINEL10",
    "REF*1W*SENTINEL11",
    "REF*SY*SENTINEL12",
    "N3*SENTINEL13",
    "N4*SENTINEL14*FL*33111",
    "HL*4*3*23*0",
    "NM1*03*1*SENTINEL15*SENTINEL16",
    "DMG*D8*19630519*M",
    "INS*N*19*001*25****SENTINEL17",
    "HI*BK:8901",
    "DTP*346*D8*20260101",
    "MPI*C*AO*A*SENTINEL18*B1*D8*20100101",
    "EB*1*FAM*30*GP*SENTINEL19*27*1000*.5*CA*10*Y*N*HC:99213:::::SENTINEL20",
    "HSD*VS*12***22",
    "REF*18*SENTINEL21",
    "DTP*348*RD8*20260101-20261231",
    "AAA*Y**75*C",
    "MSG*SENTINEL22",
    "III*ZZ*21**SENTINEL23",
    "LS*2120",
    "NM1*P3*1*SENTINEL24*BEN****SV*SENTINEL25",
    "N3*SENTINEL26",
    "PER*IC*SENTINEL27*TE*3055551234",
    "LE*2120",
    "SE*0*4321",
];
/// An answer about the status of a claim.
const STATUS: &[&str] = &[
    "ST*277*0001*005010X212",
    "BHT*0010*08*SENTINEL01*20261015*1023*DG",
    "HL*1**20*1",
    "NM1*PR*2*KEY INSURANCE*****PI*842610001",
    "HL*2*1*21*1",
    "NM1*41*2*CLEARING HOUSE*****46*X67E",
    "HL*3*2*19*1",
    "NM1*1P*1*SENTINEL02*BEN****XX*1999996666",
    "HL*4*3*22*0",
    "NM1*IL*1*SENTINEL03*SENTINEL04****MI*SENTINEL05",
    "TRN*2*SENTINEL06",
    "STC*F1:65*20261003**8513.88*7599*20261005*CHK*20261006*SENTINEL07***SENTINEL08",
    "REF*1K*SENTINEL09",
    "REF*EJ*SENTINEL10",
    "DTP*472*D8*20261001",
    "SVC*HC:99214:::::SENTINEL11*100*80",
    "STC*F1:65*20261003",
    "SE*0*0001",
];

#[test]
fn nobody_planted_in_an_answer_survives_and_the_answer_does() {
    for (transaction, removed) in [(PAYMENT, 1), (ELIGIBILITY, 3), (STATUS, 0)] {
        let text = interchange(transaction, "~");
        let cleaned = clean(&text);
        assert!(!cleaned.contains("SENTINEL"), "{cleaned}");
        for trace in ["1023*", "20261", "2010", "800555", "305555", "19630519", "1999996666"] {
            assert!(!cleaned.contains(trace), "{trace}: {cleaned}");
        }
        let count = |text: &[u8]| Document::parse(text).unwrap().segments().len();
        assert_eq!(count(&text) - count(cleaned.as_bytes()), removed);
        assert_eq!(count(clean(cleaned.as_bytes()).as_bytes()), count(cleaned.as_bytes()), "and again");
    }
    let question = [&["ST*270*1*005010X279A1"], &ELIGIBILITY[1..22], &["EQ*30**FAM", "SE*0*1"]].concat();
    assert!(!clean(&interchange(&question, "~")).contains("SENTINEL"));
    let question = [&["ST*276*1*005010X212"], &STATUS[1..11], &STATUS[13..16], &["SE*0*1"]].concat();
    assert!(!clean(&interchange(&question, "~")).contains("SENTINEL"));
}

#[test]
fn a_medical_record_number_after_a_provider_is_still_the_patients() {
    let member = patient(&TestKeys(1), b"4711").unwrap();
    for party in ["NM1*82*1*ROE*ANN****XX*1999996666", "NM1*TT*2*CROSSOVER PAYER*****PI*77"] {
        let who = "NM1*QC*1*DOE*JANE****MI*4711";
        let payment = ["ST*835*1", "CLP*A*1*2*3", who, party, "REF*EA*4711", "SE*0*1"];
        let cleaned = clean(&interchange(&payment, "~"));
        assert!(cleaned.contains(&format!("REF*EA*{member}~")), "{cleaned}");
    }
}

#[test]
fn a_claim_is_found_again_in_what_answers_it() {
    let account = short(&TestKeys(1), ACCOUNT, b"SENTINEL").unwrap();
    let member = patient(&TestKeys(1), b"4711").unwrap();
    let claim =
        [&CLAIM[..2], &["HL*2*1*22*0", "NM1*IL*1*DOE*JANE****MI*4711", "CLM*SENTINEL*1", "SE*0*0021"]]
            .concat();
    let payment = [
        "ST*835*1",
        "CLP*SENTINEL*1*2*3",
        "NM1*QC*1*DOE*JANE****MI*4711",
        "PLB*1999996666*20261231*FB:X*1",
        "SE*0*1",
    ];
    let status =
        [&STATUS[..2], &["HL*4*3*22*0", "NM1*IL*1*DOE*JANE****MI*4711", "REF*EJ*SENTINEL", "SE*0*0001"]]
            .concat();
    for transaction in [&claim[..], &payment, &status] {
        let cleaned = clean(&interchange(transaction, "~"));
        assert!(cleaned.contains(&account) && cleaned.contains(&format!("*MI*{member}~")), "{cleaned}");
    }
    let payment = clean(&interchange(&payment, "~"));
    let provider = payment.split("PLB*").nth(1).unwrap().split('*').next().unwrap();
    assert!(is_valid_provider(provider), "{provider}");
}

#[test]
fn a_transaction_has_its_own_segments() {
    for (transaction, segment) in
        [("837", "CLP*1"), ("835", "CLM*1"), ("270", "EB*1"), ("276", "STC*A"), ("277", "NTE*ADD*X")]
    {
        let start = format!("ST*{transaction}*1");
        assert_eq!(
            code_of(&interchange(&[&start, segment, "SE*0*1"], "~")),
            "unknown-segment",
            "{transaction}"
        );
    }
    let taxonomy = |prv: &str| {
        let all = ["ST*271*1", "HL*1**21*0", "NM1*1P*1*DOE", prv, "SE*0*1"];
        clean(&interchange(&all, "~"))
    };
    assert!(taxonomy("PRV*RF*PXC*207Q00000X").contains("PRV*RF*PXC*207Q00000X~"));
    assert!(!taxonomy("PRV*RF*HPI*1999996666").contains("1999996666"));
}
