//! When an appointment is: times of HL7 (v2.5.1 section 2.A.22, DTM) in milliseconds since 1970.

use hilum_formats::hl7::{Message, Segment};
use hilum_formats::local_time::TimeZone;

use crate::event::text;

/// How long an appointment is that does not say it.
const LENGTH_DEFAULT_MS: u64 = 3_600_000;
/// How long one may be.
const LENGTH_MAX_MS: u64 = 31 * 86_400_000;

/// From when until when: TQ1-7 and TQ1-8, or else SCH-11.4 and SCH-11.5, or else what the first resource says (AIS-4, AIP-6, AIL-6). None
/// where nothing says when it begins.
pub(crate) fn of_appointment(
    message: &Message<'_, '_>,
    schedule: &Segment<'_>,
    zone: &TimeZone,
) -> Option<(u64, u64)> {
    let field = |segment: &Segment<'_>, number: usize, component: usize| {
        let part = segment.field(number)?.component(component, &segment.delimiters());
        parse(&text(part, segment)?, zone)
    };
    let of = |name: &str, number: usize| {
        message.segments().iter().find(|of| of.name() == name).and_then(|of| field(of, number, 1))
    };
    let start = of("TQ1", 7)
        .or_else(|| field(schedule, 11, 4))
        .or_else(|| of("AIS", 4))
        .or_else(|| of("AIP", 6))
        .or_else(|| of("AIL", 6))?;
    let end = of("TQ1", 8).or_else(|| field(schedule, 11, 5)).filter(|end| *end >= start);
    let minutes = || {
        let units = schedule.field(10).and_then(|field| text(field, schedule));
        let is_minutes = units.is_none_or(|units| units.to_ascii_lowercase().starts_with('m'));
        let length = schedule.field(9).and_then(|field| text(field, schedule))?.parse::<u64>().ok()?;
        is_minutes.then(|| start.saturating_add(length.saturating_mul(60_000)))
    };
    let end = end.or_else(minutes).unwrap_or(start + LENGTH_DEFAULT_MS);
    Some((start, end.min(start + LENGTH_MAX_MS)))
}

/// `YYYYMMDD[HH[MM[SS[.S...]]]][+/-ZZZZ]`, from the beginning of the day, hour or minute; in the hospital's zone where it names none.
fn parse(text: &str, zone: &TimeZone) -> Option<u64> {
    let (time, offset) = match text.find(['+', '-']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    };
    let digits = time.split('.').next().unwrap_or_default();
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) || !matches!(digits.len(), 8 | 10 | 12 | 14) {
        return None;
    }
    let part = |from: usize| digits.get(from..from + 2).unwrap_or("00");
    let date = format!("{}-{}-{}", &digits[..4], part(4), part(6));
    let local = hilum_formats::calendar::parse(&format!("{date}T{}:{}:{}Z", part(8), part(10), part(12)))?;
    match offset {
        None => Some(zone.instant(local)),
        Some(offset) => {
            let number = offset.get(1..5).filter(|_| offset.len() == 5)?.parse::<u64>().ok()?;
            let ahead = (number / 100 * 60 + number % 100) * 60_000;
            if offset.starts_with('+') { local.checked_sub(ahead) } else { Some(local + ahead) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_zone_that_they_or_the_hospital_name() {
        let berlin = TimeZone::parse("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str| hilum_formats::calendar::parse(text);
        for (text, expected) in [
            ("202601150930", "2026-01-15T08:30:00Z"),
            ("20260715093015.25", "2026-07-15T07:30:15Z"),
            ("2026071509", "2026-07-15T07:00:00Z"),
            ("20260715", "2026-07-14T22:00:00Z"),
            ("202601150930+0000", "2026-01-15T09:30:00Z"),
            ("202601150930-0500", "2026-01-15T14:30:00Z"),
        ] {
            assert_eq!(parse(text, &berlin), at(expected), "{text}");
        }
        for none in ["", "2026", "202613010000", "2026011509300", "20260115+1", "abcdefgh", "2026é115"] {
            assert_eq!(parse(none, &berlin), None, "{none}");
        }
    }
}
