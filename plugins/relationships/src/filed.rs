//! Where each consent is filed: under which numbers of its patient. What is said of it later holds under all of them, whichever of them it
//! names.
//!
//! Identifiers of consents are their publishers'. If a publisher says something of a consent, and of nobody whom it was about, that may be
//! another patient or another number of the same one. Then what was filed before permits nothing any more, and what it denied stays denied.

use std::cell::Cell;
use std::collections::BTreeSet;

use hilum_formats::care::Tag;
use hilum_plugin::state::{self, StateError};
use serde::{Deserialize, Serialize};

use crate::consent::Said;
use crate::keep::{self, KeepError};

/// Numbers under which one consent is filed, of all its publishers.
const TAGS_MAX: usize = 64;
/// Writes of others that are waited out.
const ATTEMPTS: usize = 4;
/// The version of the shape.
const VERSION: u8 = 1;

/// Where one consent is filed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filed {
    #[serde(rename = "v")]
    version: u8,
    files: Vec<File>,
}

/// Numbers of one patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Who spoke of it last.
    by: Tag,
    under: BTreeSet<Tag>,
}

/// Takes in what a publisher says of a consent.
pub(crate) fn said(said: &Said, by: &Tag) -> Result<(), KeepError> {
    let named = said.patient.iter().map(keep::resolve).collect::<Result<BTreeSet<_>, _>>()?;
    change(&said.id, |files| {
        let own = File { by: by.clone(), under: linked(files, named.clone()) };
        for tag in &own.under {
            let fits = Cell::new(true);
            keep::update(tag, |known| fits.set(said.apply(known)))?;
            if !fits.get() {
                return Err(KeepError::TooMuch);
            }
        }
        for other in files.iter_mut().filter(|other| other.by == *by) {
            let mut left = BTreeSet::new();
            for tag in &other.under {
                let denies = Cell::new(false);
                keep::update(tag, |known| denies.set(said.doubt(known)))?;
                left.extend(denies.get().then(|| tag.clone()));
            }
            other.under = left;
        }
        files.retain(|file| !file.under.is_empty());
        if said.says.is_some() {
            files.push(own);
        }
        Ok(())
    })
}

/// A patient's record was merged into another one: a consent that was filed under its number is filed under those of the other too.
pub(crate) fn merged(consent: &Tag, from: &Tag, into: &[Tag]) -> Result<(), KeepError> {
    let from = keep::resolve(from)?;
    change(consent, |files| {
        if let Some(file) = files.iter_mut().find(|file| file.under.contains(&from)) {
            file.under.extend(into.iter().cloned());
        }
        Ok(())
    })
}

/// Takes out the files that have a number in common with these, or with each other, and gives all numbers.
fn linked(files: &mut Vec<File>, mut under: BTreeSet<Tag>) -> BTreeSet<Tag> {
    loop {
        let before = files.len();
        files.retain(|file| {
            let is_other = file.under.is_disjoint(&under);
            if !is_other {
                under.extend(file.under.iter().cloned());
            }
            is_other
        });
        if files.len() == before {
            return under;
        }
    }
}

/// Changes where a consent is filed. What `change` writes besides, it writes again if somebody else wrote in between.
fn change(consent: &Tag, change: impl Fn(&mut Vec<File>) -> Result<(), KeepError>) -> Result<(), KeepError> {
    let key = consent.filed_key();
    for _ in 0..ATTEMPTS {
        let found = state::get(&key)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let before = match found {
            None => Filed { version: VERSION, files: Vec::new() },
            Some(found) => serde_json::from_slice(&found.value)
                .ok()
                .filter(|filed: &Filed| filed.version == VERSION)
                .ok_or(KeepError::Unreadable)?,
        };
        let mut after = before.clone();
        for file in &mut after.files {
            file.under = file.under.iter().map(keep::resolve).collect::<Result<_, _>>()?;
        }
        change(&mut after.files)?;
        if after.files.iter().map(|file| file.under.len()).sum::<usize>() > TAGS_MAX {
            return Err(KeepError::TooMuch);
        }
        let written = match (after == before, after.files.is_empty()) {
            (true, _) => return Ok(()),
            (_, true) => state::remove(&key, version),
            _ => {
                let octets = serde_json::to_vec(&after).expect("texts are JSON");
                state::put(&key, &octets, version).map(drop)
            }
        };
        match written {
            Err(StateError::Conflict) => {}
            written => return Ok(written?),
        }
    }
    Err(StateError::Conflict.into())
}
