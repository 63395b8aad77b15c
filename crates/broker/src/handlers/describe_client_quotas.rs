//! DescribeClientQuotas: how much users, clients and addresses may ask for.
//!
//! KIP-546. 1: flexible.

use std::collections::BTreeMap;

use ottla_metadata::{Cluster, QuotaEntity};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;
use ottla_protocol::messages::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeClientQuotas, 0, 1);

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// What is asked of a type's name: this one (or the default), or any.
type NameFilter = BTreeMap<String, Option<Option<String>>>;

/// Looks for the entities that fit.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    if !call.may(node, Operation::DescribeConfigs, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return DescribeClientQuotasResponse { error_code, entries: None, ..Default::default() };
    }
    match wanted_names(&request) {
        Ok(wanted) => DescribeClientQuotasResponse {
            entries: Some(matching_quotas(&node.cluster(), &wanted, request.strict)),
            ..Default::default()
        },
        Err((code, why)) => DescribeClientQuotasResponse {
            error_code: code.0,
            error_message: Some(why),
            entries: None,
            ..Default::default()
        },
    }
}

fn wanted_names(request: &DescribeClientQuotasRequest) -> Result<NameFilter, (ErrorCode, String)> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    let mut all = NameFilter::new();
    for part in &request.components {
        let kind = &part.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if !matches!(kind.as_str(), "user" | "client-id" | "ip") {
            let why = format!("Unsupported entity type {kind}");
            return Err((ErrorCode::UNSUPPORTED_VERSION, why));
        }
        let name = match (part.match_type, &part.match_) {
            (EXACT, Some(name)) => Some(Some(name.clone())),
            (EXACT, None) => {
                let why = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                return invalid(why.to_owned());
            }
            (DEFAULT, None) => Some(None),
            (SPECIFIED, None) => None,
            (DEFAULT | SPECIFIED, Some(_)) => {
                return invalid(
                    "Request specified a match string that its match type has no use for."
                        .to_owned(),
                );
            }
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        if all.insert(kind.clone(), name).is_some() {
            return invalid(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
    }
    if all.contains_key("ip") && all.len() > 1 {
        let why = "Invalid entity filter component combination. IP filter component should not be \
                   used with user or clientId filter component.";
        return invalid(why.to_owned());
    }
    Ok(all)
}

fn matching_quotas(cluster: &Cluster, wanted: &NameFilter, is_strict: bool) -> Vec<EntryData> {
    let mut entities: BTreeMap<QuotaEntity, Vec<ValueData>> = BTreeMap::new();
    for (entity, quota) in cluster.client_quotas() {
        let fits = |(kind, name): (&String, &Option<Option<String>>)| match entity.get(kind) {
            None => false,
            Some(own) => name.as_ref().is_none_or(|name| name == own),
        };
        if wanted.iter().all(fits) && (!is_strict || entity.len() == wanted.len()) {
            let (key, value) = (quota.key.clone(), quota.value);
            entities.entry(entity).or_default().push(ValueData {
                key,
                value,
                ..Default::default()
            });
        }
    }
    let part =
        |(entity_type, entity_name)| EntityData { entity_type, entity_name, ..Default::default() };
    let entry = |(entity, values): (QuotaEntity, _)| EntryData {
        entity: entity.into_iter().map(part).collect(),
        values,
        ..Default::default()
    };
    entities.into_iter().map(entry).collect()
}
