//! Writes how stored records become JSON.

use std::fmt::Write as _;

use crate::rust::{comparable_default, in_versions, is_struct, snake_case};
use crate::schema::{Field, Message, Struct};

/// `ToJson` for all structs of `messages`.
pub fn json_modules(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        let module = snake_case(&message.name);
        for part in &message.structs {
            let _ = writeln!(out, "impl crate::ToJson for {module}::{} {{", part.name);
            out.push_str("fn to_json(&self, j: &mut crate::Json, version: i16) { j.object(|j| {\n");
            field_lines(&mut out, message, part);
            out.push_str("}); } }\n");
        }
    }
    out
}

fn field_lines(out: &mut String, message: &Message, part: &Struct) {
    for field in &part.fields {
        let name = snake_case(&field.name);
        let body = format!(
            "j.field({:?}, |j| {{ {} }});",
            small(&field.name),
            field_value(field, &format!("self.{name}"))
        );
        let body = match field.tag {
            Some(_) => {
                let default = comparable_default(field, message);
                format!("if self.{name} != {default} {{ {body} }}")
            }
            None => body,
        };
        out.push_str(&in_versions(field.versions, message, &body));
        out.push('\n');
    }
}

fn small(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

fn field_value(field: &Field, place: &str) -> String {
    let whole = |place: &str| match field.element() {
        Some(element) => {
            format!("j.array({place}, |j, it| {{ {} }})", json_value(element, "it", true))
        }
        None => json_value(&field.ty, place, true),
    };
    if field.nullable.is_empty() {
        return match field.element() {
            Some(_) => whole(&format!("&{place}")),
            None => json_value(&field.ty, place, false),
        };
    }
    format!("j.nullable({place}.as_ref(), |j, it| {{ {} }})", whole("it"))
}

/// One value; `place` may be a reference to it.
fn json_value(ty: &str, place: &str, is_reference: bool) -> String {
    let star = if is_reference { "*" } else { "" };
    match ty {
        "string" => format!("j.string(&{place})"),
        "bytes" | "records" => format!("j.bytes(&{place})"),
        "float64" => format!("j.double({star}{place})"),
        "uuid" => format!("j.uuid({star}{place})"),
        ty if is_struct(ty) => format!("crate::ToJson::to_json(&{star}{place}, j, version)"),
        _ => format!("j.plain({place})"),
    }
}
