//! Users' SCRAM credentials. A password never leaves the client: what is sent is its salted hash.

use bytes::Bytes;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::describe_user_scram_credentials_request::{
    DescribeUserScramCredentialsRequest, UserName,
};

use super::refusal::ItemRefusal;
use crate::client::Client;
use crate::error::ClientError;

/// A SCRAM mechanism, by Kafka's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256
    Sha256 = 1,
    /// SCRAM-SHA-512
    Sha512 = 2,
}

impl ScramMechanism {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// As SASL names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }
}

/// The credentials of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramListing {
    /// The user.
    pub user: String,
    /// The credentials, or the error (`RESOURCE_NOT_FOUND`: there is no such user). A
    /// mechanism that is not known is `None`. The number is that of the iterations.
    pub credentials: Result<Vec<(Option<ScramMechanism>, i32)>, ItemRefusal>,
}

/// A change of a user's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScramChange {
    /// The user gets this one.
    Upsert {
        /// The mechanism.
        mechanism: ScramMechanism,
        /// How often the password was hashed.
        iterations: i32,
        /// The salt.
        salt: Bytes,
        /// The outcome.
        salted_password: Bytes,
    },
    /// The user loses the one of this mechanism.
    Delete(ScramMechanism),
}

impl Client {
    /// Which credentials users have: this one, or all.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn describe_scram_credentials(
        &self,
        user: Option<&str>,
    ) -> Result<Vec<ScramListing>, ClientError> {
        let name = |name: &str| UserName { name: name.to_owned(), ..Default::default() };
        let request = DescribeUserScramCredentialsRequest {
            users: user.map(|user| vec![name(user)]),
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        ClientError::check_item(response.error_code, response.error_message, "SCRAM credentials")?;
        let listings = response.results.into_iter().map(|result| {
            let mechanism =
                |code: i8| ScramMechanism::ALL.into_iter().find(|known| *known as i8 == code);
            let credentials = result.credential_infos.iter();
            let credentials =
                credentials.map(|it| (mechanism(it.mechanism), it.iterations)).collect();
            let refused = ItemRefusal::check(result.error_code, result.error_message);
            ScramListing { user: result.user, credentials: refused.map(|()| credentials) }
        });
        Ok(listings.collect())
    }

    /// Changes the credentials of a user.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn alter_scram_credentials(
        &self,
        user: &str,
        changes: Vec<ScramChange>,
    ) -> Result<(), ClientError> {
        let (mut upsertions, mut deletions) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                ScramChange::Upsert { mechanism, iterations, salt, salted_password } => {
                    upsertions.push(ScramCredentialUpsertion {
                        name: user.to_owned(),
                        mechanism: mechanism as i8,
                        iterations,
                        salt,
                        salted_password,
                        ..Default::default()
                    });
                }
                ScramChange::Delete(mechanism) => deletions.push(ScramCredentialDeletion {
                    name: user.to_owned(),
                    mechanism: mechanism as i8,
                    ..Default::default()
                }),
            }
        }
        let request =
            AlterUserScramCredentialsRequest { deletions, upsertions, ..Default::default() };
        for result in self.ask_controller(&request).await?.results {
            ClientError::check_item(
                result.error_code,
                result.error_message,
                format_args!("user {user}"),
            )?;
        }
        Ok(())
    }
}
