//! Positions in a partition as people write them: an offset, a time, how long ago.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};
use ottla_client::{Client, ClientError, IsolationLevel, OffsetAt, TopicPartition};
use ottla_clock::Clock;

use crate::front::print_to_stderr;

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartPosition {
    /// At the first record.
    Earliest,
    /// After the last one.
    Latest,
    /// At this offset.
    Offset(i64),
    /// At the first record from this time on, in milliseconds.
    Time(i64),
    /// So many records before the end.
    Last(i64),
}

/// The place that a word means.
pub(crate) fn at(word: &str, clock: &Clock) -> Result<StartPosition, String> {
    let word = word.trim();
    match word {
        "earliest" | "beginning" | "start" => return Ok(StartPosition::Earliest),
        "latest" | "end" | "now" => return Ok(StartPosition::Latest),
        _ => {}
    }
    if let Ok(offset) = word.parse::<i64>() {
        return match offset {
            0.. => Ok(StartPosition::Offset(offset)),
            _ => Err(format!("{word}: an offset is not negative; -2h and -30m are times")),
        };
    }
    if let Some(ago) = word.strip_prefix('-').or_else(|| word.strip_suffix(" ago")) {
        let span = ago.trim().parse::<Span>();
        let ms =
            span.and_then(|it| it.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())));
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of any time there is")]
        if let Ok(ms) = ms {
            return Ok(StartPosition::Time(clock.wall_ms().saturating_sub(ms.abs() as i64)));
        }
    }
    if let Ok(time) = word.parse::<Timestamp>() {
        return Ok(StartPosition::Time(time.as_millisecond()));
    }
    let local = word.parse::<DateTime>().ok().and_then(|it| it.to_zoned(TimeZone::system()).ok());
    match local {
        Some(time) => Ok(StartPosition::Time(time.timestamp().as_millisecond())),
        None => Err(format!(
            "{word:?} is not a position: use earliest, latest, an offset, a time such as 2026-11-20T10:00:00Z or (in this machine's time zone) 2026-11-20T10:00, or how long ago, such as -2h"
        )),
    }
}

impl StartPosition {
    /// Which offset that is in a partition.
    pub(crate) async fn offset(
        self,
        client: &Client,
        place: &TopicPartition,
    ) -> Result<i64, ClientError> {
        let look = async |at| client.offset_at(place, at, IsolationLevel::Uncommitted).await;
        match self {
            Self::Earliest => look(OffsetAt::Earliest).await,
            Self::Latest => look(OffsetAt::Latest).await,
            Self::Time(ms) => match look(OffsetAt::Time(ms)).await? {
                // Nothing is that young.
                ..0 => look(OffsetAt::Latest).await,
                offset => Ok(offset),
            },
            Self::Offset(offset) => {
                let (start, end) = (look(OffsetAt::Earliest).await?, look(OffsetAt::Latest).await?);
                if !(start..=end).contains(&offset) {
                    print_to_stderr(format!(
                        "Note: {place} has no offset {offset}: it begins at {start} and ends at {end}."
                    ));
                }
                Ok(offset.clamp(start, end))
            }
            Self::Last(count) => {
                let (start, end) = (look(OffsetAt::Earliest).await?, look(OffsetAt::Latest).await?);
                Ok((end - count).max(start))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_said_in_many_ways() {
        let clock = Clock::manual(1_000_000_000_000);
        let time = |ms: i64| Ok(StartPosition::Time(ms));
        assert_eq!(at("earliest", &clock), Ok(StartPosition::Earliest));
        assert_eq!(at("17", &clock), Ok(StartPosition::Offset(17)));
        assert_eq!(at("-2h", &clock), time(1_000_000_000_000 - 7_200_000));
        assert_eq!(at("1d 30m ago", &clock), time(1_000_000_000_000 - 88_200_000));
        assert_eq!(at("2001-09-09T01:46:40Z", &clock), time(1_000_000_000_000));
        assert!(matches!(at("2001-09-09", &clock), Ok(StartPosition::Time(_))));
        assert!(at("-5", &clock).unwrap_err().contains("-2h"));
        assert!(at("soon", &clock).unwrap_err().contains("2026-11-20"));
    }
}
