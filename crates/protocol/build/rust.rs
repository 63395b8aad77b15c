//! Writes a module for each message: its structs, and how they are read and written.

use std::fmt::Write as _;

use crate::schema::{Field, Kind, Message, Struct, Versions};

/// The modules of `messages`, one below the other.
pub fn message_modules(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        let module = snake_case(&message.name);
        let name = &message.name;
        push_line(&mut out, &format!("#[doc = \"`{name}` and its parts.\"]"));
        push_line(&mut out, &format!("pub mod {module} {{"));
        push_line(&mut out, "use crate::generated::*;");
        for part in &message.structs {
            declare_struct(&mut out, message, part);
            default_impl(&mut out, part, message);
            codec_impl(&mut out, message, part);
            if message.kind == Kind::Response {
                answer_impl(&mut out, part);
            }
        }
        message_impl(&mut out, message);
        push_line(&mut out, "}");
    }
    out
}

/// `TopicId` as `topic_id`; what Rust keeps for itself gets an underscore behind.
pub fn snake_case(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, &c) in chars.iter().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            let after_lower = !chars[at - 1].is_ascii_uppercase();
            let before_lower = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
            if after_lower || before_lower {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    if matches!(out.as_str(), "type" | "match") {
        out.push('_');
    }
    out
}

fn push_line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn declare_struct(out: &mut String, message: &Message, part: &Struct) {
    let Versions { from, to } = message.versions;
    let about = if part.name == message.name {
        format!("`{}`, versions {from} to {to}.", part.name)
    } else {
        format!("A part of `{}`.", message.name)
    };
    let _ = writeln!(out, "#[doc = {about:?}]\n#[derive(Clone, Debug, PartialEq)]");
    let _ = writeln!(out, "pub struct {} {{", part.name);
    for field in &part.fields {
        let tag = field.tag.map_or(String::new(), |tag| format!(", tagged {tag}"));
        let Versions { from, to } = field.versions;
        let span = if to == i16::MAX { format!("{from} on") } else { format!("{from} to {to}") };
        let _ = writeln!(out, "/// `{}`, from version {span}{tag}.", field.name);
        let _ = writeln!(out, "pub {}: {},", snake_case(&field.name), rust_type(field));
    }
    push_line(out, "/// Tagged fields that this version of the schema does not know.");
    push_line(out, "pub unknown_tags: UnknownTags,\n}");
}

fn rust_type(field: &Field) -> String {
    let plain = |ty: &str| match ty {
        "int8" => "i8".to_owned(),
        "int16" => "i16".to_owned(),
        "uint16" => "u16".to_owned(),
        "int32" => "i32".to_owned(),
        "uint32" => "u32".to_owned(),
        "int64" => "i64".to_owned(),
        "float64" => "f64".to_owned(),
        "string" => "String".to_owned(),
        "uuid" => "Uuid".to_owned(),
        "bytes" | "records" => "Bytes".to_owned(),
        other => other.to_owned(),
    };
    let whole = match field.element() {
        Some(element) => format!("Vec<{}>", plain(element)),
        None => plain(&field.ty),
    };
    if field.nullable.is_empty() { whole } else { format!("Option<{whole}>") }
}

fn default_impl(out: &mut String, part: &Struct, message: &Message) {
    let _ = writeln!(out, "impl Default for {} {{ fn default() -> Self {{ Self {{", part.name);
    for field in &part.fields {
        let _ = writeln!(out, "{}: {},", snake_case(&field.name), default_of(field, message));
    }
    push_line(out, "unknown_tags: UnknownTags::default(),\n} } }");
}

pub fn is_struct(ty: &str) -> bool {
    ty.starts_with(|c: char| c.is_ascii_uppercase())
}

fn default_of(field: &Field, message: &Message) -> String {
    let given = field.default.as_deref();
    if given == Some("null") {
        return "None".to_owned();
    }
    let value = match (field.ty.as_str(), given) {
        ("string", Some(text)) => format!("String::from({:?})", text.trim_matches('"')),
        ("bool", Some(text)) => text.to_owned(),
        ("float64", Some(text)) => format!("{text}f64"),
        (ty, Some(text)) if ty.starts_with("int") || ty.starts_with("uint") => text.to_owned(),
        (ty, Some(text)) => panic!("{}: no default {text} for {ty}", message.name),
        (_, None) => "Default::default()".to_owned(),
    };
    if field.nullable.is_empty() { value } else { format!("Some({value})") }
}

/// The condition under which a version lies in `range`; `None` if it always does.
fn version_condition(range: Versions, message: &Message) -> Option<String> {
    let inside = range.within(message.versions);
    if inside.is_empty() {
        return Some("false".to_owned());
    }
    let low = inside.from > message.versions.from;
    let high = inside.to < message.versions.to;
    match (low, high) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", inside.from)),
        (false, true) => Some(format!("version <= {}", inside.to)),
        (true, true) => Some(format!("({}..={}).contains(&version)", inside.from, inside.to)),
    }
}

pub fn in_versions(range: Versions, message: &Message, body: &str) -> String {
    when_or(range, message, body, "")
}

/// `body` in the versions of `range`; where a message has others, `otherwise` comes after it.
fn when_or(range: Versions, message: &Message, body: &str, otherwise: &str) -> String {
    match version_condition(range, message) {
        None => body.to_owned(),
        Some(never) if never == "false" => String::new(),
        Some(condition) => format!("if {condition} {{ {body} }} {otherwise}"),
    }
}

fn codec_impl(out: &mut String, message: &Message, part: &Struct) {
    let form = match version_condition(message.flexible, message) {
        None => "LengthForm::Compact".to_owned(),
        Some(never) if never == "false" => "LengthForm::Fixed".to_owned(),
        Some(flexible) => {
            format!("if {flexible} {{ LengthForm::Compact }} else {{ LengthForm::Fixed }}")
        }
    };
    let has_tags = form != "LengthForm::Fixed";
    let _ = writeln!(out, "impl Part for {} {{", part.name);
    push_line(
        out,
        "fn read_into(&mut self, d: &mut Decoder, version: i16) -> Result<(), DecodeError> {",
    );
    let _ = writeln!(out, "let form = {form};\nlet it = self;");
    let (tagged, plain): (Vec<_>, Vec<_>) = part.fields.iter().partition(|f| f.tag.is_some());
    for field in &plain {
        let (read, reset) = (reads_into(field, message), reset_field(field, message));
        push_line(out, &when_or(field.versions, message, &read, &format!("else {{ {reset} }}")));
    }
    for field in &tagged {
        push_line(out, &reset_field(field, message));
    }
    push_line(out, "it.unknown_tags.0.clear();");
    if has_tags {
        push_line(
            out,
            "if form == LengthForm::Compact { d.tags(&mut it.unknown_tags, |tag, d| { match tag {",
        );
        for field in &tagged {
            let tag = field.tag.expect("partitioned by it");
            let guard = version_condition(field.versions, message)
                .map_or(String::new(), |condition| format!(" if {condition}"));
            let read = read_field(field, message);
            let name = snake_case(&field.name);
            let _ = writeln!(out, "{tag}{guard} => it.{name} = {read},");
        }
        push_line(out, "_ => return Ok(false),\n}\n#[allow(unreachable_code)]\nOk(true) })?; }");
    }
    push_line(out, "Ok(())\n}");
    push_line(out, "fn write(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {");
    let _ = writeln!(out, "let form = {form};");
    for field in &plain {
        let body = format!("{};", write_field(field, message));
        push_line(out, &in_versions(field.versions, message, &body));
    }
    if has_tags {
        write_tags(out, message, tagged);
    }
    push_line(out, "Ok(())\n} }");
}

fn write_tags(out: &mut String, message: &Message, mut tagged: Vec<&Field>) {
    push_line(out, "if form == LengthForm::Compact { let mut tags = Tags::default();");
    tagged.sort_by_key(|field| field.tag);
    for field in tagged {
        let tag = field.tag.expect("partitioned by it");
        let body = format!(
            "if self.{name} != {default} {{ tags.put({tag}, |e| {{ {write}; Ok(()) }})?; }}",
            name = snake_case(&field.name),
            default = comparable_default(field, message),
            write = write_field(field, message),
        );
        push_line(out, &in_versions(field.versions, message, &body));
    }
    push_line(out, "tags.finish(&self.unknown_tags, e); }");
}

pub fn comparable_default(field: &Field, message: &Message) -> String {
    let default = default_of(field, message);
    if default == "Default::default()" {
        format!("<{}>::default()", rust_type(field))
    } else {
        default
    }
}

fn reset_field(field: &Field, message: &Message) -> String {
    format!("it.{} = {};", snake_case(&field.name), comparable_default(field, message))
}

/// As [`read_field`], into a field whose memory is used again where it can be.
fn reads_into(field: &Field, message: &Message) -> String {
    let name = snake_case(&field.name);
    let form = if field.rigid { "LengthForm::Fixed" } else { "form" };
    let assigned = || format!("it.{name} = {};", read_field(field, message));
    if !field.nullable.is_empty() {
        return assigned();
    }
    match field.element() {
        Some(element) if is_struct(element) => {
            format!("d.array_into({form}, &mut it.{name}, |d, one| one.read_into(d, version))?;")
        }
        Some(_) => assigned(),
        None if field.ty == "string" => format!("d.string_into({form}, &mut it.{name})?;"),
        None if is_struct(&field.ty) => format!("it.{name}.read_into(d, version)?;"),
        None => assigned(),
    }
}

fn read_field(field: &Field, message: &Message) -> String {
    let value = read_value(field, false);
    if field.nullable.is_empty() {
        return value;
    }
    let nullable = read_value(field, true);
    let range = field.versions.within(message.versions);
    if field.nullable.covers(range) {
        return nullable;
    }
    match version_condition(field.nullable, message) {
        None => nullable,
        Some(condition) => format!("if {condition} {{ {nullable} }} else {{ Some({value}) }}"),
    }
}

fn read_value(field: &Field, null: bool) -> String {
    let form = if field.rigid { "LengthForm::Fixed" } else { "form" };
    let nullable = if null { "nullable_" } else { "" };
    match field.element() {
        Some(element) if is_struct(element) => {
            format!("d.{nullable}array({form}, |d| {element}::read(d, version))?")
        }
        Some("string") => format!("d.{nullable}array({form}, |d| d.string({form}))?"),
        Some(element) => {
            format!("d.{nullable}array({form}, Decoder::{})?", codec_name(element))
        }
        None => match field.ty.as_str() {
            "string" => format!("d.{nullable}string({form})?"),
            "bytes" | "records" => format!("d.{nullable}bytes({form})?"),
            ty if is_struct(ty) && null => {
                format!("d.nullable_{}(version)?", part_kind(field))
            }
            ty if is_struct(ty) => format!("{ty}::read(d, version)?"),
            ty => format!("d.{}()?", codec_name(ty)),
        },
    }
}

/// A nullable struct in a tagged field says whether it is there in another way than elsewhere.
fn part_kind(field: &Field) -> &'static str {
    if field.tag.is_some() { "tagged_part" } else { "part" }
}

fn write_field(field: &Field, message: &Message) -> String {
    let name = snake_case(&field.name);
    if field.nullable.is_empty() {
        return write_value(field, &format!("self.{name}"), false);
    }
    let nullable = write_value(field, &format!("self.{name}"), true);
    let range = field.versions.within(message.versions);
    if field.nullable.covers(range) {
        return nullable;
    }
    match version_condition(field.nullable, message) {
        None => nullable,
        Some(condition) => {
            let value = write_value(field, "it", false);
            let there = format!("match &self.{name} {{ Some(it) => {{ {value}; }}");
            let missing = format!("None => return Err(EncodeError::Null({:?})) }}", field.name);
            format!("if {condition} {{ {nullable}; }} else {{ {there} {missing} }}")
        }
    }
}

fn write_value(field: &Field, place: &str, null: bool) -> String {
    let form = if field.rigid { "LengthForm::Fixed" } else { "form" };
    let nullable = if null { "nullable_" } else { "" };
    let by_ref = |place: &str| match (null, place.starts_with("self")) {
        (true, _) => format!("{place}.as_deref()"),
        (false, true) => format!("&{place}"),
        (false, false) => place.to_owned(),
    };
    match field.element() {
        Some(element) => {
            let each = match element {
                "string" => format!("|e, it: &String| e.string({form}, it)"),
                ty if is_struct(ty) => format!("|e, it: &{ty}| it.write(e, version)"),
                ty => format!("|e, it| {{ e.{}(*it); Ok(()) }}", codec_name(ty)),
            };
            format!("e.{nullable}array({form}, {}, {each})?", by_ref(place))
        }
        None => match field.ty.as_str() {
            "string" => format!("e.{nullable}string({form}, {})?", by_ref(place)),
            "bytes" | "records" if null => {
                format!("e.nullable_bytes({form}, {place}.as_ref())?")
            }
            "bytes" | "records" => format!("e.bytes({form}, {})?", by_ref(place)),
            ty if is_struct(ty) && null => {
                format!("e.nullable_{}({place}.as_ref(), version)?", part_kind(field))
            }
            ty if is_struct(ty) => format!("{place}.write(e, version)?"),
            ty => format!("e.{}({place})", codec_name(ty)),
        },
    }
}

fn codec_name(ty: &str) -> &'static str {
    match ty {
        "bool" => "bool",
        "int8" => "i8",
        "int16" => "i16",
        "uint16" => "u16",
        "int32" => "i32",
        "uint32" => "u32",
        "int64" => "i64",
        "float64" => "f64",
        "uuid" => "uuid",
        other => panic!("no type {other}"),
    }
}

/// `Answer`, which looks for an error code in the struct and in the structs inside it.
fn answer_impl(out: &mut String, part: &Struct) {
    let in_field = |field: &Field| {
        let name = snake_case(&field.name);
        let is_null = !field.nullable.is_empty();
        match field.element() {
            Some(element) if is_struct(element) && is_null => {
                format!("self.{name}.iter().flatten().any(|it| it.has_error(code))")
            }
            Some(element) if is_struct(element) => {
                format!("self.{name}.iter().any(|it| it.has_error(code))")
            }
            None if is_struct(&field.ty) && is_null => {
                format!("self.{name}.as_ref().is_some_and(|it| it.has_error(code))")
            }
            None if is_struct(&field.ty) => format!("self.{name}.has_error(code)"),
            None if field.name == "ErrorCode" => format!("self.{name} == code.0"),
            _ => "false".to_owned(),
        }
    };
    let asked: Vec<String> = part.fields.iter().map(in_field).filter(|it| it != "false").collect();
    let found = if asked.is_empty() { "false".to_owned() } else { asked.join(" || ") };
    let _ = writeln!(
        out,
        "impl Answer for {} {{ fn has_error(&self, code: ErrorCode) -> bool {{ {found} }} }}",
        part.name
    );
}

fn message_impl(out: &mut String, message: &Message) {
    let Versions { from, to } = message.versions;
    let flexible_from = if message.flexible.is_empty() { i16::MAX } else { message.flexible.from };
    let _ = writeln!(
        out,
        "impl Message for {} {{ const NAME: &'static str = {:?};\n\
         const VERSIONS: RangeInclusive<i16> = {from}..={to};\n\
         const FLEXIBLE_FROM: i16 = {flexible_from}; }}",
        message.name, message.name
    );
    if message.kind == Kind::Request {
        let name = message.name.strip_suffix("Request").expect("requests are called so");
        let timeout = match message.structs[0].fields.iter().find(|it| is_timeout(it)) {
            Some(_) => "fn timeout_ms(&self) -> Option<i32> { Some(self.timeout_ms) }",
            None => "",
        };
        let _ = writeln!(
            out,
            "impl Request for {name}Request {{ const KEY: ApiKey = ApiKey::{name};\n\
             type Response = crate::messages::{}::{name}Response; {timeout} }}",
            snake_case(&format!("{name}Response"))
        );
    }
}

/// Does the field say how long the server may take, in every version?
fn is_timeout(field: &Field) -> bool {
    field.name.eq_ignore_ascii_case("TimeoutMs") && field.versions.from == 0
}
