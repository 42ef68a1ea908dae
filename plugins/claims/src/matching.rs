//! The side that compares: sees notices of both others, and nothing else.

use hilum_plugin::state::{self, StateError};
use hilum_plugin::{ConfigError, Context, Message, emit};

use crate::case::{Case, Entry, OLD, TOLD_DAY, TOLD_DUPLICATE, TOLD_KIND, TOLD_MISSING, TOLD_NO_PROCEDURE};
use crate::day::Day;
use crate::finding::{Cause, Finding, Summary};
use crate::notice::{Claimed, Frequency, Line, Notice, Performed};
use crate::settings::Match;
use crate::store::{BUCKETS, Store};
use crate::{DAY_MS, Tally, mac};

/// The key of the summary of the day under way.
const SUMMARY: &str = "summary";

/// The stage.
#[derive(Debug)]
pub struct Matching(Match);

/// A batch being compared.
struct Round<'a> {
    settings: &'a Match,
    store: Store,
    summary: Summary,
    version: u64,
    before: Summary,
    day: u32,
}

impl Matching {
    pub(crate) fn new(settings: Match) -> Result<Self, ConfigError> {
        if settings.findings_flow.is_empty() {
            return Err(ConfigError::new("/findings_flow", "name the flow that findings go to"));
        }
        if settings.claim_days == 0 || settings.procedure_days == 0 || settings.remember_days == 0 {
            return Err(ConfigError::new("/claim_days", "days are 1 at least"));
        }
        Ok(Self(settings))
    }

    pub(crate) fn observe(&self, context: &Context, messages: Vec<Message>, tally: &mut Tally) {
        let Some(day) = messages.iter().map(|message| message.head.time / DAY_MS).max() else { return };
        let done = Round::begin(&self.0, day, tally).and_then(|mut round| {
            for message in messages {
                round.see(context, message, tally)?;
            }
            round.end(tally)
        });
        if let Err(error) = done {
            tally.unkept += 1;
            tally.trouble = Some(format!("notices were not compared: {error}"));
        }
    }

    /// Looks at one value of cases after the other, so that what stays missing is found.
    pub(crate) fn tick(&self, now_ms: u64, tally: &mut Tally) {
        let done = Round::begin(&self.0, now_ms / DAY_MS, tally).and_then(|mut round| {
            round.sweep(now_ms / 1000 % BUCKETS, tally)?;
            round.end(tally)
        });
        if let Err(error) = done {
            tally.trouble = Some(format!("cases were not looked at: {error}"));
        }
    }
}

impl<'a> Round<'a> {
    fn begin(settings: &'a Match, day: u64, tally: &mut Tally) -> Result<Self, StateError> {
        let day = u32::try_from(day).unwrap_or(u32::MAX);
        let found = state::get(SUMMARY)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let before: Option<Summary> = found.and_then(|found| serde_json::from_slice(&found.value).ok());
        let before = before.unwrap_or_else(|| Summary { day, ..Summary::default() });
        let mut summary = before.clone();
        if day > summary.day {
            let is_empty = summary == Summary { day: summary.day, ..Summary::default() };
            if !is_empty && let Err(error) = emit::emit(&settings.findings_flow, summary.draft()) {
                tally.trouble = Some(format!("a summary was not emitted: {error}"));
            }
            summary = Summary { day, ..Summary::default() };
        }
        Ok(Self { settings, store: Store::default(), summary, version, before, day })
    }

    fn end(self, tally: &mut Tally) -> Result<(), StateError> {
        tally.forgotten += self.store.write()?;
        if self.summary != self.before || self.version == 0 {
            let octets =
                serde_json::to_vec(&self.summary).map_err(|error| StateError::Other(error.to_string()))?;
            state::put(SUMMARY, &octets, self.version)?;
        }
        Ok(())
    }

    /// Looks at one record. Only stages of the hospital are believed.
    fn see(&mut self, context: &Context, message: Message, tally: &mut Tally) -> Result<(), StateError> {
        let notice = match Notice::read(message) {
            None => return Ok(()),
            Some(Err(())) => {
                tally.malformed += 1;
                return Ok(());
            }
            Some(Ok(notice)) => notice,
        };
        let path = context.source.principal.strip_prefix("spiffe://").and_then(|id| id.split_once('/'));
        if !path.is_some_and(|(_, path)| path.starts_with("plugin/")) {
            tally.foreign += 1;
            return Ok(());
        }
        match notice {
            Notice::Performed(performed) => self.performed(&performed, tally),
            Notice::Claimed(claimed) => self.claimed(&claimed, tally),
        }
    }

    fn performed(&mut self, notice: &Performed, tally: &mut Tally) -> Result<(), StateError> {
        tally.performed += 1;
        let short = |mac: &Option<String>| mac.as_deref().and_then(mac::short);
        let (accession, study, visit) =
            (short(&notice.accession), short(&notice.study), short(&notice.visit));
        let Some(id) = self.case_of(notice, accession, study, visit)? else { return Ok(()) };
        for mac in [accession, study, visit].into_iter().flatten() {
            self.store.lead(mac, id, self.day)?;
        }
        let day = self.day;
        let case = self.store.case_or_new(id, day)?;
        case.heard = case.heard.max(day);
        if notice.cancelled {
            if case.performed.take().is_some() || !case.entries.is_empty() {
                case.since = day;
            }
            // That it was not done is known, however old it is.
            case.entries.iter_mut().for_each(|entry| entry.told &= !OLD);
            return Ok(());
        }
        let is_new = case.performed.is_none();
        let what = match &case.performed {
            // Later images of a study may know more of it, and nothing of it becomes unknown.
            Some((before, _)) => crate::notice::What {
                modality: before.modality.clone().or(notice.what.modality.clone()),
                region: before.region.clone().or(notice.what.region.clone()),
            },
            None => notice.what.clone(),
        };
        let known = case.performed.as_ref().map(|(_, known)| *known);
        // Nor does its day.
        let of_notice = notice.day();
        let service = known.filter(|_| of_notice.hidden.is_none()).unwrap_or(of_notice);
        case.performed = Some((what, service));
        if is_new {
            case.since = day;
            case.told = if notice.old { case.told | OLD } else { case.told & !OLD };
            self.summary.performed += 1;
        }
        self.judge(id, is_new, tally)
    }

    /// Which case a procedure is: one that has its number, or one that was claimed for its patient on its day; else a new one.
    fn case_of(
        &mut self,
        notice: &Performed,
        accession: Option<u64>,
        study: Option<u64>,
        visit: Option<u64>,
    ) -> Result<Option<u64>, StateError> {
        if let Some(accession) = accession
            && let Some(found) = self.store.named(accession)?.first()
        {
            return Ok(Some(*found));
        }
        if let Some(study) = study {
            // Several examinations may be in one study: what has a number of its own is another one.
            let is_same = |id: &&u64| accession.is_none() || **id == study;
            if let Some(found) = self.store.named(study)?.iter().find(is_same) {
                return Ok(Some(*found));
            }
        }
        let name = accession.or(study).or(visit);
        let Some(visit) = visit else { return Ok(name) };
        for candidate in self.store.named(visit)? {
            let Some(case) = self.store.case(candidate)? else { continue };
            let fits = |entry: &Entry| entry.fits.iter().any(|kind| notice.what.fits(kind));
            let is_same = accession.is_none() && study.is_none();
            if case.performed.is_none() && (is_same || case.entries.iter().any(fits)) {
                // What was claimed under the visit alone gets the procedure's own name.
                if candidate == visit
                    && let (Some(name), Some(case)) = (name, self.store.take(candidate)?)
                {
                    *self.store.case_or_new(name, self.day)? = case;
                    return Ok(Some(name));
                }
                return Ok(Some(candidate));
            }
        }
        Ok(name)
    }

    fn claimed(&mut self, notice: &Claimed, tally: &mut Tally) -> Result<(), StateError> {
        let Some(claim) = mac::short(&notice.claim) else { return Ok(()) };
        let before = match notice.frequency {
            Frequency::Original => Vec::new(),
            Frequency::Replacement | Frequency::Void => self.take_back(claim, notice)?,
        };
        if notice.frequency == Frequency::Void {
            return Ok(());
        }
        for line in &notice.lines {
            tally.claimed += 1;
            self.summary.claimed += 1;
            self.line(claim, line, notice, &before, tally)?;
        }
        Ok(())
    }

    /// Removes what a claim said before, and gives it; where its number was never heard of, what was claimed for the same services.
    fn take_back(&mut self, claim: u64, notice: &Claimed) -> Result<Vec<Entry>, StateError> {
        let day = self.day;
        let of_claim = self.store.named(claim)?;
        let mut taken = Vec::new();
        for id in &of_claim {
            let Some(case) = self.store.case(*id)? else { continue };
            taken.extend(case.entries.extract_if(.., |entry| entry.claim == claim));
            (case.since, case.heard) = (day, case.heard.max(day));
        }
        if !of_claim.is_empty() {
            return Ok(taken);
        }
        for line in &notice.lines {
            let Some(id) = self.case_of_line(line)? else { continue };
            let Some(case) = self.store.case(id)? else { continue };
            case.entries.retain(|entry| entry.code != line.code || !entry.component.overlaps(line.component));
            (case.since, case.heard) = (day, case.heard.max(day));
            // The same again takes nothing back that was claimed since.
            self.store.lead(claim, id, day)?;
        }
        Ok(taken)
    }

    /// Which case a line is for: by its accession number; else one of its patient and day that it fits, best one that was performed
    /// and not claimed.
    fn case_of_line(&mut self, line: &Line) -> Result<Option<u64>, StateError> {
        let short = |mac: &Option<String>| mac.as_deref().and_then(mac::short);
        if let Some(accession) = short(&line.accession)
            && let Some(found) = self.store.named(accession)?.first()
        {
            return Ok(Some(*found));
        }
        let name = short(&line.accession).or(short(&line.visit));
        let Some(visit) = short(&line.visit) else { return Ok(name) };
        let mut fitting = None;
        for id in self.store.named(visit)? {
            let Some(case) = self.store.case(id)? else { continue };
            let is_claimed = case
                .entries
                .iter()
                .any(|entry| entry.code == line.code && entry.component.overlaps(line.component));
            if case.may_be(&line.fits) && !is_claimed {
                return Ok(Some(id));
            }
            if case.may_be(&line.fits) || (line.accession.is_none() && case.performed.is_none()) {
                fitting = fitting.or(Some(id));
            }
        }
        Ok(fitting.or(name))
    }

    fn line(
        &mut self,
        claim: u64,
        line: &Line,
        notice: &Claimed,
        before: &[Entry],
        tally: &mut Tally,
    ) -> Result<(), StateError> {
        let Some(id) = self.case_of_line(line)? else { return Ok(()) };
        let day = self.day;
        let visit = line.visit.as_deref().and_then(mac::short);
        let accession = line.accession.as_deref().and_then(mac::short);
        for mac in [Some(claim), visit, accession].into_iter().flatten() {
            self.store.lead(mac, id, day)?;
        }
        // What replaces a claim by the same is no news.
        let is_same = |known: &&Entry| {
            (&known.code, known.component, known.day) == (&line.code, line.component, line.day())
        };
        let entry = Entry {
            claim,
            code: line.code.clone(),
            component: line.component,
            fits: line.fits.clone(),
            day: line.day(),
            told: before.iter().find(is_same).map_or(0, |known| known.told & !OLD)
                | if line.old { OLD } else { 0 },
            at: notice.at.clone(),
        };
        let case = self.store.case_or_new(id, day)?;
        case.heard = case.heard.max(day);
        if case.entries.is_empty() && case.performed.is_none() {
            case.since = day;
        }
        let is_first = case.entries.is_empty();
        let double = case.add(entry.clone()).filter(|_| notice.frequency == Frequency::Original);
        if let Some(other) = double {
            let performed = case.performed.clone();
            let told = case.entries.last_mut().is_none_or(|entry| {
                let told = entry.told & TOLD_DUPLICATE != 0;
                entry.told |= TOLD_DUPLICATE;
                told
            });
            if !told {
                let finding = finding(Cause::DuplicateClaim, id, performed, Some(entry), Some(other));
                self.tell(&finding, tally);
            }
        }
        self.judge(id, is_first, tally)
    }

    /// Tells of lines that do not fit what was done, and that what was missing is there.
    fn judge(&mut self, id: u64, may_match: bool, tally: &mut Tally) -> Result<(), StateError> {
        let tolerance = self.settings.tolerance_days;
        let Some(case) = self.store.case(id)? else { return Ok(()) };
        let Some((what, day)) = case.performed.clone() else { return Ok(()) };
        if case.entries.is_empty() {
            return Ok(());
        }
        let mut findings = Vec::new();
        for (told, cause) in [(TOLD_MISSING, Cause::MissingClaim), (TOLD_NO_PROCEDURE, Cause::NoProcedure)] {
            if case.told & told != 0 {
                case.told &= !told;
                let finding = finding(cause, id, case.performed.clone(), case.entries.last().cloned(), None);
                findings.push(Finding { is_resolved: true, ..finding });
            }
        }
        for entry in &mut case.entries {
            let is_other = !entry.fits.iter().any(|kind| what.fits(kind));
            let is_off = entry.day.apart(day).is_some_and(|days| u32::from(days) > tolerance);
            for (told, cause, is_so) in
                [(TOLD_KIND, Cause::OtherProcedure, is_other), (TOLD_DAY, Cause::OtherDay, is_off)]
            {
                if is_so && entry.told & told == 0 {
                    entry.told |= told;
                    let performed = Some((what.clone(), day));
                    findings.push(finding(cause, id, performed, Some(entry.clone()), None));
                }
            }
        }
        self.summary.matched += u64::from(may_match);
        findings.into_iter().for_each(|finding| self.tell(&finding, tally));
        Ok(())
    }

    /// Finds what has been missing for too long, and forgets what is old.
    fn sweep(&mut self, bucket: u64, tally: &mut Tally) -> Result<(), StateError> {
        let (settings, today) = (self.settings, self.day);
        let remember = settings.remember_days.max(settings.claim_days).max(settings.procedure_days);
        let mut findings = Vec::new();
        let cases = self.store.bucket(bucket)?;
        cases.retain(|_, case| today.saturating_sub(case.heard) <= remember);
        for (id, case) in cases.iter_mut() {
            let waited = today.saturating_sub(case.since);
            match overdue(case, settings, waited) {
                Some((told, cause)) if case.told & told == 0 => {
                    case.told |= told;
                    let line = case.entries.last().cloned();
                    findings.push(finding(cause, *id, case.performed.clone(), line, None));
                }
                _ => {}
            }
        }
        findings.into_iter().for_each(|finding| self.tell(&finding, tally));
        Ok(())
    }

    fn tell(&mut self, finding: &Finding, tally: &mut Tally) {
        match emit::emit(&self.settings.findings_flow, finding.draft()) {
            Ok(()) if finding.is_resolved => self.summary.resolved += 1,
            Ok(()) => {
                tally.findings += 1;
                *self.summary.found.entry(finding.cause).or_default() += 1;
            }
            Err(error) => tally.trouble = Some(format!("a finding was not emitted: {error}")),
        }
    }
}

/// What a case lacks for too long.
fn overdue(case: &Case, settings: &Match, waited: u32) -> Option<(u8, Cause)> {
    let is_old = case.told & OLD != 0;
    let are_old = case.entries.iter().all(|entry| entry.told & OLD != 0);
    match (case.performed.is_some(), case.entries.is_empty()) {
        (true, true) if is_old => None,
        (false, false) if are_old => None,
        (true, true) if waited >= settings.claim_days => Some((TOLD_MISSING, Cause::MissingClaim)),
        (false, false) if waited >= settings.procedure_days => Some((TOLD_NO_PROCEDURE, Cause::NoProcedure)),
        _ => None,
    }
}

fn finding(
    cause: Cause,
    case: u64,
    performed: Option<(crate::notice::What, Day)>,
    line: Option<Entry>,
    other: Option<Entry>,
) -> Finding {
    Finding { cause, is_resolved: false, case, performed, line, other }
}
