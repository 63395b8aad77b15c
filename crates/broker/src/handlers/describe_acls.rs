//! DescribeAcls: lists access control lists.
//!
//! KIP-140. Gap: see CreateAcls.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::messages::describe_acls_response::DescribeAclsResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeAcls, 1, 3);

/// Kafka's number for unknown values.
const UNKNOWN: i8 = 0;

/// There is no authorizer yet, so there are no rules.
///
/// # Errors
/// The filter names a type, pattern, operation or permission that does not exist: the connection is
/// closed, as by Kafka.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeAclsRequest,
) -> Result<DescribeAclsResponse, String> {
    let filter = request;
    let all = [
        filter.resource_type_filter,
        filter.pattern_type_filter,
        filter.operation,
        filter.permission_type,
    ];
    if all.contains(&UNKNOWN) {
        return Err(
            "the ACL filter has an unknown resource type, pattern type, operation or permission"
                .to_owned(),
        );
    }
    let (code, why) = if call.may(node, Operation::Describe, Resource::Cluster) {
        (ErrorCode::SECURITY_DISABLED, "No Authorizer is configured on the broker")
    } else {
        let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        (code, code.message())
    };
    Ok(DescribeAclsResponse {
        error_code: code.0,
        error_message: Some(why.to_owned()),
        ..Default::default()
    })
}
