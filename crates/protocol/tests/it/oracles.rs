//! The codec against two others: for every API and version that the three of us know, bytes made
//! from the schemas mean the same to all.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use ottla_protocol::messages::{AnyRequest, AnyResponse};
use ottla_protocol::{ApiKey, Decoder, Encoder};

use crate::made::{Dice, bytes, schemas};
use crate::schema::Kind;

/// How often each version of each message is made, with other random values.
const ROUNDS: u64 = 6;

fn ours(kind: Kind, key: ApiKey, version: i16, input: &[u8]) -> Vec<u8> {
    let mut d = Decoder::new(Bytes::copy_from_slice(input));
    let mut e = Encoder::new();
    if kind == Kind::Request {
        let it = AnyRequest::decode(key, &mut d, version).expect("well-formed");
        it.encode(&mut e, version).expect("just read");
    } else {
        let it = AnyResponse::decode(key, &mut d, version).expect("well-formed");
        it.encode(&mut e, version).expect("just read");
    }
    d.finish().expect("nothing left");
    e.into_bytes().to_vec()
}

/// What `kafka-protocol` makes of the bytes; `None` if it does not know the version.
fn kafka_protocol(kind: Kind, key: ApiKey, version: i16, input: &[u8]) -> Option<Vec<u8>> {
    let key = TheirKey::try_from(key.code()).ok()?;
    let versions = key.valid_versions();
    if !(versions.min..=versions.max).contains(&version) {
        return None;
    }
    let mut input = Bytes::copy_from_slice(input);
    let mut out = BytesMut::new();
    if kind == Kind::Request {
        let it = known(RequestKind::decode(key, &mut input, version))?;
        it.encode(&mut out, version).unwrap();
    } else {
        let it = known(ResponseKind::decode(key, &mut input, version))?;
        it.encode(&mut out, version).unwrap();
    }
    assert!(input.is_empty(), "{key:?} v{version}: kafka-protocol leaves bytes");
    Some(out.to_vec())
}

/// The range that it states is wider than what it reads for some messages; it says so then.
fn known<T, E: std::fmt::Debug>(read: Result<T, E>) -> Option<T> {
    match read {
        Ok(it) => Some(it),
        Err(error) if format!("{error:?}").contains("version not supported") => None,
        Err(error) => panic!("{error:?}"),
    }
}

macro_rules! kacrab {
    ($($key:ident $request:ident $request_type:ident $response:ident $response_type:ident;)*) => {
        /// What `kacrab-protocol` makes of the bytes; `None` if it does not know the version.
        fn kacrab(kind: Kind, key: ApiKey, version: i16, input: &[u8]) -> Option<Vec<u8>> {
            use kacrab_protocol::generated as theirs;
            let mut input = Bytes::copy_from_slice(input);
            let mut out = BytesMut::new();
            match (key, kind) {
                $(
                    (ApiKey::$key, Kind::Request) => {
                        let it = theirs::$request::$request_type::read(&mut input, version).ok()?;
                        it.write(&mut out, version).ok()?;
                    }
                    (ApiKey::$key, _) => {
                        let it = theirs::$response::$response_type::read(&mut input, version).ok()?;
                        it.write(&mut out, version).ok()?;
                    }
                )*
                _ => return None,
            }
            Some(out.to_vec())
        }
    };
}

kacrab! {
    AddOffsetsToTxn
        add_offsets_to_txn_request AddOffsetsToTxnRequestData
        add_offsets_to_txn_response AddOffsetsToTxnResponseData;
    AddPartitionsToTxn
        add_partitions_to_txn_request AddPartitionsToTxnRequestData
        add_partitions_to_txn_response AddPartitionsToTxnResponseData;
    AddRaftVoter
        add_raft_voter_request AddRaftVoterRequestData
        add_raft_voter_response AddRaftVoterResponseData;
    AllocateProducerIds
        allocate_producer_ids_request AllocateProducerIdsRequestData
        allocate_producer_ids_response AllocateProducerIdsResponseData;
    AlterClientQuotas
        alter_client_quotas_request AlterClientQuotasRequestData
        alter_client_quotas_response AlterClientQuotasResponseData;
    AlterConfigs
        alter_configs_request AlterConfigsRequestData
        alter_configs_response AlterConfigsResponseData;
    AlterPartition
        alter_partition_request AlterPartitionRequestData
        alter_partition_response AlterPartitionResponseData;
    AlterPartitionReassignments
        alter_partition_reassignments_request AlterPartitionReassignmentsRequestData
        alter_partition_reassignments_response AlterPartitionReassignmentsResponseData;
    AlterReplicaLogDirs
        alter_replica_log_dirs_request AlterReplicaLogDirsRequestData
        alter_replica_log_dirs_response AlterReplicaLogDirsResponseData;
    AlterShareGroupOffsets
        alter_share_group_offsets_request AlterShareGroupOffsetsRequestData
        alter_share_group_offsets_response AlterShareGroupOffsetsResponseData;
    AlterUserScramCredentials
        alter_user_scram_credentials_request AlterUserScramCredentialsRequestData
        alter_user_scram_credentials_response AlterUserScramCredentialsResponseData;
    ApiVersions
        api_versions_request ApiVersionsRequestData
        api_versions_response ApiVersionsResponseData;
    AssignReplicasToDirs
        assign_replicas_to_dirs_request AssignReplicasToDirsRequestData
        assign_replicas_to_dirs_response AssignReplicasToDirsResponseData;
    BeginQuorumEpoch
        begin_quorum_epoch_request BeginQuorumEpochRequestData
        begin_quorum_epoch_response BeginQuorumEpochResponseData;
    BrokerHeartbeat
        broker_heartbeat_request BrokerHeartbeatRequestData
        broker_heartbeat_response BrokerHeartbeatResponseData;
    BrokerRegistration
        broker_registration_request BrokerRegistrationRequestData
        broker_registration_response BrokerRegistrationResponseData;
    ConsumerGroupDescribe
        consumer_group_describe_request ConsumerGroupDescribeRequestData
        consumer_group_describe_response ConsumerGroupDescribeResponseData;
    ConsumerGroupHeartbeat
        consumer_group_heartbeat_request ConsumerGroupHeartbeatRequestData
        consumer_group_heartbeat_response ConsumerGroupHeartbeatResponseData;
    ControllerRegistration
        controller_registration_request ControllerRegistrationRequestData
        controller_registration_response ControllerRegistrationResponseData;
    CreateAcls
        create_acls_request CreateAclsRequestData
        create_acls_response CreateAclsResponseData;
    CreateDelegationToken
        create_delegation_token_request CreateDelegationTokenRequestData
        create_delegation_token_response CreateDelegationTokenResponseData;
    CreatePartitions
        create_partitions_request CreatePartitionsRequestData
        create_partitions_response CreatePartitionsResponseData;
    CreateTopics
        create_topics_request CreateTopicsRequestData
        create_topics_response CreateTopicsResponseData;
    DeleteAcls
        delete_acls_request DeleteAclsRequestData
        delete_acls_response DeleteAclsResponseData;
    DeleteGroups
        delete_groups_request DeleteGroupsRequestData
        delete_groups_response DeleteGroupsResponseData;
    DeleteRecords
        delete_records_request DeleteRecordsRequestData
        delete_records_response DeleteRecordsResponseData;
    DeleteShareGroupOffsets
        delete_share_group_offsets_request DeleteShareGroupOffsetsRequestData
        delete_share_group_offsets_response DeleteShareGroupOffsetsResponseData;
    DeleteShareGroupState
        delete_share_group_state_request DeleteShareGroupStateRequestData
        delete_share_group_state_response DeleteShareGroupStateResponseData;
    DeleteTopics
        delete_topics_request DeleteTopicsRequestData
        delete_topics_response DeleteTopicsResponseData;
    DescribeAcls
        describe_acls_request DescribeAclsRequestData
        describe_acls_response DescribeAclsResponseData;
    DescribeClientQuotas
        describe_client_quotas_request DescribeClientQuotasRequestData
        describe_client_quotas_response DescribeClientQuotasResponseData;
    DescribeCluster
        describe_cluster_request DescribeClusterRequestData
        describe_cluster_response DescribeClusterResponseData;
    DescribeConfigs
        describe_configs_request DescribeConfigsRequestData
        describe_configs_response DescribeConfigsResponseData;
    DescribeDelegationToken
        describe_delegation_token_request DescribeDelegationTokenRequestData
        describe_delegation_token_response DescribeDelegationTokenResponseData;
    DescribeGroups
        describe_groups_request DescribeGroupsRequestData
        describe_groups_response DescribeGroupsResponseData;
    DescribeLogDirs
        describe_log_dirs_request DescribeLogDirsRequestData
        describe_log_dirs_response DescribeLogDirsResponseData;
    DescribeProducers
        describe_producers_request DescribeProducersRequestData
        describe_producers_response DescribeProducersResponseData;
    DescribeQuorum
        describe_quorum_request DescribeQuorumRequestData
        describe_quorum_response DescribeQuorumResponseData;
    DescribeShareGroupOffsets
        describe_share_group_offsets_request DescribeShareGroupOffsetsRequestData
        describe_share_group_offsets_response DescribeShareGroupOffsetsResponseData;
    DescribeTopicPartitions
        describe_topic_partitions_request DescribeTopicPartitionsRequestData
        describe_topic_partitions_response DescribeTopicPartitionsResponseData;
    DescribeTransactions
        describe_transactions_request DescribeTransactionsRequestData
        describe_transactions_response DescribeTransactionsResponseData;
    DescribeUserScramCredentials
        describe_user_scram_credentials_request DescribeUserScramCredentialsRequestData
        describe_user_scram_credentials_response DescribeUserScramCredentialsResponseData;
    ElectLeaders
        elect_leaders_request ElectLeadersRequestData
        elect_leaders_response ElectLeadersResponseData;
    EndQuorumEpoch
        end_quorum_epoch_request EndQuorumEpochRequestData
        end_quorum_epoch_response EndQuorumEpochResponseData;
    EndTxn
        end_txn_request EndTxnRequestData
        end_txn_response EndTxnResponseData;
    Envelope
        envelope_request EnvelopeRequestData
        envelope_response EnvelopeResponseData;
    ExpireDelegationToken
        expire_delegation_token_request ExpireDelegationTokenRequestData
        expire_delegation_token_response ExpireDelegationTokenResponseData;
    Fetch
        fetch_request FetchRequestData
        fetch_response FetchResponseData;
    FetchSnapshot
        fetch_snapshot_request FetchSnapshotRequestData
        fetch_snapshot_response FetchSnapshotResponseData;
    FindCoordinator
        find_coordinator_request FindCoordinatorRequestData
        find_coordinator_response FindCoordinatorResponseData;
    GetTelemetrySubscriptions
        get_telemetry_subscriptions_request GetTelemetrySubscriptionsRequestData
        get_telemetry_subscriptions_response GetTelemetrySubscriptionsResponseData;
    Heartbeat
        heartbeat_request HeartbeatRequestData
        heartbeat_response HeartbeatResponseData;
    IncrementalAlterConfigs
        incremental_alter_configs_request IncrementalAlterConfigsRequestData
        incremental_alter_configs_response IncrementalAlterConfigsResponseData;
    InitProducerId
        init_producer_id_request InitProducerIdRequestData
        init_producer_id_response InitProducerIdResponseData;
    InitializeShareGroupState
        initialize_share_group_state_request InitializeShareGroupStateRequestData
        initialize_share_group_state_response InitializeShareGroupStateResponseData;
    JoinGroup
        join_group_request JoinGroupRequestData
        join_group_response JoinGroupResponseData;
    LeaveGroup
        leave_group_request LeaveGroupRequestData
        leave_group_response LeaveGroupResponseData;
    ListConfigResources
        list_config_resources_request ListConfigResourcesRequestData
        list_config_resources_response ListConfigResourcesResponseData;
    ListGroups
        list_groups_request ListGroupsRequestData
        list_groups_response ListGroupsResponseData;
    ListOffsets
        list_offsets_request ListOffsetsRequestData
        list_offsets_response ListOffsetsResponseData;
    ListPartitionReassignments
        list_partition_reassignments_request ListPartitionReassignmentsRequestData
        list_partition_reassignments_response ListPartitionReassignmentsResponseData;
    ListTransactions
        list_transactions_request ListTransactionsRequestData
        list_transactions_response ListTransactionsResponseData;
    Metadata
        metadata_request MetadataRequestData
        metadata_response MetadataResponseData;
    OffsetCommit
        offset_commit_request OffsetCommitRequestData
        offset_commit_response OffsetCommitResponseData;
    OffsetDelete
        offset_delete_request OffsetDeleteRequestData
        offset_delete_response OffsetDeleteResponseData;
    OffsetFetch
        offset_fetch_request OffsetFetchRequestData
        offset_fetch_response OffsetFetchResponseData;
    OffsetForLeaderEpoch
        offset_for_leader_epoch_request OffsetForLeaderEpochRequestData
        offset_for_leader_epoch_response OffsetForLeaderEpochResponseData;
    Produce
        produce_request ProduceRequestData
        produce_response ProduceResponseData;
    PushTelemetry
        push_telemetry_request PushTelemetryRequestData
        push_telemetry_response PushTelemetryResponseData;
    ReadShareGroupState
        read_share_group_state_request ReadShareGroupStateRequestData
        read_share_group_state_response ReadShareGroupStateResponseData;
    ReadShareGroupStateSummary
        read_share_group_state_summary_request ReadShareGroupStateSummaryRequestData
        read_share_group_state_summary_response ReadShareGroupStateSummaryResponseData;
    RemoveRaftVoter
        remove_raft_voter_request RemoveRaftVoterRequestData
        remove_raft_voter_response RemoveRaftVoterResponseData;
    RenewDelegationToken
        renew_delegation_token_request RenewDelegationTokenRequestData
        renew_delegation_token_response RenewDelegationTokenResponseData;
    SaslAuthenticate
        sasl_authenticate_request SaslAuthenticateRequestData
        sasl_authenticate_response SaslAuthenticateResponseData;
    SaslHandshake
        sasl_handshake_request SaslHandshakeRequestData
        sasl_handshake_response SaslHandshakeResponseData;
    ShareAcknowledge
        share_acknowledge_request ShareAcknowledgeRequestData
        share_acknowledge_response ShareAcknowledgeResponseData;
    ShareFetch
        share_fetch_request ShareFetchRequestData
        share_fetch_response ShareFetchResponseData;
    ShareGroupDescribe
        share_group_describe_request ShareGroupDescribeRequestData
        share_group_describe_response ShareGroupDescribeResponseData;
    ShareGroupHeartbeat
        share_group_heartbeat_request ShareGroupHeartbeatRequestData
        share_group_heartbeat_response ShareGroupHeartbeatResponseData;
    StreamsGroupDescribe
        streams_group_describe_request StreamsGroupDescribeRequestData
        streams_group_describe_response StreamsGroupDescribeResponseData;
    StreamsGroupHeartbeat
        streams_group_heartbeat_request StreamsGroupHeartbeatRequestData
        streams_group_heartbeat_response StreamsGroupHeartbeatResponseData;
    SyncGroup
        sync_group_request SyncGroupRequestData
        sync_group_response SyncGroupResponseData;
    TxnOffsetCommit
        txn_offset_commit_request TxnOffsetCommitRequestData
        txn_offset_commit_response TxnOffsetCommitResponseData;
    UnregisterBroker
        unregister_broker_request UnregisterBrokerRequestData
        unregister_broker_response UnregisterBrokerResponseData;
    UpdateFeatures
        update_features_request UpdateFeaturesRequestData
        update_features_response UpdateFeaturesResponseData;
    UpdateRaftVoter
        update_raft_voter_request UpdateRaftVoterRequestData
        update_raft_voter_response UpdateRaftVoterResponseData;
    Vote
        vote_request VoteRequestData
        vote_response VoteResponseData;
    WriteShareGroupState
        write_share_group_state_request WriteShareGroupStateRequestData
        write_share_group_state_response WriteShareGroupStateResponseData;
    WriteTxnMarkers
        write_txn_markers_request WriteTxnMarkersRequestData
        write_txn_markers_response WriteTxnMarkersResponseData;
}

#[test]
fn all_codecs_read_and_write_the_same() {
    let (mut made, mut first, mut second) = (0, 0, 0);
    for message in schemas("rpc") {
        let key = ApiKey::of(message.key).expect("generated from the same file");
        for version in key.versions() {
            for round in 0..ROUNDS {
                let seed = round * 1000 + u64::try_from(version).unwrap();
                let input = bytes(&message, version, &mut Dice(seed));
                let place = format!("{} v{version}, seed {seed}", message.name);
                assert_eq!(ours(message.kind, key, version, &input), input, "{place}");
                made += 1;
                if let Some(theirs) = kafka_protocol(message.kind, key, version, &input) {
                    assert_eq!(theirs, input, "{place}: kafka-protocol");
                    first += 1;
                }
                if let Some(theirs) = kacrab(message.kind, key, version, &input) {
                    assert_eq!(theirs, input, "{place}: kacrab");
                    second += 1;
                }
            }
        }
    }
    // Nine of ten are known to the others, too: a check that skips everything checks nothing.
    assert!(
        made > 3000 && first * 10 > made * 7 && second * 10 > made * 7,
        "{made} {first} {second}"
    );
}
