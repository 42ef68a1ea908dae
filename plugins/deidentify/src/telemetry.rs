//! De-identifies telemetry of machines and rooms in JSON: the machine's name becomes a pseudonym, sensors, units, times and values go on, and
//! of all else what the configuration says; operators, serial numbers and notes go unless it names them.

use crate::forms::{is_token, is_unit};
use crate::json::{Json, Members, write_raw, write_text};
use crate::pseudonym::{STAFF, short};
use crate::{Config, Pseudonyms, Refusal, Staff, TelemetryMember, shape};

/// The domain of machines and their serial numbers.
const DEVICE: &str = "device";
/// Octets of a record, which is held in memory.
pub const OCTETS_MAX: usize = 1 << 20;
/// Characters of the name of a sensor.
const NAME_CHARACTERS_MAX: usize = 64;
/// Units that are no ASCII.
const DEGREES: [&str; 2] = ["°C", "°F"];

/// De-identifies one record.
///
/// # Errors
/// What it cannot parse, or is no telemetry: a machine and readings, each of a sensor.
pub fn deidentify(input: &[u8], config: &Config, keys: &dyn Pseudonyms) -> Result<Vec<u8>, Refusal> {
    if input.len() > OCTETS_MAX {
        return Err(Refusal::new("too-large", format!("telemetry has over {OCTETS_MAX} octets")));
    }
    let document = Json::parse(input)?;
    let (Some(Json::Text(_)), Some(Json::Array(_))) =
        (document.member("machine"), document.member("readings"))
    else {
        return Err(Refusal::new("invalid-telemetry", "a machine and a list of readings were expected"));
    };
    let cleaner = Cleaner { config, keys };
    let mut out = Vec::with_capacity(input.len());
    cleaner.members(document.members(), false, &mut out)?;
    Ok(out)
}

struct Cleaner<'c> {
    config: &'c Config,
    keys: &'c dyn Pseudonyms,
}

impl Cleaner<'_> {
    /// Writes what is left of the record, or of one reading.
    fn members(&self, members: &Members<'_>, is_reading: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        out.push(b'{');
        let start = out.len();
        for (name, value) in members {
            let before = out.len();
            if before > start {
                out.push(b',');
            }
            write_raw(name, out);
            out.push(b':');
            let is_left = match (is_reading, *name) {
                (false, "readings") => self.readings(value, out)?,
                (true, "sensor" | "unit" | "time" | "value") => measured(name, value, out),
                (_, name) => self.named(name, value, out)?,
            };
            if !is_left {
                out.truncate(before);
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn readings(&self, readings: &Json<'_>, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        out.push(b'[');
        for (index, reading) in readings.each().iter().enumerate() {
            let is_sensor =
                |name: &str| name.len() <= NAME_CHARACTERS_MAX && is_token(name) && !is_somebody(name);
            if !reading.member("sensor").and_then(Json::text).is_some_and(|name| is_sensor(&name)) {
                let reason = format!("reading {} has no sensor with a name", index + 1);
                return Err(Refusal::new("invalid-telemetry", reason));
            }
            if index > 0 {
                out.push(b',');
            }
            self.members(reading.members(), true, out)?;
        }
        out.push(b']');
        Ok(true)
    }

    /// A member that the configuration may name; the machine is a device unless it says something else.
    fn named(&self, name: &str, value: &Json<'_>, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        let default = (name == "machine").then_some(TelemetryMember::Pseudonym);
        let domain = match self.config.telemetry.get(name).copied().or(default) {
            None => return Ok(false),
            Some(TelemetryMember::Keep) => return Ok(kept(value, out)),
            Some(TelemetryMember::Staff) if self.config.staff == Staff::Keep => return Ok(kept(value, out)),
            Some(TelemetryMember::Staff) => STAFF,
            Some(TelemetryMember::Pseudonym) => DEVICE,
        };
        let Some(text) = value.text() else { return Ok(false) };
        let made = short(self.keys, domain, text.as_bytes())?;
        write_text(&made, out);
        Ok(!made.is_empty())
    }
}

/// Whether what should be a sensor is several words that are not in small letters, as names of people are.
fn is_somebody(name: &str) -> bool {
    shape::are_names(name.as_bytes()) && name.bytes().any(|octet| octet.is_ascii_uppercase())
}

/// What was measured when, in what.
fn measured(name: &str, value: &Json<'_>, out: &mut Vec<u8>) -> bool {
    match (name, value) {
        ("unit", Json::Text(_)) => {
            let unit = value.text().unwrap_or_default();
            (is_unit(&unit) || DEGREES.contains(&&*unit)) && kept(value, out)
        }
        ("time", Json::Text(raw)) => hilum_formats::calendar::parse(raw).is_some() && kept(value, out),
        ("sensor", Json::Text(_)) | ("time" | "value", Json::Number(_)) | ("value", Json::Boolean(_)) => {
            kept(value, out)
        }
        ("value", Json::Null) => {
            out.extend_from_slice(b"null");
            true
        }
        _ => false,
    }
}

/// Writes a value without elements as it is; nothing else.
fn kept(value: &Json<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        Json::Text(raw) => write_raw(raw, out),
        Json::Number(number) => out.extend_from_slice(number.as_bytes()),
        Json::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Json::Null | Json::Array(_) | Json::Object(_) => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonym::tests::TestKeys;
    use serde_json::{Value, json};

    fn clean_as(telemetry: &Value, config: &Config) -> Value {
        let cleaned = deidentify(telemetry.to_string().as_bytes(), config, &TestKeys(1)).unwrap();
        serde_json::from_slice(&cleaned).unwrap()
    }

    fn record() -> Value {
        json!({
            "machine": "SENTINEL-1", "serial": "SENTINEL-2", "operator": "SENTINEL-3", "note": "SENTINEL-4", "site": {"name": "SENTINEL-5"},
            "readings": [
                {"sensor": "helium-level", "unit": "%", "time": "2026-11-23T20:00:00+01:00", "value": 59.5, "operator": "SENTINEL-3", "comment": "SENTINEL"},
                {"sensor": "door", "unit": "SENTINEL of Doe", "time": "SENTINEL", "value": "SENTINEL", "SENTINEL": [1]},
                {"sensor": "room-temperature", "unit": "°C", "time": 1_795_460_460_000_u64, "value": null},
            ],
        })
    }

    #[test]
    fn readings_go_on_and_nobody_is_named() {
        let cleaned = clean_as(&record(), &Config::default());
        assert_eq!(
            cleaned,
            json!({
                "machine": short(&TestKeys(1), DEVICE, b"SENTINEL-1").unwrap(),
                "readings": [
                    {"sensor": "helium-level", "unit": "%", "time": "2026-11-23T20:00:00+01:00", "value": 59.5},
                    {"sensor": "door"},
                    {"sensor": "room-temperature", "unit": "°C", "time": 1_795_460_460_000_u64, "value": null},
                ],
            })
        );
    }

    #[test]
    fn what_the_configuration_names_goes_on_as_it_says() {
        let members = [
            ("machine", TelemetryMember::Keep),
            ("serial", TelemetryMember::Pseudonym),
            ("operator", TelemetryMember::Staff),
            ("site", TelemetryMember::Keep),
        ];
        let telemetry = members.map(|(name, what)| (name.to_owned(), what)).into();
        let config = Config { telemetry, ..Config::default() };
        let cleaned = clean_as(&record(), &config);
        assert_eq!(cleaned["machine"], "SENTINEL-1");
        assert_eq!(cleaned["serial"], short(&TestKeys(1), DEVICE, b"SENTINEL-2").unwrap());
        assert_eq!(cleaned["operator"], short(&TestKeys(1), STAFF, b"SENTINEL-3").unwrap(), "as in HL7v2");
        assert_eq!(cleaned["readings"][0]["operator"], cleaned["operator"]);
        assert_eq!((cleaned.get("note"), cleaned.get("site")), (None, None));
        let kept = clean_as(&record(), &Config { staff: Staff::Keep, ..config });
        assert_eq!(kept["operator"], "SENTINEL-3");
    }

    #[test]
    fn what_is_no_telemetry_is_refused() {
        for wrong in [
            json!({}),
            json!({"machine": 1, "readings": []}),
            json!({"machine": "m", "readings": {}}),
            json!({"machine": "m", "readings": [1]}),
            json!({"machine": "m", "readings": [{"sensor": "SENTINEL of Jane"}]}),
            json!({"machine": "m", "readings": [{"value": 1}]}),
            json!({"machine": "m", "readings": [{"sensor": "SENTINEL.Jane"}]}),
            json!({"machine": "m", "readings": [{"sensor": "123-45-6789"}]}),
            json!({"machine": "m", "readings": [{"sensor": "jane@SENTINEL.org"}]}),
        ] {
            let refusal =
                deidentify(wrong.to_string().as_bytes(), &Config::default(), &TestKeys(1)).unwrap_err();
            assert_eq!(refusal.code, "invalid-telemetry", "{wrong}");
            assert!(!refusal.reason.contains("SENTINEL"));
        }
        assert_eq!(
            deidentify(&[b' '; OCTETS_MAX + 1], &Config::default(), &TestKeys(1)).unwrap_err().code,
            "too-large"
        );
    }
}
