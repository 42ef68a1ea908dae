//! The control stream's two sides.

use bytes::BytesMut;

use super::{Input, Machine, Received, Violation, put};
use crate::identity::PrincipalId;
use crate::wire::control::{Goodbye, Hello, Limits, ToClient, Welcome};
use crate::wire::{CloseCode, Open, Refusal, RefusalCode, Version};

/// The client's side: says hello, is welcomed or refused, and hears the broker's goodbye.
#[derive(Debug)]
pub struct ControlClient {
    input: Input,
    hello: Option<Hello>,
    answered: bool,
}

impl ControlClient {
    /// A client that speaks [`Version::CURRENT`]. `agent` is name and version of the software.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        let agent = agent.chars().take(crate::limits::REASON_CHARS_MAX).collect();
        let hello = Hello { versions: vec![Version::CURRENT], agent };
        Self { input: Input::default(), hello: Some(hello), answered: false }
    }

    fn check(&mut self, frame: &ToClient) -> Result<(), Violation> {
        match frame {
            ToClient::Welcome(_) | ToClient::Refused(_) if self.answered => {
                return Err(Violation::unexpected("a second answer to the hello"));
            }
            ToClient::Goodbye(_) if !self.answered => return Err(Violation::unexpected("a goodbye")),
            // An older broker chooses what it has; then nothing is sent that it lacks.
            ToClient::Welcome(welcome)
                if welcome.version.major != Version::CURRENT.major || welcome.version > Version::CURRENT =>
            {
                let reason = format!(
                    "the broker chose version {}, this client offered {}",
                    welcome.version,
                    Version::CURRENT
                );
                return Err(Violation::new(CloseCode::Version, reason));
            }
            _ => self.answered = true,
        }
        Ok(())
    }
}

impl Machine for ControlClient {
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
            Received::Frame(frame) => {
                self.check(&frame)?;
                Ok(Some(Some(frame)))
            }
            Received::Finished => Ok(Some(None)),
            Received::Nothing => Ok(None),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(hello) = self.hello.take() {
            put(&Open::Control(hello), out);
        }
    }

    /// The client keeps its direction open: its end would say that it is leaving.
    fn wants_finish(&self) -> bool {
        false
    }
}

/// The broker's side: answers the hello, and says goodbye when it stops.
#[derive(Debug)]
pub struct ControlServer {
    input: Input,
    hello: Hello,
    answers: Vec<ToClient>,
    ended: bool,
}

impl ControlServer {
    pub(super) fn new(hello: Hello, input: Input) -> Self {
        Self { input, hello, answers: Vec::new(), ended: false }
    }

    /// What the client said of itself, for the log.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Lets the client in as `principal`, if there is a common version. Otherwise refuses, naming both sides' versions,
    /// and gives the code to close the connection with after sending.
    pub fn welcome(&mut self, principal: PrincipalId) -> Result<Version, CloseCode> {
        match negotiate(&self.hello.versions) {
            Ok(version) => {
                self.answers.push(ToClient::Welcome(Welcome { version, principal, limits: Limits::CURRENT }));
                Ok(version)
            }
            Err(refusal) => {
                self.refuse(refusal);
                Err(CloseCode::Version)
            }
        }
    }

    /// Does not let the client in. The connection is to be closed after sending.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.answers.push(ToClient::Refused(refusal));
        self.ended = true;
    }

    /// Tells the client that the broker is stopping.
    pub fn goodbye(&mut self, reason: &str) {
        if self.ended {
            return;
        }
        let reason = reason.chars().take(crate::limits::REASON_CHARS_MAX).collect();
        self.answers.push(ToClient::Goodbye(Goodbye { reason }));
        self.ended = true;
    }
}

/// The highest version that both sides speak.
fn negotiate(offered: &[Version]) -> Result<Version, Refusal> {
    let ours = Version::CURRENT;
    let common = offered.iter().filter(|theirs| theirs.major == ours.major).max();
    common.map(|theirs| ours.min(*theirs)).ok_or_else(|| {
        let offered: Vec<String> = offered.iter().map(Version::to_string).collect();
        let reason =
            format!("the client speaks hilum {}, this broker speaks hilum {ours}", offered.join(", "));
        Refusal::new(RefusalCode::Version, &reason)
    })
}

impl Machine for ControlServer {
    /// The client ended the stream: it is leaving.
    type Event = ();

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<()>, Violation> {
        // No frame may follow the hello in this version.
        match self.input.next::<Open>()? {
            Received::Frame(_) => Err(Violation::unexpected("a frame after the hello")),
            Received::Finished => Ok(Some(())),
            Received::Nothing => Ok(None),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        self.answers.drain(..).for_each(|answer| put(&answer, out));
    }

    fn wants_finish(&self) -> bool {
        self.ended && self.answers.is_empty()
    }
}
