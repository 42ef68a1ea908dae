//! HL7 version 2.5.1 messages of a case: admission, result and charge. Segments end in a carriage return (chapter 2.5).

use hilum_core::Timestamp;

use super::calendar::{self, MINUTE_MS};
use super::case::{Case, INSTITUTION, MACHINE};

/// The media type that HL7v2 in its vertical-bar encoding goes by.
pub const CONTENT_TYPE: &str = "application/hl7-v2";

/// ADT^A01: the patient comes in (chapter 3.3.1).
#[must_use]
pub fn admission(case: &Case) -> Vec<u8> {
    let segments = [
        header(case, "ADT^A01^ADT_A01", "A", case.time),
        format!("EVN|A01|{}", calendar::date_time(case.time)),
        identification(case),
        visit(case),
    ];
    message(&segments)
}

/// ORU^R01: the radiologist's findings (chapter 7.3.1).
#[must_use]
pub fn result(case: &Case) -> Vec<u8> {
    let reported = Timestamp(case.time.0 + 50 * MINUTE_MS);
    let segments = [
        header(case, "ORU^R01^ORU_R01", "R", reported),
        identification(case),
        visit(case),
        format!(
            "OBR|1|{order}||24590-2^MR Brain WO contrast^LN|||{at}|||||||||{doctor}|||||||||F",
            order = case.accession_number,
            at = calendar::date_time(case.time),
            doctor = doctor(case),
        ),
        format!(
            "OBX|1|TX|59776-5^Procedure findings^LN||Findings in {}: ventricles of normal size, no mass.||||||F|||{}",
            case.patient.family,
            calendar::date_time(reported),
        ),
        format!(
            "OBX|2|TX|19005-8^Radiology impression^LN||Unremarkable MR of the head.||||||F|||{}",
            calendar::date_time(reported)
        ),
    ];
    message(&segments)
}

/// DFT^P03: what the examination costs (chapter 6.4.1).
#[must_use]
pub fn charge(case: &Case) -> Vec<u8> {
    let posted = Timestamp(case.time.0 + 60 * MINUTE_MS);
    let segments = [
        header(case, "DFT^P03^DFT_P03", "C", posted),
        format!("EVN|P03|{}", calendar::date_time(posted)),
        identification(case),
        visit(case),
        format!(
            "FT1|1|{claim}||{day}|{day}|CG|70551^MRI brain without contrast^C4||Performed on {MACHINE}|1|1250.00",
            claim = case.claim_number,
            day = calendar::date(posted),
        ),
    ];
    message(&segments)
}

fn message(segments: &[String]) -> Vec<u8> {
    segments.iter().flat_map(|segment| [segment.as_str(), "\r"]).collect::<String>().into_bytes()
}

fn header(case: &Case, structure: &str, suffix: &str, at: Timestamp) -> String {
    format!(
        "MSH|^~\\&|RIS|{institution}|HILUM|{institution}|{at}||{structure}|{control}{suffix}|P|2.5.1|||||USA|UNICODE UTF-8",
        institution = INSTITUTION,
        at = calendar::date_time(at),
        control = case.claim_number,
    )
}

fn identification(case: &Case) -> String {
    let patient = &case.patient;
    format!(
        "PID|1||{number}^^^{INSTITUTION}^MR||{family}^{given}^^^^^L||{born}|{sex}|||{street}^^Springfield^IL^62701^USA||{phone}|||||{visit}",
        number = patient.record_number,
        family = patient.family,
        given = patient.given,
        born = patient.birth_date,
        sex = patient.sex.letter(),
        street = patient.street,
        phone = patient.telephone,
        visit = case.visit_number,
    )
}

fn visit(case: &Case) -> String {
    let doctor = doctor(case);
    format!("PV1|1|O|{MACHINE}^^^{INSTITUTION}||||{doctor}|{doctor}|||||||||||{}", case.visit_number)
}

/// An XCN: who asked for the examination.
fn doctor(case: &Case) -> String {
    format!("{}^{}^{}", case.referrer_number, case.referrer.0, case.referrer.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8], segment: &str) -> Vec<String> {
        let text = std::str::from_utf8(message).unwrap();
        let found = text.split_terminator('\r').find(|line| line.starts_with(segment)).unwrap();
        found.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn fields_stand_where_the_standard_has_them() {
        let case = Case::new(5, 1, Timestamp(1_790_000_000_000));
        for (message, kind) in [
            (admission(&case), "ADT^A01^ADT_A01"),
            (result(&case), "ORU^R01^ORU_R01"),
            (charge(&case), "DFT^P03^DFT_P03"),
        ] {
            // MSH-1 is the separator itself, so MSH-n is at n - 1.
            let msh = fields(&message, "MSH");
            assert_eq!((msh[8].as_str(), msh[11].as_str()), (kind, "2.5.1"));
            let pid = fields(&message, "PID");
            assert!(pid[3].starts_with(&case.patient.record_number));
            assert_eq!(pid[7], case.patient.birth_date);
            assert_eq!(pid[18], case.visit_number);
            let pv1 = fields(&message, "PV1");
            assert_eq!(pv1[19], case.visit_number);
            assert!(message.ends_with(b"\r"));
        }
        assert_eq!(fields(&result(&case), "OBR")[16], doctor(&case));
        assert_eq!(fields(&result(&case), "OBX")[11], "F");
    }
}
