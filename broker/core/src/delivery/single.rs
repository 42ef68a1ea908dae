//! What the broker knows of one subscription while it is read: where to read on, what is under way, and the cursor.
//!
//! [`Deliveries`] is pure state. The broker asks [`Deliveries::next_offset`], reads that record, runs the subscription's chain,
//! and says [`Deliveries::delivered`] or, where nothing is sent, [`Deliveries::withheld`]. The reader's settlements come in
//! through [`Deliveries::settle`]. The [`Deliveries::cursor`] is the lowest offset that is not settled: it is what is kept, and a
//! reader that opens the subscription again gets everything from there once more, so each record at least once.

use std::collections::BTreeMap;

use crate::limits::SEQUENCE_MAX;
use crate::record::Offset;
use crate::wire::Credit;
use crate::wire::subscription::OffsetRange;

/// The state of one subscription with one reader. Bounded by the reader's credit, which is bounded by
/// [`crate::limits::CREDIT_RECORDS_MAX`].
#[derive(Debug, Clone)]
pub struct Deliveries {
    next: u64,
    /// Offsets delivered and not settled, with what each takes of the credit.
    under_way: BTreeMap<u64, u64>,
    octets: u64,
    credit: Credit,
}

/// Why a step is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Offsets go up, from the cursor on.
    #[error("offset {offset} comes after {next}, in a subscription that reads upwards")]
    NotNext {
        /// The one given.
        offset: Offset,
        /// The lowest one that may come.
        next: Offset,
    },
    /// The reader gave no more credit.
    #[error("the reader's credit is used up")]
    NoCredit,
    /// The reader settles what it never got.
    #[error("offsets {first} to {last} are not a range of delivered ones, which end before {next}")]
    NeverDelivered {
        /// As settled.
        first: Offset,
        /// As settled.
        last: Offset,
        /// The first one that was not delivered.
        next: Offset,
    },
    /// More credit than there may be.
    #[error("the reader's credit goes over the limit")]
    CreditLimit,
}

impl Deliveries {
    /// A subscription that reads from `cursor` on, with a reader's first credit, which is cut to the limits.
    #[must_use]
    pub fn new(cursor: Offset, credit: Credit) -> Self {
        Self { next: cursor.0, under_way: BTreeMap::new(), octets: 0, credit: credit.bounded() }
    }

    /// The offset to read on from.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.next)
    }

    /// Whether the credit allows one more record.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.credit.allows_beyond(self.in_flight())
    }

    /// Records and octets delivered and not settled.
    #[must_use]
    pub fn in_flight(&self) -> Credit {
        let records = u32::try_from(self.under_way.len()).unwrap_or(u32::MAX);
        Credit { records, octets: self.octets }
    }

    /// Whether a record is delivered and not settled.
    #[must_use]
    pub fn is_in_flight(&self, offset: Offset) -> bool {
        self.under_way.contains_key(&offset.0)
    }

    /// The lowest offset that is not settled.
    #[must_use]
    pub fn cursor(&self) -> Offset {
        Offset(self.under_way.first_key_value().map_or(self.next, |(first, _)| *first))
    }

    /// The record at `offset` is being sent and takes `octets` of the credit.
    pub fn delivered(&mut self, offset: Offset, octets: u64) -> Result<(), DeliveryError> {
        if !self.has_room() {
            return Err(DeliveryError::NoCredit);
        }
        self.advance(offset)?;
        self.under_way.insert(offset.0, octets);
        self.octets += octets;
        Ok(())
    }

    /// The record at `offset` is not for this reader, or there is none: it counts as settled.
    pub fn withheld(&mut self, offset: Offset) -> Result<(), DeliveryError> {
        self.advance(offset)
    }

    fn advance(&mut self, offset: Offset) -> Result<(), DeliveryError> {
        if !(self.next..SEQUENCE_MAX).contains(&offset.0) {
            return Err(DeliveryError::NotNext { offset, next: Offset(self.next) });
        }
        self.next = offset.0 + 1;
        Ok(())
    }

    /// The reader is done with a range; those settled before may be in it. How many were settled by it.
    pub fn settle(&mut self, range: OffsetRange) -> Result<usize, DeliveryError> {
        let OffsetRange { first, last } = range;
        if first > last || last.0 >= self.next {
            return Err(DeliveryError::NeverDelivered { first, last, next: Offset(self.next) });
        }
        let mut settled = 0;
        while let Some((&offset, &octets)) = self.under_way.range(first.0..=last.0).next() {
            self.under_way.remove(&offset);
            self.octets -= octets;
            settled += 1;
        }
        Ok(settled)
    }

    /// The reader allows more to be under way.
    pub fn grant(&mut self, more: Credit) -> Result<(), DeliveryError> {
        self.credit = self.credit.checked_add(more).ok_or(DeliveryError::CreditLimit)?;
        Ok(())
    }
}
