//! The cluster itself: its id, its controller, its brokers.

use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_types::{NodeId, join_host_port};

use super::active_controller::CONTROLLERS;
use crate::client::{BootstrapNodes, Client};
use crate::error::ClientError;

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub id: String,
    /// The controller; -1 if there is none.
    pub controller: NodeId,
    /// Its brokers.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Its id.
    pub id: NodeId,
    /// The host of its advertised listener.
    pub host: String,
    /// The port of its advertised listener.
    pub port: i32,
    /// `broker.rack`
    pub rack: Option<String>,
    /// Is it fenced, so that it leads no partition?
    pub is_fenced: bool,
}

/// Which brokers to describe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Brokers {
    /// Those that clients can use.
    #[default]
    Unfenced,
    /// All, also those that are fenced.
    All,
}

impl Client {
    /// The cluster, as any of its brokers knows it. A client of controllers is answered with the
    /// controllers.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_cluster(
        &self,
        brokers: Brokers,
    ) -> Result<ClusterDescription, ClientError> {
        let mut request = DescribeClusterRequest {
            include_fenced_brokers: brokers == Brokers::All,
            ..Default::default()
        };
        if self.options().bootstrap == BootstrapNodes::Controllers {
            // Any of them knows the others.
            request.endpoint_type = CONTROLLERS;
        }
        let response = self.ask_first(&request, self.options().request_timeout).await?;
        ClientError::check_item(response.error_code, response.error_message, "the cluster")?;
        for it in &response.brokers {
            self.shared.metadata.add_broker(it.broker_id, join_host_port(&it.host, it.port));
        }
        let brokers = response.brokers.into_iter().map(|broker| BrokerDescription {
            id: broker.broker_id,
            host: broker.host,
            port: broker.port,
            rack: broker.rack,
            is_fenced: broker.is_fenced,
        });
        Ok(ClusterDescription {
            id: response.cluster_id,
            controller: response.controller_id,
            brokers: brokers.collect(),
        })
    }

    /// Takes a broker out of the cluster that does not come back.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn unregister_broker(&self, broker: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: broker, ..Default::default() };
        let response = self.ask_controller(&request).await?;
        let what = format!("broker {broker}");
        ClientError::check_item(response.error_code, response.error_message, what)
    }
}
