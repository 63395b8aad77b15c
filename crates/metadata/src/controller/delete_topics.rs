//! DeleteTopics, by name or by id.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};

use ottla_machine::Turn;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use ottla_protocol::metadata::remove_topic_record::RemoveTopicRecord;
use ottla_types::{ErrorCode, Uuid};

use super::{Controller, Refused, Reply, Scene};

pub(super) fn delete(
    scene: &Scene<'_>,
    request: DeleteTopicsRequest,
    version: i16,
    turn: &mut Turn<Controller>,
) {
    let asked = if version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut response = DeleteTopicsResponse::default();
    let mut gone = BTreeSet::new();
    for topic in asked {
        let mut result = DeletableTopicResult {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            ..Default::default()
        };
        match one(scene, &topic) {
            Ok((name, topic_id)) if gone.insert(topic_id) => {
                result.name = Some(name);
                result.topic_id = topic_id;
                turn.record(RemoveTopicRecord { topic_id, ..Default::default() }.into());
            }
            Ok(_) => {
                result.error_code = ErrorCode::INVALID_REQUEST.0;
                result.error_message = Some(String::from("Duplicate topic."));
            }
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = Some(why);
            }
        }
        response.responses.push(result);
    }
    turn.reply(Reply::DeleteTopics(response));
}

fn one(scene: &Scene<'_>, asked: &DeleteTopicState) -> Result<(String, Uuid), Refused> {
    let refuse = |code: ErrorCode| (code, code.message().to_string());
    if !scene.defaults.delete_topics {
        return Err(refuse(ErrorCode::TOPIC_DELETION_DISABLED));
    }
    let found = match (&asked.name, asked.topic_id.is_zero()) {
        (Some(name), true) => scene
            .cluster
            .topic(name)
            .ok_or_else(|| refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?,
        (None, false) => scene
            .cluster
            .topic_by_id(asked.topic_id)
            .ok_or_else(|| refuse(ErrorCode::UNKNOWN_TOPIC_ID))?,
        (Some(_), false) => {
            let why = "You may not specify both topic name and topic id.";
            return Err((ErrorCode::INVALID_REQUEST, String::from(why)));
        }
        (None, true) => {
            let why = "Neither topic name nor id were specified.";
            return Err((ErrorCode::INVALID_REQUEST, String::from(why)));
        }
    };
    Ok((String::from(&*found.name), found.id))
}
