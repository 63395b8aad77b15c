//! Committing offsets: many groups, many partitions of one topic.

use clap::Args;
use ottla_clock::Clock;
use ottla_protocol::Request;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};

use crate::measure::{DoneRequest, LoadReport};
use crate::wire::{LoadError, WireConnection, wire_frame};

const COMMIT_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 8;
const COORDINATOR_VERSION: i16 = 3;

/// Commits one offset for each group and partition, or counts those that are there.
#[derive(Args, Clone, Debug)]
pub struct Commit {
    /// The broker's port on this machine.
    #[arg(long)]
    port: u16,
    /// The topic; it must be there.
    #[arg(long)]
    topic: String,
    /// How many groups.
    #[arg(long, default_value_t = 1000)]
    groups: usize,
    /// How many partitions the topic has.
    #[arg(long, default_value_t = 1000)]
    partitions: i32,
    /// Only ask how many offsets the first group has, until the coordinator can say.
    #[arg(long)]
    ask: bool,
}

impl Commit {
    /// One entry for each request.
    ///
    /// # Errors
    /// The connection broke, or the broker refuses.
    pub fn run(&self) -> Result<LoadReport, LoadError> {
        let clock = Clock::real();
        let begun = clock.monotonic();
        let mut connection = WireConnection::open(self.port)?;
        find_coordinator(&mut connection)?;
        let mut all = Vec::new();
        let groups = if self.ask { 1 } else { self.groups };
        for group in 0..groups {
            let since = clock.monotonic();
            let name = format!("group-{group}");
            let bytes = if self.ask {
                self.count(&mut connection, name)?
            } else {
                self.one(&mut connection, name)?
            };
            let at = clock.monotonic();
            all.push(DoneRequest { at, took: at.saturating_sub(since), bytes });
        }
        Ok(LoadReport::new(begun, vec![all]))
    }

    /// Commits a group's offsets, and again while the coordinator is on its way.
    fn one(&self, connection: &mut WireConnection, group_id: String) -> Result<u64, LoadError> {
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: 1,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: self.topic.clone(),
            partitions: (0..self.partitions).map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id,
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let bytes = wire_frame(&request, COMMIT_VERSION)?;
        ask_until_loaded::<OffsetCommitRequest>(connection, &bytes, COMMIT_VERSION, |told| {
            told.topics.iter().flat_map(|it| &it.partitions).map(|it| it.error_code).collect()
        })?;
        Ok(bytes.len() as u64)
    }

    /// How many offsets a group has, as soon as its coordinator knows.
    fn count(&self, connection: &mut WireConnection, group_id: String) -> Result<u64, LoadError> {
        let group = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let bytes = wire_frame(&request, FETCH_VERSION)?;
        let told =
            ask_until_loaded::<OffsetFetchRequest>(connection, &bytes, FETCH_VERSION, |told| {
                told.groups.iter().map(|it| it.error_code).collect()
            })?;
        let topics = told.groups.iter().flat_map(|it| &it.topics);
        Ok(topics.map(|it| it.partitions.len() as u64).sum())
    }
}

/// Waits until there is a coordinator: the first to ask has its topic made.
fn find_coordinator(connection: &mut WireConnection) -> Result<(), LoadError> {
    let request = FindCoordinatorRequest { key: "group-0".to_owned(), ..Default::default() };
    let bytes = wire_frame(&request, COORDINATOR_VERSION)?;
    let codes = |told: &FindCoordinatorResponse| vec![told.error_code];
    ask_until_loaded::<FindCoordinatorRequest>(connection, &bytes, COORDINATOR_VERSION, codes)
        .map(drop)
}

/// Asks until no code of the answer says that the coordinator is on its way.
fn ask_until_loaded<R: Request>(
    connection: &mut WireConnection,
    bytes: &[u8],
    version: i16,
    codes: impl Fn(&R::Response) -> Vec<i16>,
) -> Result<R::Response, LoadError> {
    loop {
        connection.send(bytes)?;
        let told = connection.answer::<R>(version)?;
        match codes(&told).into_iter().find(|code| *code != 0) {
            None => return Ok(told),
            Some(code) if is_on_its_way(code) => {}
            Some(code) => return Err(LoadError::Refused(code)),
        }
    }
}

/// The coordinator loads, or is not known yet.
const fn is_on_its_way(code: i16) -> bool {
    matches!(code, 14..=16)
}
