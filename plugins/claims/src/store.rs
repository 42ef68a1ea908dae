//! Where cases are kept between batches: a fixed number of values of the stage's state, by the first half of the MAC that names a case.
//!
//! A MAC that names a case in another way (a study, a visit, a claim) leads to it. What has the oldest news makes room for what is new.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use hilum_plugin::state::{self, StateError};

use crate::case::{Case, Layout, long, number};

/// Values of cases, and of ways to them: small ones, because a call may change 4 MiB at most.
pub(crate) const BUCKETS: u64 = 2048;
const WAY_BUCKETS: u64 = 1024;
/// Octets of one value of cases.
const VALUE_OCTETS_MAX: usize = 4096;
/// Ways of one value: of 20 octets each.
const WAYS_MAX: usize = 204;
/// Cases that one MAC may lead to.
const WAYS_OF_ONE_MAX: usize = 16;

/// What a batch needs of what is kept, read when it is needed and written at the end.
#[derive(Debug, Default)]
pub(crate) struct Store {
    cases: BTreeMap<u64, Kept<BTreeMap<u64, Case>>>,
    ways: BTreeMap<u64, Kept<Vec<Way>>>,
    pub(crate) forgotten: u64,
}

#[derive(Debug)]
struct Kept<T> {
    version: u64,
    /// Of the value of an older version, which is removed when this one is written.
    older: Option<u64>,
    before: Vec<u8>,
    value: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    from: u64,
    to: u64,
    day: u32,
}

fn cases_key(bucket: u64) -> String {
    format!("hidden/{bucket}")
}

/// Where versions before this one kept cases, with days that can be read.
fn older_key(bucket: u64) -> String {
    format!("cases/{bucket}")
}

fn ways_key(bucket: u64) -> String {
    format!("ways/{bucket}")
}

fn load(key: &str) -> Result<(u64, Vec<u8>), StateError> {
    Ok(state::get(key)?.map_or((0, Vec::new()), |found| (found.version, found.value)))
}

impl Store {
    /// The cases of one value.
    pub(crate) fn bucket(&mut self, bucket: u64) -> Result<&mut BTreeMap<u64, Case>, StateError> {
        let free = match self.cases.entry(bucket) {
            Entry::Occupied(found) => return Ok(&mut found.into_mut().value),
            Entry::Vacant(free) => free,
        };
        let (version, before) = load(&cases_key(bucket))?;
        let mut value = BTreeMap::new();
        let mut older = None;
        if version == 0
            && let Some(found) = state::get(&older_key(bucket))?
        {
            older = Some(found.version);
            decode(&found.value, Layout::Days, &mut value);
        }
        decode(&before, Layout::Hidden, &mut value);
        Ok(&mut free.insert(Kept { version, older, before, value }).value)
    }

    pub(crate) fn case(&mut self, id: u64) -> Result<Option<&mut Case>, StateError> {
        Ok(self.bucket(id % BUCKETS)?.get_mut(&id))
    }

    /// A case, which is made where there is none.
    pub(crate) fn case_or_new(&mut self, id: u64, day: u32) -> Result<&mut Case, StateError> {
        let case = self.bucket(id % BUCKETS)?.entry(id);
        Ok(case.or_insert_with(|| Case { since: day, heard: day, ..Case::default() }))
    }

    pub(crate) fn take(&mut self, id: u64) -> Result<Option<Case>, StateError> {
        Ok(self.bucket(id % BUCKETS)?.remove(&id))
    }

    fn ways(&mut self, of: u64) -> Result<&mut Vec<Way>, StateError> {
        let bucket = of % WAY_BUCKETS;
        let free = match self.ways.entry(bucket) {
            Entry::Occupied(found) => return Ok(&mut found.into_mut().value),
            Entry::Vacant(free) => free,
        };
        let (version, before) = load(&ways_key(bucket))?;
        let (mut rest, mut value) = (&before[..], Vec::new());
        while let (Some(from), Some(to), Some(day)) = (long(&mut rest), long(&mut rest), number(&mut rest)) {
            value.push(Way { from, to, day });
        }
        Ok(&mut free.insert(Kept { version, older: None, before, value }).value)
    }

    /// The cases that a MAC names or leads to.
    pub(crate) fn named(&mut self, mac: u64) -> Result<Vec<u64>, StateError> {
        let mut found: Vec<u64> =
            self.ways(mac)?.iter().filter(|way| way.from == mac).map(|way| way.to).collect();
        found.insert(0, mac);
        let mut there = Vec::new();
        for id in found {
            if self.case(id)?.is_some() {
                there.push(id);
            }
        }
        Ok(there)
    }

    /// From now on a MAC leads to a case.
    pub(crate) fn lead(&mut self, from: u64, to: u64, day: u32) -> Result<(), StateError> {
        if from == to {
            return Ok(());
        }
        let ways = self.ways(from)?;
        if let Some(way) = ways.iter_mut().find(|way| way.from == from && way.to == to) {
            way.day = way.day.max(day);
            return Ok(());
        }
        let of_one = ways.iter().filter(|way| way.from == from).count();
        let oldest = if of_one >= WAYS_OF_ONE_MAX {
            ways.iter().position(|way| way.from == from)
        } else if ways.len() >= WAYS_MAX {
            (0..ways.len()).min_by_key(|at| ways[*at].day)
        } else {
            None
        };
        if let Some(oldest) = oldest {
            ways.remove(oldest);
        }
        ways.push(Way { from, to, day });
        self.forgotten += u64::from(oldest.is_some());
        Ok(())
    }

    /// Writes what is another than before.
    pub(crate) fn write(mut self) -> Result<u64, StateError> {
        for (bucket, kept) in &mut self.cases {
            let mut octets = encode(&kept.value);
            while octets.len() > VALUE_OCTETS_MAX {
                let oldest = kept.value.iter().min_by_key(|(_, case)| case.heard).map(|(id, _)| *id);
                let Some(oldest) = oldest else { break };
                kept.value.remove(&oldest);
                self.forgotten += 1;
                octets = encode(&kept.value);
            }
            write(&cases_key(*bucket), kept.version, &kept.before, &octets)?;
            if let Some(version) = kept.older {
                state::remove(&older_key(*bucket), version)?;
            }
        }
        for (bucket, kept) in &self.ways {
            let octet = |way: &Way| {
                let numbers = way.from.to_le_bytes().into_iter().chain(way.to.to_le_bytes());
                numbers.chain(way.day.to_le_bytes()).collect::<Vec<u8>>()
            };
            let octets: Vec<u8> = kept.value.iter().flat_map(octet).collect();
            write(&ways_key(*bucket), kept.version, &kept.before, &octets)?;
        }
        Ok(self.forgotten)
    }
}

fn decode(octets: &[u8], layout: Layout, to: &mut BTreeMap<u64, Case>) {
    let mut rest = octets;
    while let Some(id) = long(&mut rest) {
        let Some(case) = Case::decode(&mut rest, layout) else { break };
        to.insert(id, case);
    }
}

fn encode(cases: &BTreeMap<u64, Case>) -> Vec<u8> {
    let mut octets = Vec::new();
    for (id, case) in cases {
        octets.extend(id.to_le_bytes());
        case.encode(&mut octets);
    }
    octets
}

fn write(key: &str, version: u64, before: &[u8], octets: &[u8]) -> Result<(), StateError> {
    match (before == octets, octets.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => state::remove(key, version),
        (false, false) => state::put(key, octets, version).map(drop),
    }
}
