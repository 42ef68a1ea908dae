//! What is wrong with a configuration: all of it at once, each with its place and what to do.

use std::fmt;
use std::sync::Arc;

use super::directory::Directory;
use super::model::Place;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{what}", self.where_(), self.key_prefix())]
pub struct Problem {
    /// The file, relative to the hospital directory.
    pub file: Arc<str>,
    /// Line and column, from 1; none if the whole file is meant.
    pub position: Option<(usize, usize)>,
    /// The key concerned, e.g. `subscription[0].stakeholder`; empty if none is.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl Problem {
    /// A problem at a place.
    #[must_use]
    pub fn at(
        place: &Place,
        key: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            file: place.file.clone(),
            position: Some((place.line, place.column)),
            key: key.into(),
            what: what.into(),
            help: help.into(),
        }
    }

    /// A problem with a whole file.
    #[must_use]
    pub fn of_file(file: &str, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { file: file.into(), position: None, key: String::new(), what: what.into(), help: help.into() }
    }

    fn where_(&self) -> String {
        match self.position {
            Some((line, column)) => format!("{}:{line}:{column}: ", self.file),
            None => format!("{}: ", self.file),
        }
    }

    fn key_prefix(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!("`{}`: ", self.key) }
    }
}

/// Everything that is wrong with a configuration, by file and line. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts them; none if there are none. The main file comes first: what is wrong there often is the cause of the rest.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Option<Self> {
        let is_other = |problem: &Problem| &*problem.file != Directory::MAIN_FILE;
        problems.sort_by(|a, b| (is_other(a), &a.file, a.position).cmp(&(is_other(b), &b.file, b.position)));
        problems.dedup();
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// `error: what` and `help: what to do` lines for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}error: {problem}\nhelp: {}", problem.help)?;
        }
        Ok(())
    }
}
