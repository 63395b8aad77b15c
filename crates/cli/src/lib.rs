//! The operator's commands.

use std::error::Error;
use std::path::Path;

use clap::Subcommand;

/// A command for a running cluster.
#[derive(Debug, Subcommand)]
pub enum Command {}

/// Does what the command says.
///
/// # Errors
/// What went wrong, for the operator to read.
pub fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {}
}

/// The text of a file that the operator named.
///
/// # Errors
/// It cannot be read.
pub fn read_file(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}
