//! What a consumer wants to read.

use std::collections::BTreeSet;

use regex::Regex;

use crate::client::Client;
use crate::error::ClientError;

/// What a consumer wants to read.
#[derive(Clone, Debug)]
pub(crate) enum TopicSubscription {
    Topics(BTreeSet<String>),
    /// Topics whose whole name matches.
    Pattern(String),
}

impl TopicSubscription {
    /// The topics that it stands for at the moment.
    pub async fn topics(&self, client: &Client) -> Result<BTreeSet<String>, ClientError> {
        match self {
            Self::Topics(topics) => Ok(topics.clone()),
            Self::Pattern(pattern) => {
                let whole = Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| ClientError::Pattern(error.to_string()))?;
                let all = client.topics().await?.into_iter();
                let all = all.filter(|it| !it.internal && whole.is_match(&it.name));
                Ok(all.map(|it| it.name).collect())
            }
        }
    }
}
