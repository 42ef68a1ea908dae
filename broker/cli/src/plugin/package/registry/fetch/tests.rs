//! A registry that keeps to the protocol, and one that does not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;

/// What an endless answer sends before it gives up by itself, for a client that reads on: far more than any limit here.
const ENDLESS_OCTETS: usize = 256 << 20;
/// What may be on its way in buffers of the system when a client stops reading.
const BUFFERED_OCTETS_MAX: usize = 32 << 20;
const LIMIT: usize = 1000;

/// What the server does with one path.
#[derive(Clone)]
pub(in super::super) enum Answer {
    /// Status, headers and body.
    Whole(&'static str, &'static str, &'static str),
    /// A body that is found.
    Octets(Vec<u8>),
    /// Status, headers, and octets without end.
    Endless(&'static str, &'static str),
    /// Nothing.
    Silence,
}

pub(in super::super) struct Server {
    pub(in super::super) address: String,
    asked: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
}

/// Answers each connection once, on a thread of its own; all end with the test's process at the latest.
pub(in super::super) fn serve<P: AsRef<str> + Clone + Send + 'static>(answers: Vec<(P, Answer)>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, sent) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
    let server = Server { address, asked: asked.clone(), sent: sent.clone() };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answers, asked, sent) = (answers.clone(), asked.clone(), sent.clone());
            std::thread::spawn(move || answer(&stream.unwrap(), &answers, &asked, &sent));
        }
    });
    server
}

fn answer<P: AsRef<str>>(
    mut stream: &TcpStream,
    answers: &[(P, Answer)],
    asked: &Mutex<Vec<String>>,
    sent: &AtomicUsize,
) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let Some(first) = head.first() else { return };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let authorization = head.iter().find(|line| line.to_lowercase().starts_with("authorization:"));
    let authorization = authorization.map_or("-", |line| line.split_once(": ").unwrap().1);
    asked.lock().unwrap().push(format!("{path} {authorization}"));
    let found = answers.iter().find(|(known, _)| path.split('?').next() == Some(known.as_ref()));
    match found.map(|(_, answer)| answer) {
        Some(Answer::Whole(status, headers, body)) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
            );
            // The client may have gone.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
        Some(Answer::Octets(body)) => {
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
        Some(Answer::Endless(status, headers)) => {
            let _ = stream
                .write_all(format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n").as_bytes());
            let some = [b' '; 64 << 10];
            while sent.load(Ordering::SeqCst) < ENDLESS_OCTETS && stream.write_all(&some).is_ok() {
                sent.fetch_add(some.len(), Ordering::SeqCst);
            }
        }
        Some(Answer::Silence) => drop(std::io::Read::read(&mut stream, &mut [0])),
        None => drop(
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        ),
    }
}

impl Server {
    fn source(&self) -> Source {
        Source {
            http: Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{}/v2/", self.address).parse().unwrap(),
            repository: "plugins/clean".into(),
            time: Duration::from_secs(5),
            authorization: None,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    #[track_caller]
    fn was_not_drained(&self) {
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(sent <= BUFFERED_OCTETS_MAX, "{sent} octets were taken");
    }
}

fn wanted(path: &str) -> Wanted<'_> {
    Wanted { what: "the manifest", path, media_type: Some("application/json"), octets_max: LIMIT }
}

#[tokio::test]
async fn what_is_asked_for_comes_with_a_token_where_the_registry_wants_one() {
    let tokens = serve(vec![("/token", Answer::Whole("200 OK", "", r#"{"access_token": "abc"}"#))]);
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"the registry\"\r\n",
        tokens.address
    );
    let challenge: &'static str = challenge.leak();
    let registry = serve(vec![
        ("/v2/", Answer::Whole("401 Unauthorized", challenge, "{}")),
        ("/v2/plugins/clean/manifests/1.2.0", Answer::Whole("200 OK", "", "{ }")),
    ]);
    let mut source = registry.source();
    source.introduce(&RegistryAuth::Basic("me".into(), "secret".into())).await.unwrap();
    assert_eq!(source.get_small(&wanted("manifests/1.2.0")).await.unwrap(), b"{ }");
    assert_eq!(source.get(&wanted("manifests/1.2.0")).await.unwrap(), b"{ }");
    let scope = "/token?scope=repository%3Aplugins%2Fclean%3Apull&service=the+registry Basic bWU6c2VjcmV0";
    assert_eq!(tokens.asked(), [scope]);
    let asked = "/v2/plugins/clean/manifests/1.2.0 Bearer abc";
    assert_eq!(registry.asked(), ["/v2/ -", asked, asked]);
}

#[tokio::test]
async fn who_we_are_is_said_as_the_registry_wants_it() {
    let basic = Answer::Whole("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
    let registry = serve(vec![("/v2/", basic), ("/v2/plugins/clean/x", Answer::Whole("200 OK", "", "1"))]);
    for (auth, said) in [
        (RegistryAuth::Anonymous, "-"),
        (RegistryAuth::Basic("me".into(), "secret".into()), "Basic bWU6c2VjcmV0"),
        (RegistryAuth::Bearer("abc".into()), "Bearer abc"),
    ] {
        let mut source = registry.source();
        source.introduce(&auth).await.unwrap();
        source.get(&wanted("x")).await.unwrap();
        assert_eq!(registry.asked().last().unwrap(), &format!("/v2/plugins/clean/x {said}"));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_on() {
    let realm = serve(vec![("/token", Answer::Endless("200 OK", ""))]);
    let challenge: &'static str =
        format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", realm.address).leak();
    let registry = serve(vec![
        ("/v2/", Answer::Whole("401 Unauthorized", challenge, "")),
        ("/v2/plugins/clean/endless", Answer::Endless("200 OK", "")),
        ("/v2/plugins/clean/failing", Answer::Endless("500 Internal Server Error", "")),
    ]);
    let mut source = registry.source();
    let error = source.introduce(&RegistryAuth::Anonymous).await.unwrap_err();
    assert_eq!(error.to_string(), "a token has more than 65536 octets, so it was not read on");
    realm.was_not_drained();
    for error in [
        source.get_small(&wanted("endless")).await.unwrap_err(),
        source.get(&wanted("endless")).await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "the manifest has more than 1000 octets, so it was not read on");
    }
    let error = source.get(&wanted("failing")).await.unwrap_err();
    assert_eq!(error.to_string(), "the registry answers 500 Internal Server Error");
    registry.was_not_drained();
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_long_is_not_begun() {
    let long = Answer::Endless("200 OK", "content-length: 1099511627776\r\n");
    let registry = serve(vec![("/v2/plugins/clean/long", long)]);
    let error = registry.source().get(&wanted("long")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { octets_max: LIMIT, .. }), "{error}");
    registry.was_not_drained();
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let registry = serve(vec![("/v2/", Answer::Silence), ("/v2/plugins/clean/silent", Answer::Silence)]);
    let mut source = Source { time: Duration::from_millis(200), ..registry.source() };
    let began = Instant::now();
    for error in [
        source.introduce(&RegistryAuth::Anonymous).await.unwrap_err(),
        source.get_small(&wanted("silent")).await.unwrap_err(),
        source.get(&wanted("silent")).await.unwrap_err(),
    ] {
        assert!(matches!(error, FetchError::TooSlow { .. }), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_the_registry_says_is_shown_without_control_characters() {
    let reason = r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no\u001b[31m such tag"}]}"#;
    let registry = serve(vec![("/v2/plugins/clean/gone", Answer::Whole("404 Not Found", "", reason))]);
    let error = registry.source().get(&wanted("gone")).await.unwrap_err();
    assert_eq!(error.to_string(), "the registry answers 404 Not Found: MANIFEST_UNKNOWN: no[31m such tag");
}
