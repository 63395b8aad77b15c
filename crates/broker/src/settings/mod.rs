//! Every setting once: its name, type, default, what is allowed, how it changes, what it means.
//!
//! `table.txt` is the list; [`Settings`] is what a node was started with, [`Effective`] what is in
//! force once what operators have set in the cluster is laid over it.

mod allowed;
mod checks;
mod effective;
mod environment;
mod explain;
mod listeners;
mod pairs;
mod rules;
mod started;
mod table;
mod unbuilt;
mod value;

pub use checks::SettingRules;
pub use effective::{Effective, Source, Synonym, describe, in_force};
pub use explain::{explain, reference};
pub use listeners::{ListenerSetting, Protocol, protocols};
pub use rules::{
    InForce, InternalTopic, NodeSettings, connection_bounds, group_settings, keeper_settings,
    node_settings, settings_in_force, topic_rules, transaction_settings,
};
pub use started::{Origin, SettingError, Settings, Sources};
pub use table::{Changes, Effect, Kind, Scope, Setting, find, in_scope, nearest};
pub use unbuilt::refusals;

#[cfg(test)]
mod obeyed_tests;
