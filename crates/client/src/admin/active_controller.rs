//! The way to the active controller, for a client that talks to controllers only (KIP-919).

use std::time::Duration;

use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::{Answer as _, Request};
use ottla_types::{ErrorCode, NodeId, join_host_port};

use crate::client::Client;
use crate::error::ClientError;

/// Kafka's number for endpoints of controllers.
pub(super) const CONTROLLERS: i8 = 2;

impl Client {
    /// Asks the active controller; while another is elected, again, for as long as calls are
    /// retried.
    pub(crate) async fn ask_active_controller<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let deadline = self.clock().monotonic() + self.options().retry_timeout;
        loop {
            let asked = match self.find_active_controller().await {
                Ok(controller) => self.ask_within(controller, request, limit).await,
                Err(error) => Err(error),
            };
            // It may have been the active one when the others named it.
            let is_elsewhere = match &asked {
                Ok(response) => [ErrorCode::NOT_CONTROLLER, ErrorCode::NOT_LEADER_OR_FOLLOWER]
                    .iter()
                    .any(|code| response.has_error(*code)),
                // After any other failure it may have been carried out.
                Err(ClientError::Unanswered { .. }) => false,
                Err(error) => error.is_passing(),
            };
            if !is_elsewhere || self.clock().monotonic() >= deadline {
                return asked;
            }
            self.pause().await;
        }
    }

    /// The active controller, as any controller knows it.
    async fn find_active_controller(&self) -> Result<NodeId, ClientError> {
        let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
        let response = self.ask_first(&request, self.options().request_timeout).await?;
        let what = "the controllers";
        ClientError::check_item(response.error_code, response.error_message, what)?;
        for it in &response.brokers {
            self.shared.metadata.add_broker(it.broker_id, join_host_port(&it.host, it.port));
        }
        if response.controller_id < 0 {
            let reason = "no controller is active: the metadata quorum has no leader".to_owned();
            return Err(ClientError::RefusedBecause {
                code: ErrorCode::LEADER_NOT_AVAILABLE,
                reason,
            });
        }
        Ok(response.controller_id)
    }
}
