//! What `kafka-consumer-groups --describe` shows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_client::{Cluster, CoordinatorOf, Isolation, TopicPartition};
use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::{Assignment, Member as Shown};
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::DescribedGroupMember;
use ottla_protocol::shared::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ottla_protocol::{Decoder, Message};
use ottla_types::ErrorCode;

use super::named;
use crate::options::Parsed;
use crate::session::{Session, ToolError, failed, refused};
use crate::table::columns;

type Places = BTreeSet<TopicPartition>;

/// Behind the last record.
const LATEST: i64 = -1;

/// A member, of a group of either kind.
struct Member {
    id: String,
    instance: Option<String>,
    client: String,
    host: String,
    places: Places,
    target: Places,
    epoch: Option<i32>,
}

/// A group of either kind.
struct Group {
    state: String,
    assignor: String,
    coordinator: String,
    members: Vec<Member>,
    target_epoch: Option<i32>,
}

pub fn describe(
    args: &Parsed,
    session: &mut Session<'_>,
    cluster: &mut Cluster,
) -> Result<(), ToolError> {
    for id in named(args, session, cluster)? {
        let group = find(session, cluster, &id)?;
        if group.members.is_empty() {
            let what =
                if group.state == "Dead" { "does not exist" } else { "has no active members" };
            eprintln!("\nConsumer group '{id}' {what}.");
        }
        let text = match (args.has("state"), args.has("members")) {
            (true, _) => state(&id, &group),
            (_, true) => members(args, &id, &group),
            _ => offsets(args, session, cluster, (&id, &group))?,
        };
        session.out.flush()?;
        write!(session.out, "\n{text}")?;
    }
    Ok(())
}

fn find(session: &Session<'_>, cluster: &mut Cluster, id: &str) -> Result<Group, ToolError> {
    let node = session.wait(cluster.coordinator(CoordinatorOf::Group, id))?;
    let coordinator = format!("{}  ({node})", cluster.address(node).unwrap_or("?"));
    let request =
        ConsumerGroupDescribeRequest { group_ids: vec![id.to_owned()], ..Default::default() };
    let modern = session.wait(cluster.ask(node, &request)).ok();
    if let Some(found) = modern.and_then(|it| it.groups.into_iter().next()) {
        if found.error_code == 0 {
            let member = |it: Shown| Member {
                places: places(&it.assignment),
                target: places(&it.target_assignment),
                id: it.member_id,
                instance: it.instance_id,
                client: it.client_id,
                host: it.client_host,
                epoch: Some(it.member_epoch),
            };
            return Ok(Group {
                state: found.group_state,
                assignor: found.assignor_name,
                coordinator,
                target_epoch: Some(found.assignment_epoch),
                members: found.members.into_iter().map(member).collect(),
            });
        }
        if ErrorCode(found.error_code) != ErrorCode::GROUP_ID_NOT_FOUND {
            refused(found.error_code, found.error_message.as_deref())?;
        }
    }
    classic(session, cluster, id, (node, coordinator))
}

/// The partitions of an assignment.
fn places(assignment: &Assignment) -> Places {
    let mut all = Places::new();
    for it in &assignment.topic_partitions {
        let name = it.topic_name.as_str();
        all.extend(it.partitions.iter().map(|at| TopicPartition::new(name, *at)));
    }
    all
}

fn classic(
    session: &Session<'_>,
    cluster: &mut Cluster,
    id: &str,
    (node, coordinator): (i32, String),
) -> Result<Group, ToolError> {
    let request = DescribeGroupsRequest { groups: vec![id.to_owned()], ..Default::default() };
    let response = session.wait(cluster.ask(node, &request))?;
    let found = response.groups.into_iter().next().ok_or_else(|| failed("no answer"))?;
    refused(found.error_code, found.error_message.as_deref())?;
    let member = |it: DescribedGroupMember| {
        let places = assigned(it.member_assignment);
        Member {
            id: it.member_id,
            instance: it.group_instance_id,
            client: it.client_id,
            host: it.client_host,
            target: places.clone(),
            places,
            epoch: None,
        }
    };
    Ok(Group {
        state: found.group_state,
        assignor: found.protocol_data,
        coordinator,
        target_epoch: None,
        members: found.members.into_iter().map(member).collect(),
    })
}

/// What a leader has given to a member; nothing if it is in another form.
fn assigned(assignment: Bytes) -> Places {
    let mut d = Decoder::new(assignment);
    let Ok(version) = d.i16() else { return Places::new() };
    let version = version.clamp(0, *ConsumerProtocolAssignment::VERSIONS.end());
    let Ok(text) = ConsumerProtocolAssignment::decode(&mut d, version) else {
        return Places::new();
    };
    let one = |it: ottla_protocol::shared::consumer_protocol_assignment::TopicPartition| {
        let topic = it.topic;
        it.partitions
            .into_iter()
            .map(move |at| TopicPartition::new(topic.as_str(), at))
            .collect::<Vec<_>>()
    };
    text.assigned_partitions.into_iter().flat_map(one).collect()
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|it| (*it).to_owned()).collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn state(id: &str, group: &Group) -> String {
    let head = texts(&["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"]);
    let count = group.members.len().to_string();
    let row = vec![
        id.to_owned(),
        group.coordinator.clone(),
        or_dash(&group.assignor),
        group.state.clone(),
        count,
    ];
    columns(&[head, row], &[15, 25, 20, 20])
}

fn members(args: &Parsed, id: &str, group: &Group) -> String {
    let is_static = group.members.iter().any(|it| it.instance.is_some());
    let mut head = texts(&["GROUP", "CONSUMER-ID"]);
    let mut widths = vec![15, 15];
    if is_static {
        head.push("GROUP-INSTANCE-ID".to_owned());
        widths.push(17);
    }
    head.extend(texts(&["HOST", "CLIENT-ID", "#PARTITIONS"]));
    widths.extend([15, 15, 15]);
    if args.has("verbose") {
        head.extend(texts(&[
            "CURRENT-EPOCH",
            "CURRENT-ASSIGNMENT",
            "TARGET-EPOCH",
            "TARGET-ASSIGNMENT",
        ]));
        widths.extend([15, 20, 15]);
    }
    let mut rows = vec![head];
    for it in &group.members {
        let mut row = vec![id.to_owned(), it.id.clone()];
        if is_static {
            row.push(it.instance.clone().unwrap_or_else(|| "-".to_owned()));
        }
        row.extend([it.host.clone(), it.client.clone(), it.places.len().to_string()]);
        if args.has("verbose") {
            let number = |it: Option<i32>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
            row.extend([number(it.epoch), shown(&it.places)]);
            row.extend([number(group.target_epoch), shown(&it.target)]);
        }
        rows.push(row);
    }
    columns(&rows, &widths)
}

fn shown(places: &Places) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for place in places {
        topics.entry(&place.topic).or_default().push(place.partition.to_string());
    }
    let one = |(topic, all): (&str, Vec<String>)| format!("{topic}:{}", all.join(","));
    or_dash(&topics.into_iter().map(one).collect::<Vec<_>>().join(";"))
}

fn offsets(
    args: &Parsed,
    session: &Session<'_>,
    cluster: &mut Cluster,
    (id, group): (&str, &Group),
) -> Result<String, ToolError> {
    let committed = session.wait(cluster.group_offsets(id))?;
    let mut owners: BTreeMap<&TopicPartition, &Member> = BTreeMap::new();
    for member in &group.members {
        owners.extend(member.places.iter().map(|place| (place, member)));
    }
    let mut head = texts(&["GROUP", "TOPIC", "PARTITION"]);
    let mut widths = vec![15, 15, 10];
    if args.has("verbose") {
        head.push("LEADER-EPOCH".to_owned());
        widths.push(15);
    }
    head.extend(texts(&[
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]));
    widths.extend([15, 15, 15, 15, 15]);
    let mut rows = vec![head];
    let dash = || "-".to_owned();
    let places: BTreeSet<&TopicPartition> =
        committed.keys().chain(owners.keys().copied()).collect();
    for place in places {
        let end = session.wait(cluster.offset_at(place, LATEST, Isolation::Uncommitted)).ok();
        let at = committed.get(place);
        let lag = at.zip(end).map(|((offset, _), end)| end - offset);
        let number = |it: Option<i64>| it.map_or_else(dash, |it| it.to_string());
        let mut row = vec![id.to_owned(), place.topic.to_string(), place.partition.to_string()];
        if args.has("verbose") {
            let epoch = at.map(|(_, epoch)| i64::from(*epoch)).filter(|it| *it >= 0);
            row.push(number(epoch));
        }
        row.extend([number(at.map(|(offset, _)| *offset)), number(end), number(lag)]);
        let owner = owners.get(place);
        row.push(owner.map_or_else(dash, |it| it.id.clone()));
        row.push(owner.map_or_else(dash, |it| it.host.clone()));
        row.push(owner.map_or_else(dash, |it| it.client.clone()));
        rows.push(row);
    }
    Ok(columns(&rows, &widths))
}
