//! The publisher stream's two sides: pipelining within credit, and answers in bulk.

mod client;
mod server;

pub use client::{PublishError, PublisherClient, PublisherClientEvent};
pub use server::{NotUnderWay, PublisherServer, PublisherServerEvent};

use std::collections::VecDeque;

use crate::wire::Credit;

/// Records that were sent and have no answer yet, in the order of their sequence.
#[derive(Debug, Default)]
struct UnderWay {
    first_sequence: u64,
    slots: VecDeque<Slot>,
    total: Credit,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    octets: u64,
    refused: bool,
}

impl UnderWay {
    /// The number that the next record has; any is possible where none was sent.
    fn next_sequence(&self) -> u64 {
        self.first_sequence + self.slots.len() as u64
    }

    fn push(&mut self, octets: u64) {
        self.slots.push_back(Slot { octets, refused: false });
        self.total.records += 1;
        self.total.octets += octets;
    }

    fn contains(&self, sequence: u64) -> bool {
        (self.first_sequence..self.next_sequence()).contains(&sequence)
    }

    /// Ends all up to `sequence`. Whether there was one to end.
    fn ack_through(&mut self, sequence: u64) -> bool {
        if !self.contains(sequence) {
            return false;
        }
        while self.first_sequence <= sequence {
            let slot = self.slots.pop_front().expect("`contains` says that it is here");
            self.first_sequence += 1;
            if !slot.refused {
                self.release(slot.octets);
            }
        }
        self.drop_refused_front();
        true
    }

    /// Ends one, which stays in line until all before it have ended. Whether there was one to end.
    fn refuse(&mut self, sequence: u64) -> bool {
        let Some(slot) = self.slot_mut(sequence).filter(|slot| !slot.refused) else { return false };
        slot.refused = true;
        let octets = slot.octets;
        self.release(octets);
        self.drop_refused_front();
        true
    }

    fn drop_refused_front(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.refused) {
            self.slots.pop_front();
            self.first_sequence += 1;
        }
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = sequence.checked_sub(self.first_sequence)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn release(&mut self, octets: u64) {
        self.total.records -= 1;
        self.total.octets -= octets;
    }
}
