//! A plan as a file: the JSON of Apache Kafka's reassignment files.
//!
//! A file is read as a whole, compared with the cluster, and refused as a whole: each mistake with
//! its partition, and nothing moves.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_client::{PartitionDescription, TopicPartition};
use ottla_types::{NodeId, nearest};
use serde_json::{Value, json};

use super::survey::{ClusterSurvey, all_partitions};
use crate::balance::{BalancePlan, PartitionShift};

/// The only version of such files that there is.
const VERSION: i64 = 1;
/// What stands for a directory of the broker's choice.
const ANY_DIRECTORY: &str = "any";
/// How many mistakes are shown.
const FAULTS_SHOWN: usize = 20;

/// Which replicas partitions are to have, the preferred leader first.
pub type WantedReplicas = BTreeMap<TopicPartition, Vec<NodeId>>;

/// Writes the changed partitions of a plan.
///
/// # Errors
/// The file cannot be written.
pub fn write_plan(path: &Path, plan: &BalancePlan) -> Result<(), String> {
    let entry = |shift: &PartitionShift| {
        let dirs = vec![ANY_DIRECTORY; shift.to.len()];
        let (topic, partition) = (&*shift.place.topic, shift.place.partition);
        json!({ "topic": topic, "partition": partition, "replicas": shift.to, "log_dirs": dirs })
    };
    let lines: Vec<String> = plan.shifts.iter().map(|it| entry(it).to_string()).collect();
    let text = format!("{{\"version\":{VERSION},\"partitions\":[\n{}\n]}}\n", lines.join(",\n"));
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a plan and compares it with the cluster.
///
/// # Errors
/// The file cannot be read, is not such a file, or names what the cluster does not have.
pub fn read_plan(path: &Path, survey: &ClusterSurvey) -> Result<WantedReplicas, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    parse_plan(&text, survey).map_err(|faults| {
        let more = faults.len().saturating_sub(FAULTS_SHOWN);
        let mut shown: Vec<String> = faults.into_iter().take(FAULTS_SHOWN).collect();
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        match shown.len() {
            1 => format!("{}; nothing was moved", named(&shown[0])),
            _ => format!("{}: nothing was moved:\n  {}", path.display(), shown.join("\n  ")),
        }
    })
}

/// The plan in a text, or all that is wrong with it.
fn parse_plan(text: &str, survey: &ClusterSurvey) -> Result<WantedReplicas, Vec<String>> {
    let all: Value =
        serde_json::from_str(text).map_err(|error| vec![format!("not valid JSON: {error}")])?;
    if let Some(version) = all.get("version").filter(|it| it.as_i64() != Some(VERSION)) {
        return Err(vec![format!("version {version} is not known; it is {VERSION}")]);
    }
    let entries = all.get("partitions").and_then(Value::as_array);
    let entries = entries.ok_or_else(|| vec!["it has no list \"partitions\"".to_owned()])?;
    if entries.is_empty() {
        return Err(vec!["its list of partitions is empty".to_owned()]);
    }
    let check = PlanCheck::new(survey);
    let (mut wanted, mut faults) = (WantedReplicas::new(), Vec::new());
    for (number, entry) in (1..).zip(entries) {
        match check.read_entry(entry) {
            Err(why) => faults.push(format!("entry {number}: {why}")),
            Ok((place, replicas)) => match check.check_replicas(&place, &replicas, entry) {
                Some(why) => faults.push(format!("partition {place}: {why}")),
                None if wanted.contains_key(&place) => {
                    faults.push(format!("partition {place} is listed twice"));
                }
                None => drop(wanted.insert(place, replicas)),
            },
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(faults) }
}

/// What a file is compared with.
struct PlanCheck<'a> {
    survey: &'a ClusterSurvey,
    /// How many replicas each partition has, a move that is under way done.
    factors: BTreeMap<TopicPartition, usize>,
}

impl<'a> PlanCheck<'a> {
    fn new(survey: &'a ClusterSurvey) -> Self {
        let factor = |(place, partition): (TopicPartition, &PartitionDescription)| {
            let going = survey.under_way.get(&place).map_or(0, |it| it.removing.len());
            (place, partition.replicas.len().saturating_sub(going))
        };
        Self { survey, factors: all_partitions(&survey.topics).map(factor).collect() }
    }

    fn read_entry(&self, entry: &Value) -> Result<(TopicPartition, Vec<NodeId>), String> {
        let field = |name: &str| entry.get(name).ok_or(format!("{entry} has no \"{name}\""));
        let number = |it: &Value| it.as_i64().and_then(|it| i32::try_from(it).ok());
        let topic = field("topic")?;
        let topic = topic.as_str().ok_or(format!("{topic} is not the name of a topic"))?;
        let partition = field("partition")?;
        let partition =
            number(partition).ok_or(format!("{partition} is not the number of a partition"))?;
        let place = TopicPartition::new(topic, partition);
        let replicas = field("replicas")?;
        let ids = replicas.as_array().and_then(|all| all.iter().map(number).collect());
        let ids =
            ids.ok_or(format!("partition {place}: {replicas} is not a list of broker ids"))?;
        Ok((place, ids))
    }

    /// Why there is no such partition.
    fn missing(&self, place: &TopicPartition) -> String {
        let topic = &place.topic;
        match self.factors.keys().filter(|it| it.topic == *topic).count() {
            0 => {
                let topics = self.survey.topics.iter().map(|it| it.name.as_str());
                let near = nearest(topics, topic);
                let hint = near.map_or_else(String::new, |it| format!("; did you mean {it}?"));
                format!("there is no topic {topic}{hint}")
            }
            count => format!("topic {topic} has {count} partitions, the first is 0"),
        }
    }

    /// What is wrong with the replicas that a partition is to have.
    fn check_replicas(
        &self,
        place: &TopicPartition,
        replicas: &[NodeId],
        entry: &Value,
    ) -> Option<String> {
        let Some(factor) = self.factors.get(place) else { return Some(self.missing(place)) };
        for (at, id) in replicas.iter().enumerate() {
            if replicas[..at].contains(id) {
                return Some(format!("broker {id} is listed twice"));
            }
            match self.survey.brokers.iter().find(|it| it.id == *id) {
                None => return self.survey.check_brokers(&[*id]).err(),
                Some(broker) if broker.is_fenced => {
                    let holds = self.survey.held_by(*id).contains(place);
                    let why = format!("broker {id} is fenced: it cannot be given a replica");
                    return Some(why).filter(|_| !holds);
                }
                Some(_) => {}
            }
        }
        if replicas.len() != *factor {
            let count = replicas.len();
            return Some(format!(
                "{count} replicas are listed, and it has {factor}; `ottla cluster grow` gives topics more"
            ));
        }
        let dirs = entry.get("log_dirs").and_then(Value::as_array).into_iter().flatten();
        let named = dirs.into_iter().find(|it| it.as_str() != Some(ANY_DIRECTORY))?;
        Some(format!(
            "directory {named}: kafka-reassign-partitions moves replicas to directories of choice"
        ))
    }
}
