//! AlterUserScramCredentials: store users' passwords, as keys made of them.
//!
//! KIP-554. Gap: no listener asks for SCRAM yet.

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use ottla_protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use ottla_types::ErrorCode;

use crate::audit::{self, CredentialChange};
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};
use crate::scram::ScramKeys;

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterUserScramCredentials, 0, 0);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let refused = error_answers(&request);
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    let keys = request.upsertions.iter().map(keys).collect();
    let changes = changes(&request);
    let command = ControllerCommand::AlterUserScramCredentials { request, keys };
    let response = node.controller.ask(command).await.unwrap_or_else(refused);
    let is_done = |user: &String| {
        response.results.iter().any(|it| it.user == *user && it.error_code == ErrorCode::NONE.0)
    };
    for (user, mechanism, change) in changes.iter().filter(|(user, ..)| is_done(user)) {
        audit::credential_changed(call, user, *mechanism, *change);
    }
    response
}

/// What is asked for, by user and mechanism.
fn changes(request: &AlterUserScramCredentialsRequest) -> Vec<(String, i8, CredentialChange)> {
    let deleted = request.deletions.iter();
    let deleted = deleted.map(|it| (it.name.clone(), it.mechanism, CredentialChange::Deleted));
    let stored = request.upsertions.iter();
    let stored = stored.map(|it| (it.name.clone(), it.mechanism, CredentialChange::Stored));
    deleted.chain(stored).collect()
}

/// What is stored of an upsertion's password.
fn keys(upsertion: &ScramCredentialUpsertion) -> (Vec<u8>, Vec<u8>) {
    let keys = ScramKeys::of_salted(upsertion.mechanism, &upsertion.salted_password);
    (keys.stored, keys.server)
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    request: &AlterUserScramCredentialsRequest,
) -> impl Fn(ErrorCode) -> AlterUserScramCredentialsResponse + use<> {
    let of = request.deletions.iter().map(|it| it.name.clone());
    let users: Vec<String> =
        of.chain(request.upsertions.iter().map(|it| it.name.clone())).collect();
    move |code| {
        let result = |user: &String| AlterUserScramCredentialsResult {
            user: user.clone(),
            error_code: code.0,
            error_message: None,
            ..Default::default()
        };
        AlterUserScramCredentialsResponse {
            results: users.iter().map(result).collect(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|it| format!("{it:02x}")).collect()
    }

    #[test]
    fn keys_are_those_of_rfc_7677() {
        // The example of RFC 7677, section 3: user "user", password "pencil", 4096 iterations; the
        // salted password was computed with Python's hashlib.pbkdf2_hmac.
        let salted = "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d";
        let bytes: Vec<u8> = (0..salted.len() / 2)
            .map(|at| u8::from_str_radix(&salted[2 * at..2 * at + 2], 16).unwrap_or(0))
            .collect();
        let upsertion = ScramCredentialUpsertion {
            mechanism: 1,
            salted_password: bytes.into(),
            ..Default::default()
        };
        let (stored, server) = keys(&upsertion);
        assert_eq!(hex(&stored), STORED);
        assert_eq!(hex(&server), SERVER);
    }

    const STORED: &str = "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6";
    const SERVER: &str = "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5";
}
