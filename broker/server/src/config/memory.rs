//! `[memory]` of `hilum.toml`: how much may be under way.

use super::model::Hospital;
use super::problem::Problem;
use super::reader::{Sink, Table};
use super::{Directory, units};
use crate::{deliver, ingest, quic};

/// What may be under way where the configuration does not say it, if the flows do not need more.
const UNDER_WAY_OCTETS_DEFAULT: u64 = 512 << 20;

pub(super) fn read(mut table: Table<'_>) -> Option<u64> {
    let under_way = table.read_if("under_way", "512MiB", units::octets);
    table.finish();
    Some(under_way?.value)
}

/// Whether each flow and each subscription can have its part.
pub(super) fn check(hospital: &Hospital, sink: &Sink) {
    let least = hospital.under_way_octets_least();
    if let Some(octets) = hospital.under_way.filter(|octets| *octets < least) {
        let what = format!(
            "`memory.under_way`: {octets} octets are too few for the flows and subscriptions of this hospital"
        );
        let help = format!("write at least \"{}MiB\"", least.div_ceil(1 << 20));
        sink.report(Problem::of_file(Directory::MAIN_FILE, what, &help));
    }
}

impl Hospital {
    /// Octets of memory that may be under way.
    #[must_use]
    pub fn under_way_octets(&self) -> u64 {
        self.under_way.unwrap_or_else(|| UNDER_WAY_OCTETS_DEFAULT.max(2 * self.under_way_octets_least()))
    }

    /// What flows and subscriptions have for themselves.
    fn under_way_octets_least(&self) -> u64 {
        let subscriptions = self.flows.values().map(|flow| flow.subscriptions.len() as u64).sum::<u64>();
        let flows = self.flows.len() as u64 * (ingest::RECORDS_OCTETS + ingest::UPLOADS_OCTETS);
        quic::OWN_OCTETS + flows + subscriptions * deliver::BATCH_OCTETS
    }
}
