//! Every API asks the right of the resource that it concerns: real requests of clients that have
//! exactly one right, or none, against `authorisation.txt`.

use std::collections::BTreeSet;

use ottla_types::ErrorCode;

use crate::dispatch::SERVED;
use crate::guard::{Operation, ResourceType};
use crate::harness::{Harness, Right};
use samples::{SampleRequest, prepare, samples};

#[path = "authorisation_samples/mod.rs"]
mod samples;

const TYPES: [ResourceType; 4] = [
    ResourceType::Topic,
    ResourceType::Group,
    ResourceType::Cluster,
    ResourceType::TransactionalId,
];

/// What an answer without a right is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denied {
    Code(&'static str),
    Hides(&'static str),
}

/// One row: any of the rights is enough.
#[derive(Debug)]
struct Row {
    sample: &'static str,
    rights: Vec<Right>,
    denied: Denied,
}

fn right(text: &str) -> Right {
    let (kind, operation) = text.split_once(' ').expect("a type and an operation");
    let kind = TYPES.into_iter().find(|it| format!("{it:?}") == kind);
    let operation = Operation::ALL.into_iter().find(|it| format!("{it:?}") == operation);
    kind.zip(operation).unwrap_or_else(|| panic!("there is no right {text}"))
}

/// The names of all requests of the table, and its rows with rights.
fn table() -> (BTreeSet<&'static str>, Vec<Row>) {
    let (mut names, mut rows) = (BTreeSet::new(), Vec::new());
    let lines = include_str!("authorisation.txt").lines();
    for line in lines.filter(|it| !it.starts_with('#')) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [sample, rights, denied] = cells[..] else { panic!("three cells: {line}") };
        names.insert(sample);
        if rights != "-" {
            let rights = rights.split(" or ").map(right).collect();
            let hides = denied.strip_prefix("hides ").map(Denied::Hides);
            rows.push(Row { sample, rights, denied: hides.unwrap_or(Denied::Code(denied)) });
        }
    }
    (names, rows)
}

/// The codes of an answer that deny a right.
fn denials(answer: &str) -> BTreeSet<&'static str> {
    let codes = answer.split("error_code: ").skip(1).filter_map(|it| {
        let end = it.find(|it: char| it != '-' && !it.is_ascii_digit())?;
        it[..end].parse().ok().map(|code| ErrorCode(code).name())
    });
    codes.filter(|it| it.ends_with("AUTHORIZATION_FAILED")).collect()
}

/// Sends the request with exactly these rights; what is wrong with the answer.
fn check(
    harness: &Harness,
    rows: &[&Row],
    (name, ask): (&str, SampleRequest),
    rights: &[Right],
) -> Option<String> {
    harness.allow(None);
    prepare(harness);
    harness.allow(Some(rights));
    let answer = ask(harness);
    let missing = rows.iter().find(|row| !row.rights.iter().any(|it| rights.contains(it)));
    let wanted: BTreeSet<_> = match missing.map(|row| &row.denied) {
        Some(Denied::Code(code)) => [*code].into(),
        _ => BTreeSet::new(),
    };
    let found = denials(&answer);
    if found != wanted {
        return Some(format!("{name} with {rights:?}: {found:?} instead of {wanted:?}: {answer}"));
    }
    rows.iter().find_map(|row| {
        let Denied::Hides(what) = row.denied else { return None };
        let hides = missing.is_some();
        (answer.contains(what) == hides)
            .then(|| format!("{name} with {rights:?}: {what}: {answer}"))
    })
}

#[test]
fn the_table_names_every_api_and_has_a_request_for_each_row() {
    let (names, _) = table();
    let apis: BTreeSet<&str> =
        names.iter().map(|name| name.split(' ').next().unwrap_or(name)).collect();
    let served: BTreeSet<&str> = SERVED.iter().map(|api| api.key.name()).collect();
    assert_eq!(apis, served);
    let samples: BTreeSet<&str> = samples().map(|(name, _)| name).collect();
    assert_eq!(samples, names);
}

#[test]
fn every_api_asks_the_right_of_the_resource_that_it_concerns() {
    let harness = Harness::start(&[]);
    let (_, rows) = table();
    let singles = TYPES
        .into_iter()
        .flat_map(|kind| kind.operations().iter().map(move |operation| vec![(kind, *operation)]));
    let few: Vec<Vec<Right>> = std::iter::once(Vec::new()).chain(singles).collect();
    let mut wrong = Vec::new();
    for (name, ask) in samples() {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.sample == name).collect();
        let mut tried = few.clone();
        // All that it needs, and all but one of that.
        let whole: Vec<Right> = rows.iter().map(|row| row.rights[0]).collect();
        tried.extend((0..whole.len()).map(|at| [&whole[..at], &whole[at + 1..]].concat()));
        tried.push(whole);
        wrong.extend(tried.iter().filter_map(|rights| check(&harness, &rows, (name, ask), rights)));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_login_changes_who_asks_from_the_next_request_on() {
    use crate::guard::Principal;
    use crate::request::Call;
    use ottla_protocol::{ApiKey, Text};
    let harness = Harness::start(&[]);
    let session = harness.session();
    let before = Call::new(session, ApiKey::Fetch, 4, Text::default());
    *session.principal.lock() = Principal { kind: "User".into(), name: "alice".into() }.into();
    let after = Call::new(session, ApiKey::Fetch, 4, Text::default());
    assert_eq!(before.principal.to_string(), "User:ANONYMOUS");
    assert_eq!(after.principal.to_string(), "User:alice");
}

#[test]
fn what_a_client_may_do_is_what_the_authorizer_allows() {
    use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
    let harness = Harness::start(&[]);
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    let operations = |rights: &[Operation]| {
        let rights: Vec<Right> =
            rights.iter().map(|operation| (ResourceType::Cluster, *operation)).collect();
        harness.allow(Some(&rights));
        harness.ask(&request, 0).cluster_authorized_operations
    };
    assert_eq!(operations(&[Operation::Alter]), 0, "it may not describe the cluster");
    let both = 1 << Operation::Alter as i32 | 1 << Operation::Describe as i32;
    assert_eq!(operations(&[Operation::Alter, Operation::Describe]), both);
}
