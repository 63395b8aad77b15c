//! What a node says of the cluster when nothing goes wrong, held against what was acknowledged.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::metadata_request::MetadataRequest;
use ottla_types::{ErrorCode, NodeId};

use super::clients::{MetadataClient, SETTING, TOPIC_RESOURCE};
use super::model::{Mismatch, TopicsSeen};
use crate::invariant::Invariant;

/// How long a node may be behind.
const CATCH_UP_S: u64 = 20;

/// Asks one node until it says what it must, or should have.
pub struct Auditor {
    of: MetadataClient,
    node: SocketAddr,
    brokers: BTreeSet<NodeId>,
}

impl Auditor {
    /// An auditor of this node; all these brokers must serve.
    pub fn new(mut of: MetadataClient, node: SocketAddr, brokers: BTreeSet<NodeId>) -> Self {
        of.client.wire.turn_to(node);
        Self { of, node, brokers }
    }

    /// Looks at all that was acknowledged.
    pub async fn audit(mut self) {
        let until = self.of.client.clock.monotonic() + Duration::from_secs(CATCH_UP_S);
        loop {
            let looked = self.look().await;
            let is_late = self.of.client.clock.monotonic() >= until;
            match looked {
                Ok(()) => {
                    for invariant in [
                        Invariant::AcknowledgedMetadataStays,
                        Invariant::DeletionsAreFinal,
                        Invariant::BrokersUnfenced,
                    ] {
                        self.of.client.demand(invariant, Ok(()));
                    }
                    return;
                }
                Err((invariant, why)) if is_late => {
                    return self.of.client.demand(invariant, Err(format!("{}: {why}", self.node)));
                }
                Err(_) => self.of.client.rest().await,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Mismatch> {
        let no_answer = |lost| (Invariant::EverythingEnds, format!("no answer: {lost}"));
        let request = MetadataRequest { topics: None, ..Default::default() };
        let answer = self.of.client.ask(&request, 12).await.map_err(no_answer)?;
        let brokers: BTreeSet<NodeId> = answer.brokers.iter().map(|it| it.node_id).collect();
        if brokers != self.brokers {
            return Err((Invariant::BrokersUnfenced, format!("only {brokers:?} serve")));
        }
        let named = answer.topics.into_iter().filter_map(|it| Some((it.name?, it.topic_id)));
        let seen: TopicsSeen = named.collect();
        self.of.topics.borrow().check_topics(&seen)?;
        let names = self.of.topics.borrow().existing();
        if names.is_empty() {
            return Ok(());
        }
        let resource = |name: &String| DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.clone(),
            configuration_keys: Some(vec![SETTING.to_owned()]),
            ..Default::default()
        };
        let resources = names.iter().map(resource).collect();
        let request = DescribeConfigsRequest { resources, ..Default::default() };
        let answer = self.of.client.ask(&request, 4).await.map_err(no_answer)?;
        for result in answer.results {
            let found = result.configs.first().and_then(|it| it.value.as_deref());
            if result.error_code != ErrorCode::NONE.0 {
                let code = ErrorCode(result.error_code).name();
                let why = format!("topic {} is answered {code}", result.resource_name);
                return Err((Invariant::AcknowledgedMetadataStays, why));
            }
            self.of.topics.borrow().check_setting(&result.resource_name, found)?;
        }
        Ok(())
    }
}
