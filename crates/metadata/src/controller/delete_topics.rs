//! DeleteTopics, by name or by id.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use ottla_protocol::metadata::remove_topic_record::RemoveTopicRecord;
use ottla_types::{ErrorCode, Uuid};

use super::{Controller, ControllerReply, ControllerScene, repeated_items};
use crate::cluster::Topic;

pub(super) fn delete_topics(
    scene: &ControllerScene<'_>,
    request: DeleteTopicsRequest,
    version: i16,
    turn: &mut Turn<Controller>,
) {
    let rows: Vec<DeleteTopicState> = if version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let asked = TopicsToDelete::of(&rows);
    let mut response = DeleteTopicsResponse::default();
    for row in &asked.rows {
        let mut result = DeletableTopicResult {
            name: row.name.clone(),
            topic_id: row.topic_id,
            ..Default::default()
        };
        match asked.one(scene, row, version) {
            Ok(Some(topic)) => {
                result.name = Some(String::from(&*topic.name));
                result.topic_id = topic.id;
                let record = RemoveTopicRecord { topic_id: topic.id, ..Default::default() };
                turn.record(record.into());
            }
            // The row that names the topic answers.
            Ok(None) => continue,
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = why;
            }
        }
        response.responses.push(result);
    }
    turn.reply(ControllerReply::DeleteTopics(response));
}

/// The topics of a request: each once, and which of them came more than once.
struct TopicsToDelete<'a> {
    rows: Vec<&'a DeleteTopicState>,
    names: BTreeSet<&'a str>,
    ids: BTreeSet<Uuid>,
    repeated_names: BTreeSet<&'a str>,
    repeated_ids: BTreeSet<Uuid>,
}

/// Kafka's code, and a text where the code alone does not say enough.
type RefusedRow = (ErrorCode, Option<String>);

impl<'a> TopicsToDelete<'a> {
    fn of(asked: &'a [DeleteTopicState]) -> Self {
        let by_name = asked.iter().filter(|row| row.topic_id.is_zero());
        let by_name = by_name.filter_map(|row| row.name.as_deref());
        let by_id = asked.iter().filter(|row| row.name.is_none() && !row.topic_id.is_zero());
        let by_id = by_id.map(|row| row.topic_id);
        let mut seen = BTreeSet::new();
        let is_first = |row: &&'a DeleteTopicState| {
            // A row that names nothing, or a topic in two ways, is answered by itself.
            let is_odd = row.name.is_some() != row.topic_id.is_zero();
            is_odd || seen.insert((row.name.as_deref(), row.topic_id))
        };
        Self {
            rows: asked.iter().filter(is_first).collect(),
            names: by_name.clone().collect(),
            ids: by_id.clone().collect(),
            repeated_names: repeated_items(by_name),
            repeated_ids: repeated_items(by_id),
        }
    }

    /// The topic that a row deletes; `None` if another row answers for it.
    fn one<'s>(
        &self,
        scene: &ControllerScene<'s>,
        row: &DeleteTopicState,
        version: i16,
    ) -> Result<Option<&'s Topic>, RefusedRow> {
        let plain = |code: ErrorCode| (code, Some(code.message().to_string()));
        let invalid = |why: &str| Err((ErrorCode::INVALID_REQUEST, Some(String::from(why))));
        if !scene.settings.delete_topics {
            // Before version 3 there was no code of its own (KIP-322).
            let code = match version {
                ..3 => ErrorCode::INVALID_REQUEST,
                _ => ErrorCode::TOPIC_DELETION_DISABLED,
            };
            return Err((code, None));
        }
        match (row.name.as_deref(), row.topic_id) {
            (Some(name), Uuid::ZERO) => {
                if self.repeated_names.contains(name) {
                    return invalid("Duplicate topic name.");
                }
                let found = scene.cluster.topic(name);
                let topic = found.ok_or_else(|| plain(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
                if self.ids.contains(&topic.id) {
                    return invalid("The topic's id is in the request as well as its name.");
                }
                Ok(Some(topic))
            }
            (Some(_), _) => invalid("You may not specify both topic name and topic id."),
            (None, Uuid::ZERO) => invalid("Neither topic name nor id were specified."),
            (None, id) => {
                if self.repeated_ids.contains(&id) {
                    return invalid("Duplicate topic id.");
                }
                let found = scene.cluster.topic_by_id(id);
                let topic = found.ok_or_else(|| plain(ErrorCode::UNKNOWN_TOPIC_ID))?;
                let name = &*topic.name;
                let by_name = self.names.contains(name) && !self.repeated_names.contains(name);
                Ok((!by_name).then_some(topic))
            }
        }
    }
}
