//! What an event changes in what is known of a patient. Everything ends some day, and everything is bounded.

use hilum_formats::care::{Carer, Known, Role, Stay, Tag};

use crate::event::{Appointment, Visit};
use crate::settings::Rules;

/// Stays, visits and appointments of one patient; those that end first go first.
const STAYS_MAX: usize = 48;
/// Those who treat a patient in one stay, one after the other.
const CARERS_MAX: usize = 64;

/// Admitted, registered, moved, changed: at `at`, in milliseconds since 1970.
pub(crate) fn visit(known: &mut Known, visit: &Visit, at: u64, rules: &Rules) {
    let Visit { id, opens, is_outpatient, carers } = visit;
    let stay = find(known, id);
    if stay.is_discharged && !*opens {
        return;
    }
    stay.is_discharged = false;
    stay.until = at.saturating_add(if *is_outpatient { rules.outpatient } else { rules.stay });
    for (role, now) in carers {
        take_over(stay, *role, now, at, rules);
    }
    let excess = stay.carers.len().saturating_sub(CARERS_MAX);
    if excess > 0 {
        stay.carers.sort_by_key(|carer| (carer.until.unwrap_or(u64::MAX), carer.from));
        stay.carers.drain(..excess);
    }
    bound(known);
}

/// Those who have a role now. Those who had it before have some time to hand over.
fn take_over(stay: &mut Stay, role: Role, now: &[Tag], at: u64, rules: &Rules) {
    let had = stay.carers.iter_mut().filter(|carer| carer.role == role && carer.until.is_none());
    for carer in had.filter(|carer| !now.contains(&carer.who)) {
        carer.until = Some(at.saturating_add(rules.grace));
    }
    for who in now {
        let has = |carer: &Carer| carer.role == role && carer.until.is_none() && carer.who == *who;
        if !stay.carers.iter().any(has) {
            stay.carers.push(Carer { role, who: who.clone(), from: at, until: None });
        }
    }
}

/// Discharged.
pub(crate) fn discharged(known: &mut Known, id: &Tag, at: u64, rules: &Rules) {
    if let Some(stay) = known.stays.iter_mut().find(|stay| stay.id == *id && !stay.is_discharged) {
        stay.is_discharged = true;
        stay.until = stay.until.min(at.saturating_add(rules.grace));
    }
}

/// It never was, or will not be.
pub(crate) fn cancelled(known: &mut Known, id: &Tag) {
    known.stays.retain(|stay| stay.id != *id);
}

/// Expected at an appointment, instead of what was said of it before.
pub(crate) fn expected(known: &mut Known, appointment: &Appointment, rules: &Rules) {
    let Appointment { id, start, end, carers } = appointment;
    let from = start.saturating_sub(rules.before);
    let carers = carers.iter().take(CARERS_MAX);
    let carer = |(role, who): &(Role, Tag)| Carer { role: *role, who: who.clone(), from, until: None };
    let carers = carers.map(carer).collect();
    let stay = find(known, id);
    *stay = Stay { until: end.saturating_add(rules.grace), carers, ..stay.clone() };
    bound(known);
}

/// Two records of one patient become one.
pub(crate) fn merged(into: &mut Known, from: Known) {
    for stay in from.stays {
        match into.stays.iter_mut().find(|known| known.id == stay.id) {
            // A stay without a number, of each.
            Some(known) => {
                known.until = known.until.max(stay.until);
                known.is_discharged &= stay.is_discharged;
                known.carers.extend(stay.carers);
                known.carers.truncate(2 * CARERS_MAX);
            }
            None => into.stays.push(stay),
        }
    }
    for consent in from.consents {
        // Of one that both have it cannot be told which is newer: both hold until it is said anew.
        if !into.consents.contains(&consent) {
            into.consents.push(consent);
        }
    }
    bound(into);
}

fn find<'k>(known: &'k mut Known, id: &Tag) -> &'k mut Stay {
    let at = known.stays.iter().position(|stay| stay.id == *id).unwrap_or_else(|| {
        known.stays.push(Stay { id: id.clone(), until: 0, is_discharged: false, carers: Vec::new() });
        known.stays.len() - 1
    });
    &mut known.stays[at]
}

fn bound(known: &mut Known) {
    let excess = known.stays.len().saturating_sub(STAYS_MAX);
    if excess > 0 {
        known.stays.sort_by_key(|stay| stay.until);
        known.stays.drain(..excess);
    }
}
