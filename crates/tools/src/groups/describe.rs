//! What `kafka-consumer-groups --describe` shows.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{
    Client, GroupDescription, IsolationLevel, MemberDescription, OffsetAt, TopicPartition,
};

use super::named_groups;
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession};
use crate::table::columns;

type AssignedPartitions = BTreeSet<TopicPartition>;

pub fn describe_groups(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    for id in named_groups(args, session, client)? {
        let group = session.wait(client.describe_group(&id))?;
        if group.members.is_empty() {
            let what =
                if group.state == "Dead" { "does not exist" } else { "has no active members" };
            tell!("\nConsumer group '{id}' {what}.");
        }
        let text = match (args.has("state"), args.has("members")) {
            (true, _) => state_table(client, &id, &group),
            (_, true) => members_table(args, &id, &group),
            _ => offsets_table(args, session, client, &id, &group)?,
        };
        session.out.flush()?;
        write!(session.out, "\n{text}")?;
    }
    Ok(())
}

fn owned_texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|it| (*it).to_owned()).collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn state_table(client: &Client, id: &str, group: &GroupDescription) -> String {
    let node = group.coordinator;
    let coordinator =
        format!("{}  ({node})", client.address(node).unwrap_or_else(|| "?".to_owned()));
    let head =
        owned_texts(&["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"]);
    let count = group.members.len().to_string();
    let row =
        vec![id.to_owned(), coordinator, or_dash(&group.assignor), group.state.clone(), count];
    columns(&[head, row], &[15, 25, 20, 20])
}

fn members_table(args: &Parsed, id: &str, group: &GroupDescription) -> String {
    let is_static = group.members.iter().any(|it| it.instance.is_some());
    let mut head = owned_texts(&["GROUP", "CONSUMER-ID"]);
    let mut widths = vec![15, 15];
    if is_static {
        head.push("GROUP-INSTANCE-ID".to_owned());
        widths.push(17);
    }
    head.extend(owned_texts(&["HOST", "CLIENT-ID", "#PARTITIONS"]));
    widths.extend([15, 15, 15]);
    if args.has("verbose") {
        head.extend(owned_texts(&[
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
            row.extend([number(it.epoch), assignment_text(&it.places)]);
            row.extend([number(group.target_epoch), assignment_text(&it.target)]);
        }
        rows.push(row);
    }
    columns(&rows, &widths)
}

fn assignment_text(places: &AssignedPartitions) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for place in places {
        topics.entry(&place.topic).or_default().push(place.partition.to_string());
    }
    let one = |(topic, all): (&str, Vec<String>)| format!("{topic}:{}", all.join(","));
    or_dash(&topics.into_iter().map(one).collect::<Vec<_>>().join(";"))
}

fn offsets_table(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
    id: &str,
    group: &GroupDescription,
) -> Result<String, ToolError> {
    let committed = session.wait(client.group_offsets(id))?;
    let mut owners: BTreeMap<&TopicPartition, &MemberDescription> = BTreeMap::new();
    for member in &group.members {
        owners.extend(member.places.iter().map(|place| (place, member)));
    }
    let mut head = owned_texts(&["GROUP", "TOPIC", "PARTITION"]);
    let mut widths = vec![15, 15, 10];
    if args.has("verbose") {
        head.push("LEADER-EPOCH".to_owned());
        widths.push(15);
    }
    head.extend(owned_texts(&[
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
    let ends =
        client.offsets_at(places.iter().copied(), OffsetAt::Latest, IsolationLevel::Uncommitted);
    let ends = session.wait(ends);
    for place in places {
        let end = ends.get(place).copied();
        let at = committed.get(place);
        let lag = at.zip(end).map(|(next, end)| end - next.offset);
        let number = |it: Option<i64>| it.map_or_else(dash, |it| it.to_string());
        let mut row = vec![id.to_owned(), place.topic.to_string(), place.partition.to_string()];
        if args.has("verbose") {
            let epoch = at.map(|next| i64::from(next.leader_epoch)).filter(|it| *it >= 0);
            row.push(number(epoch));
        }
        row.extend([number(at.map(|next| next.offset)), number(end), number(lag)]);
        let owner = owners.get(place);
        row.push(owner.map_or_else(dash, |it| it.id.clone()));
        row.push(owner.map_or_else(dash, |it| it.host.clone()));
        row.push(owner.map_or_else(dash, |it| it.client.clone()));
        rows.push(row);
    }
    Ok(columns(&rows, &widths))
}
