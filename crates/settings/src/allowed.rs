//! Which values a setting takes, beyond its type.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::value::Value;

/// Which values are allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// All of the type.
    Any,
    /// Numbers from here to there.
    Range(f64, f64),
    /// -1, or numbers from here to there.
    RangeOrUnset(f64, f64),
    /// One of these texts, as they stand here.
    OneOf(Vec<&'static str>),
    /// One of these texts, in capitals or not.
    AnyCase(Vec<&'static str>),
    /// A text that is not empty.
    NonEmpty,
    /// A list whose items are not empty. A repeated item counts once.
    Items {
        /// The items that there are; all, if it is empty.
        of: Vec<&'static str>,
        /// Whether the list may be empty.
        may_be_empty: bool,
    },
    /// `*`, or `partition:broker`, separated by commas.
    ThrottledReplicas,
    /// `earliest`, `latest`, or `by_duration:` and how long ago, such as `PT1H`.
    OffsetReset,
    /// `id@host:port`, separated by commas.
    Voters,
    /// `host:port`, separated by commas.
    Servers,
    /// `host:port` of a loopback address.
    Loopback,
}

impl Allowed {
    /// Reads the column `allowed` of the table.
    pub(crate) fn parse(text: &'static str) -> Option<Self> {
        let items = |text: &'static str| text.split(',').map(str::trim).collect::<Vec<_>>();
        if let Some(range) = text.strip_prefix("-1|") {
            let (low, high) = parse_bounds(range)?;
            return Some(Self::RangeOrUnset(low, high));
        }
        if let Some(list) = text.strip_prefix("list") {
            let may_be_empty = !list.contains("nonempty");
            let of = list.split_once(" in ").map_or_else(Vec::new, |(_, all)| items(all));
            return Some(Self::Items { of, may_be_empty });
        }
        match text.split_once(' ') {
            Some(("in", all)) => return Some(Self::OneOf(items(all))),
            Some(("anycase", all)) => return Some(Self::AnyCase(items(all))),
            _ => {}
        }
        Some(match text {
            "-" => Self::Any,
            "nonempty" => Self::NonEmpty,
            "throttled" => Self::ThrottledReplicas,
            "offset-reset" => Self::OffsetReset,
            "voters" => Self::Voters,
            "servers" => Self::Servers,
            "loopback" => Self::Loopback,
            range => {
                let (low, high) = parse_bounds(range)?;
                Self::Range(low, high)
            }
        })
    }

    /// The value as it counts, if it is allowed: a list without repeated items.
    ///
    /// # Errors
    /// Why it is not, in Kafka's words.
    pub(crate) fn check(&self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Self::Items { of, may_be_empty }, Value::List(items)) => {
                check_items(items, of, *may_be_empty).map(Value::List)
            }
            (allowed, value) => {
                allowed.check_one(&value)?;
                Ok(value)
            }
        }
    }

    fn check_one(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            #[expect(clippy::cast_precision_loss, reason = "bounds are compared, not stored")]
            (Self::Range(low, high), Value::Whole(number)) => in_range(*number as f64, *low, *high),
            (Self::Range(low, high), Value::Double(number)) => in_range(*number, *low, *high),
            (Self::RangeOrUnset(..), Value::Whole(-1)) => Ok(()),
            #[expect(clippy::cast_precision_loss, reason = "bounds are compared, not stored")]
            (Self::RangeOrUnset(low, high), Value::Whole(number)) => {
                in_range(*number as f64, *low, *high).map_err(|why| format!("{why}, or -1"))
            }
            (Self::OneOf(all), Value::Text(text)) if !all.contains(&text.as_str()) => {
                Err(format!("String must be one of: {}", all.join(", ")))
            }
            (Self::AnyCase(all), Value::Text(text))
                if !all.iter().any(|it| it.eq_ignore_ascii_case(text)) =>
            {
                Err(format!("String must be one of (case insensitive): {}", all.join(", ")))
            }
            (Self::NonEmpty, Value::Text(text)) if text.is_empty() => {
                Err("String must be non-empty".to_owned())
            }
            (Self::ThrottledReplicas, Value::List(items)) => check_throttled(items),
            (Self::OffsetReset, Value::Text(text)) if !is_offset_reset(text) => {
                Err("it must be earliest, latest, or by_duration: and a duration such as PT1H"
                    .to_owned())
            }
            (Self::Voters, Value::List(items)) => {
                items.iter().try_for_each(|it| parse_voter(it).map(drop))
            }
            (Self::Servers, Value::List(items)) => {
                items.iter().try_for_each(|it| host_and_port(it).map(drop))
            }
            (Self::Loopback, Value::Text(text)) => check_loopback(text),
            _ => Ok(()),
        }
    }
}

fn parse_bounds(text: &str) -> Option<(f64, f64)> {
    let (low, high) = text.split_once("..")?;
    let bound =
        |text: &str, open: f64| if text.is_empty() { Some(open) } else { text.parse().ok() };
    Some((bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?))
}

/// NaN is within all bounds, as in Java.
fn in_range(number: f64, low: f64, high: f64) -> Result<(), String> {
    if number < low {
        return Err(format!("Value must be at least {low}"));
    }
    if number > high {
        return Err(format!("Value must be no more than {high}"));
    }
    Ok(())
}

fn check_items(
    mut items: Vec<String>,
    of: &[&'static str],
    may_be_empty: bool,
) -> Result<Vec<String>, String> {
    let mut known = BTreeSet::new();
    items.retain(|item| known.insert(item.clone()));
    if items.is_empty() && !may_be_empty {
        return Err("it must not be empty".to_owned());
    }
    if items.iter().any(String::is_empty) {
        return Err("its items must not be empty".to_owned());
    }
    if !of.is_empty() && !items.iter().all(|item| of.contains(&item.as_str())) {
        return Err(format!("String must be one of: {}", of.join(", ")));
    }
    Ok(items)
}

fn check_throttled(items: &[String]) -> Result<(), String> {
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let is_replica = |item: &String| {
        let pair = item.split_once(':');
        item.is_empty() || pair.is_some_and(|(part, id)| is_number(part) && is_number(id))
    };
    if items.iter().all(is_replica) || items.concat() == "*" {
        return Ok(());
    }
    Err("it must be the literal '*' or a list of replicas: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        .to_owned())
}

/// A voter of a static quorum: its id, host and port.
///
/// # Errors
/// It is not `id@host:port`.
pub(crate) fn parse_voter(text: &str) -> Result<(i32, &str, u16), String> {
    let wrong = || format!("{text} must be id@host:port");
    let (id, address) = text.split_once('@').ok_or_else(wrong)?;
    let (host, port) = host_and_port(address).map_err(|_| wrong())?;
    Ok((id.parse().map_err(|_| wrong())?, host, port))
}

/// An address: its host (empty is every one) and port.
///
/// # Errors
/// It is not `host:port`.
pub(crate) fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    let wrong = || format!("{text} must be host:port");
    let known = |it: char| it.is_ascii_alphanumeric() || "-%._".contains(it);
    let address = match text.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(known) => rest,
        _ => text,
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    if !host.chars().all(|it| known(it) || it == ':') || port.starts_with('+') {
        return Err(wrong());
    }
    Ok((host, port.parse().map_err(|_| wrong())?))
}

/// Is this an address that no other machine can reach, or the name of one?
pub(crate) fn is_loopback_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An address of this machine that no other can reach.
fn check_loopback(text: &str) -> Result<(), String> {
    let (host, _) = host_and_port(text)?;
    if is_loopback_host(host) {
        return Ok(());
    }
    Err(format!("{text} must be a loopback address, such as 127.0.0.1:9404"))
}

fn is_offset_reset(text: &str) -> bool {
    match text.split_once(':') {
        None => matches!(text, "earliest" | "latest"),
        Some(("by_duration", duration)) => is_duration(duration),
        Some(_) => false,
    }
}

/// Is this how ISO 8601 writes a length of time, and is it not below zero: `P1DT2H3M4.5S`?
fn is_duration(text: &str) -> bool {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let Some(rest) = rest.strip_prefix(['P', 'p']) else { return false };
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let total = || Some(parse_seconds(days, &[('D', 86_400)])? + parse_seconds(time, &HOURS)?);
    !rest.is_empty() && total().is_some_and(|seconds| sign * seconds >= 0)
}

/// The units after the `T`, and how many seconds each is.
const HOURS: [(char, i128); 3] = [('H', 3600), ('M', 60), ('S', 1)];

/// What numbers that are each followed by a unit come to, the units in this order.
fn parse_seconds(mut text: &str, units: &[(char, i128)]) -> Option<i128> {
    let (mut left, mut sum) = (units, 0);
    while !text.is_empty() {
        let end = text.find(|it: char| it.is_ascii_alphabetic())?;
        let (number, unit) = (&text[..end], text[end..].chars().next()?.to_ascii_uppercase());
        let at = left.iter().position(|(name, _)| *name == unit)?;
        let whole = match number.split_once(['.', ',']) {
            Some((whole, part)) if unit == 'S' && part.len() <= 9 => {
                part.bytes().all(|it| it.is_ascii_digit()).then_some(whole)?
            }
            Some(_) => return None,
            None => number,
        };
        sum += i128::from(whole.parse::<i64>().ok()?) * left[at].1;
        left = &left[at + 1..];
        text = &text[end + 1..];
    }
    Some(sum)
}

impl fmt::Display for Allowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("any"),
            Self::OneOf(all) => out.write_str(&all.join(", ")),
            Self::AnyCase(all) => {
                let all: Vec<_> = all.iter().map(|it| it.to_ascii_lowercase()).collect();
                write!(out, "{}, in capitals or not", all.join(", "))
            }
            Self::Range(low, high) => match (low.is_finite(), high.is_finite()) {
                (true, true) => write!(out, "{low} to {high}"),
                (true, false) => write!(out, "{low} and more"),
                _ => write!(out, "up to {high}"),
            },
            Self::RangeOrUnset(low, high) => write!(out, "{low} to {high}, or -1"),
            Self::NonEmpty => out.write_str("any that is not empty"),
            Self::Items { of, may_be_empty } => {
                let of = if of.is_empty() { "any".to_owned() } else { of.join(", ") };
                let end = if *may_be_empty { "" } else { "; at least one" };
                write!(out, "{of}{end}")
            }
            Self::ThrottledReplicas => out.write_str("* or partition:broker,..."),
            Self::OffsetReset => out.write_str("earliest, latest, by_duration:PnDTnHnMn.nS"),
            Self::Voters => out.write_str("id@host:port,..."),
            Self::Servers => out.write_str("host:port,..."),
            Self::Loopback => out.write_str("host:port of a loopback address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ConfigType;

    fn shown(allowed: &'static str, kind: ConfigType, text: &str) -> Option<String> {
        let allowed = Allowed::parse(allowed).unwrap();
        let value = Value::read(kind, text).ok()?;
        allowed.check(value).ok().map(|value| value.to_string())
    }

    #[test]
    fn values_beyond_the_rule_are_refused() {
        // Rule, type, as typed, as it counts; none is refused. Each row was compared with Apache's.
        let cases = [
            ("1..9", ConfigType::Int, "0", None),
            ("1..9", ConfigType::Int, "9", Some("9")),
            ("0..1", ConfigType::Double, "1.01", None),
            ("0..1", ConfigType::Double, "NaN", Some("NaN")),
            ("-1|1..9", ConfigType::Int, "-1", Some("-1")),
            ("-1|1..9", ConfigType::Int, "0", None),
            ("in zstd,lz4", ConfigType::String, " zstd ", Some("zstd")),
            ("in zstd,lz4", ConfigType::String, "ZSTD", None),
            ("in zstd,lz4", ConfigType::String, "", None),
            ("anycase UPGRADE", ConfigType::String, "upGrade", Some("upGrade")),
            ("nonempty", ConfigType::String, "  ", None),
            ("list in compact,delete", ConfigType::List, "compact,compact", Some("compact")),
            ("list in compact,delete", ConfigType::List, "", Some("")),
            ("list in compact,delete", ConfigType::List, "compact,", None),
            ("list in compact,delete", ConfigType::List, "COMPACT", None),
            ("list nonempty", ConfigType::List, "", None),
            ("throttled", ConfigType::List, "*", Some("*")),
            ("throttled", ConfigType::List, "0:1, 1:1", Some("0:1,1:1")),
            ("throttled", ConfigType::List, "", Some("")),
            ("throttled", ConfigType::List, "1.5", None),
            ("throttled", ConfigType::List, "1", None),
            ("throttled", ConfigType::List, "*,0:1", None),
            ("offset-reset", ConfigType::String, "by_duration:PT1H", Some("by_duration:PT1H")),
            (
                "offset-reset",
                ConfigType::String,
                "by_duration:P1DT2H3M4.5S",
                Some("by_duration:P1DT2H3M4.5S"),
            ),
            ("offset-reset", ConfigType::String, "by_duration:PT", None),
            ("offset-reset", ConfigType::String, "by_duration:-PT1H", None),
            ("offset-reset", ConfigType::String, "by_duration:PT1M1H", None),
            (
                "offset-reset",
                ConfigType::String,
                "by_duration:PT1H-30M",
                Some("by_duration:PT1H-30M"),
            ),
            ("offset-reset", ConfigType::String, "none", None),
            ("voters", ConfigType::List, "1@a:9093,2@[::1]:9093", Some("1@a:9093,2@[::1]:9093")),
            ("voters", ConfigType::List, "a:9093", None),
            ("servers", ConfigType::List, "a:9093", Some("a:9093")),
            ("servers", ConfigType::List, "a", None),
        ];
        for (rule, kind, typed, wanted) in cases {
            assert_eq!(shown(rule, kind, typed).as_deref(), wanted, "{rule}: {typed:?}");
        }
    }
}
