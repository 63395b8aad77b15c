//! The principal of a request, and whether it may do what it asks.
//!
//! Every handler asks `call.may(node, operation, resource)` before it does something. What each API
//! has to ask, and what it answers when that is denied, is a table: `authorisation.txt`, and a test
//! holds every handler against it with real requests. A node without an authorizer allows
//! everything, as Kafka without `authorizer.class.name`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ottla_metadata::ResourceKind;
use ottla_types::ErrorCode;

/// The authenticated identity of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `User`, as for all principals of Kafka's own authentication.
    pub kind: Arc<str>,
    /// The name, such as `ANONYMOUS`.
    pub name: Arc<str>,
}

impl Principal {
    /// The principal of clients that have not authenticated.
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

/// The principal of a request, and the address that it came from.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The principal of the connection.
    pub principal: &'a Principal,
    /// The address that it comes from.
    pub host: IpAddr,
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
    /// Describe the resource.
    Describe = 8,
    /// Do what only brokers do.
    ClusterAction = 9,
    /// Describe its settings.
    DescribeConfigs = 10,
    /// Change its settings.
    AlterConfigs = 11,
    /// Produce with a producer id; a principal that may write to any topic may do this too.
    IdempotentWrite = 12,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Alter,
        Self::Describe,
        Self::ClusterAction,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::IdempotentWrite,
    ];
}

/// The resource that is asked for.
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

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// Topics.
    Topic,
    /// Groups.
    Group,
    /// The cluster.
    Cluster,
    /// Transactional ids.
    TransactionalId,
}

impl<'a> Resource<'a> {
    /// What the settings of a resource belong to: those of brokers, their loggers and subscriptions
    /// to metrics to the cluster.
    #[must_use]
    pub const fn of_settings(kind: ResourceKind, name: &'a str) -> Self {
        match kind {
            ResourceKind::Topic => Resource::Topic(name),
            ResourceKind::Group => Resource::Group(name),
            ResourceKind::Broker | ResourceKind::BrokerLogger | ResourceKind::ClientMetrics => {
                Resource::Cluster
            }
        }
    }

    /// What Kafka answers where an operation on it is denied.
    #[must_use]
    pub const fn denied(&self) -> ErrorCode {
        match self {
            Resource::Topic(_) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Resource::Group(_) => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            Resource::Cluster => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            Resource::TransactionalId(_) => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ResourceType {
        match self {
            Resource::Topic(_) => ResourceType::Topic,
            Resource::Group(_) => ResourceType::Group,
            Resource::Cluster => ResourceType::Cluster,
            Resource::TransactionalId(_) => ResourceType::TransactionalId,
        }
    }
}

impl ResourceType {
    /// The operations that can be granted on this kind: those that Metadata, DescribeGroups and
    /// DescribeCluster report as a bit field (KIP-430).
    #[must_use]
    pub const fn operations(self) -> &'static [Operation] {
        match self {
            Self::Topic => &[
                Operation::Read,
                Operation::Write,
                Operation::Create,
                Operation::Delete,
                Operation::Alter,
                Operation::Describe,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            Self::Group => &[
                Operation::Read,
                Operation::Delete,
                Operation::Describe,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            Self::Cluster => &[
                Operation::Create,
                Operation::Alter,
                Operation::Describe,
                Operation::ClusterAction,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
                Operation::IdempotentWrite,
            ],
            Self::TransactionalId => &[Operation::Write, Operation::Describe],
        }
    }
}

/// Decides which principal may do what.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// May `client` do `operation` to `resource`?
    fn allows(&self, client: Requester<'_>, operation: Operation, resource: Resource<'_>) -> bool;

    /// May `client` do `operation` to any one resource of this type?
    fn allows_some(&self, client: Requester<'_>, operation: Operation, kind: ResourceType) -> bool;
}
