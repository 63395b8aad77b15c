//! What groups and transactions refuse, in every version of each request: codes depend on it.

use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;

use super::History;
use super::classic::{heartbeat_request, join_request, leave_request, sync_request};
use super::modern::{consumer_heartbeat, consumer_join};
use super::offsets::commit_request;
use super::player::Player;
use super::transactions::{
    Who, add_request, end_request, init_producer, init_request, txn_offset_request,
};
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("codes of transactions by version", transaction_codes),
    ("codes of offsets by version", offset_codes),
    ("codes of groups by version", group_codes),
    ("foreign instance ids", foreign_instances),
];

fn transaction_codes(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 1)?;
    let id = &play.name.clone();
    let group = &format!("{id}-group");
    play.coordinator(id, 1)?;
    play.coordinator(group, 0)?;
    let (producer, epoch) = init_producer(play, id)?;
    let wrong: [(&str, &str, Who); 5] = [
        ("an epoch to come", id, (producer, epoch + 1)),
        ("an epoch before", id, (producer, epoch - 1)),
        ("another producer", id, (producer + 1_000_000, epoch)),
        ("an id that is not known", "nobody", (producer, epoch)),
        ("an empty id", "", (producer, epoch)),
    ];
    for (what, id, who) in wrong {
        play.about(what);
        for version in 0..=5 {
            play.ask(&txn_offset_request(id, who, group, &topic, 1), version)?;
            play.ask(&end_request(id, who, true), version)?;
        }
        for version in 0..=3 {
            play.ask(&add_request(id, who, &topic, &[0]), version)?;
        }
        for version in 0..=4 {
            play.ask(&add_offsets(id, who, group), version)?;
        }
        for version in 3..=5 {
            play.ask(&init_request(id, who, 60_000), version)?;
        }
    }
    Ok(())
}

fn add_offsets(id: &str, who: Who, group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: who.0,
        producer_epoch: who.1,
        group_id: group.to_owned(),
        ..Default::default()
    }
}

fn offset_codes(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 1)?;
    let id = &play.name.clone();
    let group = &format!("{id}-group");
    play.coordinator(id, 1)?;
    play.coordinator(group, 0)?;
    let who = init_producer(play, id)?;
    play.about("a group that was not added, and one without a name");
    for version in 0..=4 {
        play.ask(&txn_offset_request(id, who, group, &topic, 1), version)?;
        play.ask(&txn_offset_request(id, who, "", &topic, 1), version)?;
    }
    play.ask(&txn_offset_request(id, who, "", &topic, 1), 5)?;
    play.about("a topic and a partition that are not there");
    for version in 0..=5 {
        play.ask(&txn_offset_request(id, who, group, "nothing", 1), version)?;
        let mut other = txn_offset_request(id, who, group, &topic, 1);
        other.topics[0].partitions[0].partition_index = 9;
        play.ask(&other, version)?;
    }
    play.about("members of a group that is not there");
    for version in 2..=9 {
        play.ask(&commit_request(group, ("m", 3), (&topic, 0), 1), version)?;
    }
    for version in 3..=5 {
        let member = TxnOffsetCommitRequest {
            member_id: "m".to_owned(),
            generation_id_or_member_epoch: 3,
            ..txn_offset_request(id, who, group, &topic, 1)
        };
        play.ask(&member, version)?;
    }
    Ok(())
}

fn group_codes(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 1)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    for name in [group.as_str(), ""] {
        play.about(if name.is_empty() { "no name" } else { "a group that is not there" });
        for version in 0..=4 {
            play.ask(&heartbeat_request(name, "m", 1), version)?;
        }
        for version in 0..=5 {
            // The protocol is named from version 5 on, and has to be.
            let plain = sync_request(name, "m", 1);
            let bare =
                SyncGroupRequest { protocol_type: None, protocol_name: None, ..plain.clone() };
            play.ask(&bare, version)?;
            if version == 5 {
                play.ask(&plain, version)?;
            }
        }
        for version in 0..=5 {
            let mut request = leave_request(name, "m", None);
            if version < 3 {
                request.member_id = "m".to_owned();
                request.members.clear();
            }
            play.ask(&request, version)?;
        }
        for version in 0..=9 {
            play.ask(&join_request(name, "m", &topic)?, version)?;
        }
    }
    play.about("a session that is too short");
    for version in 0..=9 {
        let mut request = join_request(group, "", &topic)?;
        request.session_timeout_ms = 1;
        play.ask(&request, version)?;
    }
    Ok(())
}

fn foreign_instances(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let named = |request: ConsumerGroupHeartbeatRequest, instance: &str| {
        let instance_id = Some(instance.to_owned());
        ConsumerGroupHeartbeatRequest { instance_id, ..request }
    };
    let fixed = play.ask(&named(consumer_join(group, "m1", &topic), "i2"), 1)?.member_epoch;
    play.about("with its own member id, with another's, with an unknown one");
    play.ask(&named(consumer_heartbeat(group, "m1", fixed), "i2"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m1", fixed), "i8"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m9", fixed), "i2"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m9", fixed), "i9"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m1", -2), "i8"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m9", -2), "i2"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m1", -1), "i8"), 1)?;
    play.ask(&named(consumer_join(group, "m9", &topic), "i2"), 1)?;
    play.about("it leaves for a while, and another comes in its name");
    play.ask(&named(consumer_heartbeat(group, "m1", -2), "i2"), 1)?;
    play.ask(&named(consumer_join(group, "m9", &topic), "i2"), 1)?;
    play.ask(&named(consumer_heartbeat(group, "m1", fixed), "i2"), 1)?;
    Ok(())
}
