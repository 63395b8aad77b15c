//! Settings of topics, brokers, groups and subscriptions to metrics.

use std::collections::BTreeMap;

use ottla_protocol::Request;
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;

use ottla_types::NodeId;

use super::ChangeMode;
use crate::client::Client;
use crate::error::ClientError;
use crate::metadata::IfAbsent;

/// What settings belong to. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigKind {
    /// A topic.
    Topic = 2,
    /// A broker, or (the empty name) all of them.
    Broker = 4,
    /// What a broker logs, part by part.
    BrokerLogger = 8,
    /// A subscription to clients' metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

/// What settings belong to: a kind, and a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigResource<'a> {
    /// The kind.
    pub kind: ConfigKind,
    /// The name; for brokers the id, or nothing for all of them.
    pub name: &'a str,
}

impl<'a> ConfigResource<'a> {
    /// The topic of this name.
    #[must_use]
    pub const fn topic(name: &'a str) -> Self {
        Self { kind: ConfigKind::Topic, name }
    }

    /// The broker of this id.
    #[must_use]
    pub const fn broker(id: &'a str) -> Self {
        Self { kind: ConfigKind::Broker, name: id }
    }
}

/// A value that would be in force if the nearer ones were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The setting that has it.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Where it comes from, by the numbers of DescribeConfigs.
    pub source: i8,
}

/// A setting with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value, if it has one that may be shown.
    pub value: Option<String>,
    /// Where it comes from, by the numbers of DescribeConfigs.
    pub source: i8,
    /// May its value not be shown?
    pub is_sensitive: bool,
    /// All its values, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it does, if that was asked for.
    pub documentation: Option<String>,
}

impl ConfigEntry {
    /// The source of a value that is the setting's default.
    pub const DEFAULT: i8 = 5;

    /// Is the value the setting's default?
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.source == Self::DEFAULT
    }
}

/// Is asked what settings do?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Documentation {
    Wanted,
    Left,
}

impl From<DescribeConfigsResourceResult> for ConfigEntry {
    fn from(it: DescribeConfigsResourceResult) -> Self {
        let synonyms = it.synonyms.into_iter();
        Self {
            name: it.name,
            value: it.value,
            source: it.config_source,
            is_sensitive: it.is_sensitive,
            documentation: it.documentation,
            synonyms: synonyms
                .map(|it| ConfigSynonym { name: it.name, value: it.value, source: it.source })
                .collect(),
        }
    }
}

impl Client {
    /// The settings of these resources, by name.
    ///
    /// # Errors
    /// One of them is not there, or its broker does not answer.
    pub async fn configs(
        &self,
        kind: ConfigKind,
        names: &[String],
    ) -> Result<BTreeMap<String, Vec<ConfigEntry>>, ClientError> {
        self.ask_for_configs(kind, names, Documentation::Left).await
    }

    /// As [`Self::configs`], with the documentation of each setting.
    ///
    /// # Errors
    /// One of the resources does not exist, or its broker does not answer.
    pub async fn documented_configs(
        &self,
        kind: ConfigKind,
        names: &[String],
    ) -> Result<BTreeMap<String, Vec<ConfigEntry>>, ClientError> {
        self.ask_for_configs(kind, names, Documentation::Wanted).await
    }

    async fn ask_for_configs(
        &self,
        kind: ConfigKind,
        names: &[String],
        documentation: Documentation,
    ) -> Result<BTreeMap<String, Vec<ConfigEntry>>, ClientError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resource = |name: &String| DescribeConfigsResource {
            resource_type: kind as i8,
            resource_name: name.clone(),
            configuration_keys: None,
            ..Default::default()
        };
        let request = DescribeConfigsRequest {
            resources: names.iter().map(resource).collect(),
            include_synonyms: true,
            include_documentation: documentation == Documentation::Wanted,
            ..Default::default()
        };
        // A broker answers for itself only.
        let first =
            names.first().filter(|_| matches!(kind, ConfigKind::Broker | ConfigKind::BrokerLogger));
        let response = match first.and_then(|name| name.parse().ok()) {
            Some(node) => self.ask_known(node, &request).await?,
            None => self.ask_any(&request).await?,
        };
        let mut found = BTreeMap::new();
        for it in response.results {
            let what = || it.resource_name.clone();
            ClientError::check_with_reason(it.error_code, it.error_message, what)?;
            let mut all: Vec<ConfigEntry> = it.configs.into_iter().map(Into::into).collect();
            all.sort_by(|a, b| a.name.cmp(&b.name));
            found.insert(it.resource_name, all);
        }
        Ok(found)
    }

    /// Asks a broker that may not be known yet.
    async fn ask_known<R: Request>(
        &self,
        node: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        if self.address(node).is_none() {
            self.all_brokers().await?;
        }
        self.ask(node, request).await
    }

    /// Sets settings of a resource, or with [`ChangeMode::Check`] asks whether the cluster would;
    /// those without a value go back to their default.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub async fn set_configs(
        &self,
        resource: ConfigResource<'_>,
        changes: Vec<(String, Option<String>)>,
        mode: ChangeMode,
    ) -> Result<(), ClientError> {
        let ConfigResource { kind, name } = resource;
        let change = |(name, value): (String, Option<String>)| AlterableConfig {
            name,
            config_operation: i8::from(value.is_none()),
            value,
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: kind as i8,
            resource_name: name.to_owned(),
            configs: changes.into_iter().map(change).collect(),
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            validate_only: mode == ChangeMode::Check,
            ..Default::default()
        };
        // What a broker logs is known to that broker alone.
        let own = Some(name).filter(|_| kind == ConfigKind::BrokerLogger);
        let response = match own.and_then(|name| name.parse().ok()) {
            Some(node) => self.ask_known(node, &request).await?,
            None => self.ask_any(&request).await?,
        };
        for it in response.responses {
            let what = || name.to_owned();
            ClientError::check_with_reason(it.error_code, it.error_message, what)?;
        }
        Ok(())
    }

    /// The names of all resources of a kind that something was or can be set for.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn config_names(&self, kind: ConfigKind) -> Result<Vec<String>, ClientError> {
        let mut names: Vec<String> = match kind {
            ConfigKind::Topic => {
                let all = self.refresh(None, IfAbsent::Fail).await?;
                all.into_iter().filter_map(|it| it.name).collect()
            }
            ConfigKind::Broker | ConfigKind::BrokerLogger => {
                let all = self.all_brokers().await?.into_iter();
                return Ok(all.map(|id| id.to_string()).chain([String::new()]).collect());
            }
            ConfigKind::ClientMetrics | ConfigKind::Group => {
                let request = ListConfigResourcesRequest {
                    resource_types: vec![kind as i8],
                    ..Default::default()
                };
                let response = self.ask_any(&request).await?;
                ClientError::check(response.error_code, || "settings".to_owned())?;
                response.config_resources.into_iter().map(|it| it.resource_name).collect()
            }
        };
        names.sort();
        Ok(names)
    }
}
