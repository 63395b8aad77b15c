//! DeleteAcls: no longer allow or deny something.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_acls_request::DeleteAclsRequest;
use ottla_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DeleteAcls, 1, 3);

/// There is no authorizer yet, so there are no rules.
pub fn handle(_: &Node, call: &Call, request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let (code, why) = if may(&call.caller.principal, Operation::Alter, Resource::Cluster) {
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
    DeleteAclsResponse { filter_results: vec![result; request.filters.len()], ..Default::default() }
}
