//! What operators send.

use ottla_protocol::messages::{
    alter_client_quotas_request, alter_configs_request, alter_partition_reassignments_request,
    alter_replica_log_dirs_request, alter_user_scram_credentials_request,
    consumer_group_describe_request, create_acls_request, create_delegation_token_request,
    create_partitions_request, create_topics_request, delete_acls_request, delete_groups_request,
    delete_topics_request, describe_acls_request, describe_client_quotas_request,
    describe_cluster_request, describe_configs_request, describe_delegation_token_request,
    describe_groups_request, describe_log_dirs_request, describe_quorum_request,
    describe_topic_partitions_request, describe_user_scram_credentials_request,
    elect_leaders_request, expire_delegation_token_request, incremental_alter_configs_request,
    list_config_resources_request, list_groups_request, list_partition_reassignments_request,
    offset_delete_request, renew_delegation_token_request, unregister_broker_request,
    update_features_request,
};

use super::{SampleRequest, d, show, topic};

/// The requests, by the names of the table.
pub const ALL: &[(&str, SampleRequest)] = &[
    ("DescribeGroups", |h| {
        show(
            h,
            5,
            &describe_groups_request::DescribeGroupsRequest {
                groups: vec!["seen-group".to_owned()],
                ..d()
            },
        )
    }),
    ("ListGroups", |h| show(h, 4, &list_groups_request::ListGroupsRequest::default())),
    ("CreateTopics", |h| {
        show(
            h,
            7,
            &create_topics_request::CreateTopicsRequest {
                topics: vec![topic("new-topic")],
                timeout_ms: 10_000,
                validate_only: true,
                ..d()
            },
        )
    }),
    ("DeleteTopics by name", |h| {
        show(
            h,
            5,
            &delete_topics_request::DeleteTopicsRequest {
                topic_names: vec!["gone-topic".to_owned()],
                timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("DeleteTopics by id", |h| {
        show(
            h,
            6,
            &delete_topics_request::DeleteTopicsRequest {
                topics: vec![delete_topics_request::DeleteTopicState {
                    topic_id: h.node().topic_id("gone-topic").unwrap_or_default(),
                    ..d()
                }],
                timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("DescribeAcls", |h| {
        show(
            h,
            2,
            &describe_acls_request::DescribeAclsRequest {
                resource_type_filter: 1,
                pattern_type_filter: 3,
                operation: 1,
                permission_type: 1,
                ..d()
            },
        )
    }),
    ("CreateAcls", |h| {
        show(
            h,
            2,
            &create_acls_request::CreateAclsRequest {
                creations: vec![create_acls_request::AclCreation {
                    resource_type: 2,
                    resource_name: "t".to_owned(),
                    resource_pattern_type: 3,
                    principal: "User:a".to_owned(),
                    host: "*".to_owned(),
                    operation: 3,
                    permission_type: 3,
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DeleteAcls", |h| {
        show(
            h,
            2,
            &delete_acls_request::DeleteAclsRequest {
                filters: vec![delete_acls_request::DeleteAclsFilter {
                    resource_type_filter: 2,
                    pattern_type_filter: 3,
                    operation: 3,
                    permission_type: 3,
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeConfigs of a topic", |h| {
        show(
            h,
            4,
            &describe_configs_request::DescribeConfigsRequest {
                resources: vec![describe_configs_request::DescribeConfigsResource {
                    resource_type: 2,
                    resource_name: "seen-topic".to_owned(),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeConfigs of a group", |h| {
        show(
            h,
            4,
            &describe_configs_request::DescribeConfigsRequest {
                resources: vec![describe_configs_request::DescribeConfigsResource {
                    resource_type: 32,
                    resource_name: "seen-group".to_owned(),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeConfigs of a broker", |h| {
        show(
            h,
            4,
            &describe_configs_request::DescribeConfigsRequest {
                resources: vec![describe_configs_request::DescribeConfigsResource {
                    resource_type: 4,
                    resource_name: "1".to_owned(),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeConfigs of a subscription", |h| {
        show(
            h,
            4,
            &describe_configs_request::DescribeConfigsRequest {
                resources: vec![describe_configs_request::DescribeConfigsResource {
                    resource_type: 16,
                    resource_name: "m".to_owned(),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeConfigs of loggers", |h| {
        show(
            h,
            4,
            &describe_configs_request::DescribeConfigsRequest {
                resources: vec![describe_configs_request::DescribeConfigsResource {
                    resource_type: 8,
                    resource_name: "1".to_owned(),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("AlterConfigs of a topic", |h| {
        show(
            h,
            2,
            &alter_configs_request::AlterConfigsRequest {
                resources: vec![alter_configs_request::AlterConfigsResource {
                    resource_type: 2,
                    resource_name: "seen-topic".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("AlterConfigs of a group", |h| {
        show(
            h,
            2,
            &alter_configs_request::AlterConfigsRequest {
                resources: vec![alter_configs_request::AlterConfigsResource {
                    resource_type: 32,
                    resource_name: "seen-group".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("AlterConfigs of a broker", |h| {
        show(
            h,
            2,
            &alter_configs_request::AlterConfigsRequest {
                resources: vec![alter_configs_request::AlterConfigsResource {
                    resource_type: 4,
                    resource_name: "1".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("AlterConfigs of a subscription", |h| {
        show(
            h,
            2,
            &alter_configs_request::AlterConfigsRequest {
                resources: vec![alter_configs_request::AlterConfigsResource {
                    resource_type: 16,
                    resource_name: "m".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("AlterReplicaLogDirs", |h| {
        show(
            h,
            2,
            &alter_replica_log_dirs_request::AlterReplicaLogDirsRequest {
                dirs: vec![alter_replica_log_dirs_request::AlterReplicaLogDir {
                    path: "/x".to_owned(),
                    topics: vec![alter_replica_log_dirs_request::AlterReplicaLogDirTopic {
                        name: "seen-topic".to_owned(),
                        partitions: vec![0],
                        ..d()
                    }],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeLogDirs", |h| {
        show(h, 4, &describe_log_dirs_request::DescribeLogDirsRequest { topics: None, ..d() })
    }),
    ("CreatePartitions", |h| {
        show(
            h,
            3,
            &create_partitions_request::CreatePartitionsRequest {
                topics: vec![create_partitions_request::CreatePartitionsTopic {
                    name: "seen-topic".to_owned(),
                    count: 5,
                    assignments: None,
                    ..d()
                }],
                timeout_ms: 10_000,
                validate_only: true,
                ..d()
            },
        )
    }),
    ("CreateDelegationToken", |h| {
        show(h, 2, &create_delegation_token_request::CreateDelegationTokenRequest::default())
    }),
    ("RenewDelegationToken", |h| {
        show(h, 2, &renew_delegation_token_request::RenewDelegationTokenRequest::default())
    }),
    ("ExpireDelegationToken", |h| {
        show(h, 2, &expire_delegation_token_request::ExpireDelegationTokenRequest::default())
    }),
    ("DescribeDelegationToken", |h| {
        show(h, 2, &describe_delegation_token_request::DescribeDelegationTokenRequest::default())
    }),
    ("DeleteGroups", |h| {
        show(
            h,
            2,
            &delete_groups_request::DeleteGroupsRequest {
                groups_names: vec!["gone-group".to_owned()],
                ..d()
            },
        )
    }),
    ("IncrementalAlterConfigs of a topic", |h| {
        show(
            h,
            1,
            &incremental_alter_configs_request::IncrementalAlterConfigsRequest {
                resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: 2,
                    resource_name: "seen-topic".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("IncrementalAlterConfigs of a group", |h| {
        show(
            h,
            1,
            &incremental_alter_configs_request::IncrementalAlterConfigsRequest {
                resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: 32,
                    resource_name: "seen-group".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("IncrementalAlterConfigs of a broker", |h| {
        show(
            h,
            1,
            &incremental_alter_configs_request::IncrementalAlterConfigsRequest {
                resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: 4,
                    resource_name: "1".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("IncrementalAlterConfigs of a subscription", |h| {
        show(
            h,
            1,
            &incremental_alter_configs_request::IncrementalAlterConfigsRequest {
                resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: 16,
                    resource_name: "m".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("IncrementalAlterConfigs of loggers", |h| {
        show(
            h,
            1,
            &incremental_alter_configs_request::IncrementalAlterConfigsRequest {
                resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: 8,
                    resource_name: "1".to_owned(),
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("OffsetDelete", |h| {
        show(
            h,
            0,
            &offset_delete_request::OffsetDeleteRequest {
                group_id: "seen-group".to_owned(),
                topics: vec![offset_delete_request::OffsetDeleteRequestTopic {
                    name: "seen-topic".to_owned(),
                    partitions: vec![d()],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeClientQuotas", |h| {
        show(h, 1, &describe_client_quotas_request::DescribeClientQuotasRequest::default())
    }),
    ("AlterClientQuotas", |h| {
        show(
            h,
            1,
            &alter_client_quotas_request::AlterClientQuotasRequest {
                entries: vec![alter_client_quotas_request::EntryData {
                    entity: vec![alter_client_quotas_request::EntityData {
                        entity_type: "client-id".to_owned(),
                        entity_name: Some("c".to_owned()),
                        ..d()
                    }],
                    ..d()
                }],
                validate_only: true,
                ..d()
            },
        )
    }),
    ("DescribeUserScramCredentials", |h| {
        show(
            h,
            0,
            &describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest::default(
            ),
        )
    }),
    ("AlterUserScramCredentials", |h| {
        show(
            h,
            0,
            &alter_user_scram_credentials_request::AlterUserScramCredentialsRequest {
                deletions: vec![alter_user_scram_credentials_request::ScramCredentialDeletion {
                    name: "u".to_owned(),
                    mechanism: 1,
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeQuorum", |h| {
        show(
            h,
            1,
            &describe_quorum_request::DescribeQuorumRequest {
                topics: vec![describe_quorum_request::TopicData {
                    topic_name: "__cluster_metadata".to_owned(),
                    partitions: vec![d()],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("UpdateFeatures", |h| {
        show(
            h,
            1,
            &update_features_request::UpdateFeaturesRequest {
                timeout_ms: 10_000,
                validate_only: true,
                ..d()
            },
        )
    }),
    ("DescribeCluster", |h| {
        show(h, 1, &describe_cluster_request::DescribeClusterRequest::default())
    }),
    ("DescribeCluster of controllers", |h| {
        let request = describe_cluster_request::DescribeClusterRequest { endpoint_type: 2, ..d() };
        format!("{:?}", h.ask_controller(&request, 1))
    }),
    ("UnregisterBroker", |h| {
        let broker_id = 99;
        show(h, 0, &unregister_broker_request::UnregisterBrokerRequest { broker_id, ..d() })
    }),
    ("ElectLeaders", |h| {
        show(
            h,
            2,
            &elect_leaders_request::ElectLeadersRequest {
                topic_partitions: Some(vec![elect_leaders_request::TopicPartitions {
                    topic: "seen-topic".to_owned(),
                    partitions: vec![0],
                    ..d()
                }]),
                timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("AlterPartitionReassignments", |h| {
        show(
            h,
            0,
            &alter_partition_reassignments_request::AlterPartitionReassignmentsRequest {
                topics: vec![alter_partition_reassignments_request::ReassignableTopic {
                    name: "seen-topic".to_owned(),
                    partitions: vec![d()],
                    ..d()
                }],
                timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("ListPartitionReassignments", |h| {
        show(
            h,
            0,
            &list_partition_reassignments_request::ListPartitionReassignmentsRequest {
                timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("ConsumerGroupDescribe", |h| {
        show(
            h,
            0,
            &consumer_group_describe_request::ConsumerGroupDescribeRequest {
                group_ids: vec!["seen-consumers".to_owned()],
                ..d()
            },
        )
    }),
    ("ListConfigResources", |h| {
        show(h, 1, &list_config_resources_request::ListConfigResourcesRequest::default())
    }),
    ("DescribeTopicPartitions", |h| {
        show(
            h,
            0,
            &describe_topic_partitions_request::DescribeTopicPartitionsRequest {
                topics: vec![describe_topic_partitions_request::TopicRequest {
                    name: "seen-topic".to_owned(),
                    ..d()
                }],
                response_partition_limit: 10,
                ..d()
            },
        )
    }),
];
