//! Coordinators that can never exist: their topic wants more replicas than there are brokers.

use crate::admin::configs::ConfigKind;
use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;
use crate::metadata::IfAbsent;

/// Why a coordinator cannot exist, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} cannot have a coordinator: topic {topic} does not exist yet and wants {wanted} replicas, but the cluster has {brokers} broker{}; set {setting}={brokers} on the broker{} and restart, or add brokers",
    if *.brokers == 1 { "" } else { "s" }, if *.brokers == 1 { "" } else { "s" }
)]
pub struct TooFewBrokers {
    /// What is coordinated: groups or transactions.
    pub what: &'static str,
    /// The internal topic in which they are kept.
    pub topic: &'static str,
    /// The setting with the number of its replicas.
    pub setting: &'static str,
    /// Its value.
    pub wanted: usize,
    /// How many brokers there are.
    pub brokers: usize,
}

impl Client {
    /// Why there can be no coordinator of this kind, if that is so: its internal topic does not
    /// exist, and wants more replicas than the cluster has brokers.
    ///
    /// # Errors
    /// No broker answers, or its settings may not be read.
    pub async fn obstacle(&self, of: CoordinatorOf) -> Result<Option<TooFewBrokers>, ClientError> {
        let (what, topic, setting) = match of {
            CoordinatorOf::Group => {
                ("groups", "__consumer_offsets", "offsets.topic.replication.factor")
            }
            CoordinatorOf::Transaction => {
                ("transactions", "__transaction_state", "transaction.state.log.replication.factor")
            }
        };
        let found = self.refresh(Some(&[topic.to_owned()]), IfAbsent::Fail).await?;
        if found.iter().any(|it| it.error_code == 0) {
            return Ok(None);
        }
        let brokers = self.all_brokers().await?;
        let Some(asked) = brokers.first() else { return Ok(None) };
        let settings = self.configs(ConfigKind::Broker, &[asked.to_string()]).await?;
        let value = settings.values().flatten().find(|it| it.name == setting);
        let wanted = value.and_then(|it| it.value.as_deref()?.parse().ok()).unwrap_or(0);
        let brokers = brokers.len();
        Ok((wanted > brokers).then_some(TooFewBrokers { what, topic, setting, wanted, brokers }))
    }
}
