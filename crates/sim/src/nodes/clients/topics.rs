//! Creates the topics of a history, and others that come and go.

use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_types::ErrorCode;

use super::{SimClient, TopicPlan, is_passing};
use crate::invariant::Invariant;
use crate::nodes::model::Existence;

/// A request to create a topic.
pub fn creation_request(plan: &TopicPlan, settings: &[(String, String)]) -> CreateTopicsRequest {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: plan.name.clone(),
        num_partitions: plan.partitions,
        replication_factor: 1,
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }
}

/// Creates the topics of the history, however often it takes.
pub async fn create_all(client: &mut SimClient, settings: &[(String, String)]) {
    for plan in client.shared.topics.clone() {
        let request = creation_request(&plan, settings);
        loop {
            let code = match client.ask(&request, 7).await {
                Ok(answer) => ErrorCode(answer.topics.first().map_or(-1, |it| it.error_code)),
                Err(_) => ErrorCode::REQUEST_TIMED_OUT,
            };
            match code {
                ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => break,
                code if is_passing(code) => client.rest().await,
                code => return client.unexpected("CreateTopics", code),
            }
        }
        let mut model = client.shared.model.borrow_mut();
        model.topics.insert(plan.name, Existence::Exists);
    }
}

/// Creates and deletes a topic of its own again and again, and looks whether it is there. After a
/// request that is not answered it goes on with another: that one may be carried out at any time.
pub async fn come_and_go(client: &mut SimClient, settings: &[(String, String)]) {
    let mut names = 0;
    while !client.is_over() {
        names += 1;
        let name = format!("passing-{}-{names}", client.number);
        let plan = TopicPlan { name, partitions: 2 };
        note_existence(client, &plan, Existence::Gone);
        while !client.is_over() && !is_unknown(client, &plan) {
            let known = client.shared.model.borrow().topics.get(&plan.name).copied();
            match client.dice.below(3) {
                0 => create_topic(client, &plan, settings, known).await,
                1 => delete_topic(client, &plan, known).await,
                _ => look_at_topics(client, &plan).await,
            }
            client.rest().await;
        }
        look_at_topics(client, &plan).await;
    }
}

fn is_unknown(client: &SimClient, plan: &TopicPlan) -> bool {
    let model = client.shared.model.borrow();
    model.topics.get(&plan.name) == Some(&Existence::Unknown)
}

fn note_existence(client: &SimClient, plan: &TopicPlan, existence: Existence) {
    client.shared.model.borrow_mut().topics.insert(plan.name.clone(), existence);
}

async fn create_topic(
    client: &mut SimClient,
    plan: &TopicPlan,
    settings: &[(String, String)],
    known: Option<Existence>,
) {
    if client.connect().await.is_err() {
        return;
    }
    note_existence(client, plan, Existence::Unknown);
    // Whether it was carried out shows later.
    let answer = match client.ask(&creation_request(plan, settings), 7).await {
        Ok(answer) => answer,
        Err(_) => return,
    };
    let code = ErrorCode(answer.topics.first().map_or(-1, |it| it.error_code));
    match code {
        ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => {
            let was_expected = match (code, known) {
                (ErrorCode::NONE, Some(Existence::Exists)) => Err("created, though it exists"),
                (ErrorCode::TOPIC_ALREADY_EXISTS, None | Some(Existence::Gone)) => {
                    Err("it exists, though it was deleted or never created")
                }
                _ => Ok(()),
            };
            let checked = was_expected.map_err(|why| format!("topic {}: {why}", plan.name));
            client.demand(Invariant::TopicsStay, checked);
            note_existence(client, plan, Existence::Exists);
        }
        code if is_passing(code) => {}
        code => client.unexpected("CreateTopics", code),
    }
}

async fn delete_topic(client: &mut SimClient, plan: &TopicPlan, known: Option<Existence>) {
    if client.connect().await.is_err() {
        return;
    }
    note_existence(client, plan, Existence::Unknown);
    let topic = DeleteTopicState { name: Some(plan.name.clone()), ..Default::default() };
    let request =
        DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    // Whether it was carried out shows later.
    let answer = match client.ask(&request, 6).await {
        Ok(answer) => answer,
        Err(_) => return,
    };
    let code = ErrorCode(answer.responses.first().map_or(-1, |it| it.error_code));
    match code {
        ErrorCode::NONE | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
            let was_expected = match (code, known) {
                (ErrorCode::NONE, None | Some(Existence::Gone)) => {
                    Err("deleted, though it is gone")
                }
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(Existence::Exists)) => {
                    Err("it is gone, though it was not deleted")
                }
                _ => Ok(()),
            };
            let checked = was_expected.map_err(|why| format!("topic {}: {why}", plan.name));
            client.demand(Invariant::TopicsStay, checked);
            note_existence(client, plan, Existence::Gone);
        }
        code if is_passing(code) => {}
        code => client.unexpected("DeleteTopics", code),
    }
}

/// Looks whether the topic is there, in the metadata.
async fn look_at_topics(client: &mut SimClient, plan: &TopicPlan) {
    let known = client.shared.model.borrow().topics.get(&plan.name).copied();
    let topic = MetadataRequestTopic { name: Some(plan.name.clone()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    // Whether it was carried out shows later.
    let answer = match client.ask(&request, 9).await {
        Ok(answer) => answer,
        Err(_) => return,
    };
    let code = ErrorCode(answer.topics.first().map_or(-1, |it| it.error_code));
    let found = match code {
        ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE => Existence::Exists,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Existence::Gone,
        code => return client.unexpected("Metadata", code),
    };
    let holds = match known {
        Some(Existence::Unknown) => true,
        Some(known) => known == found,
        None => found == Existence::Gone,
    };
    let why = || format!("topic {} is {found:?}, and was {known:?}", plan.name);
    client.demand(Invariant::TopicsStay, if holds { Ok(()) } else { Err(why()) });
}
