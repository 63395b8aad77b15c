//! CreateDelegationToken: a password that expires.
//!
//! KIP-48. Version 0 was removed in Kafka 4.0. 2: flexible. 3: a token for another owner, and who
//! has asked for it (KIP-373).
//!
//! Gap: no listener lets clients log in yet, so every request is refused, as in Kafka to those that
//! have not.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_delegation_token_request::CreateDelegationTokenRequest;
use ottla_protocol::messages::create_delegation_token_response::CreateDelegationTokenResponse;
use ottla_types::{ErrorCode, NO_TIMESTAMP};

use crate::node::Node;
use crate::request::{Api, Call};

/// Clients that have authenticated.
pub const API: Api = Api::of(ApiKey::CreateDelegationToken, 1, 3);

/// Clients cannot authenticate yet, and delegation tokens need an authenticated user.
pub async fn handle(
    _: &Node,
    call: &Call,
    _: CreateDelegationTokenRequest,
) -> CreateDelegationTokenResponse {
    let asker = &call.principal;
    let (kind, name) = (asker.kind.to_string(), asker.name.to_string());
    CreateDelegationTokenResponse {
        error_code: ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0,
        principal_type: kind.clone(),
        principal_name: name.clone(),
        token_requester_principal_type: kind,
        token_requester_principal_name: name,
        issue_timestamp_ms: NO_TIMESTAMP,
        expiry_timestamp_ms: NO_TIMESTAMP,
        max_timestamp_ms: NO_TIMESTAMP,
        ..Default::default()
    }
}
