//! DescribeAcls: who may do what.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::messages::describe_acls_response::DescribeAclsResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeAcls, 1, 3);

/// There is no authorizer yet, so there are no rules.
pub fn handle(_: &Node, call: &Call, _: &DescribeAclsRequest) -> DescribeAclsResponse {
    let (code, why) = if may(&call.caller.principal, Operation::Describe, Resource::Cluster) {
        (ErrorCode::SECURITY_DISABLED, "No Authorizer is configured on the broker")
    } else {
        let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        (code, code.message())
    };
    DescribeAclsResponse {
        error_code: code.0,
        error_message: Some(why.to_owned()),
        ..Default::default()
    }
}
