//! kafka-consumer-perf-test.

use std::time::Duration;

use jiff::tz::TimeZone;
use ottla_client::{Consumer, Start};
use ottla_clock::Clock;

use super::{MEGABYTE, float, per};
use crate::options::{Opt, Parsed, flag, many, maybe_value, value};
use crate::session::{GOODBYE, ToolError, ToolSession, ToolStop};

pub const OPTIONS: &[Opt] = &[
    value("topic", "NAME", "The topic."),
    value("include", "REGEX", "The topics whose name matches."),
    value("num-records", "COUNT", "How many records to read."),
    value("messages", "COUNT", "The former name of --num-records."),
    value("group", "ID", "The group to read in (default: a new one)."),
    many("command-property", "NAME=VALUE", "A setting of the consumer."),
    value("consumer.config", "FILE", "The former name of --command-config."),
    value("fetch-size", "BYTES", "The most bytes to fetch from a partition at once."),
    value("socket-buffer-size", "BYTES", "No effect."),
    flag("from-latest", "Start after the last record where the group has no committed offset."),
    value(
        "date-format",
        "FORMAT",
        "How times look: yyyy MM dd HH mm ss SSS and what stands between.",
    ),
    flag("hide-header", "Print no header."),
    flag("show-detailed-stats", "Print a line for each interval, and no summary."),
    value("reporting-interval", "MS", "The interval (default: 5000)."),
    maybe_value("timeout", "MS", "Stop when no record comes for this time (default: 10000)."),
    flag("print-metrics", "Print the consumer's metrics."),
];

const DATE: &str = "yyyy-MM-dd HH:mm:ss:SSS";
const MORE: &str = ", rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec";

/// A time as Java's SimpleDateFormat writes it, of which the letters of [`DATE`] are known.
fn format_date(ms: i64, format: &str) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let at = at.to_zoned(TimeZone::system());
    let mut text = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let count = rest.chars().take_while(|it| *it == first).count();
        let number = match first {
            'y' => Some(i32::from(at.year())),
            'M' => Some(i32::from(at.month())),
            'd' => Some(i32::from(at.day())),
            'H' => Some(i32::from(at.hour())),
            'm' => Some(i32::from(at.minute())),
            's' => Some(i32::from(at.second())),
            'S' => Some(i32::from(at.millisecond())),
            _ => None,
        };
        match number {
            Some(number) => text.push_str(&format!("{number:0count$}")),
            None => text.extend(std::iter::repeat_n(first, count)),
        }
        rest = &rest[count * first.len_utf8()..];
    }
    text
}

/// What has been read, and when.
#[derive(Clone, Copy, Default)]
struct Count {
    at_ms: i64,
    bytes: u64,
    records: u64,
}

struct ConsumePerf<'a> {
    format: &'a str,
    interval_ms: i64,
    timeout: Duration,
    is_detailed: bool,
    most: u64,
    start: Count,
    joined_ms: Option<i64>,
}

pub fn run_consumer_perf(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let usage = ToolError::Usage;
    let count = args.number("num-records").map_err(usage)?;
    let most: Option<u64> = count.or(args.number("messages").map_err(usage)?);
    let Some(most) = most else {
        let why = "Exactly one of the following arguments is required: [messages], [num-records]";
        return Err(usage(why.to_owned()));
    };
    if args.has("topic") == args.has("include") {
        let why = "Exactly one of the following arguments is required: [topic], [include]";
        return Err(usage(why.to_owned()));
    }
    let clock = Clock::real();
    let mut options = session.consumer_options(args.all("command-property"))?;
    let made = || format!("perf-consumer-{}", clock.random_below(100_000));
    options.group = args.one("group").map(str::to_owned).or(options.group).or_else(|| Some(made()));
    options.start = if args.has("from-latest") { Start::End } else { Start::Beginning };
    if let Some(size) = args.number("fetch-size").map_err(usage)? {
        options.partition_bytes_max = size;
    }
    if args.has("messages") {
        tell!("Warning: --messages is deprecated. Use --num-records instead.");
    }
    let client = session.connect()?;
    let is_detailed = args.has("show-detailed-stats");
    if !args.has("hide-header") {
        let when = if is_detailed { "time, threadId" } else { "start.time, end.time" };
        writeln!(
            session.out,
            "{when}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec{MORE}"
        )?;
    }
    let mut run = ConsumePerf {
        format: args.one("date-format").unwrap_or(DATE),
        interval_ms: args.number("reporting-interval").map_err(usage)?.unwrap_or(5000),
        timeout: Duration::from_millis(args.number("timeout").map_err(usage)?.unwrap_or(10_000)),
        is_detailed,
        most,
        start: Count { at_ms: clock.wall_ms(), ..Count::default() },
        joined_ms: None,
    };
    // From here on it may be a member of the group, which it has to leave however it ends.
    let mut stop = ToolStop::new(session)?;
    let mut consumer = Consumer::new(client, options);
    let subscribed = match args.one("topic") {
        Some(topic) => session.wait(stop.or(consumer.subscribe(&[topic]))),
        None => {
            let pattern = args.one("include").unwrap_or_default();
            session.wait(stop.or(consumer.subscribe_pattern(pattern)))
        }
    };
    let read =
        subscribed.and_then(|()| read_records(session, &mut consumer, &mut run, &clock, &mut stop));
    let closed = session.wait(consumer.close_within(GOODBYE));
    let end = read?;
    closed?;
    if !is_detailed {
        print_summary(session, &run, end)?;
    }
    if args.has("print-metrics") {
        writeln!(session.out, "\n{:<92} Value", "Metric Name")?;
        let named = "consumer-fetch-manager-metrics:records-consumed-total:{client-id=ottla}";
        writeln!(session.out, "{named:<92}: {}.000", end.records)?;
    }
    Ok(())
}

fn read_records(
    session: &mut ToolSession<'_>,
    consumer: &mut Consumer,
    run: &mut ConsumePerf<'_>,
    clock: &Clock,
    stop: &mut ToolStop,
) -> Result<Count, ToolError> {
    let (mut now, mut told) = (run.start, run.start);
    let mut last = clock.monotonic();
    while now.records < run.most {
        let polled = session.wait(stop.or(consumer.poll()))?;
        now.at_ms = clock.wall_ms();
        if run.joined_ms.is_none() && !consumer.assignment().is_empty() {
            run.joined_ms = Some(now.at_ms - run.start.at_ms);
        }
        match polled {
            Some(record) => {
                let length = |it: &Option<bytes::Bytes>| it.as_ref().map_or(0, bytes::Bytes::len);
                now.records += 1;
                now.bytes += (length(&record.key) + length(&record.value)) as u64;
                last = clock.monotonic();
            }
            None if clock.monotonic().saturating_sub(last) > run.timeout => break,
            None => {}
        }
        if now.at_ms - told.at_ms >= run.interval_ms {
            if run.is_detailed {
                print_progress(session, run, told, now)?;
            }
            told = now;
        }
    }
    if now.records < run.most {
        let ms = run.timeout.as_millis();
        writeln!(
            session.out,
            "WARNING: Exiting before consuming the expected number of records: timeout ({ms} ms) exceeded. You can use the --timeout option to increase the timeout."
        )?;
    }
    Ok(now)
}

fn to_seconds(ms: i64) -> f64 {
    float(u64::try_from(ms).unwrap_or(0)) / 1000.0
}

fn print_progress(
    session: &mut ToolSession<'_>,
    run: &mut ConsumePerf<'_>,
    before: Count,
    now: Count,
) -> Result<(), ToolError> {
    let elapsed = now.at_ms - before.at_ms;
    // The time to join counts in the interval in which it was.
    let joined = run.joined_ms.filter(|ms| run.start.at_ms + ms > before.at_ms).unwrap_or(0);
    let fetched = to_seconds(elapsed - joined);
    let megabytes = float(now.bytes - before.bytes) / MEGABYTE;
    let records = float(now.records - before.records);
    let (at, total) = (format_date(now.at_ms, run.format), float(now.bytes) / MEGABYTE);
    writeln!(
        session.out,
        "{at}, 0, {total:.4}, {:.4}, {}, {:.4}, {joined}, {}, {:.4}, {:.4}",
        per(megabytes, to_seconds(elapsed)),
        now.records,
        per(records, to_seconds(elapsed)),
        elapsed - joined,
        per(megabytes, fetched),
        per(records, fetched)
    )?;
    Ok(())
}

fn print_summary(
    session: &mut ToolSession<'_>,
    run: &ConsumePerf<'_>,
    end: Count,
) -> Result<(), ToolError> {
    let elapsed = end.at_ms - run.start.at_ms;
    let joined = run.joined_ms.unwrap_or(0);
    let fetched = to_seconds(elapsed - joined);
    let (megabytes, records) = (float(end.bytes) / MEGABYTE, float(end.records));
    writeln!(
        session.out,
        "{}, {}, {megabytes:.4}, {:.4}, {}, {:.4}, {joined}, {}, {:.4}, {:.4}",
        format_date(run.start.at_ms, run.format),
        format_date(end.at_ms, run.format),
        per(megabytes, to_seconds(elapsed)),
        end.records,
        per(records, to_seconds(elapsed)),
        elapsed - joined,
        per(megabytes, fetched),
        per(records, fetched)
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_java_does() {
        let at = 1_795_271_001_533;
        let zone = TimeZone::system();
        let hour = jiff::Timestamp::from_millisecond(at).unwrap().to_zoned(zone).hour();
        assert_eq!(format_date(at, "yy/HH|SSS'"), format!("2026/{hour:02}|533'"));
    }
}
