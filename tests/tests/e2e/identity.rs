//! Certificates that are not good enough.

use std::time::{Duration, SystemTime};

use hilum_client::{Client, ConnectError, RefusalCode};
use hilum_tests::{Flow, Hospital};

use crate::support::{Scene, says};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_certificate_of_another_authority() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let elsewhere = Hospital::plain();
    let mut config = scene.hospital.config(scene.broker.address(), "scanner");
    let theirs = elsewhere.config(scene.broker.address(), "scanner");
    (config.cert_pem, config.key_pem) = (theirs.cert_pem.clone(), theirs.key_pem.clone());
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error:?}");
    says(&error.to_string(), &["does not accept the certificate of spiffe://test/device/scanner"]);

    // And a client that trusts the other authority does not take this broker for its own.
    let error = Client::connect(theirs).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error:?}");
    says(&error.to_string(), &[scene.broker.address(), "invalid peer certificate"]);
    scene.lost_nothing().await;
    let log = scene.stop();
    says(&log, &["a connection was refused address=127.0.0.1:", "invalid peer certificate"]);
}

#[tokio::test]
async fn an_expired_certificate() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let long_ago = SystemTime::now() - 30 * DAY;
    let config = scene.hospital.issue(scene.broker.address(), "device/scanner", long_ago, 29);
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error:?}");
    says(&error.to_string(), &["the certificate of spiffe://test/device/scanner", "expired"]);

    let not_yet = SystemTime::now() + 2 * DAY;
    let config = scene.hospital.issue(scene.broker.address(), "device/scanner", not_yet, 29);
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error:?}");

    // What is wrong with them is their time alone.
    let config = scene.hospital.issue(scene.broker.address(), "device/scanner", long_ago, 31);
    Client::connect(config).await.unwrap();
    scene.lost_nothing().await;
    says(&scene.stop(), &["a connection was refused", "certificate expired", "certificate not valid yet"]);
}

#[tokio::test]
async fn a_good_certificate_of_somebody_unknown() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let config = scene.hospital.issue(scene.broker.address(), "device/stranger", SystemTime::now(), 1);
    let error = Client::connect(config).await.unwrap_err();
    let ConnectError::Refused { refusal, .. } = &error else { panic!("{error:?}") };
    assert_eq!((refusal.code, refusal.retryable), (RefusalCode::UnknownPrincipal, false));
    says(&error.to_string(), &["the broker refuses spiffe://test/device/stranger", "its configuration"]);
    scene.lost_nothing().await;
    says(&scene.stop(), &["unknown principal", "principal=spiffe://test/device/stranger"]);
}
