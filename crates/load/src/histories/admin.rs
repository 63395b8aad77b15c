//! What operators ask, where one node has Kafka's answers.

use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_protocol::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use super::History;
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] =
    &[("admin elections", elections), ("admin reassignments", reassignments)];

fn elections(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    for (name, partitions) in [(topic.as_str(), vec![0, 1]), (&topic, vec![7]), ("absent", vec![0])]
    {
        for election_type in [0, 1] {
            let asked = TopicPartitions {
                topic: name.to_owned(),
                partitions: partitions.clone(),
                ..Default::default()
            };
            let request = ElectLeadersRequest {
                election_type,
                topic_partitions: Some(vec![asked]),
                timeout_ms: 30_000,
                ..Default::default()
            };
            play.ask(&request, 2)?;
        }
    }
    play.about("all partitions");
    let request =
        ElectLeadersRequest { topic_partitions: None, timeout_ms: 30_000, ..Default::default() };
    for version in [0, 2] {
        let mut told = play.quietly(&request, version)?;
        told.replica_election_results.retain(|it| it.topic == topic);
        play.note(&told);
    }
    Ok(())
}

fn reassignments(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    play.about("under way");
    for topics in [None, Some(topic.as_str()), Some("absent")] {
        let topics = topics.map(|name| {
            let partition_indexes = vec![0, 1, 7];
            vec![ListPartitionReassignmentsTopics {
                name: name.to_owned(),
                partition_indexes,
                ..Default::default()
            }]
        });
        let request =
            ListPartitionReassignmentsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        play.ask(&request, 0)?;
    }
    let node = play.node()?;
    let all: [(&str, i32, Option<Vec<i32>>); 7] = [
        ("where it is", 0, Some(vec![node])),
        ("called off", 0, None),
        ("nowhere", 0, Some(vec![])),
        ("twice", 0, Some(vec![node, node])),
        ("to nobody", 0, Some(vec![node + 7])),
        ("to somebody and nobody", 0, Some(vec![node, node + 7])),
        ("a partition that is not there", 7, Some(vec![node])),
    ];
    for (title, partition_index, replicas) in all {
        play.about(title);
        for name in [topic.as_str(), "absent"] {
            let replicas = replicas.clone();
            let partition =
                ReassignablePartition { partition_index, replicas, ..Default::default() };
            let (name, partitions) = (name.to_owned(), vec![partition]);
            let request = AlterPartitionReassignmentsRequest {
                timeout_ms: 30_000,
                topics: vec![ReassignableTopic { name, partitions, ..Default::default() }],
                ..Default::default()
            };
            play.ask(&request, 1)?;
        }
    }
    Ok(())
}
