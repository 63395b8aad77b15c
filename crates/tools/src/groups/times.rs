//! Times and periods as `--to-datetime` and `--by-duration` take them.

use crate::session::{ToolError, tool_failed};

/// Milliseconds since 1970 of `2026-11-21T10:00:00.000`, with `Z`, `+01` or `+01:00` behind it;
/// without a zone it is UTC. What comes after the zone does not count, as in Kafka's tool, and
/// the digits behind the dot are a number of milliseconds.
///
/// # Errors
/// It is not of that form, or there is no such time.
pub fn date_time(text: &str) -> Result<i64, ToolError> {
    read_date_time(text).ok_or_else(|| {
        tool_failed(format!(
            "{text:?} is not a time of the form YYYY-MM-DDThh:mm:ss.sss, with Z, +hh or +hh:mm behind it"
        ))
    })
}

fn read_date_time(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = take_number(&mut rest, "-")?;
    let month = take_number(&mut rest, "-")?;
    let day = take_number(&mut rest, "T")?;
    let hour = take_number(&mut rest, ":")?;
    let minute = take_number(&mut rest, ":")?;
    let second = take_number(&mut rest, ".")?;
    let millis = take_number(&mut rest, "")?;
    let zone_minutes = if rest.is_empty() { 0 } else { zone_minutes(rest)? };
    let in_range = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=length_of_month(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..1000).contains(&millis);
    let seconds = hour * 3600 + (minute - zone_minutes) * 60 + second;
    in_range.then(|| (days_since_epoch(year, month, day) * 86_400 + seconds) * 1000 + millis)
}

/// The number that a text begins with, and behind it the mark, which are taken off.
fn take_number(text: &mut &str, mark: &str) -> Option<i64> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest.strip_prefix(mark)?;
    digits.parse().ok().filter(|_| digits.len() <= 9)
}

/// How many minutes a zone is ahead of UTC.
fn zone_minutes(text: &str) -> Option<i64> {
    if text.starts_with('Z') {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two = |from: usize| {
        let digits = text.get(from..from + 2).filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
        digits?.parse::<i64>().ok()
    };
    let hours = two(1).filter(|it| *it < 24)?;
    let minutes = text.get(3..4).filter(|it| *it == ":").and_then(|_| two(4));
    Some(sign * (hours * 60 + minutes.filter(|it| *it < 60).unwrap_or(0)))
}

const fn length_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the odd day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Milliseconds of `P1DT2H3M4.5S`: days, hours, minutes and seconds in that order, each with a sign
/// of its own if it wants one.
///
/// # Errors
/// It is not of that form, or too long.
pub fn duration_ms(text: &str) -> Result<i64, ToolError> {
    read_duration(&text.to_ascii_uppercase())
        .ok_or_else(|| tool_failed(format!("{text:?} is not a period of the form PnDTnHnMnS")))
}

fn read_duration(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let (mut date, mut time) = (date, time);
    let mut millis = take_part(&mut date, 'D')?.unwrap_or(0).checked_mul(86_400_000)?;
    for (unit, length) in [('H', 3_600_000), ('M', 60_000)] {
        let count = take_part(&mut time, unit)?.unwrap_or(0);
        millis = millis.checked_add(count.checked_mul(length)?)?;
    }
    if let Some(seconds) = time.strip_suffix('S') {
        millis = millis.checked_add(seconds_ms(seconds)?)?;
        time = "";
    }
    (date.is_empty() && time.is_empty()).then_some(sign * millis)
}

/// The number before a unit, if the text begins with one; both are taken off.
fn take_part(text: &mut &str, unit: char) -> Option<Option<i64>> {
    let Some((digits, rest)) = text.split_once(unit) else { return Some(None) };
    *text = rest;
    digits.parse().ok().map(Some)
}

/// Milliseconds of `-4.5`, with a dot or a comma.
fn seconds_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(sign * millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_kafkas_tool_does() {
        for (text, right) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("2000-02-29T12:30:15.005Z", Some(951_827_415_005)),
            ("2000-02-29T12:30:15.5", Some(951_827_415_005)),
            ("2000-2-29T12:30:15.005Z", Some(951_827_415_005)),
            ("2026-11-21T10:00:00.000+01:00", Some(1_795_251_600_000)),
            ("2026-11-21T10:00:00.000+01", Some(1_795_251_600_000)),
            ("2026-11-21T10:00:00.000+0130", Some(1_795_251_600_000)),
            ("2026-11-21T08:30:00.000-00:30", Some(1_795_251_600_000)),
            ("2026-11-21T10:00:00", None),
            ("2026-11-21T10:00:00Z", None),
            ("2026-11-21T10:00", None),
            ("2026-11-21T10:00:00.1000", None),
            ("2026-11-21 10:00:00.000", None),
            ("2026-13-01T00:00:00.000", None),
            ("2026-02-29T00:00:00.000", None),
            ("2026-11-21T24:00:00.000", None),
            ("2026-11-21T10:60:00.000", None),
            ("2026-11-21T10:00:00.000x", None),
            ("2026-11-21T10:00:00.000+1", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(date_time(text).ok(), right, "{text}");
        }
    }

    #[test]
    fn periods_are_read_as_kafkas_tool_does() {
        for (text, right) in [
            ("P1DT2H3M4.5S", Some(93_784_500)),
            ("PT1H", Some(3_600_000)),
            ("pt1h", Some(3_600_000)),
            ("P2D", Some(172_800_000)),
            ("PT0.001S", Some(1)),
            ("PT1,5S", Some(1500)),
            ("-PT1S", Some(-1000)),
            ("PT-1H30M", Some(-1_800_000)),
            ("PT-0.5S", Some(-500)),
            ("P1W", None),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("1h", None),
            ("PT5", None),
            ("PT1M1H", None),
            ("PT1.5H", None),
            ("P99999999999999999D", None),
        ] {
            assert_eq!(duration_ms(text).ok(), right, "{text}");
        }
    }
}
