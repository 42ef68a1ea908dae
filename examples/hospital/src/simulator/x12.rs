//! X12 837 professional claims (implementation guide 005010X222A1), one interchange for each case.

use hilum_core::Timestamp;

use super::calendar::{self, MINUTE_MS};
use super::case::{Case, INSTITUTION};

/// The media type that X12 goes by (RFC 1767).
pub const CONTENT_TYPE: &str = "application/EDI-X12";

/// National Provider Identifier of the made-up hospital; its check digit is right (Luhn with prefix 80840).
const PROVIDER: &str = "1234567893";
/// The payer's number.
const PAYER: &str = "999996666";

/// A claim for an MRI of the brain (CPT 70551), the patient being the subscriber. `control` numbers the interchange.
#[must_use]
pub fn claim(case: &Case, control: u32) -> Vec<u8> {
    let made = Timestamp(case.time.0 + 60 * MINUTE_MS);
    let transaction = transaction(case, made);
    let (date, time) = (calendar::date(made), calendar::time(made));
    let (date_short, time_short) = (&date[2..], &time[..4]);
    // SE01 counts the segments from ST to SE, both included.
    let count = transaction.len() + 2;
    let mut segments = vec![
        format!(
            "ISA*00*          *00*          *ZZ*STMARYS        *ZZ*KEYINSURANCE   *{date_short}*{time_short}*^*00501*{control:09}*0*P*:"
        ),
        format!("GS*HC*STMARYS*KEYINSURANCE*{date}*{time_short}*{control}*X*005010X222A1"),
        "ST*837*0001*005010X222A1".to_owned(),
    ];
    segments.extend(transaction);
    segments.push(format!("SE*{count}*0001"));
    segments.push(format!("GE*1*{control}"));
    segments.push(format!("IEA*1*{control:09}"));
    segments.iter().flat_map(|segment| [segment.as_str(), "~\n"]).collect::<String>().into_bytes()
}

/// Loops 1000 to 2400 of one claim.
fn transaction(case: &Case, made: Timestamp) -> Vec<String> {
    let patient = &case.patient;
    let institution = element(INSTITUTION);
    let (family, given) = (element(&patient.family), element(&patient.given));
    let (date, time) = (calendar::date(made), calendar::time(made));
    vec![
        format!("BHT*0019*00*{}*{date}*{}*CH", case.claim_number, &time[..4]),
        format!("NM1*41*2*{institution}*****46*STMARYS"),
        "PER*IC*BILLING OFFICE*TE*5550100000".to_owned(),
        "NM1*40*2*KEY INSURANCE COMPANY*****46*KEYINSURANCE".to_owned(),
        "HL*1**20*1".to_owned(),
        "PRV*BI*PXC*282N00000X".to_owned(),
        format!("NM1*85*2*{institution}*****XX*{PROVIDER}"),
        "N3*1 HOSPITAL WAY".to_owned(),
        "N4*SPRINGFIELD*IL*627010001".to_owned(),
        "REF*EI*587654321".to_owned(),
        "HL*2*1*22*0".to_owned(),
        "SBR*P*18*******CI".to_owned(),
        format!("NM1*IL*1*{family}*{given}****MI*{}", patient.member_number),
        format!("N3*{}", element(&patient.street)),
        "N4*SPRINGFIELD*IL*62701".to_owned(),
        format!("DMG*D8*{}*{}", patient.birth_date, patient.sex.letter()),
        format!("NM1*PR*2*KEY INSURANCE COMPANY*****PI*{PAYER}"),
        format!("CLM*{}*1250***22:B:1*Y*A*Y*Y", case.claim_number),
        format!("REF*EA*{}", patient.record_number),
        "HI*ABK:R519".to_owned(),
        format!("NM1*DN*1*{}*{}****XX*{PROVIDER}", element(&case.referrer.0), element(&case.referrer.1)),
        "LX*1".to_owned(),
        "SV1*HC:70551*1250*UN*1***1".to_owned(),
        format!("DTP*472*D8*{}", calendar::date(case.time)),
        format!("REF*6R*{}", case.accession_number),
    ]
}

/// A text that fits an element: none of the separators (X12.6 section 3.5.1), upper case as most payers ask.
fn element(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '*' | '~' | ':' | '^')).collect::<String>().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelope_counts_and_numbers_agree() {
        let claim = claim(&Case::new(5, 1, Timestamp(1_790_000_000_000)), 42);
        let text = String::from_utf8(claim).unwrap();
        let segments: Vec<&str> = text.split_terminator("~\n").collect();
        assert_eq!(segments[0].len(), 105, "ISA is of fixed length");
        let st = segments.iter().position(|segment| segment.starts_with("ST*")).unwrap();
        let se = segments.iter().position(|segment| segment.starts_with("SE*")).unwrap();
        assert_eq!(segments[se], format!("SE*{}*0001", se - st + 1));
        assert_eq!(segments.last().unwrap(), &"IEA*1*000000042");
    }
}
