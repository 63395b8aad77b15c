//! Throttles of moves: a rate on each broker, and on each topic which replicas it counts for, as
//! `kafka-reassign-partitions --throttle` sets them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{ChangeMode, Client, ClientError, ConfigEntry, ConfigKind, ConfigResource};
use ottla_types::NodeId;

use super::survey::ClusterSurvey;
use crate::balance::PartitionShift;

const BROKER_RATES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
const TOPIC_LISTS: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
/// What a list has that names all replicas; an operator sets that, a move does not.
const ALL_REPLICAS: &str = "*";
/// The source of a value that was set for one broker while it ran, in DescribeConfigs.
const DYNAMIC_BROKER: i8 = 2;
/// The settings of so many topics are asked for at a time.
const TOPICS_AT_ONCE: usize = 200;

/// Limits the bytes per second that each broker gives and takes for the replicas that move.
///
/// # Errors
/// The cluster refuses, or no broker answers.
pub async fn set_throttles(
    client: &Client,
    survey: &ClusterSurvey,
    shifts: &[PartitionShift],
    rate: u64,
) -> Result<(), ClientError> {
    let copying = shifts.iter().filter(|it| it.added().next().is_some()).cloned();
    let moves: Vec<PartitionShift> = copying.chain(survey.moves_under_way()).collect();
    let brokers: BTreeSet<NodeId> =
        moves.iter().flat_map(|it| it.from.iter().chain(&it.to)).copied().collect();
    for (topic, lists) in throttled_replicas(&moves) {
        let known = client.configs(ConfigKind::Topic, &[topic.to_owned()]).await?;
        let known = known.get(topic).map(Vec::as_slice).unwrap_or_default();
        let mut set = Vec::new();
        for (name, list) in TOPIC_LISTS.into_iter().zip(lists) {
            if value_of(known, name) != ALL_REPLICAS && !list.is_empty() {
                set.push((name.to_owned(), Some(list.join(","))));
            }
        }
        if !set.is_empty() {
            client.set_configs(ConfigResource::topic(topic), set, ChangeMode::Change).await?;
        }
    }
    for id in brokers {
        let set = BROKER_RATES.map(|name| (name.to_owned(), Some(rate.to_string()))).to_vec();
        let id = id.to_string();
        client.set_configs(ConfigResource::broker(&id), set, ChangeMode::Change).await?;
    }
    Ok(())
}

/// The replicas of each topic that move: the leaders that may be read from, and the followers that
/// come; as `partition:broker`.
fn throttled_replicas(moves: &[PartitionShift]) -> BTreeMap<&str, [Vec<String>; 2]> {
    let mut lists: BTreeMap<&str, [Vec<String>; 2]> = BTreeMap::new();
    for it in moves {
        let entry = |id: NodeId| format!("{}:{id}", it.place.partition);
        let [leaders, followers] = lists.entry(&it.place.topic).or_default();
        leaders.extend(it.from.iter().copied().map(entry));
        followers.extend(it.added().map(entry));
    }
    lists
}

/// Which throttles were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedThrottles {
    /// The topics whose lists were removed.
    pub topics: Vec<String>,
    /// The brokers whose rates were removed.
    pub brokers: Vec<NodeId>,
}

/// Removes the throttles of moves, if a broker has a rate: of all topics whose lists name single
/// replicas, and the rates of all brokers, unless a topic's list names all of its replicas. For
/// when nothing moves any more.
///
/// # Errors
/// The cluster refuses, or no broker answers.
pub async fn remove_throttles(
    client: &Client,
    survey: &ClusterSurvey,
) -> Result<RemovedThrottles, ClientError> {
    let mut removed = RemovedThrottles::default();
    let mut has_rate = false;
    for broker in survey.brokers.iter().filter(|it| !it.is_fenced) {
        let found = client.configs(ConfigKind::Broker, &[broker.id.to_string()]).await?;
        let mut all = found.values().flatten();
        has_rate |=
            all.any(|it| it.source == DYNAMIC_BROKER && BROKER_RATES.contains(&it.name.as_str()));
    }
    if !has_rate {
        return Ok(removed);
    }
    let names: Vec<String> = survey.topics.iter().map(|it| it.name.clone()).collect();
    let mut is_kept = false;
    for names in names.chunks(TOPICS_AT_ONCE) {
        for (topic, found) in client.configs(ConfigKind::Topic, names).await? {
            let lists = TOPIC_LISTS.map(|name| (name, value_of(&found, name)));
            is_kept |= lists.iter().any(|(_, list)| *list == ALL_REPLICAS);
            let own = lists.iter().filter(|(_, list)| !matches!(*list, "" | ALL_REPLICAS));
            let gone: Vec<_> = own.map(|(name, _)| ((*name).to_owned(), None)).collect();
            if !gone.is_empty() {
                let topic_of = ConfigResource::topic(&topic);
                client.set_configs(topic_of, gone, ChangeMode::Change).await?;
                removed.topics.push(topic);
            }
        }
    }
    for broker in survey.brokers.iter().filter(|_| !is_kept) {
        let gone = BROKER_RATES.map(|name| (name.to_owned(), None)).to_vec();
        let id = broker.id.to_string();
        client.set_configs(ConfigResource::broker(&id), gone, ChangeMode::Change).await?;
        removed.brokers.push(broker.id);
    }
    Ok(removed)
}

fn value_of<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a str {
    let found = entries.iter().find(|it| it.name == name);
    found.and_then(|it| it.value.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ottla_types::TopicPartition;

    use super::*;

    #[test]
    fn the_brokers_that_hold_a_partition_give_and_those_that_come_take() {
        let shift = |partition, from: &[NodeId], to: &[NodeId]| PartitionShift {
            place: TopicPartition::new("t", partition),
            from: from.to_vec(),
            to: to.to_vec(),
            bytes_moved: 0,
        };
        let moves = [shift(0, &[1, 2], &[2, 3]), shift(12, &[3], &[1, 3, 4])];
        let lists = throttled_replicas(&moves);
        assert_eq!(lists["t"].each_ref().map(|it| it.join(",")), ["0:1,0:2,12:3", "0:3,12:1,12:4"]);
    }
}
