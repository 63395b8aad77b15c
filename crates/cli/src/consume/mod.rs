//! `ottla consume`: records become lines.

mod payload;
mod show;
pub(crate) mod when;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use ottla_client::{Client, Consumer, ConsumerOptions, Received, Start, Stop, TopicPartition};
use ottla_clock::Clock;
use regex::bytes::Regex;

use self::show::Style;
use self::when::{StartPosition, at};
use crate::front::{Environment, Front, SharedOptions};

/// Print the records of a topic, until Ctrl-C.
#[derive(Args, Debug)]
pub struct Consume {
    /// The topic.
    topic: String,
    /// Start at the first record instead of after the last.
    #[arg(long)]
    from_beginning: bool,
    /// Start at this position: earliest, an offset, a time (2026-11-20T10:00:00Z) or how long ago
    /// (-2h).
    #[arg(
        long,
        value_name = "PLACE",
        conflicts_with = "from_beginning",
        allow_hyphen_values = true
    )]
    from: Option<String>,
    /// Start this number of records before the end of each partition.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["from", "from_beginning"])]
    last: Option<u32>,
    /// End at this position, in the same forms as --from.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<String>,
    /// End at the last record that the topic had at the start.
    #[arg(long, short)]
    exit: bool,
    /// Only these partitions.
    #[arg(long, short, value_name = "NUMBER")]
    partition: Vec<i32>,
    /// Read as a member of this group, from its committed offsets.
    #[arg(long, short = 'g', value_name = "GROUP", conflicts_with_all = ["from", "last", "partition"])]
    group: Option<String>,
    /// End after this number of records.
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_messages: Option<u64>,
    /// Only records whose value matches.
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Only records whose key matches.
    #[arg(long, value_name = "REGEX")]
    key: Option<Regex>,
    /// Only records with this header, and with a value that matches if one is given.
    #[arg(long, value_name = "NAME[=REGEX]")]
    header: Option<String>,
    /// Print time, place, key and headers, too.
    #[arg(long, short)]
    verbose: bool,
    /// Print the key before the value, with this between them.
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// A setting of the consumer, by Kafka's name.
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    shared: SharedOptions,
}

/// Which records are wanted.
struct Filter {
    value: Option<Regex>,
    key: Option<Regex>,
    header: Option<(String, Option<Regex>)>,
}

impl Filter {
    fn of(args: &Consume) -> Result<Self, regex::Error> {
        let header = match args.header.as_deref().map(|it| it.split_once('=').unwrap_or((it, ""))) {
            Some((name, "")) => Some((name.to_owned(), None)),
            Some((name, pattern)) => Some((name.to_owned(), Some(Regex::new(pattern)?))),
            None => None,
        };
        Ok(Self { value: args.grep.clone(), key: args.key.clone(), header })
    }

    fn wants(&self, record: &Received) -> bool {
        let fits = |pattern: &Option<Regex>, part: Option<&[u8]>| match pattern {
            Some(pattern) => part.is_some_and(|it| pattern.is_match(it)),
            None => true,
        };
        let has = |(name, pattern): &(String, Option<Regex>)| {
            let mut own = record.headers.iter().filter(|(known, _)| known == name);
            own.any(|(_, value)| fits(pattern, value.as_deref()))
        };
        fits(&self.value, record.value.as_deref())
            && fits(&self.key, record.key.as_deref())
            && self.header.as_ref().is_none_or(has)
    }
}

fn consumer_options(args: &Consume, front: &Front<'_>) -> Result<ConsumerOptions, Box<dyn Error>> {
    let mut options = ConsumerOptions::default();
    front.set_options(&args.settings, |name, value| options.set(name, value))?;
    if args.group.is_some() {
        options.group.clone_from(&args.group);
    }
    if args.from_beginning {
        options.start = Start::Beginning;
    }
    Ok(options)
}

/// The partitions of the topic that are asked for.
async fn chosen_partitions(
    client: &Client,
    args: &Consume,
) -> Result<Vec<TopicPartition>, Box<dyn Error>> {
    let topic = &args.topic;
    let found = crate::topics::find_topic(client, topic).await?;
    let mut all: Vec<i32> = found.partitions.iter().map(|it| it.partition).collect();
    all.sort_unstable();
    if let Some(absent) = args.partition.iter().find(|it| !all.contains(it)) {
        return Err(crate::produce::absent_partition(topic, *absent, all.len()).into());
    }
    all.retain(|it| args.partition.is_empty() || args.partition.contains(it));
    Ok(all.into_iter().map(|index| TopicPartition::new(topic.as_str(), index)).collect())
}

pub(crate) async fn run_consume(
    args: Consume,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    args.shared.refuse_watch("consume")?;
    let front = Front::new(&args.shared, environment)?;
    let clock = Clock::real();
    let filter = Filter::of(&args)?;
    let options = consumer_options(&args, &front)?;
    let style = record_style(&args, environment);
    let until = match &args.until {
        Some(word) => Some(at(word, &clock)?),
        None => args.exit.then_some(StartPosition::Latest),
    };
    let client = front.connect().await?;
    let mut ends = BTreeMap::new();
    let in_group = options.group.is_some();
    let places = chosen_partitions(&client, &args).await?;
    if let Some(until) = until {
        for place in &places {
            ends.insert(place.clone(), until.offset(&client, place).await?);
        }
    }
    let from = match (&args.from, args.last) {
        (Some(word), _) => Some(at(word, &clock)?),
        (None, Some(count)) => Some(StartPosition::Last(count.into())),
        (None, None) => None,
    };
    let start = options.start;
    let mut starts = Vec::new();
    for place in places.iter().filter(|_| from.is_some()) {
        let from = from.unwrap_or(StartPosition::Earliest);
        starts.push((place.clone(), from.offset(&client, place).await?));
    }
    let mut consumer = Consumer::new(client, options);
    let most = args.max_messages.unwrap_or(u64::MAX);
    let work = async {
        if in_group {
            consumer.subscribe(&[&args.topic]).await?;
        } else {
            consumer.assign(places.iter().cloned().collect()).await?;
            if starts.is_empty() {
                consumer.seek_to(&places, start).await?;
            }
            for (place, offset) in starts {
                consumer.seek(&place, offset);
            }
        }
        read_records(&mut consumer, most, &ends, |record| {
            let mut out = std::io::stdout().lock();
            let is_wanted = filter.wants(record);
            if is_wanted {
                style.print(record, &mut out)?;
                out.flush()?;
            }
            Ok(is_wanted)
        })
        .await
    };
    // From here on a signal does not end the process by itself: a member of a group has to leave
    // it, whatever it is waiting for, or the others wait for its session to end.
    let mut stop = Stop::listen()?;
    let done = tokio::select! {
        biased;
        done = work => done,
        stopped = stop.asked() => Err(stopped.into()),
    };
    let closed = tokio::select! {
        biased;
        closed = consumer.close_within(GOODBYE) => closed.map_err(Into::into),
        stopped = stop.asked() => Err(stopped.into()),
    };
    done.and(closed)
}

fn record_style(args: &Consume, environment: &Environment) -> Style {
    Style {
        format: args.shared.output,
        is_verbose: args.verbose,
        key_separator: args.key_separator.clone(),
        is_terminal: environment.is_terminal,
    }
}

/// How long a commit, and then leaving the group, may take at the end.
const GOODBYE: Duration = Duration::from_secs(5);

/// Reads until enough was printed or all ends are reached.
async fn read_records(
    consumer: &mut Consumer,
    mut left: u64,
    ends: &BTreeMap<TopicPartition, i64>,
    mut print: impl FnMut(&Received) -> std::io::Result<bool>,
) -> Result<(), Box<dyn Error>> {
    while left > 0 && !is_at_end(consumer, ends) {
        let Some(record) = consumer.poll().await? else { continue };
        let is_late = ends.get(&record.place).is_some_and(|end| record.offset >= *end);
        if !is_late && print(&record)? {
            left -= 1;
        }
        // A poll that has records at hand does not wait, and signals are handled only in waits.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Has everything that is read been read up to where it is to end?
fn is_at_end(consumer: &Consumer, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    // What has been fetched and not been handed out is still to come.
    if ends.is_empty() || consumer.buffered() > 0 {
        return false;
    }
    let own = consumer.assignment();
    let reached = |place: &TopicPartition| {
        let at = consumer.position(place);
        ends.get(place).zip(at).is_some_and(|(end, at)| at >= *end)
    };
    !own.is_empty() && own.iter().all(reached)
}
