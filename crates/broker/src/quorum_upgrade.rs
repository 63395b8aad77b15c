//! `kraft.version` goes up: the voters move from the settings into the metadata log (KIP-853).

use std::time::Duration;

use ottla_metadata::KRAFT_VERSION;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_quorum::{ChangeAnswered, MembershipChange};
use ottla_types::{ErrorCode, NodeId};

use crate::node::Node;

/// A voter tells each new leader which versions it supports after the fetch timeout
/// (`controller.quorum.fetch.timeout.ms`, 2 s).
const INTRODUCTION_LIMIT: Duration = Duration::from_secs(5);
/// How long the request waits between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why the quorum stays at its `kraft.version`.
#[derive(Debug)]
pub struct UpgradeRefusal {
    code: ErrorCode,
    wanted: i16,
    /// The voters that are not ready for it.
    unready: Vec<NodeId>,
}

/// Returns when the quorum may be upgraded: all voters have introduced themselves to this leader.
/// It waits for that, though not longer than `limit`.
///
/// # Errors
/// The quorum cannot be upgraded.
pub async fn await_readiness(
    node: &Node,
    wanted: i16,
    limit: Duration,
) -> Result<(), UpgradeRefusal> {
    let until = node.clock.monotonic() + limit.min(INTRODUCTION_LIMIT);
    while let Err(refusal) = check_readiness(node, wanted) {
        let may_pass = refusal.code == ErrorCode::REQUEST_TIMED_OUT || !refusal.unready.is_empty();
        if !may_pass || node.clock.monotonic() >= until {
            return Err(refusal);
        }
        node.clock.sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Upgrades the quorum; returns when that has committed.
///
/// # Errors
/// The quorum cannot be upgraded, or this node does not lead it any longer.
pub async fn upgrade_kraft_version(node: &Node, wanted: i16) -> Result<(), UpgradeRefusal> {
    let change = MembershipChange::Upgrade(wanted);
    let changed = node.quorum.change_voters(None, None, change, ChangeAnswered::WhenCommitted);
    changed.await.map_err(|code| UpgradeRefusal { code, wanted, unready: Vec::new() })
}

fn check_readiness(node: &Node, wanted: i16) -> Result<(), UpgradeRefusal> {
    let looked = node.controller.member().look(|quorum| {
        let unready: Vec<NodeId> = quorum.raft().unready_voters(wanted).collect();
        (quorum.raft().check_change(&MembershipChange::Upgrade(wanted)), unready)
    });
    let stopped = (Err(ErrorCode::NOT_LEADER_OR_FOLLOWER), Vec::new());
    let (checked, unready) = looked.unwrap_or(stopped);
    checked.map_err(|code| UpgradeRefusal { code, wanted, unready })
}

impl UpgradeRefusal {
    /// The answer to the request.
    ///
    /// # Errors
    /// Another node leads the quorum.
    pub fn answer(self) -> Result<UpdateFeaturesResponse, ErrorCode> {
        let Self { code, wanted, unready } = self;
        if code == ErrorCode::NOT_LEADER_OR_FOLLOWER {
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        let why = match code {
            ErrorCode::INVALID_UPDATE_VERSION if !unready.is_empty() => {
                let ids: Vec<String> = unready.iter().map(NodeId::to_string).collect();
                format!(
                    "the active controller does not know yet whether voters {} support it, and \
                     which directories they have: start them, and try again",
                    ids.join(", ")
                )
            }
            ErrorCode::REQUEST_TIMED_OUT => {
                "the active controller was elected a moment ago, or another change of the quorum \
                 is in progress: try again"
                    .to_owned()
            }
            code => code.message().to_owned(),
        };
        let error_message = Some(format!(
            "The update failed for all features since the following feature had an error: Invalid \
             upgrade of {KRAFT_VERSION} to {wanted}: {why}"
        ));
        Ok(UpdateFeaturesResponse { error_code: code.0, error_message, ..Default::default() })
    }
}
