//! Dates that move with their patient, and postal codes.

use super::*;
use crate::pseudonym::PATIENT;
use crate::{MessageDates, PostalCodes};

fn shifting() -> Config {
    Config { message_dates: MessageDates::Shift, ..Config::default() }
}

fn moved(date: &str, number: &str) -> String {
    let days = TestKeys(1).date_shift(PATIENT, number.as_bytes(), 365).unwrap();
    let mut date = date.as_bytes().to_vec();
    assert!(crate::dates::shift(&mut date, days));
    String::from_utf8(date).unwrap()
}

#[test]
fn dates_of_a_message_keep_their_intervals() {
    let text = clean_as(
        &format!(
            "{HEADER}PID|1||9^^^X^AN~4711^^^B^MR||Doe^Jane||19700102|F|||1 Main^^Tampa^FL^33111\rOBR|1|||T^T^L|||20261122101500-0500|20261123\r\
             OBX|1|TS|D^D^L||20261101~202611||||||F|||19310723\rOBX|2|DT|D^D^L||20260230||||||F\r{HEADER}PID|1||4712^^^B^MR\r"
        ),
        &shifting(),
    );
    let lines: Vec<Vec<&str>> = text.split('\r').map(|line| line.split('|').collect()).collect();
    let of = |date: &str| moved(date, "4711");
    assert_eq!(lines[0][6], of("20261123101500"));
    assert_eq!(lines[1][7], "1970");
    assert_eq!(lines[2][7], of("20261122101500-0500"));
    assert_eq!(lines[2][8], of("20261123"));
    assert_eq!(lines[3][5], format!("{}~{}", of("20261101"), of("202611")));
    assert_eq!(lines[3][14], "1936", "so long ago that it tells an age");
    assert_eq!(lines[4][5], "", "no such day");
    assert_eq!(lines[5][6], moved("20261123101500", "4712"), "another patient's message");
}

#[test]
fn dates_of_nobody_are_reduced_and_of_somebody_unknown_refused() {
    let header = |text: &str| clean_as(text, &shifting()).split('|').nth(6).unwrap().to_owned();
    assert_eq!(header(&format!("{HEADER}MSA|AA|7\r")), "2026");
    let unknown = format!("{HEADER}PID|1||^^^B^MR||Doe^Jane\r");
    let refusal = deidentify(unknown.as_bytes(), &shifting(), &TestKeys(1)).unwrap_err();
    assert_eq!(refusal.code, "no-patient-id");
}

#[test]
fn three_digits_of_a_zip_code_may_go_on() {
    let config = Config { postal_codes: PostalCodes::ThreeDigits, ..Config::default() };
    let address = |address: &str| {
        let text = clean_as(&format!("{HEADER}PID|1||1||||||||{address}\r"), &config);
        text.trim_end().split('|').nth(22).unwrap_or_default().to_owned()
    };

    assert_eq!(address("1 Main^Apt 2^Tampa^FL^33111-1234^USA"), "^^^FL^3310000000^USA");
    assert_eq!(address("1 Main^^Concord^NH^03601"), "^^^NH^00000");
    assert_eq!(address("Weg 1^^Berlin^BE^10115^DEU"), "^^^BE^00000^DEU");
}
