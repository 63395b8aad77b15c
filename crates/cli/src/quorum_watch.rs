//! Who leads the metadata quorum, as it changes.

use std::time::Duration;

use ottla_client::{Client, ClientError, ClientOptions};
use ottla_clock::Clock;
use ottla_types::NodeId;
use tokio::sync::watch;

/// How often the brokers are asked.
const ASKED_EVERY: Duration = Duration::from_millis(300);
/// How long a broker may take to answer; it asks the leader, which may be gone.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// After how many failures in a row the quorum counts as without a leader.
const FAILURES: u32 = 10;
/// The node id of no leader.
const NO_LEADER: NodeId = -1;

/// Asks these brokers (`host:port,host:port`) again and again who leads the metadata quorum, and
/// publishes the leader's id whenever it changes; -1 while there is none.
pub async fn follow_quorum_leader(bootstrap: String, leader: watch::Sender<NodeId>) {
    let clock = Clock::real();
    let mut client = None;
    let mut failures = 0;
    while !leader.is_closed() {
        let found = find_leader(&mut client, &bootstrap, &clock).await;
        failures = if found.is_ok() { 0 } else { failures + 1 };
        let newest = match found {
            Ok(id) => Some(id),
            Err(_) => (failures >= FAILURES).then_some(NO_LEADER),
        };
        leader.send_if_modified(|known| match newest {
            Some(id) if *known != id => {
                *known = id;
                true
            }
            _ => false,
        });
        clock.sleep(ASKED_EVERY).await;
    }
}

async fn find_leader(
    client: &mut Option<Client>,
    bootstrap: &str,
    clock: &Clock,
) -> Result<NodeId, ClientError> {
    if client.is_none() {
        let options = ClientOptions {
            client_id: "ottla-up".to_owned(),
            request_timeout: ANSWER_TIME,
            setup_timeout: ANSWER_TIME,
            ..ClientOptions::default()
        };
        *client = Some(Client::connect_with(bootstrap, options, clock.clone()).await?);
    }
    match client {
        Some(client) => Ok(client.describe_quorum().await?.leader),
        None => Ok(NO_LEADER),
    }
}
