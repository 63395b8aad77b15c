//! DescribeDelegationToken: which tokens there are.
//!
//! KIP-48. Version 0 was removed in Kafka 4.0. 2: flexible. 3: who has asked for a token (KIP-373).
//!
//! Gap: no listener lets clients log in yet, so every request is refused, as in Kafka to those that
//! have not.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_delegation_token_request::DescribeDelegationTokenRequest;
use ottla_protocol::messages::describe_delegation_token_response::DescribeDelegationTokenResponse;
use ottla_types::ErrorCode;

use crate::node::Node;
use crate::request::{Api, Call};

/// Clients that have authenticated.
pub const API: Api = Api::of(ApiKey::DescribeDelegationToken, 1, 3);

/// Clients cannot authenticate yet, and delegation tokens need an authenticated user.
pub async fn handle(
    _: &Node,
    _: &Call,
    _: DescribeDelegationTokenRequest,
) -> DescribeDelegationTokenResponse {
    DescribeDelegationTokenResponse {
        error_code: ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0,
        ..Default::default()
    }
}
