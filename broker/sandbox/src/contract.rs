//! The package `hilum:plugin` as this build has it: its version, and what there is to import and to export.
//!
//! The tests compare this with `wit/v1`. A component is judged by it when it is loaded, so that one that was built for another
//! version is told what it lacks, by name.

use std::fmt;

use hilum_core::chain::World;

/// Before the name of an interface.
pub(crate) const PACKAGE: &str = "hilum:plugin/";
/// Major and minor version.
pub(crate) const VERSION: (u64, u64) = (1, 1);

/// An interface that a component may import.
pub(crate) struct Interface {
    pub(crate) name: &'static str,
    /// How the grant that opens it is written; none where it needs none.
    pub(crate) grant: Option<&'static str>,
    /// As a component names them.
    pub(crate) functions: &'static [&'static str],
}

/// All that may be imported.
pub(crate) const IMPORTS: [Interface; 12] = [
    Interface {
        name: "types",
        grant: None,
        functions: &[
            "[method]body-reader.size",
            "[method]body-reader.read",
            "[method]body-reader.skip",
            "[constructor]body-writer",
            "[method]body-writer.write",
            "[method]body-writer.forward",
            "[static]body-writer.finish",
        ],
    },
    Interface { name: "log", grant: None, functions: &["log"] },
    Interface { name: "metrics", grant: Some("metrics"), functions: &["add", "sample"] },
    Interface { name: "trace", grant: Some("trace"), functions: &["[constructor]span", "[method]span.set"] },
    Interface {
        name: "keys",
        grant: Some("keys:NAME` or `recipient:NAME"),
        functions: &[
            "seal",
            "open",
            "seal-body",
            "seal-stream",
            "seal-values",
            "pseudonyms",
            "mac",
            "date-shift",
        ],
    },
    Interface { name: "time", grant: Some("time"), functions: &["now"] },
    Interface { name: "random", grant: Some("random"), functions: &["octets"] },
    Interface { name: "state", grant: Some("state"), functions: &["get", "put", "remove"] },
    Interface { name: "observed", grant: None, functions: &["codes", "look-up"] },
    Interface { name: "stated", grant: None, functions: &["break-glass-reason"] },
    Interface { name: "timing", grant: None, functions: &["set-time"] },
    Interface { name: "emit", grant: Some("emit:FLOW"), functions: &["emit"] },
];

/// The interfaces that a component may export, with the world that it is of if it does.
pub(crate) const EXPORTS: [(&str, Option<World>); 4] = [
    ("plugin", None),
    ("transformer", Some(World::Transform)),
    ("authorizer", Some(World::Authorize)),
    ("observer", Some(World::Observe)),
];

/// The interface of this name.
pub(crate) fn import(name: &str) -> Option<&'static Interface> {
    IMPORTS.iter().find(|interface| interface.name == name)
}

/// `hilum:plugin/keys@1.0.0` is interface `keys` of version 1.0.
pub(crate) fn parse(name: &str) -> Option<(&str, (u64, u64))> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((interface, (numbers.next()??, numbers.next()??)))
}

/// Something of the package that a component needs and this build lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Whether it is exported; imported otherwise.
    pub exported: bool,
    /// The interface as the component names it, e.g. `hilum:plugin/keys@1.2.0`.
    pub interface: String,
    /// The function, where the interface is known.
    pub function: Option<String>,
    /// Major and minor version that the component was built for.
    pub version: (u64, u64),
}

impl Lacking {
    /// Whether a later build may have it: the component was built for a later version than this one's.
    pub(crate) fn is_later(&self) -> bool {
        self.version > VERSION
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = if self.exported { "exports" } else { "imports" };
        match &self.function {
            Some(function) => write!(f, "it {does} `{function}` of `{}`", self.interface),
            None => write!(f, "it {does} `{}`", self.interface),
        }
    }
}

/// What to do about a component of another version.
pub(crate) fn advice(of: &Lacking) -> String {
    let ((major, minor), (ours, our_minor)) = (of.version, VERSION);
    let build = format!("build the plugin for hilum:plugin {ours}.{our_minor}");
    if of.is_later() {
        format!("update Hilum to a release that has hilum:plugin {major}.{minor}, or {build}")
    } else {
        format!("{build}, with the SDK of this release of Hilum")
    }
}

#[cfg(test)]
mod tests;
