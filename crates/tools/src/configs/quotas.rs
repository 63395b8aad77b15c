//! What belongs to users, clients and addresses: quotas and passwords.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_client::Client;
use ottla_clock::Clock;
use ottla_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::describe_client_quotas_request::{
    ComponentData, DescribeClientQuotasRequest,
};
use ottla_protocol::messages::describe_user_scram_credentials_request::{
    DescribeUserScramCredentialsRequest, UserName,
};
use ottla_protocol::messages::describe_user_scram_credentials_response::CredentialInfo;
use ottla_types::ErrorCode;

use super::{changes, settings};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, failed, refused};

/// A part of an entity: its type, and its name (the empty one is the default); all names if none
/// is said.
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
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;
/// The mechanisms of passwords, by Kafka's numbers.
const MECHANISMS: [(&str, i8); 2] = [("SCRAM-SHA-256", 1), ("SCRAM-SHA-512", 2)];
/// How often a password is hashed if nobody says.
const ITERATIONS: u32 = 4096;

/// The entity of a command line, if it has to do with quotas: `--entity-type users --entity-name
/// bob`, `--user bob`, in any order of its parts.
pub fn entity(args: &Parsed) -> Result<Vec<EntityPart>, ToolError> {
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

pub fn run(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    entity: &[EntityPart],
) -> Result<(), ToolError> {
    let client = session.connect()?;
    if args.has("describe") {
        return describe(session, &client, entity);
    }
    if entity.iter().any(|it| it.name.is_none()) {
        let usage = "An entity-name, or --entity-default, must be specified with --alter";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    alter(args, session, &client, entity)
}

/// An entity as found: its parts by type; no name is the default.
type EntityFound = BTreeMap<String, Option<String>>;

/// The quotas of an entity.
type Quotas = (EntityFound, BTreeMap<String, f64>);

fn quotas(
    session: &ToolSession<'_>,
    client: &Client,
    entity: &[EntityPart],
) -> Result<Vec<Quotas>, ToolError> {
    let component = |it: &EntityPart| {
        let (match_type, match_) = match &it.name {
            None => (SPECIFIED, None),
            Some(name) if name.is_empty() => (DEFAULT, None),
            Some(name) => (EXACT, Some(name.clone())),
        };
        ComponentData { entity_type: it.kind.to_owned(), match_type, match_, ..Default::default() }
    };
    let request = DescribeClientQuotasRequest {
        components: entity.iter().map(component).collect(),
        strict: true,
        ..Default::default()
    };
    let told = session.wait(client.ask_any(&request))?;
    refused(told.error_code, told.error_message.as_deref())?;
    let all = told.entries.unwrap_or_default().into_iter().map(|it| {
        let parts = it.entity.into_iter().map(|it| (it.entity_type, it.entity_name));
        let values = it.values.into_iter().map(|it| (it.key, it.value));
        (parts.collect(), values.collect())
    });
    Ok(all.collect())
}

/// A number as Java prints it: with a fraction, always.
fn shown(value: f64) -> String {
    format!("{value:?}")
}

fn describe(
    session: &mut ToolSession<'_>,
    client: &Client,
    entity: &[EntityPart],
) -> Result<(), ToolError> {
    for (found, values) in quotas(session, client, entity)? {
        let part = |(_, _, kind, title): &(&str, &str, &str, &str)| {
            found.get(*kind).map(|name| match name {
                Some(name) => format!("{title} '{name}'"),
                None => format!("the default {title}"),
            })
        };
        let parts: Vec<String> = KINDS.iter().filter_map(part).collect();
        let values: Vec<String> =
            values.iter().map(|(key, value)| format!("{key}={}", shown(*value))).collect();
        let (parts, values) = (parts.join(", "), values.join(", "));
        writeln!(session.out, "Quota configs for {parts} are {values}")?;
    }
    let [EntityPart { kind: "user", name }] = entity else { return Ok(()) };
    if name.as_ref().is_some_and(String::is_empty) {
        return Ok(());
    }
    let one = |name: &String| UserName { name: name.clone(), ..Default::default() };
    let request = DescribeUserScramCredentialsRequest {
        users: name.as_ref().map(|name| vec![one(name)]),
        ..Default::default()
    };
    let told = session.wait(client.ask_any(&request))?;
    refused(told.error_code, told.error_message.as_deref())?;
    for it in told.results {
        if ErrorCode(it.error_code) == ErrorCode::RESOURCE_NOT_FOUND {
            continue;
        }
        refused(it.error_code, it.error_message.as_deref())?;
        let one = |it: &CredentialInfo| {
            let name = MECHANISMS.iter().find(|(_, number)| *number == it.mechanism);
            format!("{}=iterations={}", name.map_or("UNKNOWN", |(name, _)| name), it.iterations)
        };
        let all: Vec<String> = it.credential_infos.iter().map(one).collect();
        writeln!(
            session.out,
            "SCRAM credential configs for user-principal '{}' are {}",
            it.user,
            all.join(", ")
        )?;
    }
    Ok(())
}

fn mechanism(name: &str) -> Option<i8> {
    MECHANISMS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

fn alter(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    entity: &[EntityPart],
) -> Result<(), ToolError> {
    let (set, gone) = changes(args)?;
    let (passwords, limits): (Vec<_>, Vec<_>) =
        set.into_iter().partition(|(name, _)| mechanism(name).is_some());
    let (lost, removed): (Vec<&str>, Vec<&str>) =
        gone.into_iter().partition(|name| mechanism(name).is_some());
    let mut ops = Vec::new();
    for (key, value) in limits {
        let value = value.trim().parse().map_err(|_| {
            failed(format!("Cannot parse quota configuration value for {key}: {value}"))
        })?;
        ops.push(OpData { key, value, remove: false, ..Default::default() });
    }
    if !removed.is_empty() {
        let now = quotas(session, client, entity)?;
        let is_set = |key: &str| now.iter().any(|(_, values)| values.contains_key(key));
        let absent: Vec<&str> = removed.iter().copied().filter(|key| !is_set(key)).collect();
        if !absent.is_empty() {
            return Err(failed(format!("Invalid config(s): {}", absent.join(","))));
        }
        ops.extend(removed.into_iter().map(|key| OpData {
            key: key.to_owned(),
            remove: true,
            ..Default::default()
        }));
    }
    if !ops.is_empty() {
        limit(session, client, (entity, ops))?;
    }
    let head = entity.first();
    let name = head.and_then(|it| it.name.clone()).unwrap_or_default();
    if !passwords.is_empty() || !lost.is_empty() {
        if entity.len() != 1 || head.is_none_or(|it| it.kind != "user") || name.is_empty() {
            return Err(failed("Only a user, and nobody else, can have a password"));
        }
        let upsertions: Result<_, _> =
            passwords.iter().map(|(kind, text)| password(&name, kind, text)).collect();
        let deletions = lost.into_iter().map(|kind| ScramCredentialDeletion {
            name: name.clone(),
            mechanism: mechanism(kind).unwrap_or(0),
            ..Default::default()
        });
        let request = AlterUserScramCredentialsRequest {
            deletions: deletions.collect(),
            upsertions: upsertions?,
            ..Default::default()
        };
        let told = session.wait(client.ask_any(&request))?;
        for it in told.results {
            refused(it.error_code, it.error_message.as_deref())?;
        }
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

fn limit(
    session: &ToolSession<'_>,
    client: &Client,
    (entity, ops): (&[EntityPart], Vec<OpData>),
) -> Result<(), ToolError> {
    let part = |it: &EntityPart| EntityData {
        entity_type: it.kind.to_owned(),
        entity_name: it.name.clone().filter(|it| !it.is_empty()),
        ..Default::default()
    };
    let entry = EntryData { entity: entity.iter().map(part).collect(), ops, ..Default::default() };
    let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    let told = session.wait(client.ask_any(&request))?;
    for it in told.entries {
        refused(it.error_code, it.error_message.as_deref())?;
    }
    Ok(())
}

/// `iterations=N,password=TEXT` as what is stored: the password never leaves this process.
fn password(user: &str, kind: &str, text: &str) -> Result<ScramCredentialUpsertion, ToolError> {
    let given: BTreeMap<String, String> = settings(text)?.into_iter().collect();
    let password = given.get("password");
    let password =
        password.ok_or_else(|| failed(format!("{kind} takes [iterations=N,password=TEXT]")))?;
    let iterations = given.get("iterations").map_or(Ok(ITERATIONS), |it| it.trim().parse());
    let iterations =
        iterations.map_err(|_| failed(format!("{kind}: iterations takes a number")))?;
    let clock = Clock::real();
    let salt = [clock.random_bytes(), clock.random_bytes()].concat();
    let mechanism = mechanism(kind).unwrap_or(0);
    let salted: Vec<u8> = if mechanism == 1 {
        let found: [u8; 32] =
            pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), &salt, iterations);
        found.to_vec()
    } else {
        let found: [u8; 64] =
            pbkdf2::pbkdf2_hmac_array::<sha2::Sha512, 64>(password.as_bytes(), &salt, iterations);
        found.to_vec()
    };
    Ok(ScramCredentialUpsertion {
        name: user.to_owned(),
        mechanism,
        iterations: i32::try_from(iterations).unwrap_or(i32::MAX),
        salt: Bytes::from(salt),
        salted_password: Bytes::from(salted),
        ..Default::default()
    })
}
