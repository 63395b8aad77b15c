//! Delegation tokens.

use ottla_protocol::messages::describe_delegation_token_request::{
    DescribeDelegationTokenOwner, DescribeDelegationTokenRequest,
};

use crate::client::Client;
use crate::error::ClientError;

/// Whose tokens are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOwner {
    /// The kind of principal, such as `User`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Client {
    /// Asks for the tokens of these owners (all that may be seen if none is named). Whether there
    /// are some is not returned yet: no cluster of this release has any.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn describe_tokens(&self, owners: Vec<TokenOwner>) -> Result<(), ClientError> {
        let owner = |owner: TokenOwner| DescribeDelegationTokenOwner {
            principal_type: owner.kind,
            principal_name: owner.name,
            ..Default::default()
        };
        let owners: Vec<_> = owners.into_iter().map(owner).collect();
        let request = DescribeDelegationTokenRequest {
            owners: Some(owners).filter(|owners| !owners.is_empty()),
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        ClientError::check(response.error_code, || "delegation tokens".to_owned())
    }
}
