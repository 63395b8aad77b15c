//! Commits offsets for a group without members, and reads them back.

use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use ottla_types::ErrorCode;

use super::{SimClient, is_passing};
use crate::invariant::Invariant;
use crate::nodes::model::Place;

/// What a coordinator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
}

/// Who commits: a member of this generation or epoch, or a client outside the group.
#[derive(Clone, Debug)]
pub struct Committer {
    pub group: String,
    pub member: String,
    pub generation: i32,
}

impl SimClient {
    /// Finds the coordinator of a key: the first time, that creates the internal topic.
    pub async fn find_coordinator(&mut self, kind: CoordinatorKind, key: &str) {
        let request = FindCoordinatorRequest {
            key_type: kind as i8,
            coordinator_keys: vec![key.to_owned()],
            ..Default::default()
        };
        loop {
            if let Ok(answer) = self.ask(&request, 4).await {
                let first = answer.coordinators.first();
                match ErrorCode(first.map_or(-1, |it| it.error_code)) {
                    ErrorCode::NONE => return,
                    code if is_passing(code) => {}
                    code => return self.unexpected("FindCoordinator", code),
                }
            }
            self.rest().await;
        }
    }

    /// Commits an offset, once; the code of the answer, if there is one.
    pub async fn commit(
        &mut self,
        who: &Committer,
        place: &Place,
        offset: i64,
    ) -> Option<ErrorCode> {
        self.connect().await.ok()?;
        let era = self.shared.era.get();
        self.shared.model.borrow_mut().offset(&who.group, place).send(offset);
        let partition = OffsetCommitRequestPartition {
            partition_index: place.1,
            committed_offset: offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: place.0.clone(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: who.group.clone(),
            member_id: who.member.clone(),
            generation_id_or_member_epoch: who.generation,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.ask_in(era, &request, 9).await.ok()?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        let code = ErrorCode(partition.map_or(-1, |it| it.error_code));
        let mut model = self.shared.model.borrow_mut();
        match code {
            ErrorCode::NONE => model.offset(&who.group, place).acknowledged(offset),
            // It may have been appended, and commit later.
            ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_COORDINATOR => {}
            _ => model.offset(&who.group, place).refused(offset),
        }
        Some(code)
    }

    /// Reads an offset that only this client commits; `None` if there was no answer.
    pub async fn committed(&mut self, group: &str, place: &Place) -> Option<i64> {
        let topic = OffsetFetchRequestTopic {
            name: place.0.clone(),
            partition_indexes: vec![place.1],
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(vec![topic]),
            require_stable: true,
            ..Default::default()
        };
        let answer = self.ask(&request, 7).await.ok()?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        let code = match (answer.error_code, partition) {
            (0, Some(partition)) => ErrorCode(partition.error_code),
            (code, _) => ErrorCode(code),
        };
        match (code, partition) {
            (ErrorCode::NONE, Some(partition)) => {
                let offset = partition.committed_offset;
                let seen = (offset >= 0).then_some(offset);
                let checked = self.shared.model.borrow_mut().offset(group, place).see(seen);
                let checked = checked.map_err(|why| format!("{group}, {place:?}: {why}"));
                self.demand(Invariant::OffsetsStay, checked);
                Some(offset)
            }
            (code, _) if is_passing(code) => None,
            (code, _) => {
                self.unexpected("OffsetFetch", code);
                None
            }
        }
    }
}

/// Commits and reads, for a group of its own.
pub async fn commit_alone(client: &mut SimClient) {
    let group = format!("alone-{}", client.number);
    client.find_coordinator(CoordinatorKind::Group, &group).await;
    let who = Committer { group: group.clone(), member: String::new(), generation: -1 };
    let mut offset = 0;
    while !client.is_over() {
        let place = client.some_partition();
        if client.dice.chance(600) {
            offset += 1;
            match client.commit(&who, &place, offset).await {
                None | Some(ErrorCode::NONE) => {}
                Some(code) if is_passing(code) => {}
                Some(code) => client.unexpected("OffsetCommit", code),
            }
        } else {
            client.committed(&group, &place).await;
        }
        client.rest().await;
    }
    for topic in client.shared.topics.clone() {
        for partition in 0..topic.partitions {
            let place = (topic.name.clone(), partition);
            while client.committed(&group, &place).await.is_none() {
                client.rest().await;
            }
        }
    }
}
