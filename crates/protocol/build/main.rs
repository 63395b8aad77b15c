//! Generates the protocol's types and codecs from `schemas/`, into the build folder.
//!
//! `schema` reads the files, `rust` writes one module for each message, `json` how stored records
//! are shown, `tables` the enums that say which messages there are. The format of a schema file is
//! described in `schemas/README.md`.

mod json;
mod rust;
mod schema;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use schema::{Kind, Message};

/// The stored records: schema file, which is also the module, and what the module is about.
const STORED: [(&str, &str); 7] = [
    ("metadata", "Records of `__cluster_metadata`."),
    ("group", "Keys and values of `__consumer_offsets`."),
    ("transaction", "Keys and values of `__transaction_state`."),
    ("share", "Keys and values of `__share_group_state`."),
    ("raft", "What a quorum member keeps beside its log."),
    ("storage", "What the log keeps beside its segments, and remote storage in its topic."),
    ("shared", "Headers, control records, and what members of a group tell each other."),
];

#[expect(clippy::disallowed_methods, reason = "a build script gets its folders this way")]
fn main() {
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo names the folder"));
    let schemas = Path::new("schemas");

    let mut calls = Vec::new();
    for file in listed(&schemas.join("rpc")) {
        calls.extend(read(&file));
    }
    calls.sort_by_key(|message| (message.key, message.kind != Kind::Request));
    let mut text = rust::message_modules(&calls);
    text.push_str(&tables::request_enums(&calls));
    write(&out.join("messages.rs"), &text);
    write(&out.join("api_key.rs"), &tables::api_keys(&calls));

    let mut index = String::new();
    for (name, about) in STORED {
        let messages = read(&schemas.join(format!("{name}.schema")));
        let mut text = rust::message_modules(&messages);
        text.push_str(&json::json_modules(&messages));
        text.push_str(&tables::stored_tables(&messages));
        write(&out.join(format!("{name}.rs")), &text);
        index.push_str(&format!(
            "#[doc = {about:?}]\n#[allow(unused_variables, unused_mut, clippy::all, clippy::too_many_lines)]\n\
             pub mod {name} {{ include!(concat!(env!(\"OUT_DIR\"), \"/{name}.rs\")); }}\n"
        ));
    }
    write(&out.join("stored.rs"), &index);
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the schemas are there");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Vec<Message> {
    let text = fs::read_to_string(file).expect("a readable schema");
    match schema::parse_schema(&text) {
        Ok(messages) => messages,
        Err((line, why)) => panic!("{}:{line}: {why}", file.display()),
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).expect("the build folder can be written");
}
