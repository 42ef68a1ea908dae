//! Makes FHIR R4 Observations of telemetry: one for each reading, with the codes that the hospital's configuration gives.
//!
//! A record goes this way: [`telemetry`] reads it, [`observation`] makes a resource of each reading, and the plugin splits the record
//! into Observations or replaces it by a Bundle of them.

mod observation;
mod settings;
mod telemetry;
#[cfg(test)]
mod tests;

use hilum_plugin::{
    Body, ConfigError, Context, Description, Draft, Head, Message, Outcome, Refusal, Transform,
};
use serde_json::{Value, json};

pub use settings::{Code, Form, Range, Sensor, Settings, Unknown};
use telemetry::{Document, Reading};

/// What is read: JSON with a machine and its readings.
pub const TELEMETRY_CONTENT_TYPE: &str = "application/vnd.hilum.telemetry+json";
/// What is made (FHIR R4, section 3.1.0.1.11).
pub const FHIR_CONTENT_TYPE: &str = "application/fhir+json; fhirVersion=4.0";
/// Octets of one document.
const DOCUMENT_OCTETS_MAX: usize = 1 << 20;
/// Observations of one record that is split.
const SPLIT_MAX: usize = 64;

/// The plugin, configured.
#[derive(Debug)]
pub struct Observations(Settings);

impl Transform for Observations {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("fhir-observation", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(TELEMETRY_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn transform(&mut self, _: &Context, Message { head, body }: Message) -> Outcome {
        if !head.is(TELEMETRY_CONTENT_TYPE) {
            return Refusal::new("unsupported-content-type", "only telemetry becomes Observations").into();
        }
        map(&self.0, &head, body).into()
    }
}

hilum_plugin::export_transform!(Observations);

fn map(settings: &Settings, head: &Head, body: Body) -> Result<Outcome, Refusal> {
    let octets = body.into_octets(DOCUMENT_OCTETS_MAX)?;
    let Document { machine, readings } = telemetry::read(&octets)?;
    let mut made = Vec::new();
    for (index, reading) in readings.iter().enumerate() {
        let Some(sensor) = settings.sensors.get(&reading.sensor) else {
            match settings.unknown_sensor {
                Unknown::Skip => continue,
                Unknown::Refuse => return Err(at(index, "unknown-sensor", "no code is configured for it")),
            }
        };
        if sensor.unit.is_some() && sensor.unit != reading.unit {
            return Err(at(index, "unexpected-unit", "its unit is not the one that is configured"));
        }
        made.push((reading, observation::make(settings, &machine, sensor, reading, head.time)));
    }
    match (settings.form, made.len()) {
        (_, 0) => Err(Refusal::new("no-reading", "no reading has a code that is configured")),
        (Form::Bundle, _) => {
            let bundle = bundle(head.time, made.into_iter().map(|(_, resource)| resource));
            let body = Body::of(octets_of(&bundle))?;
            Ok(draft(head, body, &machine).attribute("fhir-type", "Bundle").into())
        }
        (Form::Observations, 1..=SPLIT_MAX) => {
            let single = |(reading, resource): (&Reading, Value)| {
                draft(head, octets_of(&resource).into(), &machine)
                    .attribute("fhir-type", "Observation")
                    .attribute("sensor", &reading.sensor)
            };
            let mut singles: Vec<Draft> = made.into_iter().map(single).collect();
            match singles.len() {
                1 => Ok(singles.remove(0).into()),
                _ => Ok(singles.into()),
            }
        }
        (Form::Observations, count) => Err(Refusal::new(
            "too-many-readings",
            format!("{count} readings make more records than {SPLIT_MAX}; set `form` to `bundle`"),
        )),
    }
}

/// A record in the place of the telemetry: readings of one machine stay in order.
fn draft(head: &Head, body: Body, machine: &str) -> Draft {
    let key = head.key.clone().unwrap_or_else(|| machine.to_owned());
    Draft { attributes: head.attributes.clone(), ..Draft::new(FHIR_CONTENT_TYPE, body) }
        .key(key)
        .attribute("machine", machine)
}

/// A collection (FHIR R4, section 2.36): each entry has a name of its own, made of what it is about.
fn bundle(time_ms: u64, resources: impl Iterator<Item = Value>) -> Value {
    let entry = |resource: Value| json!({"fullUrl": observation::full_url(&resource), "resource": resource});
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": hilum_formats::calendar::format(time_ms),
        "entry": resources.map(entry).collect::<Vec<_>>(),
    })
}

fn octets_of(resource: &Value) -> Vec<u8> {
    serde_json::to_vec(resource).expect("numbers and text serialize into memory")
}

fn at(index: usize, code: &str, what: &str) -> Refusal {
    Refusal::new(code, format!("reading {} of the record: {what}", index + 1))
}
