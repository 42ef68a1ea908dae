//! Periods of FHIR R4 (2.24.0.9), whose ends may be years, months, days or instants. The end of a day belongs to it; days are those of UTC.

use hilum_formats::calendar;
use serde_json::Value;

const DAY_MS: u64 = 86_400_000;

/// From when on until before when, in milliseconds since 1970; none if it is no period.
pub(crate) fn of(period: &Value) -> Option<(Option<u64>, Option<u64>)> {
    let members = period.as_object()?;
    if members.is_empty() || members.keys().any(|name| !matches!(name.as_str(), "id" | "start" | "end")) {
        return None;
    }
    let end = |name: &str, which: fn((u64, u64)) -> u64| match members.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(which(span(text)?))),
        Some(_) => None,
    };
    Some((end("start", |(first, _)| first)?, end("end", |(_, last)| last)?))
}

/// The first instant of a dateTime, and the first after it.
fn span(text: &str) -> Option<(u64, u64)> {
    if text.contains('T') {
        let at = calendar::parse(text)?;
        return Some((at, at + 1));
    }
    let day =
        |year: &str, month: &str, day: &str| calendar::parse(&format!("{year}-{month}-{day}T00:00:00Z"));
    let mut parts = text.split('-');
    let (year, month, of_month) = (parts.next()?, parts.next(), parts.next());
    if year.len() != 4 || parts.next().is_some() {
        return None;
    }
    match (month, of_month) {
        (None, _) => Some((day(year, "01", "01")?, day(year, "12", "31")? + DAY_MS)),
        (Some(month), None) => {
            let last = ["31", "30", "29", "28"].into_iter().find_map(|last| day(year, month, last))?;
            Some((day(year, month, "01")?, last + DAY_MS))
        }
        (Some(month), Some(of_month)) => {
            let first = day(year, month, of_month)?;
            Some((first, first + DAY_MS))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn periods_are_as_long_as_they_are_written() {
        let at = |text: &str| calendar::parse(text);
        let of = |value: Value| of(&value);
        let year = of(json!({"start": "2026", "end": "2026"}));
        assert_eq!(year, Some((at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))));
        assert_eq!(of(json!({"end": "2026-02"})), Some((None, at("2026-03-01T00:00:00Z"))));
        assert_eq!(of(json!({"end": "2026-02-28"})), Some((None, at("2026-03-01T00:00:00Z"))));
        let instant = of(json!({"start": "2026-02-28T12:00:00+01:00"}));
        assert_eq!(instant, Some((at("2026-02-28T11:00:00Z"), None)));
        for none in [
            json!({}),
            json!("2026"),
            json!({"start": 2026}),
            json!({"end": "soon"}),
            json!({"ends": "2026"}),
        ] {
            assert_eq!(of(none.clone()), None, "{none}");
        }
    }
}
