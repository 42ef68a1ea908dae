//! What a message of the flow of admissions (HL7 v2.5.1 chapter 3) or appointments (chapter 10) says.

use hilum_formats::care::{Kind, Role, Tag};
use hilum_formats::hl7::{Message, Part, Segment};
use hilum_formats::patient::{Authorities, Identifier, coded, composite, of_message};
use hilum_plugin::keys::KeyError;

use crate::coder::Coder;
use crate::settings::Rules;
use crate::times;

/// Names of one field that are looked at.
const REPETITIONS_MAX: usize = 16;

/// Something that happened to a patient.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Admitted, registered, moved, changed.
    Visit(Visit),
    /// Discharged (A03).
    Discharged(Tag),
    /// It was a mistake (A11, A38, A23; S15, S17, S26).
    Cancelled(Tag),
    /// Expected at a time (S12, S13, S14).
    Expected(Appointment),
    /// Two records were of this patient (A40), and the others are used no more.
    Merged(Vec<Tag>),
}

/// A stay, as a message tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) id: Tag,
    /// Whether it begins, or goes on after all: a message that only changes something brings no discharged patient back.
    pub(crate) opens: bool,
    pub(crate) is_outpatient: bool,
    /// Who treats the patient as what; nothing is said of a role that is not here.
    pub(crate) carers: Vec<(Role, Vec<Tag>)>,
}

/// An appointment, as a message tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appointment {
    pub(crate) id: Tag,
    /// In milliseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) carers: Vec<(Role, Tag)>,
}

/// Reads messages.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) coder: &'a mut Coder,
    pub(crate) authorities: &'a Authorities,
    pub(crate) rules: &'a Rules,
}

impl Reader<'_> {
    /// The patients whom a message is about, each by all of their tags, and what happened. Nothing where it is of another kind, or is about
    /// nobody who is known.
    pub(crate) fn read(&mut self, message: &Message<'_, '_>) -> Result<Vec<(Vec<Tag>, Event)>, KeyError> {
        let (code, trigger) = (message.message_code(), message.trigger_event());
        if (&*code, &*trigger) == (b"ADT", b"A40") {
            return self.merges(message);
        }
        let event = match &*code {
            b"ADT" => self.admission(message, &trigger)?,
            b"SIU" => self.appointment(message, &trigger)?,
            _ => None,
        };
        let (Some(event), Some(patient)) = (event, of_message(message, self.authorities)) else {
            return Ok(Vec::new());
        };
        Ok(vec![(self.tags(&patient)?, event)])
    }

    fn tags(&mut self, of: &[Identifier]) -> Result<Vec<Tag>, KeyError> {
        of.iter().map(|identifier| self.coder.identifier(Kind::Patient, identifier)).collect()
    }

    fn admission(&mut self, message: &Message<'_, '_>, trigger: &[u8]) -> Result<Option<Event>, KeyError> {
        let Some(visit) = segment(message, "PV1") else { return Ok(None) };
        let id = self.visit_id(visit)?;
        let opens = matches!(trigger, b"A01" | b"A04" | b"A05" | b"A13");
        Ok(match trigger {
            b"A01" | b"A02" | b"A04" | b"A05" | b"A06" | b"A07" | b"A08" | b"A12" | b"A13" => {
                let class = text(visit.field(2).unwrap_or_default(), visit);
                let is_outpatient = !matches!(class.as_deref(), Some("I"));
                let carers = self.carers(visit)?;
                Some(Event::Visit(Visit { id, opens, is_outpatient, carers }))
            }
            b"A03" => Some(Event::Discharged(id)),
            b"A11" | b"A23" | b"A38" => Some(Event::Cancelled(id)),
            _ => None,
        })
    }

    /// PV1-19, the visit number. Where there is none the patient has one stay at a time.
    fn visit_id(&mut self, visit: &Segment<'_>) -> Result<Tag, KeyError> {
        let number = visit.field(19).unwrap_or_default();
        let number = text(number.component(1, &visit.delimiters()), visit).unwrap_or_default();
        self.coder.plain(Kind::Visit, &number)
    }

    /// PV1-7, 8, 9 and 17, and PV1-3. An empty field says nothing; one that is `""` says that there is nobody any more.
    fn carers(&mut self, visit: &Segment<'_>) -> Result<Vec<(Role, Vec<Tag>)>, KeyError> {
        let mut carers = Vec::new();
        let roles =
            [(7, Role::Attending), (8, Role::Referring), (9, Role::Consulting), (17, Role::Admitting)];
        for (number, role) in roles {
            let field = visit.field(number).unwrap_or_default();
            if !field.is_empty() {
                carers.push((role, self.practitioners(field, visit)?));
            }
        }
        let place = visit.field(3).unwrap_or_default();
        if !place.is_empty() {
            carers.push((Role::Place, self.places(place, visit)?));
        }
        Ok(carers)
    }

    fn practitioners(&mut self, field: Part<'_>, of: &Segment<'_>) -> Result<Vec<Tag>, KeyError> {
        let delimiters = of.delimiters();
        let each = field.repetitions(&delimiters).take(REPETITIONS_MAX);
        let found: Vec<Identifier> =
            each.filter_map(|part| coded(part, &delimiters, self.authorities)).collect();
        found.iter().map(|of| self.coder.identifier(Kind::Practitioner, of)).collect()
    }

    /// A PL (v2.5.1 section 2.A.53): the point of care, and again with the facility that it is in.
    fn places(&mut self, field: Part<'_>, of: &Segment<'_>) -> Result<Vec<Tag>, KeyError> {
        let delimiters = of.delimiters();
        let component = |number| text(field.component(number, &delimiters), of);
        let Some(point) = component(1).filter(|point| point != "\"\"") else { return Ok(Vec::new()) };
        let facility = field.component(4, &delimiters).subcomponents(&delimiters).next().unwrap_or_default();
        let both = text(facility, of).map(|facility| format!("{point}@{facility}"));
        let names = std::iter::once(point).chain(both);
        names.map(|name| self.coder.plain(Kind::Place, &name)).collect()
    }

    fn appointment(&mut self, message: &Message<'_, '_>, trigger: &[u8]) -> Result<Option<Event>, KeyError> {
        let Some(schedule) = segment(message, "SCH") else { return Ok(None) };
        let entity = |number: usize| {
            let field = schedule.field(number).unwrap_or_default();
            text(field.component(1, &schedule.delimiters()), schedule)
        };
        let Some(id) = entity(2).or_else(|| entity(1)) else { return Ok(None) };
        let id = self.coder.plain(Kind::Appointment, &id)?;
        match trigger {
            b"S12" | b"S13" | b"S14" => {
                let Some((start, end)) = times::of_appointment(message, schedule, &self.rules.zone) else {
                    return Ok(None);
                };
                let carers = self.expected(message)?;
                Ok(Some(Event::Expected(Appointment { id, start, end, carers })))
            }
            b"S15" | b"S17" | b"S26" => Ok(Some(Event::Cancelled(id))),
            _ => Ok(None),
        }
    }

    /// AIP-3 and AIL-3, but those that are taken off the appointment (HL7 table 0206).
    fn expected(&mut self, message: &Message<'_, '_>) -> Result<Vec<(Role, Tag)>, KeyError> {
        let mut expected = Vec::new();
        for segment in message.segments() {
            let field = segment.field(3).unwrap_or_default();
            if segment.field(2).is_some_and(|action| action.text == b"D") {
                continue;
            }
            match segment.name() {
                "AIP" => {
                    let found = self.practitioners(field, segment)?;
                    expected.extend(found.into_iter().map(|who| (Role::Appointment, who)));
                }
                "AIL" => {
                    let found = self.places(field, segment)?;
                    expected.extend(found.into_iter().map(|place| (Role::Place, place)));
                }
                _ => {}
            }
        }
        Ok(expected)
    }

    /// Each PID with the MRG after it: whose record it is now, and which ones are used no more (MRG-1).
    fn merges(&mut self, message: &Message<'_, '_>) -> Result<Vec<(Vec<Tag>, Event)>, KeyError> {
        let mut merges = Vec::new();
        let mut patient: Vec<Tag> = Vec::new();
        for segment in message.segments() {
            let (number, is_merge) = match segment.name() {
                "PID" => (3, false),
                "MRG" => (1, true),
                _ => continue,
            };
            let delimiters = segment.delimiters();
            let field = segment.field(number).unwrap_or_default();
            let each = field.repetitions(&delimiters).take(REPETITIONS_MAX);
            let found: Vec<Identifier> =
                each.filter_map(|part| composite(part, &delimiters, self.authorities)).collect();
            let tags = self.tags(&found)?;
            if !is_merge {
                patient = tags;
            } else if !patient.is_empty() && !tags.is_empty() {
                merges.push((patient.clone(), Event::Merged(tags)));
            }
        }
        Ok(merges)
    }
}

fn segment<'d, 'a>(message: &Message<'d, 'a>, name: &str) -> Option<&'d Segment<'a>> {
    message.segments().iter().find(|segment| segment.name() == name)
}

/// What a part says, if it says something.
pub(crate) fn text(part: Part<'_>, of: &Segment<'_>) -> Option<String> {
    let text = String::from_utf8(part.decode(&of.delimiters()).into_owned()).ok()?;
    let text = text.trim();
    (!text.is_empty() && text.len() <= 256).then(|| text.to_owned())
}
