//! Images, results and claims go in on two sides; in the middle there are MACs, and what is found names nobody.

use bytes::Bytes;
use hilum_client::{Client, Record, Subscription as Reading};
use hilum_core::Timestamp;
use hilum_hospital::simulator::{Case, hl7, mr, x12};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{CREDIT, body, name, next, says};

fn hospital() -> Hospital {
    let more = "\n[plugins.claims]\npath = \"plugins/claims.wasm\"\n\n[keys.claims]\nkind = \"secret\"\nfile = \"keys/claims\"\n";
    let side = "grants = [\"log\", \"metrics\", \"state\", \"keys:claims\", \"emit:procedures\"]\n";
    let performed = format!(
        "{side}config = {{ part = \"performed\", notices_flow = \"procedures\", key = \"claims\", procedures = {{ \"24590-2\" = \"MR/head\" }} }}"
    );
    let claimed = "grants = [\"log\", \"metrics\", \"state\", \"keys:claims\", \"emit:procedures\"]\nconfig = { part = \"claimed\", notices_flow = \"procedures\", key = \"claims\", crosswalk = \"70551-70553 MR head\\n70450-70470 CT head\" }";
    let matching = "grants = [\"log\", \"metrics\", \"state\", \"emit:findings\"]\nconfig = { part = \"match\", findings_flow = \"findings\" }";
    let flows = [
        Flow::new("clinical").class("imaging").ingress(Stage::new("performed", "claims").with(&performed)),
        Flow::new("billing").class("billing").ingress(Stage::new("claimed", "claims").with(claimed)),
        Flow::new("procedures")
            .unpublished()
            .ingress(Stage::new("match", "claims").with(matching))
            .subscription(Subscription::all()),
        Flow::new("findings").unpublished().subscription(Subscription::all()),
    ];
    Hospital::with(more, &flows)
}

async fn publish(client: &Client, flow: &str, content_type: &str, bodies: Vec<Vec<u8>>) {
    let publisher = client.publisher(&name(flow)).await.unwrap();
    for body in bodies {
        publisher.publish(Record::new(content_type, Bytes::from(body))).await.unwrap();
    }
    publisher.finish().await.unwrap();
}

/// So many records of a subscription with all that is in them, none of which names anybody of a case.
async fn anonymous(reading: &mut Reading, case: &Case, count: usize) -> Vec<Value> {
    let patient = &case.patient;
    let planted = [
        &patient.family,
        &patient.given,
        &patient.record_number,
        &patient.member_number,
        &case.accession_number,
        &case.claim_number,
        &case.visit_number,
    ];
    // Whose day is an identifier too.
    let claim = String::from_utf8(x12::claim(case, 1)).unwrap();
    let day = &claim.split_once("DTP*472*D8*").unwrap().1[..8];
    let written = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
    let planted = planted.into_iter().cloned().chain([day.to_owned(), written]);
    let planted: Vec<String> = planted.collect();
    let mut found = Vec::new();
    for _ in 0..count {
        let delivery = next(reading).await;
        let all = format!("{} {:?} {:?}", body(&delivery), delivery.head().key, delivery.head().attributes);
        for identifier in &planted {
            assert!(!all.to_uppercase().contains(&identifier.to_uppercase()), "{identifier} is in {all}");
        }
        found.push(serde_json::from_str(&body(&delivery)).unwrap());
        delivery.ack();
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_claimed_twice_or_for_something_else_is_found_without_a_name() {
    let hospital = hospital();
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut notices = reader.subscribe(&name("procedures"), &name("all"), CREDIT).await.unwrap();
    let mut findings = reader.subscribe(&name("findings"), &name("all"), CREDIT).await.unwrap();

    let case = Case::new(5, 1, Timestamp(1_790_000_000_000));
    let images = mr::series(&case, 4, 16).into_iter().map(|image| image.octets).collect();
    publish(&scanner, "clinical", "application/dicom", images).await;
    publish(&scanner, "clinical", hl7::CONTENT_TYPE, vec![hl7::result(&case)]).await;
    let claim = String::from_utf8(x12::claim(&case, 42)).unwrap();
    publish(&scanner, "billing", x12::CONTENT_TYPE, vec![claim.clone().into_bytes()]).await;
    let seen = anonymous(&mut notices, &case, 3).await;
    let sides: Vec<&str> = seen.iter().filter_map(|notice| notice["side"].as_str()).collect();
    assert_eq!(sides, ["performed", "performed", "claimed"], "four images are one study: {seen:?}");
    assert_eq!(seen[0]["accession"], seen[2]["lines"][0]["accession"], "both sides have one MAC");
    assert_eq!(seen[0]["visit"], seen[2]["lines"][0]["visit"]);
    assert!(seen[0]["hidden_day"].is_u64() && seen[0]["year"].is_u64(), "{seen:?}");
    assert_eq!(seen[0]["hidden_day"], seen[2]["lines"][0]["hidden_day"], "and one pad");

    // Another claim of the same, and one of something else.
    let double = claim.replace(&case.claim_number, "SECOND7");
    let other = claim.replace(&case.claim_number, "THIRD8").replace("70551", "70450");
    publish(&scanner, "billing", x12::CONTENT_TYPE, vec![double.into_bytes(), other.into_bytes()]).await;
    let found = anonymous(&mut findings, &case, 2).await;
    let causes: Vec<&str> = found.iter().filter_map(|finding| finding["cause"].as_str()).collect();
    assert_eq!(causes, ["duplicate-claim", "other-procedure"], "{found:?}");
    assert_eq!(found[1]["performed"]["modality"], "MR");
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    assert!(!log.contains(&case.accession_number) && !log.contains(&case.patient.family));
}

/// The key is granted to the sides by name; the middle has none, and starts.
#[test]
fn a_side_that_is_not_granted_its_key_stops_the_start() {
    let hospital = hospital();
    let billing = hospital.file("flows/1.toml");
    let text = std::fs::read_to_string(&billing).unwrap();
    std::fs::write(&billing, text.replace("\"keys:claims\", ", "")).unwrap();
    let said = Broker::try_start(hospital.path()).err().expect("the broker started");
    says(&said, &["claimed", "/key", "keys:claims"]);
}
