//! Names in the policies of plugin `access` that nobody and nothing of the hospital has: a policy for a role that no principal has decides
//! nothing, which a typing error makes easily. The plugin does not see the hospital, and the broker does not read policies; here both meet.

use std::collections::{BTreeMap, BTreeSet};

use hilum_core::Principal;
use hilum_server::config::{Hospital, StageConfig};

/// The setting with the text of policies.
const POLICIES: &str = "policies";
/// The setting with the text of locations.
const LOCATIONS: &str = "locations";

/// What is named and is not there, one sentence each.
pub(super) fn notes(hospital: &Hospital) -> Vec<String> {
    let known = Known::of(hospital);
    let mut notes = BTreeSet::new();
    for (flow, stage) in hospital.stages() {
        let Some(text) = stage.config.get(POLICIES).and_then(serde_json::Value::as_str) else { continue };
        let locations = locations(stage);
        for Literal { kind, name, line } in literals(text) {
            let is_there = match kind {
                "Location" => locations.contains(&name),
                kind => known.0.get(kind).is_none_or(|names| names.contains(&name)),
            };
            if !is_there {
                let (stage, flow) = (&stage.stage, &flow.name);
                notes.insert(format!(
                    "policies of stage `{stage}` of flow `{flow}`, line {line}: nothing and nobody here is {kind}::\"{name}\""
                ));
            }
        }
    }
    notes.into_iter().collect()
}

/// The names that there are, by the type that policies know them under.
struct Known(BTreeMap<&'static str, BTreeSet<String>>);

impl Known {
    fn of(hospital: &Hospital) -> Self {
        let emitters = hospital.stages().filter_map(|(_, stage)| stage.emits_as.as_deref());
        let principals: Vec<&Principal> =
            hospital.identities.values().map(|principal| &**principal).chain(emitters).collect();
        let of =
            |names: &dyn Fn(&Principal) -> Vec<String>| principals.iter().flat_map(|of| names(of)).collect();
        let mut stakeholders: BTreeSet<String> = of(&|principal| vec![principal.stakeholder.to_string()]);
        stakeholders.extend(hospital.stakeholders.keys().map(ToString::to_string));
        Self(BTreeMap::from([
            ("Role", of(&|principal| principal.roles.iter().map(ToString::to_string).collect())),
            ("Stakeholder", stakeholders),
            ("Principal", of(&|principal| vec![principal.id.to_string()])),
            ("Zone", hospital.zones.keys().map(ToString::to_string).collect()),
            ("Flow", hospital.flows.keys().map(ToString::to_string).collect()),
        ]))
    }
}

/// The places that a stage knows. The plugin has said already what is wrong with the text.
fn locations(stage: &StageConfig) -> BTreeSet<String> {
    let text = stage.config.get(LOCATIONS).and_then(serde_json::Value::as_str).unwrap_or("[]");
    let places: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    places.iter().filter_map(|place| place["location"].as_str().map(str::to_owned)).collect()
}

/// An entity that a policy names, e.g. `Role::"radiologist"`.
#[derive(Debug, PartialEq, Eq)]
struct Literal<'t> {
    kind: &'t str,
    name: String,
    /// From 1.
    line: usize,
}

/// Entities in Cedar text: a name, `::` and a text, outside of comments.
fn literals(text: &str) -> Vec<Literal<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(['"', '/']) {
        let start = at + next;
        if text[start..].starts_with("//") {
            at = text[start..].find('\n').map_or(text.len(), |end| start + end);
        } else if text[start..].starts_with('/') {
            at = start + 1;
        } else {
            let (name, end) = quoted(&text[start + 1..]);
            if let Some(before) = text[..start].trim_end().strip_suffix("::") {
                let before = before.trim_end();
                let kind = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
                let line = text[..start].matches('\n').count() + 1;
                found.push(Literal { kind: &before[kind..], name, line });
            }
            at = start + 1 + end;
        }
    }
    found
}

/// What a text says up to its closing quotation mark, and how many octets that is with the mark. Of escapes only those are resolved that
/// names of a hospital could have.
fn quoted(text: &str) -> (String, usize) {
    let mut said = String::new();
    let mut escaped = false;
    for (at, next) in text.char_indices() {
        match next {
            '"' if !escaped => return (said, at + 1),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => said.push(next),
        }
        escaped = false;
    }
    (said, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_found_and_nothing_else() {
        let text = "// Role::\"no\"\n@note(\"Role::\\\"no\\\"\")\npermit (principal in Role::\"a\", action, resource)\nwhen { resource.x == \"/ b\" || principal in Stakeholder :: \"c\\\"d\" };";
        let of = |kind, name: &str, line| Literal { kind, name: name.into(), line };
        assert_eq!(literals(text), [of("Role", "a", 3), of("Stakeholder", "c\"d", 4)]);
        assert_eq!(literals("Role::\"open"), [of("Role", "open", 1)]);
    }
}
