//! What a stage may ask the broker for, by name. Nothing is granted by default.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use hilum_core::{FlowName, StageName};

/// One thing that a stage may ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// `log`: lines of every level; without it only those of level `error` are kept.
    Log,
    /// `metrics`.
    Metrics,
    /// `trace`: spans inside the record's trace.
    Trace,
    /// `time`: the broker's clock.
    Time,
    /// `random`.
    Random,
    /// `state`: keyed state of the stage.
    State,
    /// `keys:NAME`: pseudonyms, authentication codes, date shifts and opening with the key of that name.
    Key(String),
    /// `recipient:NAME`: sealing to the recipient of that name.
    Recipient(String),
    /// `emit:FLOW`: new records into that flow.
    Emit(FlowName),
    /// `observed:FLOW/STAGE`: what that stage of that flow keeps.
    Observed(FlowName, StageName),
}

/// A text that is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a grant: write `log`, `metrics`, `trace`, `time`, `random`, `state`, `keys:NAME`, `recipient:NAME`, `emit:FLOW` or `observed:FLOW/STAGE`"
)]
pub struct GrantError(String);

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let error = || GrantError(text.chars().take(128).collect());
        let named = |name: &str| if name.is_empty() { Err(error()) } else { Ok(name.to_owned()) };
        match text.split_once(':') {
            None => match text {
                "log" => Ok(Self::Log),
                "metrics" => Ok(Self::Metrics),
                "trace" => Ok(Self::Trace),
                "time" => Ok(Self::Time),
                "random" => Ok(Self::Random),
                "state" => Ok(Self::State),
                _ => Err(error()),
            },
            Some(("keys", name)) => named(name).map(Self::Key),
            Some(("recipient", name)) => named(name).map(Self::Recipient),
            Some(("emit", flow)) => FlowName::new(flow).map(Self::Emit).map_err(|_| error()),
            Some(("observed", of)) => {
                let (flow, stage) = stage_of(of).ok_or_else(error)?;
                Ok(Self::Observed(flow, stage))
            }
            Some(_) => Err(error()),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Metrics => f.write_str("metrics"),
            Self::Trace => f.write_str("trace"),
            Self::Time => f.write_str("time"),
            Self::Random => f.write_str("random"),
            Self::State => f.write_str("state"),
            Self::Key(name) => write!(f, "keys:{name}"),
            Self::Recipient(name) => write!(f, "recipient:{name}"),
            Self::Emit(flow) => write!(f, "emit:{flow}"),
            Self::Observed(flow, stage) => write!(f, "observed:{flow}/{stage}"),
        }
    }
}

/// A stage of a flow, as plugins and configurations name it: `FLOW/STAGE`.
#[must_use]
pub fn stage_of(text: &str) -> Option<(FlowName, StageName)> {
    let (flow, stage) = text.split_once('/')?;
    Some((FlowName::new(flow).ok()?, StageName::new(stage).ok()?))
}

/// All that a stage may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(BTreeSet<Grant>);

impl Grants {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads grants as a configuration writes them.
    ///
    /// # Errors
    ///
    /// [`GrantError`] for the first text that is not a grant.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, GrantError> {
        texts.into_iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this is granted.
    #[must_use]
    pub fn has(&self, grant: &Grant) -> bool {
        self.0.contains(grant)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// Whether some grant opens a host interface of `hilum:plugin`, by the interface's name.
    pub(crate) fn opens(&self, interface: &str) -> bool {
        self.0.iter().any(|grant| match grant {
            Grant::Log => interface == "log",
            Grant::Metrics => interface == "metrics",
            Grant::Trace => interface == "trace",
            Grant::Time => interface == "time",
            Grant::Random => interface == "random",
            Grant::State => interface == "state",
            Grant::Key(_) | Grant::Recipient(_) => interface == "keys",
            Grant::Emit(_) => interface == "emit",
            Grant::Observed(..) => interface == "observed",
        })
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self(grants.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_and_written_alike() {
        let texts = [
            "log",
            "metrics",
            "trace",
            "time",
            "random",
            "state",
            "keys:research",
            "recipient:gp",
            "emit:alerts",
            "observed:admissions/learn",
        ];
        let grants = Grants::parse(texts).unwrap();
        let written: BTreeSet<String> = grants.iter().map(ToString::to_string).collect();
        assert_eq!(written, texts.iter().map(|text| (*text).to_owned()).collect());
        assert!(grants.opens("keys") && !Grants::parse(["log"]).unwrap().opens("keys"));
    }

    #[test]
    fn what_is_not_a_grant_is_refused() {
        for text in [
            "",
            "logs",
            "keys",
            "keys:",
            "emit:",
            "emit:A/B",
            "observed:a",
            "observed:a/",
            "observed:a/b/c",
            "file:/etc/passwd",
            "log:x",
        ] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
    }
}
