//! Who asks, and may they?
//!
//! Every handler names what it is about to do and to what before it does it. There is no
//! authorizer yet, so everybody may do everything, as in Kafka without `authorizer.class.name`;
//! but the question is asked at every door from the first day.

use std::fmt;
use std::sync::Arc;

/// Who a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `User` for everybody but tokens of later kinds.
    pub kind: Arc<str>,
    /// The name, such as `ANONYMOUS`.
    pub name: Arc<str>,
}

impl Principal {
    /// Who has not said who they are.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { kind: "User".into(), name: "ANONYMOUS".into() }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// What is to be done. The numbers are those of Kafka's `AclOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Operation {
    /// Read records, join a group.
    Read = 3,
    /// Write records.
    Write = 4,
    /// Create the resource.
    Create = 5,
    /// Delete the resource.
    Delete = 6,
    /// Change the resource.
    Alter = 7,
    /// Look at the resource.
    Describe = 8,
    /// Do what only brokers do.
    ClusterAction = 9,
    /// Look at its settings.
    DescribeConfigs = 10,
    /// Change its settings.
    AlterConfigs = 11,
}

/// To what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// A group, by id.
    Group(&'a str),
    /// The cluster as a whole.
    Cluster,
    /// A transactional id.
    TransactionalId(&'a str),
}

impl Resource<'_> {
    /// The operations anybody could be granted on this kind, as the bit field that Metadata,
    /// DescribeGroups and DescribeCluster report (KIP-430).
    #[must_use]
    pub fn operations(&self) -> i32 {
        let all: &[Operation] = match self {
            Resource::Topic(_) => &[
                Operation::Read,
                Operation::Write,
                Operation::Create,
                Operation::Delete,
                Operation::Alter,
                Operation::Describe,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            Resource::Group(_) => &[
                Operation::Read,
                Operation::Delete,
                Operation::Describe,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            Resource::Cluster => &[
                Operation::Create,
                Operation::Alter,
                Operation::Describe,
                Operation::ClusterAction,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            Resource::TransactionalId(_) => &[Operation::Write, Operation::Describe],
        };
        // Cluster has IDEMPOTENT_WRITE (12) too, which is no operation of its own any more.
        let extra = if matches!(self, Resource::Cluster) { 1 << 12 } else { 0 };
        all.iter().fold(extra, |bits, operation| bits | 1 << (*operation as i32))
    }
}

/// May `principal` do `operation` to `resource`?
#[must_use]
pub fn may(_principal: &Principal, _operation: Operation, _resource: Resource<'_>) -> bool {
    true
}
