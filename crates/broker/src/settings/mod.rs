//! Every setting once: its name, type, default, what is allowed, how it changes, what it means.
//!
//! `table.txt` is the list; [`Settings`] is what a node was started with, [`Effective`] what is in
//! force once what operators have set in the cluster is laid over it.

mod allowed;
mod checks;
mod effective;
mod explain;
mod pairs;
mod rules;
mod started;
mod table;
mod value;

pub use checks::SettingRules;
pub use effective::{Effective, Source, Synonym, describe, in_force};
pub use explain::{explain, reference};
pub use rules::{group_settings, keeper_settings, topic_rules, transaction_settings};
pub use started::{ListenerSetting, SettingError, Settings};
pub use table::{Changes, Kind, Scope, Setting, find, in_scope, nearest};
