//! AlterClientQuotas: how much users, clients and addresses may ask for.
//!
//! KIP-546. 1: flexible.
//!
//! Gap: quotas are stored and shown, and throttle nothing.

use ottla_metadata::{ControllerCommand, QuotaEntity};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntryData as RequestedEntry,
};
use ottla_protocol::messages::alter_client_quotas_response::{
    AlterClientQuotasResponse, EntityData, EntryData,
};
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators. Quotas are stored and described, but not enforced yet.
pub const API: Api = Api::of(ApiKey::AlterClientQuotas, 0, 1);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let refused = error_answers(&request);
    if !call.may(node, Operation::AlterConfigs, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    let before = node.cluster();
    let entities: Vec<QuotaEntity> = request.entries.iter().map(entity).collect();
    let response = node
        .controller
        .ask(ControllerCommand::AlterClientQuotas(request))
        .await
        .unwrap_or_else(refused);
    audit::quotas_changed(call, &before, &node.cluster(), &entities);
    response
}

fn entity(entry: &RequestedEntry) -> QuotaEntity {
    entry.entity.iter().map(|it| (it.entity_type.clone(), it.entity_name.clone())).collect()
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    request: &AlterClientQuotasRequest,
) -> impl Fn(ErrorCode) -> AlterClientQuotasResponse + use<> {
    let part =
        |entity: &ottla_protocol::messages::alter_client_quotas_request::EntityData| EntityData {
            entity_type: entity.entity_type.clone(),
            entity_name: entity.entity_name.clone(),
            ..Default::default()
        };
    let entities: Vec<Vec<EntityData>> =
        request.entries.iter().map(|it| it.entity.iter().map(part).collect()).collect();
    move |code| {
        let entry = |entity: &Vec<EntityData>| EntryData {
            error_code: code.0,
            error_message: None,
            entity: entity.clone(),
            ..Default::default()
        };
        AlterClientQuotasResponse {
            entries: entities.iter().map(entry).collect(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
#[path = "alter_client_quotas_tests.rs"]
mod tests;
