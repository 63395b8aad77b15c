//! DescribeDelegationToken: which tokens there are (KIP-48).

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
