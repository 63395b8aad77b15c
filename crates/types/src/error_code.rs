//! Kafka's error codes, as they go over the wire.

use core::fmt;

macro_rules! error_codes {
    ($($code:literal $name:ident $retriable:literal $message:literal)*) => {
        /// What a response says went wrong; 0 is nothing. A code of a later Kafka passes through.
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct ErrorCode(pub i16);

        impl ErrorCode {
            $(#[doc = $message] pub const $name: Self = Self($code);)*

            /// Kafka's name of the code; `UNKNOWN` for one it has not told us of.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }

            /// One sentence for a person; lower case, no full stop.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self.0 {
                    $($code => $message,)*
                    _ => "an error code this version does not know",
                }
            }

            /// May the same request succeed later? (Kafka's `RetriableException`.)
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self.0 {
                    $($code => $retriable,)*
                    _ => false,
                }
            }
        }
    };
}

impl ErrorCode {
    /// Is this no error?
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Is this an error?
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR false "the server failed in a way it did not foresee"
    0 NONE false "no error"
    1 OFFSET_OUT_OF_RANGE false "the offset is outside the range that the server holds"
    2 CORRUPT_MESSAGE true "the record's checksum does not match its bytes, or its size or layout is wrong"
    3 UNKNOWN_TOPIC_OR_PARTITION true "this server does not host this topic-partition"
    4 INVALID_FETCH_SIZE false "the fetch size is invalid"
    5 LEADER_NOT_AVAILABLE true "there is no leader for this partition while an election goes on"
    6 NOT_LEADER_OR_FOLLOWER true "this server is not the leader or a follower of this partition"
    7 REQUEST_TIMED_OUT true "the request timed out"
    8 BROKER_NOT_AVAILABLE false "the broker is not available"
    9 REPLICA_NOT_AVAILABLE true "the replica is not available for this partition"
    10 MESSAGE_TOO_LARGE false "the batch is larger than the topic accepts"
    11 STALE_CONTROLLER_EPOCH false "the controller moved to another node"
    12 OFFSET_METADATA_TOO_LARGE false "the metadata of the offset commit is too large"
    13 NETWORK_EXCEPTION true "the server closed the connection before it answered"
    14 COORDINATOR_LOAD_IN_PROGRESS true "the coordinator is loading and cannot answer yet"
    15 COORDINATOR_NOT_AVAILABLE true "the coordinator is not available"
    16 NOT_COORDINATOR true "this is not the right coordinator"
    17 INVALID_TOPIC_EXCEPTION false "the topic name is invalid, or the request tried an operation on an invalid topic"
    18 RECORD_LIST_TOO_LARGE false "the batch is larger than a segment"
    19 NOT_ENOUGH_REPLICAS true "there are fewer in-sync replicas than required"
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND true "the records were written, but to fewer in-sync replicas than required"
    21 INVALID_REQUIRED_ACKS false "the value of acks is invalid"
    22 ILLEGAL_GENERATION false "the generation is not the group's current one"
    23 INCONSISTENT_GROUP_PROTOCOL false "the member's protocols do not fit those of the group"
    24 INVALID_GROUP_ID false "the group id is invalid"
    25 UNKNOWN_MEMBER_ID false "the coordinator does not know this member"
    26 INVALID_SESSION_TIMEOUT false "the session timeout is outside group.min.session.timeout.ms to group.max.session.timeout.ms"
    27 REBALANCE_IN_PROGRESS false "the group is rebalancing, so a rejoin is needed"
    28 INVALID_COMMIT_OFFSET_SIZE false "the size of the committed offset data is invalid"
    29 TOPIC_AUTHORIZATION_FAILED false "not authorized for this topic"
    30 GROUP_AUTHORIZATION_FAILED false "not authorized for this group"
    31 CLUSTER_AUTHORIZATION_FAILED false "not authorized for this cluster operation"
    32 INVALID_TIMESTAMP false "the record's timestamp is outside what the topic accepts"
    33 UNSUPPORTED_SASL_MECHANISM false "the server does not support the SASL mechanism"
    34 ILLEGAL_SASL_STATE false "the request is not valid in this state of the SASL exchange"
    35 UNSUPPORTED_VERSION false "the version of the API is not supported"
    36 TOPIC_ALREADY_EXISTS false "a topic of this name exists already"
    37 INVALID_PARTITIONS false "the number of partitions is invalid"
    38 INVALID_REPLICATION_FACTOR false "the replication factor is below 1 or above the number of available brokers"
    39 INVALID_REPLICA_ASSIGNMENT false "the replica assignment is invalid"
    40 INVALID_CONFIG false "the configuration is invalid"
    41 NOT_CONTROLLER true "this is not the active controller of the cluster"
    42 INVALID_REQUEST false "the request is malformed or contradicts itself"
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT false "the message format on the server cannot do this"
    44 POLICY_VIOLATION false "the request breaks a policy of this server"
    45 OUT_OF_ORDER_SEQUENCE_NUMBER false "the batch's sequence number is not the one that was due"
    46 DUPLICATE_SEQUENCE_NUMBER false "the batch was written before"
    47 INVALID_PRODUCER_EPOCH false "a newer incarnation of this producer exists"
    48 INVALID_TXN_STATE false "the transaction is in a state that does not allow this"
    49 INVALID_PRODUCER_ID_MAPPING false "the producer id is not the one assigned to this transactional id"
    50 INVALID_TRANSACTION_TIMEOUT false "the transaction timeout is larger than transaction.max.timeout.ms"
    51 CONCURRENT_TRANSACTIONS true "the producer tried to update a transaction while another operation on it was going on"
    52 TRANSACTION_COORDINATOR_FENCED false "the transaction coordinator was fenced"
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED false "not authorized for this transactional id"
    54 SECURITY_DISABLED false "security features are disabled"
    55 OPERATION_NOT_ATTEMPTED false "the operation was not tried, perhaps because another one failed"
    56 KAFKA_STORAGE_ERROR true "a disk failed while reading or writing the log"
    57 LOG_DIR_NOT_FOUND false "the server does not have this log directory"
    58 SASL_AUTHENTICATION_FAILED false "SASL authentication failed"
    59 UNKNOWN_PRODUCER_ID false "the server knows nothing of this producer id"
    60 REASSIGNMENT_IN_PROGRESS false "a reassignment of this partition is going on"
    61 DELEGATION_TOKEN_AUTH_DISABLED false "delegation tokens are not enabled"
    62 DELEGATION_TOKEN_NOT_FOUND false "the delegation token was not found"
    63 DELEGATION_TOKEN_OWNER_MISMATCH false "the principal is neither owner nor renewer of the token"
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED false "delegation tokens may not be asked for over this kind of connection"
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED false "not authorized for this delegation token"
    66 DELEGATION_TOKEN_EXPIRED false "the delegation token has expired"
    67 INVALID_PRINCIPAL_TYPE false "the type of the principal is not supported"
    68 NON_EMPTY_GROUP false "the group is not empty"
    69 GROUP_ID_NOT_FOUND false "the group does not exist"
    70 FETCH_SESSION_ID_NOT_FOUND true "the fetch session does not exist"
    71 INVALID_FETCH_SESSION_EPOCH true "the epoch of the fetch session is invalid"
    72 LISTENER_NOT_FOUND true "the leader has no listener that matches the one the request came in on"
    73 TOPIC_DELETION_DISABLED false "topic deletion is disabled"
    74 FENCED_LEADER_EPOCH true "the leader epoch in the request is older than the broker's"
    75 UNKNOWN_LEADER_EPOCH true "the leader epoch in the request is newer than the broker's"
    76 UNSUPPORTED_COMPRESSION_TYPE false "the compression type is not supported in this version of the API"
    77 STALE_BROKER_EPOCH false "the broker epoch has changed"
    78 OFFSET_NOT_AVAILABLE true "the leader cannot say this offset until its high watermark has caught up"
    79 MEMBER_ID_REQUIRED false "the group needs a member id before it lets this consumer join"
    80 PREFERRED_LEADER_NOT_AVAILABLE true "the preferred leader is not available"
    81 GROUP_MAX_SIZE_REACHED false "the group has as many members as it may have"
    82 FENCED_INSTANCE_ID false "another member with the same group.instance.id has taken over"
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE true "no eligible leader is available"
    84 ELECTION_NOT_NEEDED true "the partition needs no election"
    85 NO_REASSIGNMENT_IN_PROGRESS false "no reassignment of this partition is going on"
    86 GROUP_SUBSCRIBED_TO_TOPIC false "the group still subscribes to this topic"
    87 INVALID_RECORD false "the record breaks a rule of the topic"
    88 UNSTABLE_OFFSET_COMMIT true "there are offsets of a transaction that has not ended"
    89 THROTTLING_QUOTA_EXCEEDED true "the throttling quota was exceeded"
    90 PRODUCER_FENCED false "a newer producer with the same transactional id fenced this one"
    91 RESOURCE_NOT_FOUND false "the resource does not exist"
    92 DUPLICATE_RESOURCE false "the resource exists already"
    93 UNACCEPTABLE_CREDENTIAL false "the credential does not meet the criteria"
    94 INCONSISTENT_VOTER_SET false "sender or recipient is not one of the known voters"
    95 INVALID_UPDATE_VERSION false "the version of the update is invalid"
    96 FEATURE_UPDATE_FAILED false "the features could not be updated"
    97 PRINCIPAL_DESERIALIZATION_FAILURE false "the principal of a forwarded request could not be read"
    98 SNAPSHOT_NOT_FOUND false "the snapshot was not found"
    99 POSITION_OUT_OF_RANGE false "the position is not inside the snapshot"
    100 UNKNOWN_TOPIC_ID true "this server does not host this topic id"
    101 DUPLICATE_BROKER_REGISTRATION false "this broker id is in use"
    102 BROKER_ID_NOT_REGISTERED false "no broker of this id is registered"
    103 INCONSISTENT_TOPIC_ID true "the topic id in the log is not the one in the request"
    104 INCONSISTENT_CLUSTER_ID false "the cluster id in the request is not this cluster's"
    105 TRANSACTIONAL_ID_NOT_FOUND false "the transactional id was not found"
    106 FETCH_SESSION_TOPIC_ID_ERROR true "the fetch session used topic ids inconsistently"
    107 INELIGIBLE_REPLICA false "the replica may not be in the in-sync set"
    108 NEW_LEADER_ELECTED false "the change elected a new leader"
    109 OFFSET_MOVED_TO_TIERED_STORAGE false "the offset has moved to tiered storage"
    110 FENCED_MEMBER_EPOCH false "the coordinator fenced this member's epoch"
    111 UNRELEASED_INSTANCE_ID false "another member still uses this instance id"
    112 UNSUPPORTED_ASSIGNOR false "no assignor of this name is supported, or the members share none"
    113 STALE_MEMBER_EPOCH false "the member epoch is stale; fetch the current one and try again"
    114 MISMATCHED_ENDPOINT_TYPE false "the request went to an endpoint of the wrong type"
    115 UNSUPPORTED_ENDPOINT_TYPE false "this type of endpoint is not known"
    116 UNKNOWN_CONTROLLER_ID false "this controller id is not known"
    117 UNKNOWN_SUBSCRIPTION_ID false "the telemetry subscription is out of date"
    118 TELEMETRY_TOO_LARGE false "the telemetry is larger than telemetry.max.bytes"
    119 INVALID_REGISTRATION false "the controller has refused the broker registration"
    120 TRANSACTION_ABORTABLE false "the transaction met an error that only an abort mends"
    121 INVALID_RECORD_STATE false "the record's state does not allow this acknowledgement"
    122 SHARE_SESSION_NOT_FOUND true "the share session does not exist"
    123 INVALID_SHARE_SESSION_EPOCH true "the epoch of the share session is invalid"
    124 FENCED_STATE_EPOCH false "the epoch of the share group's state does not match"
    125 INVALID_VOTER_KEY false "the voter key is not the one of the receiving replica"
    126 DUPLICATE_VOTER false "the voter is in the voter set already"
    127 VOTER_NOT_FOUND false "the voter is not in the voter set"
    128 INVALID_REGULAR_EXPRESSION false "the regular expression is invalid"
    129 REBOOTSTRAP_REQUIRED false "the client's metadata belongs to another cluster or node; bootstrap again"
    130 STREAMS_INVALID_TOPOLOGY false "the topology is invalid"
    131 STREAMS_INVALID_TOPOLOGY_EPOCH false "the topology epoch is invalid"
    132 STREAMS_TOPOLOGY_FENCED false "the topology epoch is outdated"
    133 SHARE_SESSION_LIMIT_REACHED true "there are as many share sessions as there may be"
}
