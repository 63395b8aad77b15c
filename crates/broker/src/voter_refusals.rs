//! Why the voters of the metadata quorum stay as they are, in words for the operator who has asked.

use ottla_quorum::{Quorum, ReplicaKey, VoterSet};
use ottla_types::ErrorCode;

use crate::audit::VoterChange;
use crate::node::Node;

/// What is known of the quorum when it refuses.
struct RefusalFacts {
    kraft_version: i16,
    /// The voter of the same node, if there is one.
    voter_of_node: Option<ReplicaKey>,
    voters: String,
    /// Does the controller that is to be added fetch from this leader?
    fetches: bool,
}

/// The message for a change that was refused with this code.
#[must_use]
pub fn explain_voter_refusal(
    node: &Node,
    code: ErrorCode,
    change: VoterChange,
    wanted: ReplicaKey,
) -> String {
    let look = |quorum: &Quorum| RefusalFacts {
        kraft_version: quorum.kraft_version(),
        voter_of_node: quorum.voters().of_node(wanted.id).map(|voter| voter.key),
        voters: list_voters(quorum.voters()),
        fetches: quorum.raft().replicas().any(|(key, _)| *key == wanted),
    };
    let facts = node.controller.member().look(look);
    let explained = facts.and_then(|facts| explain_code(&facts, code, change, wanted));
    explained.unwrap_or_else(|| code.message().to_owned())
}

fn explain_code(
    facts: &RefusalFacts,
    code: ErrorCode,
    change: VoterChange,
    wanted: ReplicaKey,
) -> Option<String> {
    let doing = match change {
        VoterChange::Added => "adding",
        VoterChange::Removed => "removing",
    };
    let ReplicaKey { id, directory } = wanted;
    let voters = &facts.voters;
    Some(match code {
        ErrorCode::UNSUPPORTED_VERSION => format!(
            "Cluster doesn't support {doing} voter because the kraft.version feature is {}: upgrade \
             it first (kafka-features upgrade --feature kraft.version=1)",
            facts.kraft_version
        ),
        ErrorCode::DUPLICATE_VOTER => {
            let known = facts.voter_of_node?;
            match known.directory == directory {
                true => {
                    format!("Controller {id} with directory id {directory} is a voter already.")
                }
                false => format!(
                    "Controller {id} is a voter already, with directory id {}: remove that voter \
                     first, if its disk was replaced.",
                    known.directory
                ),
            }
        }
        ErrorCode::VOTER_NOT_FOUND if facts.voter_of_node == Some(wanted) => {
            format!("Controller {id} is the only voter, and cannot be removed.")
        }
        ErrorCode::VOTER_NOT_FOUND => format!(
            "Cannot remove voter {id} with directory id {directory}: the voters are {voters}."
        ),
        ErrorCode::REQUEST_TIMED_OUT if change == VoterChange::Added && !facts.fetches => format!(
            "Controller {id} with directory id {directory} does not fetch the metadata log: is it \
             running, and does its configuration name this quorum?"
        ),
        ErrorCode::REQUEST_TIMED_OUT if change == VoterChange::Added => format!(
            "Controller {id} cannot become a voter yet: it lags behind, the leader cannot reach its \
             listeners, or another change of the voters is in progress. Try again."
        ),
        ErrorCode::REQUEST_TIMED_OUT => {
            "Another change of the voters is in progress, or has not committed in time. Try again."
                .to_owned()
        }
        _ => return None,
    })
}

fn list_voters(voters: &VoterSet) -> String {
    let one = |key: ReplicaKey| format!("{} with directory id {}", key.id, key.directory);
    voters.iter().map(|voter| one(voter.key)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use ottla_types::Uuid;

    use super::*;

    #[test]
    fn a_refusal_names_the_voter_and_the_next_step() {
        let key = |id, directory| ReplicaKey { id, directory: Uuid::of(directory) };
        let known = RefusalFacts {
            kraft_version: 0,
            voter_of_node: Some(key(3, 30)),
            voters: "3 with directory id X".to_owned(),
            fetches: false,
        };
        use VoterChange::{Added, Removed};
        let of = |directory| key(3, directory);
        for (code, change, wanted, said) in [
            (ErrorCode::UNSUPPORTED_VERSION, Added, of(30), "--feature kraft.version=1"),
            (ErrorCode::DUPLICATE_VOTER, Added, of(30), "is a voter already."),
            (ErrorCode::DUPLICATE_VOTER, Added, of(31), "remove that voter first"),
            (ErrorCode::VOTER_NOT_FOUND, Removed, of(30), "the only voter"),
            (ErrorCode::VOTER_NOT_FOUND, Removed, of(31), "the voters are 3 with directory id X"),
            (ErrorCode::REQUEST_TIMED_OUT, Added, of(30), "does not fetch the metadata log"),
            (ErrorCode::REQUEST_TIMED_OUT, Removed, of(30), "Another change"),
        ] {
            let text = explain_code(&known, code, change, wanted).unwrap_or_default();
            assert!(text.contains(said), "{code:?}: {text}");
        }
        assert_eq!(explain_code(&known, ErrorCode::NOT_CONTROLLER, Added, of(30)), None);
    }
}
