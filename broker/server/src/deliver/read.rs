//! Which records a reader gets next, and reading them from the log: those that come again first, then what is new.

use hilum_core::delivery::{Claim, Key, Offered, ReaderId};
use hilum_core::record::Stored;
use hilum_core::wire::Credit;
use hilum_core::{LogName, Offset, limits};

use super::state::{Ahead, Read, State};
use super::{Outlet, OutletError};

/// Octets of the log read ahead for one subscription.
const READ_AHEAD_OCTETS: usize = limits::BATCH_OCTETS_MAX;
/// Octets of bodies that one reader gets at once, but for the last of them.
pub(super) const CLAIM_OCTETS_MAX: u64 = limits::BATCH_OCTETS_MAX as u64;
/// Records that one reader gets at once.
const CLAIM_RECORDS_MAX: usize = limits::APPEND_RECORDS_MAX;
/// Records that come again at once: each may have to be read by itself.
const CLAIM_AGAIN_MAX: usize = limits::BATCH_RECORDS_MAX;

/// A record that is under way to a reader.
pub(super) struct Claimed {
    pub(super) claim: Claim,
    pub(super) stored: Stored,
}

impl Outlet {
    /// Claims what `reader` may get now and has `room` for.
    pub(super) async fn claim(
        &self,
        state: &State,
        reader: ReaderId,
        room: Credit,
    ) -> Result<Vec<Claimed>, OutletError> {
        let again = state.change(|it, now| it.claim_waiting(reader, CLAIM_AGAIN_MAX, room.records, now));
        if !again.is_empty() {
            self.shared.instruments.redelivered(
                &self.flow,
                &self.subscription,
                again.iter().filter(|claim| claim.attempt > 1).count() as u64,
            );
            return self.read_again(state, again).await;
        }
        if room.records == 0 {
            return Ok(Vec::new());
        }
        self.read_on(state, reader, room).await
    }

    /// Reads single records again; those that lie together, together. What is no longer there is settled.
    async fn read_again(&self, state: &State, mut claims: Vec<Claim>) -> Result<Vec<Claimed>, OutletError> {
        claims.sort_unstable_by_key(|claim| claim.offset);
        let log = LogName::Flow(self.flow.clone());
        let mut claimed = Vec::with_capacity(claims.len());
        let mut octets = 0;
        let mut claims = claims.into_iter().peekable();
        while let Some(claim) = claims.next() {
            if octets >= CLAIM_OCTETS_MAX {
                // Too much for one go: they come again right after.
                std::iter::once(claim).chain(claims).for_each(|claim| {
                    state.change(|it, now| it.give_back(claim, now));
                });
                break;
            }
            let is_run = claims.peek().is_some_and(|next| next.offset == claim.offset.next());
            let octets_max = if is_run { READ_AHEAD_OCTETS } else { 1 };
            let entries = self.shared.log.read(&log, claim.offset, octets_max).await?;
            let mut entries = entries.into_iter().peekable();
            let mut claim = Some(claim);
            while let Some(wanted) = claim.take() {
                while entries.next_if(|entry| entry.offset < wanted.offset).is_some() {}
                match entries.next_if(|entry| entry.offset == wanted.offset) {
                    Some(entry) => {
                        let stored = self.decode(entry.offset, &entry.octets)?;
                        octets += stored.measured().body().size().min(limits::INLINE_BODY_OCTETS_MAX as u64);
                        claimed.push(Claimed { claim: wanted, stored });
                    }
                    // Erased or trimmed since.
                    None => {
                        state.change(|it, now| it.settle(wanted, now));
                    }
                }
                let is_read = |next: &Claim| entries.peek().is_some_and(|entry| entry.offset == next.offset);
                claim = claims.next_if(is_read);
            }
        }
        Ok(claimed)
    }

    /// Reads on from where nobody has been.
    async fn read_on(
        &self,
        state: &State,
        reader: ReaderId,
        room: Credit,
    ) -> Result<Vec<Claimed>, OutletError> {
        let mut ahead = state.ahead.lock().await;
        loop {
            let (claimed, is_full) = self.offer(state, &mut ahead, reader, room);
            if !claimed.is_empty() || is_full {
                return Ok(claimed);
            }
            let is_at_end = *self.tail.borrow() <= ahead.through && !self.is_damaged;
            if is_at_end || !self.fill(&mut ahead).await? {
                return Ok(Vec::new());
            }
        }
    }

    /// Gives what was read ahead to the reader, as far as it may have it. Whether something is left.
    fn offer(
        &self,
        state: &State,
        ahead: &mut Ahead,
        reader: ReaderId,
        room: Credit,
    ) -> (Vec<Claimed>, bool) {
        let wall = self.shared.now();
        let records_max = CLAIM_RECORDS_MAX.min(room.records as usize);
        let octets_max = room.octets.min(CLAIM_OCTETS_MAX);
        let (mut claimed, mut octets) = (Vec::with_capacity(records_max.min(ahead.records.len())), 0);
        state.change(|it, now| {
            while let Some(read) = ahead.records.front() {
                if claimed.len() >= records_max || octets >= octets_max {
                    return;
                }
                let wait =
                    read.stored.envelope().head.deliver_after.map_or(0, |at| at.0.saturating_sub(wall.0));
                let due = if wait == 0 { 0 } else { now.saturating_add(wait) };
                let offered = it.offer(reader, read.stored.offset(), read.key, due, now);
                if offered == Offered::Full {
                    return;
                }
                let Some(read) = ahead.records.pop_front() else { return };
                if let Offered::Claimed(claim) = offered {
                    let size = read.stored.measured().body().size();
                    octets += size.min(limits::INLINE_BODY_OCTETS_MAX as u64);
                    claimed.push(Claimed { claim, stored: read.stored });
                }
            }
            if let Some(last) = ahead.through.0.checked_sub(1) {
                // What was left out on the way is settled.
                it.pass(Offset(last));
            }
            // What was settled before a restart is not read.
            ahead.through = ahead.through.max(it.next_offset());
        });
        (claimed, !ahead.records.is_empty())
    }

    /// Reads ahead. Whether there was anything, or something is gone.
    async fn fill(&self, ahead: &mut Ahead) -> Result<bool, OutletError> {
        let log = LogName::Flow(self.flow.clone());
        let entries = self.shared.log.read(&log, ahead.through, READ_AHEAD_OCTETS).await?;
        let Some(last) = entries.last() else {
            // Nothing new, or what there was is trimmed.
            let start = Offset(self.shared.log.bounds(&log).await?.start);
            let is_gone = start > ahead.through;
            ahead.through = ahead.through.max(start);
            return Ok(is_gone);
        };
        let through = last.offset.next();
        let mut records = Vec::with_capacity(entries.len());
        let setup = self.setup();
        for entry in &entries {
            let stored = self.decode(entry.offset, &entry.octets)?;
            let head = &stored.envelope().head;
            if setup.settings.filter.as_ref().is_none_or(|filter| filter.matches(head)) {
                let key = head.key.as_deref().map(Key::of);
                records.push(Read { stored, key });
            }
        }
        ahead.records.extend(records);
        ahead.through = through;
        Ok(true)
    }

    pub(super) fn decode(&self, offset: Offset, octets: &[u8]) -> Result<Stored, OutletError> {
        Stored::decode(self.flow.clone(), offset, octets).map_err(|error| OutletError::Entry(offset, error))
    }
}
