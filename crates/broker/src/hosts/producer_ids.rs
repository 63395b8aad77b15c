//! Producer ids that this node may give away: a block of them at a time from the controller.

use ottla_metadata::{ControllerCommand, ProducerIdBlock};
use ottla_types::{ErrorCode, NodeId, ProducerId};
use tokio::sync::Mutex;

use super::controller::ControllerHandle;

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
        broker: NodeId,
        controller: &ControllerHandle,
    ) -> Result<ProducerId, ErrorCode> {
        let mut block = self.left.lock().await;
        if block.0 == block.1 {
            let command = ControllerCommand::AllocateProducerIds { broker, broker_epoch: None };
            let allocated: Result<ProducerIdBlock, ErrorCode> = controller.ask(command).await?;
            let ProducerIdBlock { first, count } = allocated?;
            *block = (first, first + ProducerId::from(count));
        }
        block.0 += 1;
        Ok(block.0 - 1)
    }
}
