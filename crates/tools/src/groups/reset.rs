//! `kafka-consumer-groups --reset-offsets`.

use ottla_client::{ClientError, Cluster, Consumer, Isolation, Offsets, TopicPartition};
use ottla_clock::Clock;
use ottla_types::Offset;

use super::{every, named, places};
use crate::options::Parsed;
use crate::session::{Session, ToolError, failed, read};
use crate::table::columns;

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

pub fn reset(
    args: &Parsed,
    session: &mut Session<'_>,
    cluster: &mut Cluster,
) -> Result<(), ToolError> {
    if !args.has("execute") && !args.has("dry-run") && !args.has("export") {
        tell!("Neither --execute nor --dry-run: this only shows what would be.");
    }
    if !args.has("topic") && !args.has("all-topics") && !args.has("from-file") {
        let usage =
            "Option [reset-offsets] takes one of these options: [all-topics], [from-file], [topic]";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    let busy: Vec<(String, String)> = every(session, cluster, &[], &[])?
        .into_iter()
        .filter(|it| !matches!(it.group_state.as_str(), "Empty" | "Dead"))
        .map(|it| (it.group_id, it.group_state))
        .collect();
    let mut rows = Vec::new();
    for group in named(args, session, cluster)? {
        if let Some((_, state)) = busy.iter().find(|(id, _)| *id == group) {
            writeln!(
                session.out,
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            )?;
            continue;
        }
        let known = session.wait(cluster.group_offsets(&group))?;
        let known: Offsets =
            known.into_iter().map(|(place, (offset, _))| (place, offset)).collect();
        let wanted = targets(args, session, cluster, &known)?;
        if args.has("execute") {
            commit(session, &group, &wanted)?;
        }
        rows.extend(wanted.into_iter().map(|(place, offset)| (group.clone(), place, offset)));
    }
    print(args, session, rows)
}

fn print(
    args: &Parsed,
    session: &mut Session<'_>,
    rows: Vec<(String, TopicPartition, Offset)>,
) -> Result<(), ToolError> {
    if args.has("export") {
        let many = args.has("all-groups") || args.all("group").count() > 1;
        for (group, place, offset) in rows {
            let group = if many { format!("{group},") } else { String::new() };
            writeln!(session.out, "{group}{},{},{offset}", place.topic, place.partition)?;
        }
        return Ok(());
    }
    let head = ["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"].map(str::to_owned).to_vec();
    let row = |(group, place, offset): (String, TopicPartition, Offset)| {
        vec![group, place.topic.to_string(), place.partition.to_string(), offset.to_string()]
    };
    let rows: Vec<Vec<String>> = [head].into_iter().chain(rows.into_iter().map(row)).collect();
    write!(session.out, "\n{}", columns(&rows, &[15, 15, 10]))?;
    Ok(())
}

fn commit(session: &Session<'_>, group: &str, offsets: &Offsets) -> Result<(), ToolError> {
    let mut options = session.consumer_options(std::iter::empty())?;
    options.group = Some(group.to_owned());
    options.auto_commit = false;
    let mut consumer = Consumer::new(session.connect()?, options);
    Ok(session.wait(consumer.commit_offsets(offsets))?)
}

/// Where each partition is to go.
fn targets(
    args: &Parsed,
    session: &Session<'_>,
    cluster: &mut Cluster,
    known: &Offsets,
) -> Result<Offsets, ToolError> {
    if let Some(file) = args.one("from-file") {
        return read(file)?.lines().filter(|it| !it.trim().is_empty()).map(csv).collect();
    }
    let mut all = Offsets::new();
    for place in places(args, session, cluster, known)? {
        let at = |cluster: &mut Cluster, time| {
            session.wait(cluster.offset_at(&place, time, Isolation::Uncommitted))
        };
        let (first, end) = (at(cluster, EARLIEST)?, at(cluster, LATEST)?);
        let bounded = |offset: Offset| offset.clamp(first, end);
        let since = |cluster: &mut Cluster, time: i64| -> Result<Offset, ClientError> {
            // Nothing is that young: behind the last record.
            Ok(match at(cluster, time)? {
                offset if offset < 0 => end,
                offset => offset,
            })
        };
        let here = known.get(&place).copied();
        let number = |name| args.number::<i64>(name).map_err(ToolError::Usage);
        let target = if args.has("to-earliest") {
            first
        } else if args.has("to-latest") {
            end
        } else if args.has("to-current") {
            here.unwrap_or(end)
        } else if let Some(offset) = number("to-offset")? {
            bounded(offset)
        } else if let Some(count) = number("shift-by")? {
            let here = here.ok_or_else(|| {
                failed(format!("Cannot shift offset for partition {place} since there is no current committed offset"))
            })?;
            bounded(here.saturating_add(count))
        } else if let Some(text) = args.one("to-datetime") {
            since(cluster, date_time(text)?)?
        } else if let Some(text) = args.one("by-duration") {
            since(cluster, Clock::real().wall_ms().saturating_sub(duration_ms(text)?))?
        } else {
            let usage = "Option [reset-offsets] requires one of --to-earliest, --to-latest, --to-offset, --shift-by, --by-duration, --to-datetime, --to-current, --from-file";
            return Err(ToolError::Usage(usage.to_owned()));
        };
        all.insert(place, target);
    }
    Ok(all)
}

/// `topic,partition,offset`
fn csv(line: &str) -> Result<(TopicPartition, Offset), ToolError> {
    let wrong = || failed(format!("{line:?} is not of the form topic,partition,offset"));
    let fields: Vec<&str> = line.split(',').map(|it| it.trim().trim_matches('"')).collect();
    let [topic, partition, offset] = fields.as_slice() else { return Err(wrong()) };
    let partition = partition.parse().map_err(|_| wrong())?;
    Ok((TopicPartition::new(*topic, partition), offset.parse().map_err(|_| wrong())?))
}

/// Milliseconds since 1970 of `2026-11-21T10:00:00.000`, with `Z` or `+01:00` behind it; without
/// either it is UTC.
fn date_time(text: &str) -> Result<i64, ToolError> {
    let wrong = || {
        failed(format!(
            "{text:?} is not of the form YYYY-MM-DDThh:mm:ss.sss, with Z or +hh:mm behind it"
        ))
    };
    let (date, time) = text.split_once('T').ok_or_else(wrong)?;
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        text.split(by).map(|it| it.parse().ok()).collect()
    };
    let date = numbers(date, '-').filter(|it| it.len() == 3).ok_or_else(wrong)?;
    let (time, millis) = time.split_once('.').unwrap_or((time, "0"));
    let time = numbers(time, ':').filter(|it| it.len() >= 2).ok_or_else(wrong)?;
    let millis =
        format!("{millis:0<3}").get(..3).and_then(|it| it.parse::<i64>().ok()).ok_or_else(wrong)?;
    let zone = match zone {
        "" | "Z" => 0,
        zone => {
            let digits = zone[1..].replace(':', "");
            let number: i64 = digits.parse().map_err(|_| wrong())?;
            let minutes =
                if digits.len() <= 2 { number * 60 } else { number / 100 * 60 + number % 100 };
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    let in_range = (1..=12).contains(&date[1])
        && (1..=31).contains(&date[2])
        && (0..24).contains(&time[0])
        && time[1..].iter().all(|it| (0..61).contains(it));
    if !in_range {
        return Err(wrong());
    }
    let seconds = time[0] * 3600 + time[1] * 60 + time.get(2).copied().unwrap_or(0);
    Ok((days(date[0], date[1], date[2]) * 86_400 + seconds - zone * 60) * 1000 + millis)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the odd day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Milliseconds of `P1DT2H3M4S`.
fn duration_ms(text: &str) -> Result<i64, ToolError> {
    let wrong = || failed(format!("{text:?} is not of the form PnDTnHnMnS"));
    let rest = text.strip_prefix('P').ok_or_else(wrong)?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let mut total = 0.0;
    for (part, units) in [
        (date, [('W', 604_800.0), ('D', 86_400.0), (' ', 0.0)]),
        (time, [('H', 3600.0), ('M', 60.0), ('S', 1.0)]),
    ] {
        let mut number = String::new();
        for letter in part.chars() {
            if let Some((_, seconds)) = units.iter().find(|(unit, _)| *unit == letter) {
                total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
                number.clear();
            } else {
                number.push(letter);
            }
        }
        if !number.is_empty() {
            return Err(wrong());
        }
    }
    Ok((total * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_periods_are_understood() {
        assert_eq!(date_time("1970-01-01T00:00:00.000").unwrap(), 0);
        assert_eq!(date_time("2000-02-29T12:30:15.5Z").unwrap(), 951_827_415_500);
        assert_eq!(date_time("2026-11-21T10:00:00+01:00").unwrap(), 1_795_251_600_000);
        assert!(date_time("yesterday").is_err() && date_time("2026-13-01T00:00").is_err());
        assert_eq!(duration_ms("P1DT2H3M4.5S").unwrap(), 93_784_500);
        assert!(duration_ms("1h").is_err() && duration_ms("PT5").is_err());
        let (place, offset) = csv("\"t\",3,17").unwrap();
        assert_eq!((place.to_string().as_str(), offset), ("t-3", 17));
        assert!(csv("t,3").is_err());
    }
}
