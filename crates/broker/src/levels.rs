//! The levels of the log, part by part, as `kafka-configs --entity-type broker-loggers` sees them.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// How much of a part of the program is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// Warnings, too.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Details for finding a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Kafka's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    /// The level of this name; Kafka's FATAL is ERROR, as nothing here is graver.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "FATAL" | "ERROR" => Self::Error,
            "WARN" => Self::Warn,
            "INFO" => Self::Info,
            "DEBUG" => Self::Debug,
            "TRACE" => Self::Trace,
            _ => return None,
        })
    }
}

/// The levels of the log, changed while the node runs. They are forgotten when it stops.
pub trait LogLevels: Send + Sync {
    /// The level of each part, and of `root`, which counts where no other was set.
    fn levels(&self) -> BTreeMap<String, LogLevel>;

    /// Sets the level of a part, or takes what was set for it back.
    fn set(&self, target: &str, level: Option<LogLevel>);
}

impl Debug for dyn LogLevels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogLevels")
    }
}

/// For a node whose log is not its own: nothing can be set.
#[derive(Debug)]
pub struct NoLevels;

impl LogLevels for NoLevels {
    fn levels(&self) -> BTreeMap<String, LogLevel> {
        BTreeMap::new()
    }

    fn set(&self, _target: &str, _level: Option<LogLevel>) {}
}
