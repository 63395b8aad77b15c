//! Every setting once: its name, type, default, what is allowed, how it changes, what it means.
//!
//! `table.txt` is the list; [`Settings`] is what a node was started with, [`Effective`] what is in
//! force once what operators have set in the cluster is laid over it. Nothing here reads a file,
//! an address or the environment: texts come in, answers and sentences go out.

mod allowed;
mod checks;
mod cluster;
mod effective;
mod environment;
mod explain;
mod listeners;
mod pairs;
mod quorum;
mod started;
mod table;
mod unbuilt;
mod value;

pub use allowed::Allowed;
pub use checks::SettingRules;
pub use cluster::{ClusterList, ClusterNode};
pub use effective::{ConfigSource, Effective, Synonym, describe_setting, in_force};
pub use explain::{explain_setting, settings_reference};
pub use listeners::{ListenerSetting, Protocol, listener_protocols};
pub use pairs::connections_of_addresses;
pub use quorum::{BootstrapServer, QuorumPeer, QuorumTiming};
pub use started::{Origin, SettingError, Settings, Sources};
pub use table::{
    ConfigType, Scope, Setting, SettingEffect, UpdateMode, find_setting, in_scope, nearest_setting,
};
pub use unbuilt::unbuilt_settings;
