//! The two sides of an admin stream: questions, and one answer to each, in order.

use std::collections::BTreeSet;

use bytes::BytesMut;

use super::{Input, Machine, Received, Violation, put};
use crate::policy::Right;
use crate::wire::admin::{OpenAdmin, Opened, ToBroker, ToClient};
use crate::wire::{self, CloseCode, Open, Refusal, RefusalCode};

/// The broker's side. It gives one question at a time; what the client sends meanwhile waits, and so slows the client.
#[derive(Debug)]
pub struct AdminServer {
    input: Input,
    request: OpenAdmin,
    state: ServerState,
    answer: Option<ToClient>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerState {
    /// Neither opened nor refused.
    Opening,
    /// Waits for a question.
    Idle,
    /// A question has no answer.
    Asked,
    /// There will be no more.
    Ended,
}

/// What happened on an admin stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminServerEvent {
    /// A question or an order, to be answered with [`AdminServer::answer`].
    Asked(ToBroker),
    /// The client has no more of them.
    Finished,
}

impl AdminServer {
    pub(super) fn new(request: OpenAdmin, input: Input) -> Self {
        Self { input, request, state: ServerState::Opening, answer: None }
    }

    /// What the client wants.
    #[must_use]
    pub fn request(&self) -> &OpenAdmin {
        &self.request
    }

    /// The client may ask.
    pub fn open(&mut self, may: &BTreeSet<Right>) {
        if self.state == ServerState::Opening {
            self.state = ServerState::Idle;
            self.answer = Some(ToClient::Opened(Opened { may: may.iter().copied().collect() }));
        }
    }

    /// The stream is not opened, or is ended by the broker.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.state != ServerState::Ended {
            self.state = ServerState::Ended;
            self.answer = Some(ToClient::Refused(refusal));
        }
    }

    /// Answers the question that was given last. Without one, nothing is sent.
    pub fn answer(&mut self, answer: ToClient) {
        if self.state == ServerState::Asked {
            self.state = ServerState::Idle;
            self.answer = Some(answer);
        }
    }
}

impl Machine for AdminServer {
    type Event = AdminServerEvent;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<AdminServerEvent>, Violation> {
        if self.state != ServerState::Idle {
            return Ok(None);
        }
        Ok(match self.input.next::<ToBroker>()? {
            Received::Frame(asked) => {
                self.state = ServerState::Asked;
                Some(AdminServerEvent::Asked(asked))
            }
            Received::Finished => {
                self.state = ServerState::Ended;
                Some(AdminServerEvent::Finished)
            }
            Received::Nothing => None,
        })
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        let Some(answer) = self.answer.take() else { return };
        if wire::encode(&answer, out).is_err() {
            let refusal = Refusal::new(RefusalCode::Internal, "the answer does not fit into a frame");
            put(&ToClient::Refused(refusal), out);
        }
    }

    fn wants_finish(&self) -> bool {
        self.state == ServerState::Ended && self.answer.is_none()
    }
}

/// The client's side. It asks one question at a time.
#[derive(Debug)]
pub struct AdminClient {
    input: Input,
    open: Option<OpenAdmin>,
    question: Option<ToBroker>,
    state: ClientState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    /// Not opened so far.
    Opening,
    /// May ask.
    Idle,
    /// Waits for an answer.
    Asked,
    /// Asks no more.
    Finishing,
    /// The broker ended it.
    Ended,
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is not open, or waits for an answer")]
pub struct NotNow;

impl AdminClient {
    /// Wants to ask. `note` says what for.
    #[must_use]
    pub fn new(open: OpenAdmin) -> Self {
        Self { input: Input::default(), open: Some(open), question: None, state: ClientState::Opening }
    }

    /// Asks, or orders. The next event is the answer.
    pub fn ask(&mut self, question: ToBroker) -> Result<(), NotNow> {
        if self.state != ClientState::Idle {
            return Err(NotNow);
        }
        self.state = ClientState::Asked;
        self.question = Some(question);
        Ok(())
    }

    /// Has no more questions.
    pub fn finish(&mut self) {
        if self.state == ClientState::Idle {
            self.state = ClientState::Finishing;
        }
    }

    fn check(&mut self, answer: &ToClient) -> Result<(), Violation> {
        self.state = match (self.state, answer) {
            (ClientState::Opening, ToClient::Opened(_)) => ClientState::Idle,
            (ClientState::Opening | ClientState::Idle | ClientState::Finishing, ToClient::Refused(_)) => {
                ClientState::Ended
            }
            (ClientState::Opening, _) => return Err(Violation::unexpected("an answer")),
            (_, ToClient::Opened(_)) => return Err(Violation::unexpected("a second opening")),
            (ClientState::Asked, _) => ClientState::Idle,
            _ => return Err(Violation::unexpected("an answer to nothing")),
        };
        Ok(())
    }
}

impl Machine for AdminClient {
    /// None when the broker ended the stream.
    type Event = Option<ToClient>;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<Self::Event>, Violation> {
        match self.input.next::<ToClient>()? {
            Received::Frame(answer) => {
                self.check(&answer)?;
                Ok(Some(Some(answer)))
            }
            Received::Finished if self.state == ClientState::Asked || self.state == ClientState::Opening => {
                Err(Violation::new(CloseCode::Unexpected, "the stream ended without an answer"))
            }
            Received::Finished => {
                self.state = ClientState::Ended;
                Ok(Some(None))
            }
            Received::Nothing => Ok(None),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(open) = self.open.take() {
            put(&Open::Admin(open), out);
        }
        if let Some(question) = self.question.take() {
            put(&question, out);
        }
    }

    fn wants_finish(&self) -> bool {
        matches!(self.state, ClientState::Finishing | ClientState::Ended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Accepted, Incoming};
    use super::*;
    use crate::wire::admin::{FlowPage, ListFlows};

    fn open() -> OpenAdmin {
        OpenAdmin { note: "ticket 12".into() }
    }

    fn flows() -> ToBroker {
        ToBroker::Flows(ListFlows { after: None })
    }

    fn page() -> ToClient {
        ToClient::Flows(FlowPage { flows: Vec::new(), more: false })
    }

    fn sent(machine: &mut impl Machine) -> BytesMut {
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        out
    }

    fn pair() -> (AdminClient, AdminServer) {
        let mut client = AdminClient::new(open());
        let mut incoming = Incoming::new();
        incoming.handle_data(&sent(&mut client));
        let Some(Accepted::Admin(server)) = incoming.poll_accept().unwrap() else {
            panic!("not an admin stream")
        };
        assert_eq!(*server.request(), open());
        (client, server)
    }

    fn opened() -> (AdminClient, AdminServer) {
        let (mut client, mut server) = pair();
        server.open(&[Right::Inspect].into());
        client.handle_data(&sent(&mut server));
        let opened = ToClient::Opened(Opened { may: vec![Right::Inspect] });
        assert_eq!(client.poll_event(), Ok(Some(Some(opened))));
        (client, server)
    }

    #[test]
    fn each_question_is_answered_once_and_then_it_ends() {
        let (mut client, mut server) = opened();
        for _ in 0..3 {
            client.ask(flows()).unwrap();
            assert_eq!(client.ask(flows()), Err(NotNow), "one at a time");
            server.handle_data(&sent(&mut client));
            assert_eq!(server.poll_event(), Ok(Some(AdminServerEvent::Asked(flows()))));
            server.answer(page());
            server.answer(ToClient::Done);
            client.handle_data(&sent(&mut server));
            assert_eq!(client.poll_event(), Ok(Some(Some(page()))));
            assert_eq!(client.poll_event(), Ok(None));
        }
        client.finish();
        assert!(client.wants_finish());
        server.handle_finish();
        assert_eq!(server.poll_event(), Ok(Some(AdminServerEvent::Finished)));
        assert!(server.wants_finish());
        client.handle_finish();
        assert_eq!(client.poll_event(), Ok(Some(None)));
    }

    #[test]
    fn a_refused_stream_takes_no_question() {
        let (mut client, mut server) = pair();
        let refusal = Refusal::new(RefusalCode::Denied, "no operator");
        server.refuse(refusal.clone());
        let octets = sent(&mut server);
        assert!(server.wants_finish());
        let mut question = BytesMut::new();
        put(&flows(), &mut question);
        server.handle_data(&question);
        assert_eq!(server.poll_event(), Ok(None), "nobody looks at it");
        client.handle_data(&octets);
        assert_eq!(client.poll_event(), Ok(Some(Some(ToClient::Refused(refusal)))));
        assert_eq!(client.ask(flows()), Err(NotNow));
        assert!(client.wants_finish());
    }

    #[test]
    fn a_refused_question_leaves_the_stream_open() {
        let (mut client, mut server) = opened();
        client.ask(flows()).unwrap();
        server.handle_data(&sent(&mut client));
        server.poll_event().unwrap();
        server.answer(ToClient::Refused(Refusal::new(RefusalCode::Denied, "not this")));
        client.handle_data(&sent(&mut server));
        assert!(matches!(client.poll_event(), Ok(Some(Some(ToClient::Refused(_))))));
        assert_eq!(client.ask(flows()), Ok(()));
    }

    #[test]
    fn questions_that_come_together_wait_for_each_other() {
        let (_, mut server) = opened();
        let mut octets = BytesMut::new();
        (0..3).for_each(|_| put(&flows(), &mut octets));
        server.handle_data(&octets);
        for _ in 0..3 {
            assert_eq!(server.poll_event(), Ok(Some(AdminServerEvent::Asked(flows()))));
            assert_eq!(server.poll_event(), Ok(None), "the one before has no answer");
            server.answer(ToClient::Done);
            assert!(!sent(&mut server).is_empty());
        }
        assert_eq!(server.poll_event(), Ok(None));
    }

    #[test]
    fn a_client_takes_no_answer_that_it_did_not_ask_for() {
        let answers = |before: &[ToClient], then: ToClient| {
            let mut client = AdminClient::new(open());
            let mut octets = BytesMut::new();
            before.iter().chain([&then]).for_each(|answer| put(answer, &mut octets));
            client.handle_data(&octets);
            before.iter().for_each(|_| drop(client.poll_event().unwrap()));
            client.poll_event().map(|_| ())
        };
        let opened = ToClient::Opened(Opened { may: Vec::new() });
        assert!(answers(&[], opened.clone()).is_ok());
        for (before, then) in [
            (&[][..], ToClient::Done),
            (std::slice::from_ref(&opened), ToClient::Done),
            (std::slice::from_ref(&opened), opened.clone()),
        ] {
            assert_eq!(answers(before, then).unwrap_err().code, CloseCode::Unexpected);
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused() {
        let (mut client, mut server) = opened();
        client.ask(flows()).unwrap();
        server.handle_data(&sent(&mut client));
        server.poll_event().unwrap();
        let octets = vec![0; crate::limits::FRAME_OCTETS_MAX].into();
        server.answer(ToClient::Body(wire::admin::BodyPart { octets }));
        client.handle_data(&sent(&mut server));
        let Ok(Some(Some(ToClient::Refused(refusal)))) = client.poll_event() else { panic!("no refusal") };
        assert_eq!(refusal.code, RefusalCode::Internal);
    }

    proptest! {
        #[test]
        fn anything_may_come(octets in proptest::collection::vec(any::<u8>(), 0..300), finish: bool) {
            let (mut client, mut server) = opened();
            server.handle_data(&octets);
            client.handle_data(&octets);
            if finish {
                server.handle_finish();
                client.handle_finish();
            }
            for _ in 0..20 {
                if let Ok(Some(AdminServerEvent::Asked(_))) = server.poll_event() {
                    server.answer(ToClient::Done);
                    sent(&mut server);
                }
                let _ = client.poll_event();
            }
        }
    }
}
