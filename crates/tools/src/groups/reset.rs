//! `kafka-consumer-groups --reset-offsets`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{
    Client, Consumer, GroupFilter, IsolationLevel, OffsetAt, PartitionOffsets, TopicPartition,
};
use ottla_clock::Clock;
use ottla_types::Offset;

use super::csv::{self, OffsetPlan};
use super::times::{date_time, duration_ms};
use super::{all_groups, check_places, chosen_partitions, named_groups};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, read_file, tool_failed};
use crate::table::columns;

/// The options that say where to; one of them is given.
pub const TARGETS: [&str; 8] = [
    "to-offset",
    "shift-by",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "from-file",
];

/// Where the partitions of a group are to go.
enum ResetTarget {
    Offset(Offset),
    Shift(i64),
    /// The first record at or after a time, in milliseconds.
    Since(i64),
    Earliest,
    Latest,
    Current,
    OffsetPlan(OffsetPlan),
}

impl ResetTarget {
    fn new(args: &Parsed) -> Result<Self, ToolError> {
        let number = |name| args.required_number(name).map_err(ToolError::Usage);
        let text = |name| args.required(name).map_err(ToolError::Usage);
        Ok(match args.only(&TARGETS) {
            Some("to-offset") => Self::Offset(number("to-offset")?),
            Some("shift-by") => Self::Shift(number("shift-by")?),
            Some("to-datetime") => Self::Since(date_time(text("to-datetime")?)?),
            Some("by-duration") => {
                let ago = duration_ms(text("by-duration")?)?;
                Self::Since(Clock::real().wall_ms().saturating_sub(ago))
            }
            Some("to-earliest") => Self::Earliest,
            Some("to-latest") => Self::Latest,
            Some("to-current") => Self::Current,
            Some(_) => {
                let (file, groups) = (text("from-file")?, args.all("group").collect::<Vec<_>>());
                let only = groups.first().copied().filter(|_| groups.len() == 1);
                let wrong = |error| tool_failed(format!("{file}: {error}"));
                Self::OffsetPlan(csv::plan(&read_file(file)?, only).map_err(wrong)?)
            }
            None => {
                let all = TARGETS.map(|it| format!("[{it}]")).join(", ");
                return Err(ToolError::Usage(format!(
                    "Option '[reset-offsets]' requires one of the following scenarios: {all}"
                )));
            }
        })
    }
}

pub fn reset_offsets(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    if !args.has("execute") && !args.has("dry-run") {
        tell!("WARN: without --execute nothing is changed, as with --dry-run.");
    }
    if !args.has("topic") && !args.has("all-topics") && !args.has("from-file") {
        let usage = "One of the reset scopes should be defined: --all-topics, --topic.";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    let target = ResetTarget::new(args)?;
    let busy: Vec<(String, String)> = all_groups(session, client, &GroupFilter::default())?
        .into_iter()
        .filter(|it| !matches!(it.state.as_str(), "Empty" | "Dead"))
        .map(|it| (it.id, it.state))
        .collect();
    let mut rows = Vec::new();
    let groups: BTreeSet<String> = named_groups(args, session, client)?.into_iter().collect();
    for group in groups {
        if let Some((_, state)) = busy.iter().find(|(id, _)| *id == group) {
            writeln!(
                session.out,
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            )?;
            continue;
        }
        let known = session.wait(client.group_offsets(&group))?;
        let known: PartitionOffsets =
            known.into_iter().map(|(place, next)| (place, next.offset)).collect();
        let wanted = chosen_partitions(args, session, client, &known)?;
        let mut partitions = ResetPartitions { session, client, known: &known };
        let wanted = partitions.targets(&group, &target, wanted)?;
        if args.has("execute") && !wanted.is_empty() {
            commit_offsets(session, &group, &wanted)?;
        }
        rows.extend(wanted.into_iter().map(|(place, offset)| (group.clone(), place, offset)));
    }
    print_offsets(args, session, rows)
}

fn print_offsets(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    rows: Vec<(String, TopicPartition, Offset)>,
) -> Result<(), ToolError> {
    if args.has("export") {
        let is_single = args.all("group").count() == 1;
        for (group, place, offset) in rows {
            let group = if is_single { String::new() } else { csv::field(&group) + "," };
            let topic = csv::field(&place.topic);
            writeln!(session.out, "{group}{topic},{},{offset}", place.partition)?;
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

fn commit_offsets(
    session: &ToolSession<'_>,
    group: &str,
    offsets: &PartitionOffsets,
) -> Result<(), ToolError> {
    let mut options = session.consumer_options(std::iter::empty())?;
    options.group = Some(group.to_owned());
    options.auto_commit = false;
    let mut consumer = Consumer::new(session.connect()?, options);
    Ok(session.wait(consumer.commit_offsets(offsets))?)
}

/// The partitions of a cluster, and how far a group has read them.
struct ResetPartitions<'a, 'b> {
    session: &'a mut ToolSession<'b>,
    client: &'a Client,
    known: &'a PartitionOffsets,
}

impl ResetPartitions<'_, '_> {
    /// Where each partition is to go.
    fn targets(
        &mut self,
        group: &str,
        target: &ResetTarget,
        wanted: BTreeSet<TopicPartition>,
    ) -> Result<PartitionOffsets, ToolError> {
        if let ResetTarget::OffsetPlan(plan) = target {
            let Some(offsets) = plan.get(group) else {
                writeln!(self.session.out, "\nError: No reset plan for group {group} found")?;
                return Ok(PartitionOffsets::new());
            };
            check_places(self.session, self.client, offsets.keys())?;
            return self.bounded(offsets.clone());
        }
        let known = self.known;
        let here = |place: &TopicPartition| known.get(place).copied();
        match target {
            ResetTarget::Offset(offset) => {
                self.bounded(wanted.into_iter().map(|place| (place, *offset)).collect())
            }
            ResetTarget::Shift(count) => {
                let mut all = PartitionOffsets::new();
                for place in wanted {
                    let here = here(&place).ok_or_else(|| {
                        ToolError::Usage(format!(
                            "Cannot shift offset for partition {place} since there is no current committed offset"
                        ))
                    })?;
                    all.insert(place, here.saturating_add(*count));
                }
                self.bounded(all)
            }
            ResetTarget::Since(time) => self.since(&wanted, *time),
            ResetTarget::Earliest => self.at(&wanted, OffsetAt::Earliest),
            ResetTarget::Latest => self.at(&wanted, OffsetAt::Latest),
            ResetTarget::Current => {
                let (has, lacks): (BTreeSet<_>, BTreeSet<_>) =
                    wanted.into_iter().partition(|place| here(place).is_some());
                let mut all = self.at(&lacks, OffsetAt::Latest)?;
                all.extend(
                    has.into_iter().filter_map(|place| Some((place.clone(), here(&place)?))),
                );
                Ok(all)
            }
            ResetTarget::OffsetPlan(_) => Ok(PartitionOffsets::new()),
        }
    }

    /// What partitions have at a time, all of them.
    fn at<'p>(
        &mut self,
        places: impl IntoIterator<Item = &'p TopicPartition> + Clone,
        at: OffsetAt,
    ) -> Result<PartitionOffsets, ToolError> {
        let isolation = IsolationLevel::Uncommitted;
        let talk = self.client.offsets_at(places.clone(), at, isolation);
        let mut found = self.session.wait(talk);
        for place in places {
            if !found.contains_key(place) {
                // Once more by itself: the answer is the offset, or an error to report.
                let offset = self.session.wait(self.client.offset_at(place, at, isolation))?;
                found.insert(place.clone(), offset);
            }
        }
        Ok(found)
    }

    /// The first offsets at or after a time; of what is older than that, the ends.
    fn since(
        &mut self,
        wanted: &BTreeSet<TopicPartition>,
        time: i64,
    ) -> Result<PartitionOffsets, ToolError> {
        let mut found = self.at(wanted, OffsetAt::Time(time))?;
        found.retain(|_, offset| *offset >= 0);
        let none: BTreeSet<TopicPartition> =
            wanted.iter().filter(|it| !found.contains_key(*it)).cloned().collect();
        for TopicPartition { topic, partition } in &none {
            writeln!(
                self.session.out,
                "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
            )?;
        }
        found.extend(self.at(&none, OffsetAt::Latest)?);
        Ok(found)
    }

    /// Offsets, limited to the range that their partitions have, with a warning for each change.
    fn bounded(&mut self, offsets: PartitionOffsets) -> Result<PartitionOffsets, ToolError> {
        let places: Vec<&TopicPartition> = offsets.keys().collect();
        let first = self.at(places.iter().copied(), OffsetAt::Earliest)?;
        let end = self.at(places.iter().copied(), OffsetAt::Latest)?;
        let bounds: BTreeMap<&TopicPartition, (Offset, Offset)> = end
            .iter()
            .map(|(place, end)| (place, (first.get(place).copied().unwrap_or(0), *end)))
            .collect();
        let mut all = PartitionOffsets::new();
        for (place, offset) in &offsets {
            let (first, end) = bounds.get(place).copied().unwrap_or((0, *offset));
            let (bound, how) = if *offset > end {
                (end, "higher than latest")
            } else if *offset < first {
                (first, "lower than earliest")
            } else {
                all.insert(place.clone(), *offset);
                continue;
            };
            tell!(
                "WARN New offset ({offset}) is {how} offset for topic partition {place}. Value will be set to {bound}"
            );
            all.insert(place.clone(), bound);
        }
        Ok(all)
    }
}
