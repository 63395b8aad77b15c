//! CreateDelegationToken: a password that ends by itself (KIP-48).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_delegation_token_request::CreateDelegationTokenRequest;
use ottla_protocol::messages::create_delegation_token_response::CreateDelegationTokenResponse;
use ottla_types::ErrorCode;

use crate::node::Node;
use crate::request::{Api, Call};

/// Clients that have said who they are.
pub const API: Api = Api::of(ApiKey::CreateDelegationToken, 1, 3);

/// Nobody can say who they are yet, and tokens are for those who have.
pub fn handle(
    _: &Node,
    _: &Call,
    _: &CreateDelegationTokenRequest,
) -> CreateDelegationTokenResponse {
    CreateDelegationTokenResponse {
        error_code: ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0,
        ..Default::default()
    }
}
