//! RenewDelegationToken: let a token live longer.
//!
//! KIP-48. Version 0 was removed in Kafka 4.0. 2: flexible.
//!
//! Gap: no listener lets clients log in yet, so every request is refused, as in Kafka to those that
//! have not.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::renew_delegation_token_request::RenewDelegationTokenRequest;
use ottla_protocol::messages::renew_delegation_token_response::RenewDelegationTokenResponse;
use ottla_types::{ErrorCode, NO_TIMESTAMP};

use crate::node::Node;
use crate::request::{Api, Call};

/// Clients that have authenticated.
pub const API: Api = Api::of(ApiKey::RenewDelegationToken, 1, 2);

/// Clients cannot authenticate yet, and delegation tokens need an authenticated user.
pub async fn handle(
    _: &Node,
    _: &Call,
    _: RenewDelegationTokenRequest,
) -> RenewDelegationTokenResponse {
    RenewDelegationTokenResponse {
        error_code: ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0,
        expiry_timestamp_ms: NO_TIMESTAMP,
        ..Default::default()
    }
}
