//! AlterUserScramCredentials: what is stored of users' passwords (KIP-554).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion,
};
use ottla_protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::remove_user_scram_credential_record::RemoveUserScramCredentialRecord;
use ottla_protocol::metadata::user_scram_credential_record::UserScramCredentialRecord;
use ottla_types::ErrorCode;

use super::{Controller, ControllerRefusal, ControllerReply, ControllerScene};

/// SCRAM-SHA-256 and SCRAM-SHA-512, as Kafka numbers them.
const MECHANISMS: [i8; 2] = [1, 2];
/// How often a password is hashed at least and at most.
const ITERATIONS: core::ops::RangeInclusive<i32> = 4096..=16384;

/// Decides on a request; `keys` are the stored key and the server key that belong to each of its
/// upsertions (RFC 5802), computed where there is a hash function.
pub(super) fn alter_credentials(
    scene: &ControllerScene<'_>,
    request: &AlterUserScramCredentialsRequest,
    keys: Vec<(Vec<u8>, Vec<u8>)>,
    turn: &mut Turn<Controller>,
) {
    let mut users: BTreeMap<&String, Result<Vec<MetadataRecord>, ControllerRefusal>> =
        BTreeMap::new();
    let mut seen: Vec<(&String, i8)> = Vec::new();
    let mut put = |name, mechanism, made: Result<MetadataRecord, ControllerRefusal>| {
        let twice = seen.contains(&(name, mechanism));
        seen.push((name, mechanism));
        let all = users.entry(name).or_insert_with(|| Ok(Vec::new()));
        let why = "A user credential cannot be altered twice in the same request";
        let made = if twice { refuse_credential(ErrorCode::DUPLICATE_RESOURCE, why) } else { made };
        match (all, made) {
            (Ok(records), Ok(record)) => records.push(record),
            (all @ Ok(_), Err(refused)) => *all = Err(refused),
            (Err(_), _) => {}
        }
    };
    for it in &request.deletions {
        put(&it.name, it.mechanism, deletion_record(scene, it));
    }
    for (it, (stored_key, server_key)) in request.upsertions.iter().zip(keys) {
        let made = check_user(&it.name, it.mechanism).and_then(|()| {
            let wrong = match it.iterations {
                _ if it.salted_password.is_empty() => "The salted password must not be empty",
                few if few < *ITERATIONS.start() => "Too few iterations",
                many if many > *ITERATIONS.end() => "Too many iterations",
                iterations => {
                    let record = UserScramCredentialRecord {
                        name: it.name.clone(),
                        mechanism: it.mechanism,
                        salt: it.salt.clone(),
                        stored_key: stored_key.into(),
                        server_key: server_key.into(),
                        iterations,
                        ..Default::default()
                    };
                    return Ok(record.into());
                }
            };
            refuse_credential(ErrorCode::UNACCEPTABLE_CREDENTIAL, wrong)
        });
        put(&it.name, it.mechanism, made);
    }
    let mut response = AlterUserScramCredentialsResponse::default();
    for (user, made) in users {
        let mut result = AlterUserScramCredentialsResult {
            user: user.clone(),
            error_message: None,
            ..Default::default()
        };
        match made {
            Ok(records) => turn.records.extend(records),
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = Some(why);
            }
        }
        response.results.push(result);
    }
    turn.reply(ControllerReply::AlterUserScramCredentials(response));
}

fn refuse_credential<T>(code: ErrorCode, why: &str) -> Result<T, ControllerRefusal> {
    Err((code, String::from(why)))
}

fn check_user(name: &str, mechanism: i8) -> Result<(), ControllerRefusal> {
    if name.is_empty() {
        return refuse_credential(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Username must not be empty");
    }
    if !MECHANISMS.contains(&mechanism) {
        return refuse_credential(ErrorCode::UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism");
    }
    Ok(())
}

fn deletion_record(
    scene: &ControllerScene<'_>,
    it: &ScramCredentialDeletion,
) -> Result<MetadataRecord, ControllerRefusal> {
    check_user(&it.name, it.mechanism)?;
    let is_it = |known: &UserScramCredentialRecord| {
        (&known.name, known.mechanism) == (&it.name, it.mechanism)
    };
    if !scene.cluster.credentials().any(is_it) {
        let why = "Attempt to delete a user credential that does not exist";
        return refuse_credential(ErrorCode::RESOURCE_NOT_FOUND, why);
    }
    let (name, mechanism) = (it.name.clone(), it.mechanism);
    Ok(RemoveUserScramCredentialRecord { name, mechanism, ..Default::default() }.into())
}
