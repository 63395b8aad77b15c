//! CreateAcls: add rules that allow or deny something.
//!
//! KIP-140. Gap: there is no authorizer yet, and without one Kafka answers SECURITY_DISABLED.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use ottla_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::CreateAcls, 1, 3);

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
    request: CreateAclsRequest,
) -> Result<CreateAclsResponse, String> {
    let knows = |it: &AclCreation| {
        [it.resource_type, it.resource_pattern_type, it.operation, it.permission_type]
    };
    let mut all = request.creations.iter().flat_map(knows);
    if all.any(|number| number == UNKNOWN) {
        return Err(
            "an ACL has an unknown resource type, pattern type, operation or permission".to_owned()
        );
    }
    let (code, why) = if call.may(node, Operation::Alter, Resource::Cluster) {
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
    Ok(CreateAclsResponse { results: vec![result; request.creations.len()], ..Default::default() })
}
