//! Administration: one file for each intent. All of it is methods of [`crate::Client`].

pub(crate) mod configs;
mod describe_groups;
pub(crate) mod group_offsets;
mod list_offsets;
mod topics;

pub use configs::{ConfigEntry, ConfigKind, ConfigSynonym};
pub use describe_groups::{GroupDescription, MemberDescription};
pub use group_offsets::GroupListing;
pub use topics::{NewTopic, TopicListing};
