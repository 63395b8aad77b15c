//! `ottla demo`: examples that play on a running cluster.

mod moves;
mod reading;
mod tally;
mod trucks;
mod writing;

use std::error::Error;

use clap::Subcommand;
use tokio::task::LocalSet;

use crate::front::Environment;

/// The example.
#[derive(Debug, Subcommand)]
pub enum DemoAction {
    /// Trucks send their positions, and a consumer group follows them: kill a broker, and watch.
    Trucks(trucks::TrucksArgs),
}

pub(crate) async fn run_demo(
    action: DemoAction,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    // A consumer's calls stay on their thread.
    let tasks = LocalSet::new();
    match action {
        DemoAction::Trucks(args) => {
            tasks.run_until(Box::pin(trucks::run_trucks(args, environment))).await
        }
    }
}
