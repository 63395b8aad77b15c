//! DescribeUserScramCredentials: the users with a stored SCRAM credential, and its mechanisms.
//!
//! KIP-554.

use std::collections::BTreeMap;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_user_scram_credentials_request as asked;
use ottla_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use ottla_protocol::metadata::user_scram_credential_record::UserScramCredentialRecord;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeUserScramCredentials, 0, 0);

/// Looks the users up, or all of them.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: asked::DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if !call.may(node, Operation::Describe, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return DescribeUserScramCredentialsResponse { error_code, ..Default::default() };
    }
    let cluster = node.cluster();
    // How often each user is asked for.
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    match &request.users {
        Some(named) if !named.is_empty() => {
            for user in named {
                *users.entry(&user.name).or_default() += 1;
            }
        }
        _ => users.extend(cluster.credentials().map(|it| (it.name.as_str(), 1))),
    }
    let result = |(user, times): (&str, usize)| {
        let info = |credential: &UserScramCredentialRecord| CredentialInfo {
            mechanism: credential.mechanism,
            iterations: credential.iterations,
            ..Default::default()
        };
        let infos: Vec<CredentialInfo> =
            cluster.credentials().filter(|it| it.name == user).map(info).collect();
        let wrong = if times > 1 {
            let why = "Cannot describe SCRAM credentials for the same user twice in a single \
                       request: ";
            Some((ErrorCode::DUPLICATE_RESOURCE, why))
        } else if infos.is_empty() {
            let why = "Attempt to describe a user credential that does not exist: ";
            Some((ErrorCode::RESOURCE_NOT_FOUND, why))
        } else {
            None
        };
        DescribeUserScramCredentialsResult {
            user: user.to_owned(),
            error_code: wrong.map_or(0, |(code, _)| code.0),
            // An empty text where all is well, unlike everywhere else: it is what Kafka sends.
            error_message: Some(wrong.map_or_else(String::new, |(_, why)| format!("{why}{user}"))),
            credential_infos: if wrong.is_some() { Vec::new() } else { infos },
            ..Default::default()
        }
    };
    let results = users.into_iter().map(result).collect();
    DescribeUserScramCredentialsResponse { results, ..Default::default() }
}
