//! DeleteAcls: remove rules that allow or deny something.
//!
//! KIP-140. Gap: see CreateAcls.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use ottla_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DeleteAcls, 1, 3);

/// Kafka's number for unknown values.
const UNKNOWN: i8 = 0;

/// There is no authorizer yet, so there are no rules.
///
/// # Errors
/// The request names a type, pattern, operation or permission that does not exist: the connection
/// is closed, as by Kafka.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DeleteAclsRequest,
) -> Result<DeleteAclsResponse, String> {
    let knows = |it: &DeleteAclsFilter| {
        [it.resource_type_filter, it.pattern_type_filter, it.operation, it.permission_type]
    };
    let mut all = request.filters.iter().flat_map(knows);
    if all.any(|number| number == UNKNOWN) {
        return Err(
            "an ACL filter has an unknown resource type, pattern type, operation or permission"
                .to_owned(),
        );
    }
    let (code, why) = if call.may(node, Operation::Alter, Resource::Cluster) {
        (ErrorCode::SECURITY_DISABLED, "No Authorizer is configured.")
    } else {
        let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        (code, code.message())
    };
    let result = DeleteAclsFilterResult {
        error_code: code.0,
        error_message: Some(why.to_owned()),
        ..Default::default()
    };
    Ok(DeleteAclsResponse {
        filter_results: vec![result; request.filters.len()],
        ..Default::default()
    })
}
