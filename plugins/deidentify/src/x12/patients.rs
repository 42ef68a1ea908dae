//! Whose the dates of a transaction are: those of a level of the hierarchy (HL), or of a claim that was paid (CLP), are of the patient that
//! is named in it, often after the first of them.

use hilum_formats::x12::Segment;

use crate::dates::Dates;
use crate::{Config, MessageDates, Pseudonyms, Refusal};

/// Goes through a transaction, segment by segment.
pub(super) struct Patients<'s, 'a> {
    /// What follows, from the segment on that is next.
    rest: &'s [Segment<'a>],
    /// What happens to the dates of the subscriber, who speaks for dependents without a number of their own.
    subscriber: Dates,
    dates: Dates,
}

impl<'s, 'a> Patients<'s, 'a> {
    /// Of the segments of a transaction, from ST on. What comes before a patient is of nobody.
    pub(super) fn new(segments: &'s [Segment<'a>]) -> Self {
        Patients { rest: segments, subscriber: Dates::Year, dates: Dates::Year }
    }

    /// What happens to the dates of the next segment; call it for each, in order.
    pub(super) fn dates(
        &mut self,
        segment: &Segment<'_>,
        config: &Config,
        keys: &dyn Pseudonyms,
    ) -> Result<Dates, Refusal> {
        let Some((_, rest)) = self.rest.split_first() else { return Ok(self.dates) };
        self.rest = rest;
        if config.message_dates == MessageDates::Year {
            return Ok(Dates::Year);
        }
        match (segment.identifier(), segment.element(3)) {
            // The patient of an acknowledgement of claims (X214) has a level of their own kind.
            ("HL", b"22" | b"PT") => {
                self.subscriber = Dates::of_patient(named(rest), config, keys)?;
                self.dates = self.subscriber;
            }
            ("HL", b"23") => {
                let number = named(rest);
                let own = Dates::of_patient(number, config, keys)?;
                self.dates = if number.is_empty() { self.subscriber } else { own };
            }
            ("HL", _) if !named(rest).is_empty() => {
                self.dates = Dates::of_patient(named(rest), config, keys)?;
            }
            ("CLP", _) => self.dates = Dates::of_patient(named(rest), config, keys)?,
            ("HL" | "PLB", _) => self.dates = Dates::Year,
            _ => {}
        }
        Ok(self.dates)
    }
}

/// The number of the patient or, if the patient has none, of the subscriber who is named first, before another level or claim begins.
fn named<'a>(segments: &[Segment<'a>]) -> &'a [u8] {
    let of_level =
        |segment: &&Segment<'_>| !matches!(segment.identifier(), "HL" | "CLP" | "SE" | "SBR" | "LS");
    // SBR opens a level as well as the loop of another subscriber.
    let start = usize::from(segments.first().is_some_and(|segment| segment.identifier() == "SBR"));
    let names = || {
        let level = segments.get(start..).unwrap_or_default().iter().take_while(of_level);
        level.filter(|segment| segment.identifier() == "NM1" && !segment.element(9).is_empty())
    };
    let of = |codes: &[&[u8]]| names().find(|name| codes.contains(&name.element(1)));
    of(&[b"QC", b"03"]).or_else(|| of(&[b"IL"])).map(|name| name.element(9)).unwrap_or_default()
}
