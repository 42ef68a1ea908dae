//! What the commands say: results on standard output, `error:` and `help:` lines on standard error, and exit codes.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use hilum_client::admin::{AdminError, BodyError};
use hilum_client::{ConnectError, OpenError, PublishError, ReadError, RefusalCode, StreamError};
use hilum_server::chains::ChainsError;
use hilum_server::config::Problems;
use hilum_server::lifecycle::StartError;
use hilum_server::provision::InitError;
use serde::Serialize;

/// How a command ends. Usage errors are clap's and end with 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The broker or a plugin refused.
    Refused = 3,
    /// The broker cannot be reached, or does not let us in.
    NotConnected = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For the help of the whole program.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  refused, by policy or by a plugin
  4  the broker cannot be reached, or does not let us in";

/// A failure that knows its exit code and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// How the command ends.
    pub exit: Exit,
    /// What went wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl Failure {
    /// A command that failed.
    #[must_use]
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), help: help.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {}

/// Prints lines. A reader that goes away (`hilum ... | head`) is an error that [`report`] takes as the end.
pub fn print(text: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a result for scripts, as one line of JSON.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(serde_json::to_string(value).map_err(io::Error::from)?)
}

/// Says on standard error why a command failed, and how it ends.
#[must_use]
pub fn report(error: &anyhow::Error) -> Exit {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(broken) {
        return Exit::Ok;
    }
    // If standard error is gone too, there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", explain(error));
    exit(error)
}

/// `error: what` and `help: what to do` lines.
#[must_use]
pub fn explain(error: &anyhow::Error) -> String {
    if let Some(problems) = problems(error) {
        return problems.to_string();
    }
    match help(error) {
        Some(help) => format!("error: {}\nhelp: {help}", chain(error)),
        None => format!("error: {}", chain(error)),
    }
}

/// The error and its causes, without repeating those that a message already has.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What is wrong with a configuration has its own form, with a line for each problem.
fn problems(error: &anyhow::Error) -> Option<&Problems> {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        return Some(problems);
    }
    if let Some(InitError::Configuration(problems)) = error.downcast_ref() {
        return Some(problems);
    }
    match error.downcast_ref::<StartError>() {
        Some(StartError::Config(problems) | StartError::Chains(ChainsError::Labels(problems))) => {
            Some(problems)
        }
        _ => None,
    }
}

fn help(error: &anyhow::Error) -> Option<String> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.help.clone());
    }
    if let Some(error) = error.downcast_ref::<InitError>() {
        return error.help().map(str::to_owned);
    }
    let operated = match error.downcast_ref::<BodyError>() {
        Some(BodyError::Admin(error)) => Some(error),
        _ => error.downcast_ref::<AdminError>(),
    };
    if let Some(AdminError { source: StreamError::Refused(refusal), .. }) = operated {
        let denied = refusal.code == RefusalCode::Denied;
        return denied.then(|| {
            "hilum.toml says in `[[operators]]`, `[[conduits]]` and `cleared` who may do what".to_owned()
        });
    }
    let help = match error.downcast_ref::<ConnectError>()? {
        ConnectError::Address { .. } => "write the address as HOST:PORT",
        ConnectError::Credentials { .. } => {
            "run `hilum init` on the hospital directory: it makes what is missing"
        }
        ConnectError::NoAnswer { .. } => "start the broker with `hilum serve DIR`, or correct the address",
        ConnectError::Handshake { .. } => "use the authority of the hospital that the broker serves",
        ConnectError::CertificateRefused { .. } => {
            "use an identity that the hospital's authority issued and that has not expired"
        }
        ConnectError::Refused { .. } => "see whether hilum.toml names this principal",
        ConnectError::Socket(_) | ConnectError::Stream(_) => return None,
    };
    Some(help.to_owned())
}

fn exit(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    match error.downcast_ref::<ConnectError>() {
        Some(ConnectError::Credentials { .. }) => return Exit::Failed,
        Some(_) => return Exit::NotConnected,
        None => {}
    }
    let stream = if let Some(error) = error.downcast_ref::<OpenError>() {
        Some(&error.source)
    } else if let Some(error) = error.downcast_ref::<PublishError>() {
        match error {
            PublishError::Refused { .. } => return Exit::Refused,
            PublishError::Reconnect { .. } => return Exit::NotConnected,
            PublishError::Unanswered { source, .. } => Some(source),
            _ => None,
        }
    } else if let Some(error) = error.downcast_ref::<AdminError>() {
        Some(&error.source)
    } else if let Some(BodyError::Admin(error)) = error.downcast_ref() {
        Some(&error.source)
    } else if let Some(error) = error.downcast_ref::<ReadError>() {
        match error {
            ReadError::Stream { source, .. } | ReadError::Body { source, .. } => Some(source),
            ReadError::Reconnect { .. } => return Exit::NotConnected,
            ReadError::Write(_) => None,
        }
    } else {
        error.downcast_ref::<StreamError>()
    };
    match stream {
        Some(StreamError::Refused(_)) => Exit::Refused,
        Some(StreamError::Lost(_)) => Exit::NotConnected,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn says_what_and_what_to_do() {
        let error = anyhow::Error::from(Failure::new("the lamp is off", "switch it on"));
        assert_eq!(explain(&error), "error: the lamp is off\nhelp: switch it on");
        assert_eq!(exit(&error), Exit::Failed);
    }

    #[test]
    fn finds_the_cause_below_its_context() {
        let error = ConnectError::NoAnswer { address: "localhost:1".into() };
        let error = Err::<(), _>(error).context("scan.dcm").unwrap_err();
        assert_eq!(exit(&error), Exit::NotConnected);
        let said = explain(&error);
        assert!(
            said.starts_with("error: scan.dcm: no answer from a broker at localhost:1\nhelp: "),
            "{said}"
        );
    }

    #[test]
    fn does_not_say_the_same_twice() {
        let cause = io::Error::other("disk full");
        let path = "keys/kek".into();
        let error = anyhow::Error::from(InitError::File { path, source: cause });
        assert_eq!(explain(&error).matches("disk full").count(), 1);
    }
}
