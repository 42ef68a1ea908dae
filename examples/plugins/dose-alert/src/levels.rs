//! Compares the doses of one examination with the reference levels of its procedure.

use crate::alert::{Alert, Kind};
use crate::report::Report;
use crate::settings::{Level, When};

/// The levels that a report exceeds. Each quantity is compared by the first level that is for the procedure.
pub(crate) fn exceeded<'a>(levels: &'a [Level], report: &Report) -> impl Iterator<Item = Alert<'a>> {
    let mut judged = Vec::new();
    levels.iter().filter_map(move |level| {
        if judged.contains(&level.quantity) || !level.when.holds(report) {
            return None;
        }
        let dose = report.dose(level.quantity)?;
        judged.push(level.quantity);
        (dose > level.limit).then_some(Alert {
            kind: Kind::Examination,
            level: &level.name,
            quantity: level.quantity,
            dose,
            limit: level.limit,
        })
    })
}

impl When {
    fn holds(&self, report: &Report) -> bool {
        let description = report.description.to_lowercase();
        let describes = |words: &String| description.contains(&words.to_lowercase());
        self.procedures.as_ref().is_none_or(|codes| codes.iter().any(|code| report.procedures.contains(code)))
            && self.descriptions.as_ref().is_none_or(|all| all.iter().any(describes))
    }
}
