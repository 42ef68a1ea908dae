//! The example plugins as components, in the sandbox: that they load, are granted no more than they say, and do what they do natively.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hilum_core::{Body, StageName};
use hilum_formats::dicom::build::{EXPLICIT, Elements, Ends, part_10};
use hilum_formats::dicom::{DataSet, Encoding, Tag};
use hilum_plugin_build::Guests;
use hilum_sandbox::{BatchRun, Chain, Failure, Grants, Input, Plugin, StageSpec};
use serde_json::{Value, json};

use crate::support::{Memory, inline, load, record, sandbox, stage};

const NAMES: [&str; 5] = ["claim-duplicates", "dicom-morph", "dose-alert", "fhir-observation", "hl7-route"];

static EXAMPLES: LazyLock<BTreeMap<&str, Arc<Plugin>>> = LazyLock::new(|| {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = workspace.join("target/plugins");
    let packages = NAMES.map(|name| format!("hilum-{name}"));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let paths = Guests::new(workspace, target).build(&packages).unwrap_or_else(|error| panic!("{error}"));
    let load = |path| sandbox().load(&std::fs::read(path).unwrap()).unwrap();
    NAMES.into_iter().zip(paths.iter().map(load)).collect()
});

/// A chain of one example, over services in memory.
fn chain(name: &'static str, grants: &[&str], config: Value, services: &Arc<Memory>) -> Chain {
    let spec = StageSpec {
        name: StageName::new(name).unwrap(),
        plugin: EXAMPLES[name].clone(),
        grants: Grants::parse(grants.to_vec()).unwrap(),
        config,
        ..stage("gate", json!({}))
    };
    load(vec![spec], services).unwrap()
}

fn input(content_type: &str, body: Body) -> Input {
    let mut input = record(body, &[]);
    input.head.content_type = content_type.into();
    input
}

fn octets(octets: impl Into<Vec<u8>>) -> Body {
    Body::Inline(Bytes::from(octets.into()))
}

fn emitted(run: &BatchRun) -> Vec<Value> {
    run.emitted.iter().map(|emission| serde_json::from_slice(&emission.body).unwrap()).collect()
}

#[test]
fn each_says_its_own_name() {
    for (name, plugin) in EXAMPLES.iter() {
        assert_eq!(plugin.description().name, *name);
    }
}

#[test]
fn hl7_messages_are_routed_and_batches_taken_apart() {
    const MESSAGE: &str =
        "MSH|^~\\&|ADT1|ST-MARYS|HILUM|ST-MARYS|20261126||ADT^A01|MSG1|P|2.5.1\rPID|1||4711\rPV1|1|I|ICU\r";
    let config =
        json!({"rules": [{"name": "icu", "when": {"location": ["ICU"]}, "set": {"route": "intensive"}}]});
    let chain = chain("hl7-route", &[], config, &Arc::default());
    let batch = format!("BHS|^~\\&|HUB\r{MESSAGE}{MESSAGE}BTS|2\r");
    let inputs = [MESSAGE, &batch, "no message"].map(|text| input("application/hl7-v2", octets(text)));
    let mut records = chain.run(inputs.into()).records.into_iter();
    let single = records.next().unwrap().unwrap().run;
    let routed = |attributes: &[hilum_core::Attribute]| {
        attributes.iter().any(|one| one.name == "route" && one.value == "intensive")
    };
    assert!(routed(&single.outputs[0].attributes));
    let batch = records.next().unwrap().unwrap().run;
    assert_eq!(batch.outputs.len(), 2);
    for output in &batch.outputs {
        assert!(routed(&output.attributes));
        assert_eq!(inline(&output.body), MESSAGE.as_bytes());
    }
    assert_eq!(records.next().unwrap().unwrap_err().code(), "malformed");
}

#[test]
fn telemetry_becomes_observations() {
    let config = json!({
        "device_system": "https://st-marys.example/machines",
        "identifier_system": "https://st-marys.example/readings",
        "sensors": {"room-temperature": {
            "code": {"system": "http://loinc.org", "code": "60832-3"}, "unit": "°C", "ucum": "Cel"}}
    });
    let chain = chain("fhir-observation", &[], config, &Arc::default());
    let reading = json!({"machine": "mri-1", "sensor": "room-temperature", "unit": "°C", "value": 21.5});
    let telemetry = input("application/vnd.hilum.telemetry+json", octets(reading.to_string()));
    let run = chain.run(vec![telemetry]).records.remove(0).unwrap().run;
    let made: Value = serde_json::from_slice(inline(&run.outputs[0].body)).unwrap();
    assert_eq!((&made["resourceType"], &made["status"]), (&json!("Observation"), &json!("final")));
    assert_eq!(made["valueQuantity"]["code"], "Cel");
    assert!(run.outputs[0].content_type.starts_with("application/fhir+json"));
}

#[test]
fn dicom_tags_change_and_pixels_are_forwarded_on_the_host() {
    let config = json!({"rules": [{"name": "one", "changes": [
        {"action": "map", "tag": "(0018,0015)", "vr": "CS", "from": "(0019,xx15,ACME)", "values": {"Kopf": "HEAD"},
         "otherwise": "refuse"}]}]});
    let services = Arc::<Memory>::default();
    let chain = chain("dicom-morph", &[], config, &services);
    let image = |part: &str, pixels: usize| {
        Elements::image(Encoding::EXPLICIT_LITTLE)
            .text(0x0019_0010, "LO", "ACME")
            .text(0x0019_1015, "LO", part)
            .value(0x7FE0_0010, "OW", &vec![7; pixels])
            .part_10(EXPLICIT)
    };
    let part = |object: &[u8]| DataSet::parse(object, &[]).unwrap().text(Tag(0x0018_0015)).map(str::to_owned);
    let small =
        chain.run(vec![input("application/dicom", octets(image("Kopf", 64)))]).records.remove(0).unwrap().run;
    assert_eq!(part(inline(&small.outputs[0].body)).as_deref(), Some("HEAD"));
    // More than the memory that an instance has: 64 MiB.
    let large = services.blob(image("Kopf", 80 << 20));
    let run = chain.run(vec![input("application/dicom", large)]).records.remove(0).unwrap().run;
    let Body::Blob(blob) = run.outputs[0].body.body() else { panic!("it is large") };
    let made = services.blobs.lock().unwrap()[&blob.id].clone();
    assert_eq!(part(&made).as_deref(), Some("HEAD"));
    assert!(made.len() > 80 << 20 && made.ends_with(&[7; 64]));
    let refused =
        chain.run(vec![input("application/dicom", octets(image("Fuss", 64)))]).records.remove(0).unwrap_err();
    assert!(matches!(&refused, Failure::Refused { .. }), "{refused}");
    assert_eq!(refused.code(), "unmapped");
}

/// A CT dose report of one total.
fn dose_report(instance: &str, dlp: &str) -> Vec<u8> {
    const DOSE_REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.67";
    let new = || Elements::new(Encoding::EXPLICIT_LITTLE);
    let code =
        |value: &str, scheme: &str| new().text(0x0008_0100, "SH", value).text(0x0008_0102, "SH", scheme);
    let measured =
        new().sequence(0x0040_08EA, &[code("mGy.cm", "UCUM")], Ends::Length).text(0x0040_A30A, "DS", dlp);
    let total = new()
        .text(0x0040_A040, "CS", "NUM")
        .sequence(0x0040_A043, &[code("113813", "DCM")], Ends::Length)
        .sequence(0x0040_A300, &[measured], Ends::Length);
    let elements = new()
        .text(0x0008_0016, "UI", DOSE_REPORT)
        .text(0x0008_0018, "UI", instance)
        .text(0x0010_0020, "LO", "4711")
        .sequence(0x0040_A730, &[total], Ends::Delimiter);
    part_10(EXPLICIT, DOSE_REPORT, &elements.octets)
}

#[test]
fn doses_add_up_under_a_pseudonym() {
    let config = json!({"alerts_flow": "doses", "key": "research",
        "cumulative": [{"name": "month", "quantity": "dlp", "limit": 1000, "days": 30}]});
    let grants = ["log", "metrics", "state", "keys:research", "emit:doses"];
    let services = Arc::<Memory>::default();
    let chain = chain("dose-alert", &grants, config, &services);
    let report = |instance| input("application/dicom", octets(dose_report(instance, "600")));
    assert!(chain.run(vec![report("1.9.1"), report("1.9.1")]).emitted.is_empty());
    let run = chain.run(vec![report("1.9.2")]);
    assert_eq!(emitted(&run)[0]["dose"], 1200.0);
    assert_eq!(run.emitted[0].flow.as_str(), "doses");
    let state = services.state.lock().unwrap();
    assert_eq!(state.len(), 1);
    assert!(state.iter().all(|(key, kept)| {
        key.starts_with("patient/") && !String::from_utf8_lossy(&kept.value).contains("4711")
    }));
}

#[test]
fn a_claim_that_comes_again_is_told() {
    let claim = |control: u32| {
        let header = format!(
            "ISA*00*          *00*          *ZZ*STMARYS        *ZZ*KEYINSURANCE   *261126*1000*^*00501*{control:09}*0*P*:~"
        );
        let body = "GS*HC*STMARYS*KEY*20261126*1000*1*X*005010X222A1~ST*837*0001*005010X222A1~BHT*0019*00*1*20261126*1000*CH~\
            HL*1**20*1~NM1*85*2*ST MARYS*****XX*1234567893~HL*2*1*22*0~NM1*IL*1*DOE*JANE****MI*4711~CLM*A1*1250***22:B:1*Y*A*Y*Y~\
            LX*1~SV1*HC:70551*1250*UN*1***1~DTP*472*D8*20261120~SE*11*0001~GE*1*1~";
        input("application/EDI-X12", octets(format!("{header}{body}IEA*1*{control:09}~")))
    };
    let config = json!({"alerts_flow": "claims", "key": "research"});
    let grants = ["metrics", "state", "keys:research", "emit:claims"];
    let services = Arc::<Memory>::default();
    let chain = chain("claim-duplicates", &grants, config, &services);
    assert!(chain.run(vec![claim(1)]).emitted.is_empty());
    let run = chain.run(vec![claim(2)]);
    assert_eq!(emitted(&run)[0]["claims"][0]["interchange"], "000000002");
    assert_eq!(services.counters.lock().unwrap()["duplicates"], 1);
}

#[test]
fn an_example_without_its_grants_does_not_load() {
    let spec = StageSpec {
        name: StageName::new("dose-alert").unwrap(),
        plugin: EXAMPLES["dose-alert"].clone(),
        grants: Grants::parse(vec!["state"]).unwrap(),
        config: json!({"alerts_flow": "doses", "key": "research",
            "levels": [{"name": "any", "quantity": "dlp", "limit": 1000}]}),
        ..stage("gate", json!({}))
    };
    let error = load(vec![spec], &Arc::default()).err().unwrap().to_string();
    assert!(error.contains("dose-alert"), "{error}");
}

/// The stage in an example's README, which people copy: its configuration and its grants are those that the plugin takes.
#[test]
fn the_flow_in_each_readme_loads() {
    for name in NAMES {
        let readme =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins").join(name).join("README.md");
        let text = std::fs::read_to_string(readme).unwrap();
        let (_, block) = text.split_once("```toml\n").unwrap();
        let flow: Value = toml::from_str(block.split_once("```").unwrap().0).unwrap();
        let stage = &flow["ingress"][0];
        assert_eq!(stage["plugin"], name);
        let grants = stage["grants"].as_array().cloned().unwrap_or_default();
        let grants: Vec<&str> = grants.iter().map(|grant| grant.as_str().unwrap()).collect();
        chain(name, &grants, stage["config"].clone(), &Arc::default());
    }
}
