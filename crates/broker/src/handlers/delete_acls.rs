//! DeleteAcls: remove rules that allow or deny something.
//!
//! KIP-140. Version 0 was removed in Kafka 4.0. 1: the pattern's type (KIP-290). 2: flexible. 3:
//! resources of type USER.
//!
//! Gap: see CreateAcls.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use ottla_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use ottla_types::ErrorCode;

use crate::acls::{check_acl_elements, refuse_acls};
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DeleteAcls, 1, 3);

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
    let knows = |filter: &DeleteAclsFilter| {
        [
            filter.resource_type_filter,
            filter.pattern_type_filter,
            filter.operation,
            filter.permission_type,
        ]
    };
    check_acl_elements(request.filters.iter().map(knows))?;
    let no_authorizer = "No Authorizer is configured.";
    let (code, why) = refuse_acls(node, call, Operation::Alter, no_authorizer);
    Ok(answer_all(request.filters.len(), code, why))
}

/// The answer if the active controller does not answer.
pub fn error_answers(
    request: &DeleteAclsRequest,
) -> impl Fn(ErrorCode) -> DeleteAclsResponse + use<> {
    let count = request.filters.len();
    move |code| answer_all(count, code, code.message().to_owned())
}

fn answer_all(count: usize, code: ErrorCode, why: String) -> DeleteAclsResponse {
    let result = DeleteAclsFilterResult {
        error_code: code.0,
        error_message: Some(why),
        ..Default::default()
    };
    DeleteAclsResponse { filter_results: vec![result; count], ..Default::default() }
}
