//! Where partitions begin and end, and where they were at a time.

use std::collections::BTreeMap;

use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_types::{NodeId, Offset, TimestampMs, TopicPartition};

use crate::client::Client;
use crate::error::ClientError;
use crate::options::IsolationLevel;
use crate::partitions::by_topic;

/// Where in a partition, by the time of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    /// At the first record there is.
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record of this time or later.
    Time(TimestampMs),
    /// Another of ListOffsets' negative numbers, such as -3 for the largest timestamp.
    Special(TimestampMs),
}

impl OffsetAt {
    /// The timestamp that stands for it in ListOffsets.
    const fn timestamp(self) -> TimestampMs {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::Time(timestamp) | Self::Special(timestamp) => timestamp,
        }
    }
}

/// Asks for the offsets at a time of these partitions, which have one leader.
fn list_offsets_request<'a>(
    places: impl Iterator<Item = &'a TopicPartition>,
    timestamp: TimestampMs,
    isolation: IsolationLevel,
) -> ListOffsetsRequest {
    let partition = |(partition_index, timestamp)| ListOffsetsPartition {
        partition_index,
        timestamp,
        ..Default::default()
    };
    let topic = |(name, all): (String, Vec<(i32, TimestampMs)>)| ListOffsetsTopic {
        name,
        partitions: all.into_iter().map(partition).collect(),
        ..Default::default()
    };
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(isolation == IsolationLevel::Committed),
        topics: by_topic(places.map(|it| (it, timestamp))).into_iter().map(topic).collect(),
        ..Default::default()
    }
}

impl Client {
    /// The offset that a partition has there; -1 if no record is that young.
    ///
    /// # Errors
    /// There is no such partition, or its leader does not answer.
    pub async fn offset_at(
        &self,
        place: &TopicPartition,
        at: OffsetAt,
        isolation: IsolationLevel,
    ) -> Result<Offset, ClientError> {
        let leader = self.leader(place).await?;
        let request = list_offsets_request([place].into_iter(), at.timestamp(), isolation);
        let response = self.ask(leader, &request).await?;
        let mut found = response.topics.iter().flat_map(|topic| &topic.partitions);
        let found = found.next();
        ClientError::check(found.map_or(-1, |it| it.error_code), || place.to_string())?;
        Ok(found.map_or(0, |it| it.offset))
    }

    /// The offsets that partitions had at a time, with one request to each leader; those
    /// without an answer are left out, and [`Client::offset_at`] has the error.
    pub async fn offsets_at(
        &self,
        places: impl IntoIterator<Item = &TopicPartition>,
        at: OffsetAt,
        isolation: IsolationLevel,
    ) -> BTreeMap<TopicPartition, Offset> {
        let mut led: BTreeMap<NodeId, Vec<&TopicPartition>> = BTreeMap::new();
        for place in places {
            if let Ok(leader) = self.leader(place).await {
                led.entry(leader).or_default().push(place);
            }
        }
        let mut found = BTreeMap::new();
        for (leader, places) in led {
            let request = list_offsets_request(places.into_iter(), at.timestamp(), isolation);
            let Ok(response) = self.ask(leader, &request).await else { continue };
            for topic in response.topics {
                let told = topic.partitions.iter().filter(|it| it.error_code == 0);
                found.extend(told.map(|partition| {
                    (
                        TopicPartition::new(topic.name.as_str(), partition.partition_index),
                        partition.offset,
                    )
                }));
            }
        }
        found
    }
}
