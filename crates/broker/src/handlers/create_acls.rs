//! CreateAcls: allow or deny something.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_acls_request::CreateAclsRequest;
use ottla_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::CreateAcls, 1, 3);

/// There is no authorizer yet, so there are no rules.
pub fn handle(_: &Node, call: &Call, request: &CreateAclsRequest) -> CreateAclsResponse {
    let (code, why) = if may(&call.caller.principal, Operation::Alter, Resource::Cluster) {
        (ErrorCode::SECURITY_DISABLED, "No Authorizer is configured.")
    } else {
        let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        (code, code.message())
    };
    let result = AclCreationResult {
        error_code: code.0,
        error_message: Some(why.to_owned()),
        ..Default::default()
    };
    CreateAclsResponse { results: vec![result; request.creations.len()], ..Default::default() }
}
