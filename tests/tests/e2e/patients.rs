//! Who treats a patient, and what the patient allows, is learned from one flow and decides on another: at once, and after a restart.

use bytes::Bytes;
use hilum_client::{DeliveryBody, Publisher, Record, Subscription as Reading};
use hilum_core::Timestamp;
use hilum_hospital::simulator::{Case, mr};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{CREDIT, done, name, next, nothing_comes, says};

const IDENTIFIERS: &str = r#"identifiers = { authorities = { st-marys = ["ST-MARYS", "St. Mary's Hospital", "urn:oid:1.2.3"], other = ["urn:oid:9.9"] }, unnamed = "st-marys" }"#;

/// Images go to doctors who treat the patient, and to research where the patient permits it.
const POLICIES: &str = r#"
    @id("publish") permit(principal, action == Action::"store", resource);
    @id("treating") permit(principal in Role::"reader", action == Action::"read", resource)
    when { context.purpose == Purpose::"TREAT" && context.treatsAs.contains("attending") };
    @id("consented") permit(principal, action == Action::"read", resource)
    when { context.purpose == Purpose::"HRESCH" && context.consent == Consent::"permit" };"#;

const PEOPLE: &str = r#"[{"principal": "spiffe://test/service/reader", "practitioners": [{"authority": "st-marys", "value": "D1"}]}]"#;

fn learn() -> Stage {
    Stage::new("learn", "relationships").with(&format!(
        "grants = [\"state\", \"time\", \"keys:relationships\"]\nconfig = {{ grace_hours = 0, {IDENTIFIERS} }}"
    ))
}

fn check() -> Stage {
    Stage::new("check", "access").with(&format!(
        "grants = [\"time\", \"keys:relationships\", \"observed:admissions/learn\", \"observed:consents/learn\"]\n\
         [subscription.egress.config]\nexplain = true\npolicies = '''{POLICIES}'''\npeople = '''{PEOPLE}'''\n\
         [subscription.egress.config.patients]\nrelationships = [\"admissions/learn\"]\nconsents = [\"consents/learn\"]\n{IDENTIFIERS}"
    ))
}

fn flows() -> [Flow; 3] {
    let reader = |of: &'static str, purpose| Subscription::new(of).purpose(purpose).egress(check());
    let images = Flow::new("images").class("imaging");
    [
        Flow::new("admissions").ingress(learn()),
        Flow::new("consents").ingress(learn()),
        images.subscription(reader("doctors", "TREAT")).subscription(reader("research", "HRESCH")),
    ]
}

/// Those who publish and read, at one life of the broker.
struct Ward {
    admissions: Publisher,
    consents: Publisher,
    images: Publisher,
    doctors: Reading,
    research: Reading,
}

impl Ward {
    async fn open(hospital: &Hospital, broker: &Broker) -> Self {
        let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
        let reader = hospital.connect(broker.address(), "reader").await.unwrap();
        Self {
            admissions: scanner.publisher(&name("admissions")).await.unwrap(),
            consents: scanner.publisher(&name("consents")).await.unwrap(),
            images: scanner.publisher(&name("images")).await.unwrap(),
            doctors: reader.subscribe(&name("images"), &name("doctors"), CREDIT).await.unwrap(),
            research: reader.subscribe(&name("images"), &name("research"), CREDIT).await.unwrap(),
        }
    }

    async fn admission(&self, case: &Case, kind: &str) {
        let number = &case.patient.record_number;
        let text = format!(
            "MSH|^~\\&|ADT|ST-MARYS|||20260301||{kind}|7|P|2.5.1\rPID|1||{number}^^^ST-MARYS^MR||Doe^Jane\r\
             PV1|1|I|4-WEST^^^ST-MARYS||||D1^Lee^Ann||||||||||||V-1\r"
        );
        self.admissions.publish(Record::new("application/hl7-v2", Bytes::from(text))).await.unwrap();
    }

    /// What is in force names the patient by two numbers; what is not, by the one that no image has.
    async fn consent(&self, case: &Case, status: &str) {
        let number = &case.patient.record_number;
        let other = serde_json::json!({"system": "urn:oid:9.9", "value": format!("99{number}")});
        let both = serde_json::json!([{"system": "urn:oid:1.2.3", "value": number}, other]);
        let patient = if status == "active" {
            serde_json::json!({"reference": "#p"})
        } else {
            serde_json::json!({"identifier": other})
        };
        let consent = serde_json::json!({
            "resourceType": "Consent", "id": format!("consent-{number}"), "status": status,
            "scope": {"coding": [{"code": "research"}]},
            "contained": [{"resourceType": "Patient", "id": "p", "identifier": both}],
            "patient": patient,
            "policyRule": {"coding": [{"code": "OPTIN"}]},
            "provision": {"type": "permit", "purpose": [{"code": "HRESCH"}]},
        });
        let record = Record::new("application/fhir+json", Bytes::from(consent.to_string()));
        self.consents.publish(record).await.unwrap();
    }

    /// Publishes an image, and sees to it that these of the two readers get it: doctors, research.
    async fn image(&mut self, image: &mr::Instance, (doctors, research): (bool, bool)) {
        let record = Record::new("application/dicom", Bytes::copy_from_slice(&image.octets));
        self.images.publish(record).await.unwrap();
        comes(&mut self.doctors, image, doctors).await;
        comes(&mut self.research, image, research).await;
    }

    /// Leaves when the broker has counted what was acked here: nothing of it comes again.
    async fn leave(self) {
        self.doctors.close().await.unwrap();
        self.research.close().await.unwrap();
    }
}

/// What should not come and comes late is found where the next image is expected.
async fn comes(reading: &mut Reading, image: &mr::Instance, expected: bool) {
    if !expected {
        return nothing_comes(reading).await;
    }
    let delivery = next(reading).await;
    let DeliveryBody::Inline(body) = delivery.body() else { panic!("images are small here") };
    assert!(*body == image.octets, "another image came");
    delivery.ack();
}

#[tokio::test]
async fn a_doctor_reads_the_images_of_those_who_are_in_the_hospital_and_research_those_of_who_permits() {
    let hospital = Hospital::new(&flows());
    let start = || Broker::start(hospital.path());
    let case = Case::new(5, 0, Timestamp(1_790_000_000_000));
    let other = Case::new(5, 1, Timestamp(1_790_000_000_000));
    let images = mr::series(&case, 5, 64);

    // Somebody else is admitted, and permits.
    let broker = start();
    let mut ward = Ward::open(&hospital, &broker).await;
    ward.admission(&other, "ADT^A01^ADT_A01").await;
    ward.consent(&other, "active").await;
    ward.image(&images[0], (false, false)).await;
    ward.leave().await;
    assert!(broker.stop().0);

    // Each time the broker dies of what it acked a moment ago.
    let broker = start();
    Ward::open(&hospital, &broker).await.admission(&case, "ADT^A01^ADT_A01").await;
    broker.kill();
    let broker = start();
    let mut ward = Ward::open(&hospital, &broker).await;
    ward.image(&images[1], (true, false)).await;
    ward.consent(&case, "active").await;
    ward.image(&images[2], (true, true)).await;
    ward.leave().await;
    assert!(broker.stop().0);
    let broker = start();
    Ward::open(&hospital, &broker).await.consent(&case, "inactive").await;
    broker.kill();
    let broker = start();
    let mut ward = Ward::open(&hospital, &broker).await;
    ward.image(&images[3], (true, false)).await;
    ward.admission(&case, "ADT^A03^ADT_A03").await;
    ward.leave().await;
    broker.kill();
    let broker = start();
    let mut ward = Ward::open(&hospital, &broker).await;
    ward.image(&images[4], (false, false)).await;

    let audit = done(&hospital, &broker, "operator", "audit");
    let of = |what: &str| audit.iter().filter(|event| event.to_string().contains(what)).count();
    assert!(of("treating") >= 3 && of("consented") >= 1, "{audit:#?}");
    let explained = |event: &Value| {
        let event = event.to_string();
        ["no-policy", "`treating` needs", "context.treatsAs.contains"]
            .iter()
            .all(|words| event.contains(words))
    };
    assert!(audit.iter().any(explained), "{audit:#?}");
    for event in &audit {
        let number = &case.patient.record_number;
        assert!(!event.to_string().contains(number.as_str()), "a patient is in the audit");
    }
}

/// What stands in nobody's configuration cannot be asked for.
#[test]
fn a_stage_that_nobody_has_or_that_is_not_granted_stops_the_start() {
    let hospital = Hospital::new(&flows());
    let said = |change: fn(String) -> String| {
        std::fs::write(hospital.file("flows/2.toml"), change(flows()[2].to_string())).unwrap();
        Broker::try_start(hospital.path()).err().expect("the broker started")
    };
    let missing = said(|text| text.replace("observed:admissions/learn", "observed:admissions/lern"));
    says(&missing, &["stage `check` would read what `admissions/lern` keeps", "admissions/learn"]);
    let not_granted = said(|text| text.replace("\"observed:admissions/learn\", ", ""));
    says(&not_granted, &["/patients/relationships", "observed:admissions/learn"]);
    let no_key = said(|text| text.replace("\"time\", \"keys:relationships\", \"ob", "\"time\", \"ob"));
    says(&no_key, &["/patients/key", "keys:relationships"]);
}
