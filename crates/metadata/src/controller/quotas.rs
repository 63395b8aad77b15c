//! AlterClientQuotas: how much users, clients and addresses may ask of the brokers (KIP-546).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData as Asked, EntryData, OpData,
};
use ottla_protocol::messages::alter_client_quotas_response::{
    AlterClientQuotasResponse, EntityData as Answered, EntryData as Answer,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::client_quota_record::{ClientQuotaRecord, EntityData};
use ottla_types::ErrorCode;

use super::{Controller, ControllerRefusal, ControllerReply, ControllerScene, repeated_items};
use crate::cluster::QuotaEntity;

/// How a quota's value is bounded.
#[derive(Clone, Copy)]
enum QuotaBound {
    /// A number with a fraction.
    Fraction,
    /// A whole number of up to 64 bits.
    Long,
    /// A whole number of up to 32 bits.
    Int,
}

const OF_CLIENTS: [(&str, QuotaBound); 4] = [
    ("producer_byte_rate", QuotaBound::Long),
    ("consumer_byte_rate", QuotaBound::Long),
    ("request_percentage", QuotaBound::Fraction),
    ("controller_mutation_rate", QuotaBound::Fraction),
];
const OF_ADDRESSES: [(&str, QuotaBound); 1] = [("connection_creation_rate", QuotaBound::Int)];

pub(super) fn alter_quotas(
    scene: &ControllerScene<'_>,
    request: AlterClientQuotasRequest,
    turn: &mut Turn<Controller>,
) {
    let mut response = AlterClientQuotasResponse::default();
    // Of a type that is named twice the last name counts, as in Kafka.
    let entities =
        request.entries.iter().map(|entry| named_entity(&entry.entity)).collect::<Vec<_>>();
    let repeated = repeated_items(&entities);
    let mut answered = BTreeSet::new();
    for (entry, entity) in request.entries.iter().zip(&entities) {
        if !answered.insert(entity) {
            continue;
        }
        let made = if repeated.contains(entity) {
            let why = String::from("An entity cannot be altered twice in the same request");
            Err((ErrorCode::INVALID_REQUEST, why))
        } else {
            check_entity(entity).and_then(|()| quota_records(scene, entity, entry))
        };
        let mut answer =
            Answer { entity: echoed_entity(entity), error_message: None, ..Default::default() };
        match made {
            Ok(records) if !request.validate_only => turn.records.extend(records),
            Ok(_) => {}
            Err((code, why)) => {
                answer.error_code = code.0;
                answer.error_message = Some(why);
            }
        }
        response.entries.push(answer);
    }
    turn.reply(ControllerReply::AlterClientQuotas(response));
}

fn named_entity(entity: &[Asked]) -> QuotaEntity {
    entity.iter().map(|it| (it.entity_type.clone(), it.entity_name.clone())).collect()
}

fn echoed_entity(entity: &QuotaEntity) -> Vec<Answered> {
    let one = |(kind, name): (&String, &Option<String>)| Answered {
        entity_type: kind.clone(),
        entity_name: name.clone(),
        ..Default::default()
    };
    entity.iter().map(one).collect()
}

/// Can there be such an entity?
fn check_entity(entity: &QuotaEntity) -> Result<(), ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    for (kind, name) in entity {
        if !matches!(kind.as_str(), "user" | "client-id" | "ip") {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return invalid(format!("Empty {kind} not supported"));
        }
    }
    if entity.is_empty() {
        return invalid(String::from("Invalid empty client quota entity"));
    }
    if let Some(address) = entity.get("ip") {
        if entity.len() > 1 {
            let why = "Invalid quota entity combination, IP entity should not be combined with \
                       User or ClientId";
            return invalid(String::from(why));
        }
        if let Some(address) = address
            && address.parse::<core::net::IpAddr>().is_err()
        {
            return invalid(format!("{address} is not a valid IP or resolvable host."));
        }
    }
    Ok(())
}

fn quota_records(
    scene: &ControllerScene<'_>,
    entity: &QuotaEntity,
    entry: &EntryData,
) -> Result<Vec<MetadataRecord>, ControllerRefusal> {
    let rules = if entity.contains_key("ip") { &OF_ADDRESSES[..] } else { &OF_CLIENTS };
    let mut all: BTreeMap<&String, MetadataRecord> = BTreeMap::new();
    let mut keys: Vec<&String> = Vec::new();
    for op in &entry.ops {
        if keys.contains(&&op.key) {
            let why = format!("Duplicate quota key {} not updating quota for this entity", op.key);
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
        keys.push(&op.key);
        let mut kept = scene.cluster.client_quotas();
        let now = kept.find(|(about, it)| it.key == op.key && about == entity);
        let now = now.map(|(_, it)| it.value);
        let changed = if op.remove {
            now.is_some()
        } else {
            check_quota(rules, op)?;
            now != Some(op.value)
        };
        if changed {
            let part = |(kind, name): (&String, &Option<String>)| EntityData {
                entity_type: kind.clone(),
                entity_name: name.clone(),
                ..Default::default()
            };
            let record = ClientQuotaRecord {
                entity: entity.iter().map(part).collect(),
                key: op.key.clone(),
                value: if op.remove { 0.0 } else { op.value },
                remove: op.remove,
                ..Default::default()
            };
            all.insert(&op.key, record.into());
        }
    }
    Ok(all.into_values().collect())
}

fn check_quota(rules: &[(&str, QuotaBound)], op: &OpData) -> Result<(), ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    let (key, value) = (&op.key, op.value);
    let Some((_, bound)) = rules.iter().find(|(name, _)| name == key) else {
        return invalid(format!("Invalid configuration key {key}"));
    };
    if value.is_nan() || value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    let (most, name) = match bound {
        QuotaBound::Fraction => return Ok(()),
        // 2^63, which is the nearest to the largest number of 64 bits.
        QuotaBound::Long => (9_223_372_036_854_775_808.0, "a LONG"),
        QuotaBound::Int => (f64::from(i32::MAX), "an INT"),
    };
    if value > most {
        return invalid(format!("Proposed value for {key} is too large for {name}."));
    }
    if value % 1.0 > 1e-6 {
        return invalid(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}
