//! kafka-acls and kafka-delegation-tokens.
//!
//! Their server side comes with authentication; until then the tools understand every command line
//! and tell what the cluster answers.

use ottla_client::{AclBinding, AclFilter, Client, TokenOwner};

use crate::options::{BOOTSTRAP_CONTROLLER, Opt, Parsed, flag, maybe_value, values};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-acls",
        about: "Show and change access control lists (ACLs).",
        options: ACLS,
        run: run_acls,
    },
    &Tool {
        name: "kafka-delegation-tokens",
        about: "Create, renew, expire and describe delegation tokens.",
        options: TOKENS,
        run: run_delegation_tokens,
    },
];

const ACLS: &[Opt] = &[
    BOOTSTRAP_CONTROLLER,
    flag("list", "List the ACLs."),
    flag("add", "Add ACLs."),
    flag("remove", "Remove ACLs."),
    values("topic", "NAME", "The topic of the ACLs; * for all topics."),
    values("group", "ID", "The consumer group of the ACLs."),
    values("transactional-id", "ID", "The transactional id of the ACLs."),
    values("delegation-token", "ID", "The delegation token of the ACLs."),
    values("user-principal", "KIND:NAME", "The user of the ACLs."),
    flag("cluster", "ACLs of the cluster."),
    values(
        "resource-pattern-type",
        "KIND",
        "literal (the default), prefixed; any or match to find.",
    ),
    values("allow-principal", "KIND:NAME", "The principal that is allowed."),
    values("deny-principal", "KIND:NAME", "The principal that is denied."),
    values("allow-host", "HOST", "The host from which it is allowed (default: *)."),
    values("deny-host", "HOST", "The host from which it is denied (default: *)."),
    values(
        "operation",
        "NAME",
        "What: Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, CreateTokens, DescribeTokens, TwoPhaseCommit or All.",
    ),
    flag("producer", "What a producer needs: Write, Describe and Create on the topic."),
    flag("consumer", "What a consumer needs: Read and Describe on the topic, Read on the group."),
    flag("idempotent", "With --producer: also IdempotentWrite on the cluster."),
    maybe_value("principal", "KIND:NAME", "With --list: only ACLs of this principal."),
    flag("force", "Do not ask for confirmation."),
];

const TOKENS: &[Opt] = &[
    flag("create", "Create a delegation token."),
    flag("renew", "Renew a delegation token."),
    flag("expire", "Expire a delegation token."),
    flag("describe", "Describe delegation tokens."),
    values("owner-principal", "KIND:NAME", "The owner of the token."),
    values("renewer-principal", "KIND:NAME", "The principals that may renew the token."),
    values(
        "max-life-time-period",
        "MS",
        "The longest lifetime of the token; -1 for the broker's setting.",
    ),
    values(
        "renew-time-period",
        "MS",
        "The time until the renewed token expires; -1 for the broker's setting.",
    ),
    values("expiry-time-period", "MS", "The time until the token expires; -1 for at once."),
    values("hmac", "HMAC", "The HMAC of the token."),
];

/// The numbers of Kafka's `ResourceType`.
const RESOURCES: [(&str, i8, &str); 6] = [
    ("topic", 2, "TOPIC"),
    ("group", 3, "GROUP"),
    ("cluster", 4, "CLUSTER"),
    ("transactional-id", 5, "TRANSACTIONAL_ID"),
    ("delegation-token", 6, "DELEGATION_TOKEN"),
    ("user-principal", 7, "USER"),
];
const CLUSTER: i8 = 4;
const CLUSTER_NAME: &str = "kafka-cluster";
/// The numbers of Kafka's `AclOperation`.
const OPERATIONS: [(&str, i8); 15] = [
    ("Any", 1),
    ("All", 2),
    ("Read", 3),
    ("Write", 4),
    ("Create", 5),
    ("Delete", 6),
    ("Alter", 7),
    ("Describe", 8),
    ("ClusterAction", 9),
    ("DescribeConfigs", 10),
    ("AlterConfigs", 11),
    ("IdempotentWrite", 12),
    ("CreateTokens", 13),
    ("DescribeTokens", 14),
    ("TwoPhaseCommit", 15),
];
/// The numbers of Kafka's `PatternType`.
const PATTERNS: [(&str, i8); 4] = [("any", 1), ("match", 2), ("literal", 3), ("prefixed", 4)];
const ANY: i8 = 1;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

/// The resources of the command line: kind and name.
fn named_resources(args: &Parsed) -> Vec<(i8, String)> {
    let mut all = Vec::new();
    for (option, kind, _) in RESOURCES {
        if kind == CLUSTER && (args.has(option) || args.has("idempotent")) {
            all.push((kind, CLUSTER_NAME.to_owned()));
        }
        all.extend(args.all(option).map(|name| (kind, name.to_owned())));
    }
    all
}

fn find_named<T: Copy>(what: &str, text: &str, all: &[(&str, T)]) -> Result<T, ToolError> {
    let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, it)| *it).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        ToolError::Usage(format!("unknown {what} {text}; use one of {}", names.join(", ")))
    })
}

fn pattern_type(args: &Parsed) -> Result<i8, ToolError> {
    find_named("pattern type", args.one("resource-pattern-type").unwrap_or("literal"), &PATTERNS)
}

fn named_operations(args: &Parsed) -> Result<Vec<i8>, ToolError> {
    let mut all = Vec::new();
    for name in args.all("operation") {
        all.push(find_named("operation", name, &OPERATIONS)?);
    }
    if all.is_empty() {
        all.push(find_named("operation", "All", &OPERATIONS)?);
    }
    Ok(all)
}

fn run_acls(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    match args.only(&["list", "add", "remove"]) {
        Some("list") => list_acls(args, session),
        Some("add") => add_acls(args, session),
        Some("remove") => remove_acls(args, session),
        _ => {
            let why = "Command must include exactly one action: --list, --add, --remove.";
            Err(ToolError::Usage(why.to_owned()))
        }
    }
}

/// The rules that a command line is about: resource, principal, host, operation, permission.
type AclRule = (i8, String, String, String, (i8, i8));

fn acl_rules(args: &Parsed) -> Result<Vec<AclRule>, ToolError> {
    let asked = named_resources(args);
    if asked.is_empty() {
        let all = RESOURCES.map(|(option, ..)| format!("--{option}")).join(", ");
        return Err(ToolError::Usage(format!("You must specify at least one resource: {all}")));
    }
    let own = named_operations(args)?;
    let mut rules = Vec::new();
    for (option, host, permission) in
        [("allow-principal", "allow-host", ALLOW), ("deny-principal", "deny-host", DENY)]
    {
        let mut hosts: Vec<&str> = args.all(host).collect();
        if hosts.is_empty() {
            hosts.push("*");
        }
        for principal in args.all(option) {
            if principal.split_once(':').is_none_or(|(kind, _)| kind.is_empty()) {
                return Err(ToolError::Usage(format!("{principal} is not of the form KIND:NAME")));
            }
            for host in &hosts {
                for (kind, name) in &asked {
                    let of_role = role_operations(args, *kind);
                    for operation in if of_role.is_empty() { &own } else { &of_role } {
                        let (name, host) = (name.clone(), (*host).to_owned());
                        let what = (*operation, permission);
                        rules.push((*kind, name, principal.to_owned(), host, what));
                    }
                }
            }
        }
    }
    Ok(rules)
}

/// What a producer or a consumer needs of a kind of resource.
fn role_operations(args: &Parsed, kind: i8) -> Vec<i8> {
    let mut all: Vec<i8> = Vec::new();
    if args.has("producer") {
        match kind {
            2 => all.extend([4, 8, 5]),
            5 => all.extend([4, 8]),
            CLUSTER if args.has("idempotent") => all.push(12),
            _ => {}
        }
    }
    if args.has("consumer") {
        match kind {
            2 => all.extend([3, 8]),
            3 => all.push(3),
            _ => {}
        }
    }
    all
}

fn add_acls(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    if !args.has("allow-principal") && !args.has("deny-principal") {
        let why =
            "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.";
        return Err(ToolError::Usage(why.to_owned()));
    }
    let pattern = pattern_type(args)?;
    if pattern < 3 {
        let why =
            "A '--resource-pattern-type' value of 'any' or 'match' is not valid when adding acls.";
        return Err(ToolError::Usage(why.to_owned()));
    }
    let binding = |(kind, name, principal, host, (operation, permission)): AclRule| AclBinding {
        resource_type: kind,
        resource_name: name,
        pattern_type: pattern,
        principal,
        host,
        operation,
        permission,
    };
    let bindings = acl_rules(args)?.into_iter().map(binding).collect();
    let client = session.connect()?;
    session.wait(client.create_acls(bindings)).map_err(plain_error)?;
    print_acls(session, &client, &named_resources(args), pattern, None)
}

fn remove_acls(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let pattern = pattern_type(args)?;
    let asked = named_resources(args);
    if asked.is_empty() {
        let why = "You must specify at least one resource when trying to remove ACLs.";
        return Err(ToolError::Usage(why.to_owned()));
    }
    let filter = |(kind, name, principal, host, (operation, permission))| AclFilter {
        resource_type: kind,
        resource_name: Some(name),
        pattern_type: pattern,
        principal,
        host,
        operation,
        permission,
    };
    let rules = acl_rules(args)?;
    let filters: Vec<AclFilter> = if rules.is_empty() {
        asked.into_iter().map(|(kind, name)| filter((kind, name, None, None, (ANY, ANY)))).collect()
    } else {
        let some = |(kind, name, principal, host, what): AclRule| {
            filter((kind, name, Some(principal), Some(host), what))
        };
        rules.into_iter().map(some).collect()
    };
    if !args.has("force") {
        return Err(tool_failed(
            "kafka-acls --remove: add --force to remove rules without a question",
        ));
    }
    let client = session.connect()?;
    session.wait(client.delete_acls(filters)).map_err(plain_error)?;
    print_acls(session, &client, &named_resources(args), pattern, None)
}

fn list_acls(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let client = session.connect()?;
    let mut asked = named_resources(args);
    if asked.is_empty() {
        asked.push((ANY, String::new()));
    }
    let pattern = pattern_type(args)?;
    print_acls(session, &client, &asked, pattern, args.one("principal"))
}

fn print_acls(
    session: &mut ToolSession<'_>,
    client: &Client,
    asked: &[(i8, String)],
    pattern: i8,
    principal: Option<&str>,
) -> Result<(), ToolError> {
    for (kind, name) in asked {
        let filter = AclFilter {
            resource_type: *kind,
            resource_name: Some(name.clone()).filter(|it| !it.is_empty()),
            pattern_type: if *kind == ANY { ANY } else { pattern },
            principal: principal.map(str::to_owned),
            host: None,
            operation: ANY,
            permission: ANY,
        };
        let found = session.wait(client.describe_acls(filter)).map_err(|error| {
            tool_failed(format!("Error while executing ACL command: {}", plain_error(error)))
        })?;
        let of =
            |acl: &AclBinding| (acl.resource_type, acl.resource_name.clone(), acl.pattern_type);
        for acls in found.chunk_by(|a, b| of(a) == of(b)) {
            write!(session.out, "{}", acls_text(acls))?;
        }
    }
    Ok(())
}

/// The rules of one resource.
fn acls_text(acls: &[AclBinding]) -> String {
    let Some(first) = acls.first() else { return String::new() };
    let kind = RESOURCES.iter().find(|(_, kind, _)| *kind == first.resource_type);
    let pattern = PATTERNS.iter().find(|(_, kind)| *kind == first.pattern_type);
    let mut text = format!(
        "Current ACLs for resource `ResourcePattern(resourceType={}, name={}, patternType={})`: \n",
        kind.map_or("UNKNOWN", |(_, _, name)| name),
        first.resource_name,
        pattern.map_or("UNKNOWN", |(name, _)| name).to_uppercase()
    );
    for acl in acls {
        let operation = OPERATIONS.iter().find(|(_, number)| *number == acl.operation);
        let operation = operation.map_or("UNKNOWN", |(name, _)| name);
        let permission = if acl.permission == DENY { "DENY" } else { "ALLOW" };
        text.push_str(&format!(
            " \t(principal={}, host={}, operation={}, permissionType={permission}) \n",
            acl.principal,
            acl.host,
            upper_snake_case(operation)
        ));
    }
    text + "\n"
}

/// `DescribeConfigs` as `DESCRIBE_CONFIGS`.
fn upper_snake_case(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_uppercase() {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    text
}

fn run_delegation_tokens(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let Some(action) = args.only(&["create", "renew", "expire", "describe"]) else {
        let why =
            "Command must include exactly one action: --create, --renew, --expire or --describe";
        return Err(ToolError::Usage(why.to_owned()));
    };
    if !args.has("command-config") {
        let why = "Missing required argument \"[command-config]\"";
        return Err(ToolError::Usage(why.to_owned()));
    }
    let needs: &[&str] = match action {
        "create" => &["max-life-time-period"],
        "renew" => &["hmac", "renew-time-period"],
        "expire" => &["hmac", "expiry-time-period"],
        _ => &[],
    };
    if let Some(missing) = needs.iter().find(|it| !args.has(it)) {
        return Err(ToolError::Usage(format!("Missing required argument \"[{missing}]\"")));
    }
    let owner = |text: &str| {
        let (kind, name) = text.split_once(':').unwrap_or(("User", text));
        TokenOwner { kind: kind.to_owned(), name: name.to_owned() }
    };
    let owners: Vec<_> = args.all("owner-principal").map(owner).collect();
    let client = session.connect()?;
    // Whatever is asked, it is refused for the same reason until connections can be secure.
    session.wait(client.describe_tokens(owners)).map_err(plain_error)?;
    Err(tool_failed(format!(
        "kafka-delegation-tokens --{action}: this build of ottla cannot authenticate, and delegation tokens need an authenticated user"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Parsed::read(&words, ACLS).unwrap()
    }

    #[test]
    fn roles_are_several_rules() {
        let of = |line: &str| -> Vec<(i8, String, (i8, i8))> {
            let rules = acl_rules(&parsed(line)).unwrap();
            rules.into_iter().map(|(kind, name, _, _, what)| (kind, name, what)).collect()
        };
        let topic = |operation| (2, "t".to_owned(), (operation, ALLOW));
        let consumer = of("--add --consumer --topic t --group g --allow-principal User:a");
        assert_eq!(consumer, [topic(3), topic(8), (3, "g".to_owned(), (3, ALLOW))]);
        let producer = of("--add --producer --topic t --idempotent --allow-principal User:a");
        let client = (CLUSTER, CLUSTER_NAME.to_owned(), (12, ALLOW));
        assert_eq!(producer, [topic(4), topic(8), topic(5), client]);
        let hosts = of(
            "--add --topic t --operation read --deny-principal User:a --deny-host x --deny-host y",
        );
        assert_eq!(hosts, [(2, "t".to_owned(), (3, DENY)), (2, "t".to_owned(), (3, DENY))]);
        assert!(acl_rules(&parsed("--add --topic t --allow-principal bob")).is_err());
        assert_eq!(upper_snake_case("DescribeConfigs"), "DESCRIBE_CONFIGS");
    }
}
