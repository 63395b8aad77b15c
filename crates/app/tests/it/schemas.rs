//! What commands print with `-o json` is what docs/schemas says.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Home, Node};

fn printed(node: &Node, line: &str, input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(line.split_whitespace()).args(["-o", "json"]);
    command.env("KAFKA_SERVER", node.address.to_string()).env("XDG_CONFIG_HOME", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let code = out.status.code();
    let is_doctor = line.starts_with("doctor");
    let why = String::from_utf8_lossy(&out.stderr);
    assert!(code == Some(0) || is_doctor, "{line}: {code:?} {why}");
    String::from_utf8(out.stdout).unwrap()
}

/// What is wrong with a value; the words of JSON Schema that our schemas use are known, no others.
fn wrong(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let say = |what: String| format!("{at}: {what}");
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "title" | "description" => {}
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                let own = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_f64() => "number",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                if !types.iter().any(|it| it == own) {
                    found.push(say(format!("{own} where {rule} is due")));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                found.push(say(format!("{value} is none of {rule}")));
            }
            "minimum" if value.as_i64() < rule.as_i64() && !value.is_null() => {
                found.push(say(format!("{value} is below {rule}")));
            }
            "enum" | "minimum" => {}
            "required" if value.is_null() => {}
            "required" => {
                let names = rule.as_array().unwrap().iter().filter_map(Value::as_str);
                let absent = names.filter(|name| value.get(name).is_none());
                found.extend(absent.map(|name| say(format!("{name} is missing"))));
            }
            "additionalProperties" => {
                let own = value.as_object().into_iter().flatten().map(|(name, _)| name);
                let more = own.filter(|name| schema["properties"].get(name.as_str()).is_none());
                found.extend(more.map(|name| say(format!("{name} is not in the schema"))));
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    let inner = value.get(name).map(|it| wrong(it, rule, &format!("{at}.{name}")));
                    found.extend(inner.unwrap_or_default());
                }
            }
            "items" => {
                for (index, it) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(wrong(it, rule, &format!("{at}[{index}]")));
                }
            }
            other => found.push(say(format!("the test does not know {other}"))),
        }
    }
    found
}

#[test]
fn what_commands_print_as_json_is_what_their_schemas_say() {
    let home = Home::new();
    let node = home.start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    // Schema, command, its input; one makes what the next one shows.
    let cases = [
        ("topics-create", "topics create t -p 2", ""),
        ("topics-alter", "topics alter t -p 3", ""),
        ("produce", "produce t -p 1 -H name=value", "a\n{\"n\": 1}\n17\n"),
        ("produce", "produce t -K : --null NULL", "key:NULL\nNULL:value\n"),
        ("consume", "consume t --from-beginning -e", ""),
        ("consume", "consume t --from-beginning -g g -n 2", ""),
        ("topics-list", "topics list --all", ""),
        ("topics-describe", "topics describe t", ""),
        ("groups-list", "groups", ""),
        ("groups-describe", "groups describe g", ""),
        ("groups-lag", "groups lag g", ""),
        ("groups-reset", "groups reset g --to earliest", ""),
        ("cluster", "cluster", ""),
        ("cluster-plan", "cluster rebalance", ""),
        ("cluster-plan", "cluster rebalance --execute", ""),
        ("cluster-plan", "cluster grow --topics t", ""),
        ("txn-list", "txn", ""),
        ("bench", "bench -n 100 --latencies 5", ""),
        ("demo-trucks", "demo trucks --seconds 1", ""),
        ("size", "size --throughput 50MB --consumers 12", ""),
        ("config-get", "config get topic t --all", ""),
        ("config-get", "config get broker 1 --all", ""),
        ("config-set", "config set topic t retention.ms=5000", ""),
        ("config-set", "config set broker all log.retention.ms=5000", ""),
        ("doctor", "doctor", ""),
        ("version", "version", ""),
        ("groups-delete", "groups delete g", ""),
        ("topics-delete", "topics delete t", ""),
    ];
    for (name, line, input) in cases {
        let schema = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let schema: Value = serde_json::from_slice(&schema).unwrap();
        let text = printed(&node, line, input);
        let documents: Vec<&str> = match name {
            "produce" | "consume" => text.lines().collect(),
            _ => vec![&text],
        };
        assert!(!documents.is_empty(), "{line} printed nothing");
        for document in documents {
            let value: Value = serde_json::from_str(document).unwrap();
            assert_eq!(wrong(&value, &schema, name), Vec::<String>::new(), "{line}: {document}");
        }
    }
    node.stop();
}
