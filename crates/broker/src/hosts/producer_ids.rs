//! Producer ids that this node may give away: a block of them at a time from the controller.

use ottla_metadata::{ControllerCommand, ProducerIdBlock};
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_types::{ErrorCode, ProducerId};
use std::time::Duration;
use tokio::sync::Mutex;

use super::controller_channel::{BrokerIdentity, ControllerChannel, ControllerPlace};

/// How long a new block is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// What is left of the block.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// Guards the next id, and the end of the block; held while a new block is asked for, so that
    /// only one is. With a block of 1000 from 3000 on and two given away: 3002 and 4000.
    left: Mutex<(ProducerId, ProducerId)>,
}

impl ProducerIds {
    /// An id that was never given away before.
    ///
    /// # Errors
    /// The controller is gone, or all ids of the cluster have been given away.
    pub async fn next(
        &self,
        broker: BrokerIdentity,
        channel: &ControllerChannel,
    ) -> Result<ProducerId, ErrorCode> {
        let mut block = self.left.lock().await;
        if block.0 == block.1 {
            let asked = channel.ask(LIMIT, async |active| match active {
                ControllerPlace::Here => {
                    let (broker, broker_epoch) = (broker.id, None);
                    let command = ControllerCommand::AllocateProducerIds { broker, broker_epoch };
                    let allocated: Result<ProducerIdBlock, ErrorCode> =
                        channel.here().ask(command).await?;
                    allocated.map(|it| (it.first, it.count))
                }
                ControllerPlace::There(link) => {
                    let request = AllocateProducerIdsRequest {
                        broker_id: broker.id,
                        broker_epoch: broker.epoch,
                        ..Default::default()
                    };
                    let response = channel.send(&link, &request, LIMIT).await?;
                    ErrorCode(response.error_code).check()?;
                    Ok((response.producer_id_start, response.producer_id_len))
                }
            });
            let (first, count) = asked.await?;
            *block = (first, first + ProducerId::from(count));
        }
        block.0 += 1;
        Ok(block.0 - 1)
    }
}
