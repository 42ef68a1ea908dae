//! The configuration: which device's objects are changed, and how.

use std::collections::BTreeMap;

use hilum_formats::dicom::{Error, Tag, Vr};
use hilum_plugin::{ConfigError, Context};
use serde::Deserialize;

use crate::fit;
use crate::held::{Held, NOT_A_SEQUENCE, NOT_TEXT, Room};
use crate::name::{Path, TagName};

/// Rules of one stage, and changes of one rule.
const RULES_MAX: usize = 256;
const CHANGES_MAX: usize = 64;
/// Where pixel data begins, with its variants; what follows is not held.
const PIXELS: Tag = Tag(0x7FE0_0000);

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// All whose conditions hold act, in order.
    pub(crate) rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// For people, and in refusals.
    pub(crate) name: String,
    /// All conditions must hold; a rule without any is for every object.
    #[serde(default)]
    pub(crate) when: When,
    /// What is done, in order.
    pub(crate) changes: Vec<Action>,
}

/// Conditions, which look at the object as it came.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// SPIFFE IDs of sending devices.
    pub(crate) principals: Option<Vec<String>>,
    /// Roles, of which the sender has any.
    pub(crate) roles: Option<Vec<String>>,
    /// Values of the object, such as its modality or the device's model.
    #[serde(default)]
    pub(crate) tags: Vec<TagCondition>,
}

/// A condition on one tag.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagCondition {
    /// Which; in a sequence, any item may have it.
    pub(crate) tag: Path,
    /// The values that it may have.
    pub(crate) r#in: Vec<String>,
}

/// What is done to one tag; in a sequence, to that of each item.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Action {
    /// Gives the value, whether the tag is there or not.
    Set { tag: Path, vr: TextVr, value: String },
    /// Gives the value if the tag is missing or empty.
    Add { tag: Path, vr: TextVr, value: String },
    /// Gives the value if the tag is there.
    Replace { tag: Path, vr: TextVr, value: String },
    /// Takes the tag away.
    Remove { tag: Path },
    /// Gives the value of another tag, if that has one.
    Copy { tag: Path, vr: TextVr, from: Path },
    /// Gives what stands for the value of `from`, or of the tag itself.
    Map {
        tag: Path,
        vr: TextVr,
        from: Option<Path>,
        values: BTreeMap<String, String>,
        #[serde(default)]
        otherwise: Otherwise,
    },
}

/// What becomes of a value that is not in the map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Otherwise {
    /// The tag stays as it is.
    #[default]
    Keep,
    /// The tag is taken away.
    Remove,
    /// The object is refused as `unmapped`.
    Refuse,
}

/// A value representation of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TextVr(pub(crate) Vr);

impl TryFrom<String> for TextVr {
    type Error = String;

    fn try_from(letters: String) -> Result<Self, String> {
        let vr = letters.as_bytes().try_into().ok().and_then(Vr::from_letters);
        vr.filter(|vr| vr.kind() == hilum_formats::dicom::Kind::Text).map(Self).ok_or_else(|| {
            format!("`{letters}` is no value representation of characters, such as `LO` or `CS`")
        })
    }
}

impl When {
    /// Whether objects of this sender are concerned at all.
    pub(crate) fn concerns(&self, context: &Context) -> bool {
        let source = &context.source;
        let any = |asked: &Option<Vec<String>>, has: &dyn Fn(&str) -> bool| {
            asked.as_ref().is_none_or(|asked| asked.iter().any(|one| has(one)))
        };
        any(&self.principals, &|one| one == source.principal)
            && any(&self.roles, &|one| source.roles.iter().any(|role| role == one))
    }

    /// Whether the object has the values.
    ///
    /// # Errors
    ///
    /// When a sequence cannot be parsed.
    pub(crate) fn holds(&self, object: &mut Held, room: &mut Room) -> Result<bool, Error> {
        for TagCondition { tag, r#in } in &self.tags {
            let found = object.any(tag, room, &|value| r#in.iter().any(|one| one.as_bytes() == value));
            match found {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if [NOT_TEXT, NOT_A_SEQUENCE].contains(&error.code) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Rule {
    /// The tags that have to be known before the rule can act.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let conditions = self.when.tags.iter().map(|condition| &condition.tag);
        conditions.chain(self.changes.iter().flat_map(|change| {
            let (tag, from) = change.paths();
            [Some(tag), from].into_iter().flatten()
        }))
    }

    /// # Errors
    ///
    /// When a value does not fit, or is not in a map that has to have it.
    pub(crate) fn apply(&self, to: &mut Held, room: &mut Room) -> Result<(), Error> {
        self.changes.iter().try_for_each(|change| {
            change
                .apply(to, room)
                .map_err(|Error { code, reason }| Error::new(code, format!("rule `{}`: {reason}", self.name)))
        })
    }

    fn check(&self, at: &str) -> Result<(), ConfigError> {
        if self.name.is_empty() || self.name.chars().count() > 64 {
            return Err(ConfigError::new(format!("{at}/name"), "give 1 to 64 characters"));
        }
        if self.changes.is_empty() || self.changes.len() > CHANGES_MAX {
            return Err(ConfigError::new(
                format!("{at}/changes"),
                format!("give 1 to {CHANGES_MAX} changes"),
            ));
        }
        if let Some(path) = self.paths().find(|path| path.last() >= PIXELS) {
            let reason = format!("{path} comes with or after the pixel data, which rules do not reach");
            return Err(ConfigError::new(at, reason));
        }
        self.changes.iter().enumerate().try_for_each(|(index, change)| {
            change.check().map_err(|reason| ConfigError::new(format!("{at}/changes/{index}"), reason))
        })
    }
}

impl Action {
    /// What is changed, and where its value comes from.
    fn paths(&self) -> (&Path, Option<&Path>) {
        match self {
            Self::Set { tag, .. }
            | Self::Add { tag, .. }
            | Self::Replace { tag, .. }
            | Self::Remove { tag } => (tag, None),
            Self::Copy { tag, from, .. } => (tag, Some(from)),
            Self::Map { tag, from, .. } => (tag, from.as_ref()),
        }
    }

    fn apply(&self, to: &mut Held, room: &mut Room) -> Result<(), Error> {
        let (tag, from) = self.paths();
        // What does not stand beside the tag is the same for all items.
        let elsewhere = match from.filter(|from| from.within != tag.within) {
            Some(from) => Some(to.first(from, room)?),
            None => None,
        };
        to.each(&tag.within, room, &mut |item, room| self.change(item, elsewhere.as_ref(), room))
    }

    /// Changes the tag of one item, or of the whole object.
    fn change(
        &self,
        to: &mut Held,
        elsewhere: Option<&Option<Vec<u8>>>,
        room: &mut Room,
    ) -> Result<(), Error> {
        let source = |to: &Held, path: &Path| match elsewhere {
            Some(found) => Ok(found.clone()),
            None => Ok(to.text(path)?.map(<[u8]>::to_vec)),
        };
        match self {
            Self::Set { tag, vr, value } => to.set(tag, vr.0, value.as_bytes(), room),
            Self::Add { tag, vr, value } => match to.text(tag)? {
                None => to.set(tag, vr.0, value.as_bytes(), room),
                Some(_) => Ok(()),
            },
            Self::Replace { tag, vr, value } if to.contains(&tag.tag) => {
                to.set(tag, vr.0, value.as_bytes(), room)
            }
            Self::Replace { .. } => Ok(()),
            Self::Remove { tag } => {
                to.remove(&tag.tag);
                Ok(())
            }
            Self::Copy { tag, vr, from } => match source(to, from)? {
                Some(value) => to.set(tag, vr.0, &value, room),
                None => Ok(()),
            },
            Self::Map { tag, vr, from, values, otherwise } => {
                let from = from.as_ref().unwrap_or(tag);
                let Some(value) = source(to, from)? else { return Ok(()) };
                let mapped = std::str::from_utf8(&value).ok().and_then(|value| values.get(value));
                match (mapped, otherwise) {
                    (Some(mapped), _) => to.set(tag, vr.0, mapped.as_bytes(), room),
                    (None, Otherwise::Keep) => Ok(()),
                    (None, Otherwise::Remove) => {
                        to.remove(&tag.tag);
                        Ok(())
                    }
                    (None, Otherwise::Refuse) => {
                        Err(Error::new("unmapped", format!("the value of {from} is not in the map")))
                    }
                }
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let (tag, _) = self.paths();
        let makes = !matches!(self, Self::Remove { .. } | Self::Replace { .. });
        if makes && tag.tag.creator.is_some() {
            return Err(format!("{tag} is private, and no block can be reserved for it"));
        }
        if let Some(why) = tag.names().find_map(protected) {
            return Err(format!("{tag} cannot be changed: {why}"));
        }
        let (vr, values): (_, Vec<&String>) = match self {
            Self::Set { vr, value, .. } | Self::Add { vr, value, .. } | Self::Replace { vr, value, .. } => {
                (vr, vec![value])
            }
            Self::Map { vr, values, .. } if values.is_empty() => {
                return Err(format!("the map of {tag} to {:?} is empty", vr.0));
            }
            Self::Map { vr, values, .. } => (vr, values.values().collect()),
            Self::Remove { .. } | Self::Copy { .. } => return Ok(()),
        };
        match values.into_iter().find(|value| !value.is_ascii() || !fit::fits(vr.0, value.as_bytes())) {
            // The object says in which character set its text is: ASCII fits them all.
            Some(value) => Err(format!("`{value}` is not an ASCII value that {:?} can have", vr.0)),
            None => Ok(()),
        }
    }
}

/// Why a tag is none of a rule's business.
fn protected(name: &TagName) -> Option<&'static str> {
    if name.creator.is_some() {
        return None;
    }
    match (name.group, name.element) {
        (0..=7, _) => Some("it belongs to the file or to a message"),
        (_, 0) => Some("it is the length of its group"),
        (8, 0x0005) => Some("all text would be read in another character set"),
        (8, 0x0016 | 0x0018) => Some("it is what the object is, and stands in the file meta information too"),
        (0x28, 0x0002..=0x0103) => Some("it says how pixels are stored"),
        (0x7FE0.., _) => Some("it is pixel data or comes after it"),
        _ => None,
    }
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.rules.is_empty() || self.rules.len() > RULES_MAX {
            return Err(ConfigError::new("/rules", format!("give 1 to {RULES_MAX} rules")));
        }
        self.rules.iter().enumerate().try_for_each(|(index, rule)| rule.check(&format!("/rules/{index}")))
    }
}
