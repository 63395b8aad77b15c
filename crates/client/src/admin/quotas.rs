//! Quotas of users, client ids and addresses.

use std::collections::BTreeMap;

use ottla_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use ottla_protocol::messages::describe_client_quotas_request::{
    ComponentData, DescribeClientQuotasRequest,
};

use crate::client::Client;
use crate::error::ClientError;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// Which quotas are meant, of one type of entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaFilter {
    /// Those of the entity of this name.
    Named(String),
    /// Those of all entities that have none of their own.
    Default,
    /// Those of all, by whatever name.
    Any,
}

/// An entity that has quotas, in one of its parts: a name, or the default of all names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaOwner {
    /// All that have no quota of their own.
    Default,
    /// The one of this name.
    Named(String),
}

/// An entity by its parts: of each type (`user`, `client-id`, `ip`) its name.
pub type QuotaEntity = BTreeMap<String, QuotaOwner>;

/// The quotas of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// The entity.
    pub entity: QuotaEntity,
    /// By name, such as `producer_byte_rate`.
    pub values: BTreeMap<String, f64>,
}

impl Client {
    /// The quotas of entities that have exactly these types, and match.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn describe_quotas(
        &self,
        filters: &BTreeMap<String, QuotaFilter>,
    ) -> Result<Vec<Quotas>, ClientError> {
        let component = |(kind, filter): (&String, &QuotaFilter)| {
            let (match_type, match_) = match filter {
                QuotaFilter::Any => (SPECIFIED, None),
                QuotaFilter::Default => (DEFAULT, None),
                QuotaFilter::Named(name) => (EXACT, Some(name.clone())),
            };
            ComponentData { entity_type: kind.clone(), match_type, match_, ..Default::default() }
        };
        let request = DescribeClientQuotasRequest {
            components: filters.iter().map(component).collect(),
            strict: true,
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        ClientError::check_item(response.error_code, response.error_message, "quotas")?;
        let all = response.entries.unwrap_or_default().into_iter().map(|entry| {
            let entity = entry.entity.into_iter().map(|part| {
                let owner = part.entity_name.map_or(QuotaOwner::Default, QuotaOwner::Named);
                (part.entity_type, owner)
            });
            let values = entry.values.into_iter().map(|it| (it.key, it.value));
            Quotas { entity: entity.collect(), values: values.collect() }
        });
        Ok(all.collect())
    }

    /// Sets quotas of an entity, or takes those back that have no value.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn alter_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &[(String, Option<f64>)],
    ) -> Result<(), ClientError> {
        let part = |(kind, owner): (&String, &QuotaOwner)| EntityData {
            entity_type: kind.clone(),
            entity_name: match owner {
                QuotaOwner::Default => None,
                QuotaOwner::Named(name) => Some(name.clone()),
            },
            ..Default::default()
        };
        let op = |(key, value): &(String, Option<f64>)| OpData {
            key: key.clone(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..Default::default()
        };
        let entry = EntryData {
            entity: entity.iter().map(part).collect(),
            ops: changes.iter().map(op).collect(),
            ..Default::default()
        };
        let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
        for result in self.ask_controller(&request).await?.entries {
            ClientError::check_item(result.error_code, result.error_message, "quotas")?;
        }
        Ok(())
    }
}
