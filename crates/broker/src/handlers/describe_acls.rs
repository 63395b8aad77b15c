//! DescribeAcls: lists access control lists.
//!
//! KIP-140. Version 0 was removed in Kafka 4.0. 1: the pattern's type (KIP-290). 2: flexible. 3:
//! resources of type USER.
//!
//! Gap: see CreateAcls.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::messages::describe_acls_response::DescribeAclsResponse;

use crate::acls::{check_acl_elements, refuse_acls};
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeAcls, 1, 3);

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
    check_acl_elements([[
        filter.resource_type_filter,
        filter.pattern_type_filter,
        filter.operation,
        filter.permission_type,
    ]])?;
    let no_authorizer = "No Authorizer is configured on the broker";
    let (code, why) = refuse_acls(node, call, Operation::Describe, no_authorizer);
    Ok(DescribeAclsResponse { error_code: code.0, error_message: Some(why), ..Default::default() })
}
