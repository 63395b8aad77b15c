//! What a kafka-* command is made of.

use crate::options::{Opt, Parsed};
use crate::session::{ToolError, ToolSession};

/// A command.
pub struct Tool {
    /// Its name, without `.sh`.
    pub name: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// Its options.
    pub options: &'static [Opt],
    pub(crate) run: fn(&Parsed, &mut ToolSession<'_>) -> Result<(), ToolError>,
}
