//! CreateAcls: add rules that allow or deny something.
//!
//! KIP-140. Version 0 was removed in Kafka 4.0. 1: the pattern's type (KIP-290). 2: flexible. 3:
//! resources of type USER.
//!
//! Gap: there is no authorizer yet, and without one Kafka answers SECURITY_DISABLED.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use ottla_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use ottla_types::ErrorCode;

use crate::acls::{check_acl_elements, refuse_acls};
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::CreateAcls, 1, 3);

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
    let knows = |acl: &AclCreation| {
        [acl.resource_type, acl.resource_pattern_type, acl.operation, acl.permission_type]
    };
    check_acl_elements(request.creations.iter().map(knows))?;
    let no_authorizer = "No Authorizer is configured.";
    let (code, why) = refuse_acls(node, call, Operation::Alter, no_authorizer);
    Ok(answer_all(request.creations.len(), code, why))
}

/// The answer if the active controller does not answer.
pub fn error_answers(
    request: &CreateAclsRequest,
) -> impl Fn(ErrorCode) -> CreateAclsResponse + use<> {
    let count = request.creations.len();
    move |code| answer_all(count, code, code.message().to_owned())
}

fn answer_all(count: usize, code: ErrorCode, why: String) -> CreateAclsResponse {
    let result =
        AclCreationResult { error_code: code.0, error_message: Some(why), ..Default::default() };
    CreateAclsResponse { results: vec![result; count], ..Default::default() }
}
