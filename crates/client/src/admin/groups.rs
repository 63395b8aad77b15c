//! Groups from outside: which there are, their members, and what each of them reads.

use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::{Assignment, Member as Shown};
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::DescribedGroupMember;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_types::{ErrorCode, NodeId, TopicPartition};

use crate::classic_member::decode_assignment;
use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;
use crate::partitions::Partitions;

/// A group as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub id: String,
    /// `classic`, `consumer`, ...; empty if the broker does not say.
    pub kind: String,
    /// What its members do together, such as `consumer`; empty if it is not known.
    pub protocol: String,
    /// `Stable`, `Empty`, ...; empty if the broker does not say.
    pub state: String,
}

/// Which groups to list: of these states and types, or all where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// `Stable`, `Empty`, ...
    pub states: Vec<String>,
    /// `classic`, `consumer`, ...
    pub types: Vec<String>,
}

/// A member, of a group of either kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub id: String,
    /// The name that it keeps when it comes again.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client: String,
    /// Where it connects from.
    pub host: String,
    /// What it reads.
    pub places: Partitions,
    /// What it is to read.
    pub target: Partitions,
    /// Its epoch, where the coordinator shares partitions out (KIP-848).
    pub epoch: Option<i32>,
}

/// A group of either kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupDescription {
    /// `Stable`, `Empty`, `Dead`, ...
    pub state: String,
    /// How partitions are shared out.
    pub assignor: String,
    /// Its coordinator.
    pub coordinator: NodeId,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// The epoch of the assignment, where the coordinator makes it.
    pub target_epoch: Option<i32>,
}

impl Client {
    /// The groups of all coordinators, by id.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn list_groups(
        &self,
        filter: &GroupFilter,
    ) -> Result<Vec<GroupListing>, ClientError> {
        let request = ListGroupsRequest {
            states_filter: filter.states.clone(),
            types_filter: filter.types.clone(),
            ..Default::default()
        };
        let mut all = Vec::new();
        for node in self.all_brokers().await? {
            let response = self.ask(node, &request).await?;
            ClientError::check(response.error_code, || format!("the groups of broker {node}"))?;
            all.extend(response.groups.into_iter().map(|group| GroupListing {
                id: group.group_id,
                kind: group.group_type,
                protocol: group.protocol_type,
                state: group.group_state,
            }));
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// Deletes a group with its offsets; it must have no members.
    ///
    /// # Errors
    /// The coordinator refuses (`NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`), or does not answer.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let node = self.coordinator(CoordinatorOf::Group, group).await?;
        let groups_names = vec![group.to_owned()];
        let request = DeleteGroupsRequest { groups_names, ..Default::default() };
        let response = self.ask(node, &request).await?;
        let code = response.results.first().map_or(-1, |it| it.error_code);
        ClientError::check(code, || format!("group {group}"))
    }

    /// What a group is at; one that there is not is `Dead`.
    ///
    /// # Errors
    /// Its coordinator refuses or does not answer.
    pub async fn describe_group(&self, id: &str) -> Result<GroupDescription, ClientError> {
        let coordinator = self.coordinator(CoordinatorOf::Group, id).await?;
        let request =
            ConsumerGroupDescribeRequest { group_ids: vec![id.to_owned()], ..Default::default() };
        // A broker that has never heard of such groups has none.
        let described = self.ask(coordinator, &request).await.ok();
        if let Some(found) = described.and_then(|it| it.groups.into_iter().next()) {
            if found.error_code == 0 {
                return Ok(GroupDescription {
                    state: found.group_state,
                    assignor: found.assignor_name,
                    coordinator,
                    target_epoch: Some(found.assignment_epoch),
                    members: found.members.into_iter().map(consumer_member).collect(),
                });
            }
            if ErrorCode(found.error_code) != ErrorCode::GROUP_ID_NOT_FOUND {
                ClientError::check(found.error_code, || format!("group {id}"))?;
            }
        }
        let request = DescribeGroupsRequest { groups: vec![id.to_owned()], ..Default::default() };
        let response = self.ask(coordinator, &request).await?;
        let found = response.groups.into_iter().next().unwrap_or_default();
        ClientError::check(found.error_code, || format!("group {id}"))?;
        Ok(GroupDescription {
            state: found.group_state,
            assignor: found.protocol_data,
            coordinator,
            target_epoch: None,
            members: found.members.into_iter().map(classic_member).collect(),
        })
    }
}

fn consumer_member(it: Shown) -> MemberDescription {
    MemberDescription {
        places: assigned_places(&it.assignment),
        target: assigned_places(&it.target_assignment),
        id: it.member_id,
        instance: it.instance_id,
        client: it.client_id,
        host: it.client_host,
        epoch: Some(it.member_epoch),
    }
}

fn classic_member(it: DescribedGroupMember) -> MemberDescription {
    // Groups of other applications have assignments of another form.
    let places = decode_assignment(it.member_assignment).unwrap_or_default();
    MemberDescription {
        id: it.member_id,
        instance: it.group_instance_id,
        client: it.client_id,
        host: it.client_host,
        target: places.clone(),
        places,
        epoch: None,
    }
}

/// The partitions of an assignment.
fn assigned_places(assignment: &Assignment) -> Partitions {
    let mut all = Partitions::new();
    for it in &assignment.topic_partitions {
        let name = it.topic_name.as_str();
        all.extend(it.partitions.iter().map(|at| TopicPartition::new(name, *at)));
    }
    all
}
