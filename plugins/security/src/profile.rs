//! A principal, or a flow: when it is active, where it goes, how much it reads in a day, and how often something happens to it.

use crate::Seen;
use crate::baseline::{Baseline, WEEK, amount, scaled};
use crate::keep::Entry;
use crate::line::Now;
use crate::octets::{Octets, Rest};
use crate::settings::{Cause, Settings};
use crate::watch::{DAY_MS, HOUR_MS};

/// Destinations that are remembered; the one that was not used for longest makes room.
const DESTINATIONS_MAX: usize = 48;
/// What one active hour adds to the weight of its hour of the week, and the weight from which it is usual.
const ACTIVE: u8 = 64;
const USUAL: u16 = 24;
/// What is left of all weights after a week.
const WEEKLY_PART: u16 = 7;
/// Who is active in more of a week's hours than this has no usual time.
const HOURS_OF_WEEK_MAX: usize = 120;

/// What is known of a principal or a flow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    first_ms: u64,
    last_ms: u64,
    /// The last hour in which it was active, counted from 1970, and the last week whose weights were made smaller.
    hour: u64,
    week: u64,
    weights: [u8; WEEK],
    /// Hash and last day of each.
    destinations: Vec<(u64, u64)>,
    day: u64,
    octets: f64,
    daily: Baseline,
    counts: [Count; Cause::ALL.len()],
}

/// Events, of which earlier ones count less.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Count {
    sum: f64,
    at_ms: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            first_ms: 0,
            last_ms: 0,
            hour: 0,
            week: 0,
            weights: [0; WEEK],
            destinations: Vec::new(),
            day: 0,
            octets: 0.0,
            daily: Baseline::default(),
            counts: Default::default(),
        }
    }
}

impl Profile {
    /// Notes that it is there; whether it was not before.
    pub(crate) fn meet(&mut self, time_ms: u64) -> bool {
        let is_new = self.first_ms == 0;
        if is_new {
            self.first_ms = time_ms.max(1);
        }
        self.last_ms = self.last_ms.max(time_ms);
        is_new
    }

    /// Whether it is known for so long that what it never did says something.
    fn is_known(&self, settings: &Settings, at: &Now) -> bool {
        let age_days = at.time_ms.saturating_sub(self.first_ms) as f64 / DAY_MS as f64;
        at.is_learned && age_days >= settings.learning_days
    }

    /// Notes that it is active; whether it never is at this time of the week.
    pub(crate) fn is_unusual_time(&mut self, settings: &Settings, at: &Now) -> bool {
        let hour = at.time_ms / HOUR_MS;
        let week = hour / WEEK as u64;
        if self.week == 0 {
            self.week = week;
        }
        for _ in 0..week.saturating_sub(self.week).min(64) {
            self.weights.iter_mut().for_each(|weight| {
                *weight = u8::try_from(u16::from(*weight) * WEEKLY_PART / 8).unwrap_or(u8::MAX);
            });
        }
        self.week = self.week.max(week);
        if hour <= self.hour {
            return false;
        }
        let of_week = at.hour_of_week(hour);
        let is_unusual =
            self.is_known(settings, at) && self.has_usual_times() && self.weight(of_week) < USUAL;
        self.hour = hour;
        self.weights[of_week] = self.weights[of_week].saturating_add(ACTIVE);
        is_unusual
    }

    fn has_usual_times(&self) -> bool {
        let active = self.weights.iter().filter(|weight| **weight > 0).count();
        (1..=HOURS_OF_WEEK_MAX).contains(&active)
    }

    /// How usual an hour of the week is: of working days, or of weekends, the best of it, the hour before and the hour after.
    fn weight(&self, of_week: usize) -> u16 {
        let (day, of_day) = (of_week / 24, of_week % 24);
        let days = if day < 5 { 0..5 } else { 5..7 };
        let hours = [of_day + 23, of_day, of_day + 1].map(|hour| hour % 24);
        let all = days.flat_map(|day| hours.map(|hour| day * 24 + hour));
        all.map(|hour| u16::from(self.weights[hour])).max().unwrap_or(0)
    }

    /// Notes where it goes; whether it never went there.
    pub(crate) fn is_unusual_destination(&mut self, settings: &Settings, at: &Now, destination: u64) -> bool {
        let day = at.time_ms / DAY_MS;
        let forget = settings.forget_days.max(1.0);
        self.destinations.retain(|(_, last)| (day.saturating_sub(*last) as f64) <= forget);
        if let Some((_, last)) = self.destinations.iter_mut().find(|(known, _)| *known == destination) {
            *last = day.max(*last);
            return false;
        }
        let is_unusual = self.is_known(settings, at) && !self.destinations.is_empty();
        if self.destinations.len() >= DESTINATIONS_MAX
            && let Some(oldest) = (0..self.destinations.len()).min_by_key(|index| self.destinations[*index].1)
        {
            self.destinations.swap_remove(oldest);
        }
        self.destinations.push((destination, day));
        is_unusual
    }

    /// Notes what it reads; gives what is too much of it for a day.
    pub(crate) fn read(&mut self, settings: &Settings, at: &Now, octets: f64) -> Option<Seen> {
        let day = at.time_ms / DAY_MS;
        if day > self.day {
            if self.day > 0 {
                self.daily.learn(scaled(self.octets), None);
            }
            (self.day, self.octets) = (day, 0.0);
        }
        self.octets += octets;
        let seen = |usual, limit| Seen { value: self.octets, usual, limit, unit: "octets a day" };
        if let Some(max) = settings.octets_day_max.filter(|max| self.octets > *max) {
            return Some(seen(None, max));
        }
        if !self.is_known(settings, at) || !self.daily.is_known_in(7.0) {
            return None;
        }
        let limit = amount(self.daily.limit(None, settings.deviations, settings.factor));
        let limit = limit.max(settings.floor_octets_day);
        (self.octets > limit).then(|| seen(Some(amount(self.daily.usual(None))), limit))
    }

    /// Counts an event; gives how many that makes where it is too many.
    pub(crate) fn count(&mut self, settings: &Settings, cause: Cause, time_ms: u64) -> Option<Seen> {
        let rate = settings.rate(cause);
        let index = Cause::ALL.iter().position(|of| *of == cause)?;
        let count = &mut self.counts[index];
        let minutes = time_ms.saturating_sub(count.at_ms) as f64 / 60_000.0;
        count.sum = count.sum * (-minutes / rate.minutes).exp() + 1.0;
        count.at_ms = count.at_ms.max(time_ms);
        let value = (count.sum * 10.0).round() / 10.0;
        // What is counted down in between must not make the last of them miss.
        let is_too_many = count.sum >= rate.count - 0.5;
        is_too_many.then_some(Seen { value, usual: None, limit: rate.count, unit: "recent events" })
    }
}

impl Entry for Profile {
    const KIND: &'static str = "profiles";
    const BUCKETS: u64 = 64;

    fn last_ms(&self) -> u64 {
        self.last_ms
    }

    fn encode(&self, to: &mut Octets) {
        for number in [self.first_ms, self.last_ms, self.hour, self.week, self.day] {
            to.whole(number);
        }
        to.some(&self.weights);
        to.real(self.octets);
        self.daily.encode(to);
        for Count { sum, at_ms } in &self.counts {
            to.real(*sum);
            to.whole(*at_ms);
        }
        to.whole(self.destinations.len() as u64);
        for (destination, day) in &self.destinations {
            to.whole(*destination);
            to.whole(*day);
        }
    }

    fn decode(from: &mut Rest<'_>) -> Option<Self> {
        let mut profile = Self::default();
        for number in [
            &mut profile.first_ms,
            &mut profile.last_ms,
            &mut profile.hour,
            &mut profile.week,
            &mut profile.day,
        ] {
            *number = from.whole()?;
        }
        profile.weights.copy_from_slice(from.some(WEEK)?);
        profile.octets = from.real()?;
        profile.daily = Baseline::decode(from)?;
        for count in &mut profile.counts {
            *count = Count { sum: from.real()?, at_ms: from.whole()? };
        }
        let count = usize::try_from(from.whole()?).ok().filter(|count| *count <= DESTINATIONS_MAX)?;
        profile.destinations =
            (0..count).map(|_| Some((from.whole()?, from.whole()?))).collect::<Option<_>>()?;
        Some(profile)
    }
}
