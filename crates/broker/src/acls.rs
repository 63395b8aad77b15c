//! The common part of the three APIs of ACLs: no node has an authorizer that stores ACLs yet.

use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::Call;

/// Kafka's number for a resource type, pattern type, operation or permission that it does not know.
const UNKNOWN: i8 = 0;

/// Refuses elements of rules or filters that do not exist.
///
/// # Errors
/// Why the connection is closed, as by Kafka.
pub fn check_acl_elements(elements: impl IntoIterator<Item = [i8; 4]>) -> Result<(), String> {
    if elements.into_iter().flatten().any(|number| number == UNKNOWN) {
        return Err(
            "an ACL has an unknown resource type, pattern type, operation or permission".to_owned()
        );
    }
    Ok(())
}

/// What a request for rules is answered, by the right that it needs on the cluster: there is no
/// authorizer that keeps rules, so there are no rules.
pub fn refuse_acls(
    node: &Node,
    call: &Call,
    operation: Operation,
    no_authorizer: &'static str,
) -> (ErrorCode, String) {
    let (code, why) = match call.check(node, operation, Resource::Cluster) {
        Ok(()) => (ErrorCode::SECURITY_DISABLED, no_authorizer),
        Err(code) => (code, code.message()),
    };
    (code, why.to_owned())
}
