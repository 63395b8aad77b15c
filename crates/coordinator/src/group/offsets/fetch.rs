//! OffsetFetch for one group, versions 0 to 10: several groups per request from version 8 on
//! (KIP-709, split by the host), member epochs from version 9 on (KIP-848), topic ids in version 10
//! (KIP-848). `require_stable` (version 7, KIP-447) refuses offsets that an open transaction may
//! replace.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};

use ottla_types::ErrorCode;

use super::super::command::GroupReply;
use super::super::machine::GroupScene;
use super::super::stored::CommittedOffset;

pub(in crate::group) fn fetch_offsets(
    scene: &mut GroupScene<'_>,
    request: OffsetFetchRequestGroup,
    require_stable: bool,
) {
    let stored = scene.stored;
    let group = request.group_id;
    if let (Some(known), Some(member)) = (stored.consumers.get(&group), &request.member_id)
        && let Err(code) = known.may_commit(member, request.member_epoch)
    {
        let error_code = code.0;
        let response =
            OffsetFetchResponseGroup { group_id: group, error_code, ..Default::default() };
        scene.turn.reply(GroupReply::FetchOffsets(response));
        return;
    }
    let partition = |topic: &str, index: i32, committed: Option<&CommittedOffset>| {
        if require_stable && stored.is_unstable(&group, topic, index) {
            let error_code = ErrorCode::UNSTABLE_OFFSET_COMMIT.0;
            return OffsetFetchResponsePartitions { error_code, ..partition(index, None) };
        }
        partition(index, committed)
    };
    let topics: Vec<OffsetFetchResponseTopics> = match request.topics {
        Some(topics) => topics
            .into_iter()
            .map(|topic| {
                // A fetch by topic id must not get the offset of an earlier topic of the same name.
                let is_meant = |committed: &&CommittedOffset| {
                    let (said, asked) = (committed.topic_id, topic.topic_id);
                    said.is_zero() || asked.is_zero() || said == asked
                };
                let of = |index: &i32| {
                    let committed = stored.committed(&group, &topic.name, *index);
                    let committed = committed.filter(is_meant);
                    partition(&topic.name, *index, committed)
                };
                OffsetFetchResponseTopics {
                    partitions: topic.partition_indexes.iter().map(of).collect(),
                    name: topic.name,
                    topic_id: topic.topic_id,
                    ..Default::default()
                }
            })
            .collect(),
        None => stored
            .offsets
            .get(&group)
            .into_iter()
            .flatten()
            .map(|(name, partitions)| OffsetFetchResponseTopics {
                name: name.clone(),
                partitions: partitions
                    .iter()
                    .map(|(at, it)| partition(name, *at, Some(it)))
                    .collect(),
                ..Default::default()
            })
            .collect(),
    };
    let response = OffsetFetchResponseGroup { group_id: group, topics, ..Default::default() };
    scene.turn.reply(GroupReply::FetchOffsets(response));
}

fn partition(index: i32, committed: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: committed.map_or(-1, |it| it.offset),
        committed_leader_epoch: committed.map_or(-1, |it| it.leader_epoch),
        metadata: Some(committed.map_or_else(String::new, |it| it.metadata.clone())),
        ..Default::default()
    }
}
