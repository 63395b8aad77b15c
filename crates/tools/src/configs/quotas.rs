//! What belongs to users, clients and addresses: quotas and passwords.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_client::{
    Client, QuotaEntity, QuotaFilter, QuotaOwner, Quotas, ScramChange, ScramMechanism,
};
use ottla_clock::Clock;
use ottla_types::ErrorCode;

use super::{config_changes, parse_settings};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, plain_error, plain_refusal, tool_failed};

/// A part of an entity: its type, and its name (the empty one is the default); all names if none
/// is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityPart {
    kind: &'static str,
    name: Option<String>,
}

/// How the command line names a type, what the protocol calls it, and what people read.
const KINDS: [(&str, &str, &str, &str); 3] = [
    ("users", "user", "user", "user-principal"),
    ("clients", "client", "client-id", "client-id"),
    ("ips", "ip", "ip", "ip"),
];
/// How often a password is hashed by default.
const ITERATIONS: u32 = 4096;

/// The entity of a command line, if it has to do with quotas: `--entity-type users --entity-name
/// bob`, `--user bob`, in any order of its parts.
pub fn quota_entity(args: &Parsed) -> Result<Vec<EntityPart>, ToolError> {
    let mut parts: Vec<EntityPart> = Vec::new();
    let mut names = Vec::new();
    for (option, value) in args.in_order() {
        match option {
            "entity-type" => {
                let found = KINDS.iter().find(|(plural, ..)| Some(*plural) == value);
                let Some((_, _, kind, _)) = found else { return Ok(Vec::new()) };
                parts.push(EntityPart { kind, name: None });
            }
            "entity-name" => names.push(value.unwrap_or_default().to_owned()),
            "entity-default" => names.push(String::new()),
            _ => {}
        }
    }
    for (part, name) in parts.iter_mut().zip(names) {
        part.name = Some(name);
    }
    for (plural, short, kind, _) in KINDS {
        let defaults = format!("{}-defaults", plural.trim_end_matches('s'));
        if args.has(&defaults) {
            parts.push(EntityPart { kind, name: Some(String::new()) });
        } else if let Some(name) = args.one(short) {
            parts.push(EntityPart { kind, name: Some(name.to_owned()) });
        }
    }
    let mut kinds: Vec<&str> = parts.iter().map(|it| it.kind).collect();
    kinds.sort_unstable();
    let is_good = matches!(kinds[..], [] | ["user" | "client-id" | "ip"] | ["client-id", "user"]);
    if is_good {
        Ok(parts)
    } else {
        Err(ToolError::Usage("Only users and clients can be named together, each once".to_owned()))
    }
}

pub fn run_quotas(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    entity: &[EntityPart],
) -> Result<(), ToolError> {
    let client = session.connect()?;
    if args.has("describe") {
        return describe_quotas(session, &client, entity);
    }
    if entity.iter().any(|it| it.name.is_none()) {
        let usage = "An entity-name, or --entity-default, must be specified with --alter";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    alter_quotas(args, session, &client, entity)
}

fn find_quotas(
    session: &ToolSession<'_>,
    client: &Client,
    entity: &[EntityPart],
) -> Result<Vec<Quotas>, ToolError> {
    let filter = |part: &EntityPart| {
        let filter = match &part.name {
            None => QuotaFilter::Any,
            Some(name) if name.is_empty() => QuotaFilter::Default,
            Some(name) => QuotaFilter::Named(name.clone()),
        };
        (part.kind.to_owned(), filter)
    };
    let filters = entity.iter().map(filter).collect();
    session.wait(client.describe_quotas(&filters)).map_err(plain_error)
}

/// A number as Java prints it: with a fraction, always.
fn java_number(value: f64) -> String {
    format!("{value:?}")
}

fn describe_quotas(
    session: &mut ToolSession<'_>,
    client: &Client,
    entity: &[EntityPart],
) -> Result<(), ToolError> {
    for Quotas { entity, values } in find_quotas(session, client, entity)? {
        let part = |(_, _, kind, title): &(&str, &str, &str, &str)| {
            entity.get(*kind).map(|owner| match owner {
                QuotaOwner::Named(name) => format!("{title} '{name}'"),
                QuotaOwner::Default => format!("the default {title}"),
            })
        };
        let parts: Vec<String> = KINDS.iter().filter_map(part).collect();
        let values: Vec<String> =
            values.iter().map(|(key, value)| format!("{key}={}", java_number(*value))).collect();
        let (parts, values) = (parts.join(", "), values.join(", "));
        writeln!(session.out, "Quota configs for {parts} are {values}")?;
    }
    let [EntityPart { kind: "user", name }] = entity else { return Ok(()) };
    if name.as_ref().is_some_and(String::is_empty) {
        return Ok(());
    }
    let listed = session.wait(client.describe_scram_credentials(name.as_deref()));
    for listing in listed.map_err(plain_error)? {
        let credentials = match listing.credentials {
            Err(why) if why.code == ErrorCode::RESOURCE_NOT_FOUND => continue,
            credentials => credentials.map_err(plain_refusal)?,
        };
        let shown = |(mechanism, iterations): (Option<ScramMechanism>, i32)| {
            format!("{}=iterations={iterations}", mechanism.map_or("UNKNOWN", ScramMechanism::name))
        };
        let all: Vec<String> = credentials.into_iter().map(shown).collect();
        writeln!(
            session.out,
            "SCRAM credential configs for user-principal '{}' are {}",
            listing.user,
            all.join(", ")
        )?;
    }
    Ok(())
}

fn scram_mechanism(name: &str) -> Option<ScramMechanism> {
    ScramMechanism::ALL.into_iter().find(|known| known.name() == name)
}

fn alter_quotas(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    entity: &[EntityPart],
) -> Result<(), ToolError> {
    let (set, gone) = config_changes(args)?;
    let (passwords, limits): (Vec<_>, Vec<_>) =
        set.into_iter().partition(|(name, _)| scram_mechanism(name).is_some());
    let (lost, removed): (Vec<&str>, Vec<&str>) =
        gone.into_iter().partition(|name| scram_mechanism(name).is_some());
    let mut ops = Vec::new();
    for (key, value) in limits {
        let value = value.trim().parse().map_err(|_| {
            tool_failed(format!("Cannot parse quota configuration value for {key}: {value}"))
        })?;
        ops.push((key, Some(value)));
    }
    if !removed.is_empty() {
        let now = find_quotas(session, client, entity)?;
        let is_set = |key: &str| now.iter().any(|it| it.values.contains_key(key));
        let absent: Vec<&str> = removed.iter().copied().filter(|key| !is_set(key)).collect();
        if !absent.is_empty() {
            return Err(tool_failed(format!("Invalid config(s): {}", absent.join(","))));
        }
        ops.extend(removed.into_iter().map(|key| (key.to_owned(), None)));
    }
    if !ops.is_empty() {
        session.wait(client.alter_quotas(&owner_of(entity), &ops)).map_err(plain_error)?;
    }
    let head = entity.first();
    let name = head.and_then(|it| it.name.clone()).unwrap_or_default();
    if !passwords.is_empty() || !lost.is_empty() {
        if entity.len() != 1 || head.is_none_or(|it| it.kind != "user") || name.is_empty() {
            return Err(tool_failed("Only a single user can have a password"));
        }
        let mut changes = Vec::new();
        for (kind, text) in &passwords {
            changes.push(scram_change(kind, text)?);
        }
        changes.extend(lost.into_iter().filter_map(scram_mechanism).map(ScramChange::Delete));
        session.wait(client.alter_scram_credentials(&name, changes)).map_err(plain_error)?;
    }
    let kind = head.and_then(|it| KINDS.iter().find(|(_, _, kind, _)| *kind == it.kind));
    let (plural, short) = kind.map_or(("", ""), |(plural, short, ..)| (*plural, *short));
    if name.is_empty() {
        writeln!(session.out, "Completed updating default config for {plural} in the cluster.")?;
    } else {
        writeln!(session.out, "Completed updating config for {short} {name}.")?;
    }
    Ok(())
}

/// The entity by its parts.
fn owner_of(entity: &[EntityPart]) -> QuotaEntity {
    let part = |part: &EntityPart| {
        let name = part.name.clone().filter(|name| !name.is_empty());
        (part.kind.to_owned(), name.map_or(QuotaOwner::Default, QuotaOwner::Named))
    };
    entity.iter().map(part).collect()
}

/// `iterations=N,password=TEXT` as what is stored: the password never leaves this process.
fn scram_change(kind: &str, text: &str) -> Result<ScramChange, ToolError> {
    let given: BTreeMap<String, String> = parse_settings(text)?.into_iter().collect();
    let password = given.get("password");
    let password = password
        .ok_or_else(|| tool_failed(format!("{kind} takes [iterations=N,password=TEXT]")))?;
    let iterations = given.get("iterations").map_or(Ok(ITERATIONS), |it| it.trim().parse());
    let iterations =
        iterations.map_err(|_| tool_failed(format!("{kind}: iterations takes a number")))?;
    let clock = Clock::real();
    let salt = [clock.random_bytes(), clock.random_bytes()].concat();
    let mechanism = scram_mechanism(kind).unwrap_or(ScramMechanism::Sha512);
    let salted: Vec<u8> = if mechanism == ScramMechanism::Sha256 {
        let found: [u8; 32] =
            pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), &salt, iterations);
        found.to_vec()
    } else {
        let found: [u8; 64] =
            pbkdf2::pbkdf2_hmac_array::<sha2::Sha512, 64>(password.as_bytes(), &salt, iterations);
        found.to_vec()
    };
    Ok(ScramChange::Upsert {
        mechanism,
        iterations: i32::try_from(iterations).unwrap_or(i32::MAX),
        salt: Bytes::from(salt),
        salted_password: Bytes::from(salted),
    })
}
