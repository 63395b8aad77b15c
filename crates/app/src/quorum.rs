//! `ottla quorum`: the metadata of a node, backed up and recovered.

use std::error::Error;
use std::io::Write;

use ottla_broker::{BrokenTail, Broker, RecoverMode, RecoverRequest};
use ottla_clock::Clock;

use crate::args::{QuorumAction, RecoverArgs};
use crate::server::{read_settings, with_advice};

/// Runs a command of `ottla quorum`.
///
/// # Errors
/// It is refused, or the disk fails.
pub fn run_quorum(action: &QuorumAction) -> Result<(), Box<dyn Error>> {
    let text = match action {
        QuorumAction::Recover(args) => {
            let settings = read_settings(&args.settings)?;
            let report = Broker::recover(&settings, &recover_request(args), &Clock::real());
            report.map_err(|error| with_advice(error, &args.settings))?.to_string()
        }
        QuorumAction::Backup(args) => {
            let settings = read_settings(&args.settings)?;
            let report = Broker::back_up(&settings, &args.to);
            report.map_err(|error| with_advice(error, &args.settings))?.to_string()
        }
    };
    Ok(write!(std::io::stdout(), "{text}")?)
}

fn recover_request(args: &RecoverArgs) -> RecoverRequest {
    RecoverRequest {
        mode: if args.execute { RecoverMode::Execute } else { RecoverMode::Show },
        backup: args.backup.clone(),
        tail: if args.cut_broken_tail { BrokenTail::CutOff } else { BrokenTail::Refuse },
    }
}
