//! Writes the enums that say which messages there are.

use std::fmt::Write as _;

use crate::rust::snake_case;
use crate::schema::{Kind, Message};

/// `ApiKey` and what is known of each key.
pub fn api_keys(messages: &[Message]) -> String {
    let requests: Vec<_> = messages.iter().filter(|m| m.kind == Kind::Request).collect();
    let name = |m: &Message| m.name.trim_end_matches("Request").to_owned();
    let mut out = String::new();
    out.push_str("/// Which request a frame holds.\n");
    out.push_str("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n");
    out.push_str("#[repr(i16)]\npub enum ApiKey {\n");
    for m in &requests {
        let _ = writeln!(out, "/// Key {}.\n{} = {},", m.key, name(m), m.key);
    }
    out.push_str(
        "}\nimpl ApiKey {\n/// Every key, ascending.\npub const ALL: &'static [Self] = &[",
    );
    for m in &requests {
        let _ = write!(out, "Self::{}, ", name(m));
    }
    out.push_str("];\n");
    let table = |out: &mut String, head: &str, row: &dyn Fn(&Message) -> String| {
        let _ = writeln!(out, "{head} {{ match self {{");
        for m in &requests {
            let _ = writeln!(out, "Self::{} => {},", name(m), row(m));
        }
        out.push_str("} }\n");
    };
    table(
        &mut out,
        "/// As Kafka calls it.\n#[must_use]\npub const fn name(self) -> &'static str",
        &|m| format!("{:?}", name(m)),
    );
    table(
        &mut out,
        "/// The versions that this crate reads and writes.\n#[must_use]\n\
         pub const fn versions(self) -> RangeInclusive<i16>",
        &|m| format!("{}..={}", m.versions.from, m.versions.to),
    );
    table(
        &mut out,
        "/// The first version with compact lengths and tagged fields; `i16::MAX` if none has.\n\
         #[must_use]\npub const fn flexible_from(self) -> i16",
        &|m| if m.flexible.is_empty() { "i16::MAX".into() } else { m.flexible.from.to_string() },
    );
    table(
        &mut out,
        "/// Is the newest version not yet meant for everybody?\n#[must_use]\n\
         pub const fn newest_is_unstable(self) -> bool",
        &|m| m.unstable.to_string(),
    );
    table(
        &mut out,
        "/// Does Kafka serve it on a controller's listener?\n#[must_use]\n\
         pub const fn on_controller(self) -> bool",
        &|m| m.listeners.contains("controller").to_string(),
    );
    table(
        &mut out,
        "/// Does Kafka serve it on a broker's listener?\n#[must_use]\n\
         pub const fn on_broker(self) -> bool",
        &|m| m.listeners.contains("broker").to_string(),
    );
    out.push_str("}\n");
    out
}

/// `AnyRequest` and `AnyResponse`.
pub fn request_enums(messages: &[Message]) -> String {
    let mut out = String::new();
    for (kind, ending) in [(Kind::Request, "Request"), (Kind::Response, "Response")] {
        let rows: Vec<_> = messages
            .iter()
            .filter(|m| m.kind == kind)
            .map(|m| (m.name.trim_end_matches(ending).to_owned(), module_path(m)))
            .collect();
        let _ = writeln!(
            out,
            "/// Any {ending} there is.\n#[derive(Clone, Debug, PartialEq)]\npub enum Any{ending} {{"
        );
        for (name, path) in &rows {
            let _ = writeln!(out, "/// See `{name}{ending}`.\n{name}(Box<{path}>),");
        }
        let _ = writeln!(
            out,
            "}}\nimpl Any{ending} {{\n/// Reads the {ending} of `key` in `version`.\n///\n\
             /// # Errors\n/// As `Message::decode`.\n\
             pub fn decode(key: ApiKey, d: &mut Decoder, version: i16)\n\
             -> Result<Self, DecodeError> {{ Ok(match key {{"
        );
        for (name, path) in &rows {
            let _ = writeln!(
                out,
                "ApiKey::{name} => Self::{name}(Box::new({path}::decode(d, version)?)),"
            );
        }
        let _ = writeln!(
            out,
            "}}) }}\n/// Writes it in `version`.\n///\n/// # Errors\n/// As `Message::encode`.\n\
             pub fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{\n\
             match self {{"
        );
        for (name, _) in &rows {
            let _ = writeln!(out, "Self::{name}(it) => it.encode(e, version),");
        }
        out.push_str("} } }\n");
    }
    let head = "use alloc::boxed::Box;\nuse crate::generated::*;\n";
    format!("{head}{out}")
}

fn module_path(m: &Message) -> String {
    format!("{}::{}", snake_case(&m.name), m.name)
}

/// What a file of stored records has: records, or keys and values.
pub fn stored_tables(messages: &[Message]) -> String {
    if messages.iter().any(|m| m.kind == Kind::Key) {
        let mut out = String::from("use crate::generated::*;\n");
        out.push_str(&kind_table(messages, Kind::Key));
        out.push_str(&kind_table(messages, Kind::Value));
        out
    } else if messages.iter().any(|m| m.kind == Kind::Record) {
        let mut out = String::from("use crate::generated::*;\n");
        out.push_str(&kind_table(messages, Kind::Record));
        out
    } else {
        String::new()
    }
}

/// What shows a record of any kind: its name and its JSON.
fn shown_records(out: &mut String, rows: &[(i16, String, String)]) {
    let _ = writeln!(
        out,
        "}} }}\n/// As Kafka calls it.\n#[must_use]\n\
         pub const fn name(&self) -> &'static str {{ match self {{"
    );
    for (_, variant, path) in rows {
        let _ = writeln!(out, "Self::{variant}(_) => {path}::NAME,");
    }
    let _ = writeln!(
        out,
        "}} }}\n/// Writes what `version` of it holds as JSON.\n\
         pub fn to_json(&self, json: &mut crate::Json, version: i16) {{ match self {{"
    );
    for (_, variant, _) in rows {
        let _ = writeln!(out, "Self::{variant}(it) => crate::ToJson::to_json(it, json, version),");
    }
}

fn kind_table(messages: &[Message], kind: Kind) -> String {
    let (name, ending) = match kind {
        Kind::Key => ("Key", "Key"),
        Kind::Value => ("Value", "Value"),
        _ => ("Record", "Record"),
    };
    let is_metadata = messages.iter().any(|m| m.name == "TopicRecord");
    let name = if is_metadata { "MetadataRecord" } else { name };
    let rows: Vec<_> = messages
        .iter()
        .filter(|m| m.kind == kind)
        .map(|m| (m.key, m.name.strip_suffix(ending).unwrap_or(&m.name).to_owned(), module_path(m)))
        .collect();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "/// One of the {ending} kinds there are.\n#[derive(Clone, Debug, PartialEq)]\n\
         #[allow(clippy::large_enum_variant)]\npub enum {name} {{"
    );
    for (key, variant, path) in &rows {
        let _ = writeln!(out, "/// Type {key}.\n{variant}({path}),");
    }
    let _ = writeln!(
        out,
        "}}\nimpl {name} {{\n/// The number of its type.\n#[must_use]\n\
         pub const fn kind(&self) -> i16 {{ match self {{"
    );
    for (key, variant, _) in &rows {
        let _ = writeln!(out, "Self::{variant}(_) => {key},");
    }
    shown_records(&mut out, &rows);
    let _ = writeln!(
        out,
        "}} }}\n/// The newest version of its type.\n#[must_use]\n\
         pub const fn newest(&self) -> i16 {{ match self {{"
    );
    for (_, variant, path) in &rows {
        let _ = writeln!(out, "Self::{variant}(_) => *{path}::VERSIONS.end(),");
    }
    let _ = writeln!(
        out,
        "}} }}\n/// Reads the body of type `kind` in `version`; `None` if no such type is known.\n\
         ///\n/// # Errors\n/// As `Message::decode`.\n\
         pub fn decode(kind: i16, d: &mut Decoder, version: i16)\n\
         -> Result<Option<Self>, DecodeError> {{ Ok(Some(match kind {{"
    );
    for (key, variant, path) in &rows {
        let _ = writeln!(out, "{key} => Self::{variant}({path}::decode(d, version)?),");
    }
    let _ = writeln!(
        out,
        "_ => return Ok(None),\n}})) }}\n/// Writes the body in `version`.\n///\n/// # Errors\n\
         /// As `Message::encode`.\n\
         pub fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{\n\
         match self {{"
    );
    for (_, variant, _) in &rows {
        let _ = writeln!(out, "Self::{variant}(it) => it.encode(e, version),");
    }
    out.push_str("} } }\n");
    for (_, variant, path) in &rows {
        let _ = writeln!(
            out,
            "impl From<{path}> for {name} {{ fn from(it: {path}) -> Self {{ Self::{variant}(it) }} }}"
        );
    }
    out
}
