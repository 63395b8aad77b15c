//! Reads schema files: one message after the other, fields indented below, two spaces a level.

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    /// A record of the metadata log, or of remote storage.
    Record,
    /// The key of a coordinator's record.
    Key,
    /// The value of a coordinator's record.
    Value,
    /// Anything else.
    Data,
}

/// An inclusive range of versions; the end may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub from: i16,
    pub to: i16,
}

impl Versions {
    pub const NONE: Self = Self { from: 0, to: -1 };

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::NONE);
        }
        if let Some(from) = text.strip_suffix('+') {
            return Some(Self { from: from.parse().ok()?, to: i16::MAX });
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some(Self { from: from.parse().ok()?, to: to.parse().ok()? })
    }

    /// What of this lies in `outer`.
    pub fn within(self, outer: Self) -> Self {
        Self { from: self.from.max(outer.from), to: self.to.min(outer.to) }
    }

    pub fn is_empty(self) -> bool {
        self.from > self.to
    }

    pub fn covers(self, inner: Self) -> bool {
        self.from <= inner.from && inner.to <= self.to
    }
}

/// One request, response or record.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub name: String,
    /// The API's key, the record's type; -1 if it has none.
    pub key: i16,
    pub versions: Versions,
    pub flexible: Versions,
    /// Of a request: the listeners that serve it.
    pub listeners: String,
    /// Of a request: is the newest version unstable?
    pub unstable: bool,
    /// All structs of the message; the first is the message itself.
    pub structs: Vec<Struct>,
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub ty: String,
    pub versions: Versions,
    pub nullable: Versions,
    pub tag: Option<u32>,
    /// `flexible none`: never in the compact form.
    pub rigid: bool,
    pub default: Option<String>,
}

impl Field {
    /// The type of the elements, if this is an array.
    pub fn element(&self) -> Option<&str> {
        self.ty.strip_prefix("[]")
    }
}

/// Where a schema is wrong, and why.
type Wrong = (usize, String);

/// All messages of a file.
pub fn parse_schema(text: &str) -> Result<Vec<Message>, Wrong> {
    let mut messages: Vec<Message> = Vec::new();
    // Which struct takes the fields of each level; deeper levels belong to deeper structs.
    let mut open: Vec<usize> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |why: &str| (index + 1, format!("{why}: {line}"));
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let level = (line.len() - body.len()) / 2;
        if level == 0 {
            messages.push(parse_header(body).ok_or_else(|| wrong("not a message"))?);
            open = vec![0];
            continue;
        }
        let message = messages.last_mut().ok_or_else(|| wrong("a field of no message"))?;
        if let Some(name) = body.strip_prefix("struct ") {
            message.structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
            open = vec![0, message.structs.len() - 1];
            continue;
        }
        if level > open.len() {
            return Err(wrong("too far to the right"));
        }
        open.truncate(level);
        let field = parse_field(body).ok_or_else(|| wrong("not a field"))?;
        // A struct's fields stand below the field that brings it; a field without any below
        // names a `struct` of the message, or is plain.
        let next_is_deeper = text
            .lines()
            .nth(index + 1)
            .is_some_and(|next| next.len() - next.trim_start().len() > level * 2);
        let owner = open[level - 1];
        if next_is_deeper {
            let name = field.element().unwrap_or(&field.ty).to_owned();
            message.structs.push(Struct { name, fields: Vec::new() });
            open.push(message.structs.len() - 1);
        }
        message.structs[owner].fields.push(field);
    }
    Ok(messages)
}

fn parse_header(line: &str) -> Option<Message> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "record" => Kind::Record,
        "key" => Kind::Key,
        "value" => Kind::Value,
        "data" | "header" => Kind::Data,
        _ => return None,
    };
    let name = words.next()?.to_owned();
    let mut message = Message {
        kind,
        structs: vec![Struct { name: name.clone(), fields: Vec::new() }],
        name,
        key: -1,
        versions: Versions::NONE,
        flexible: Versions::NONE,
        listeners: String::new(),
        unstable: false,
    };
    while let Some(word) = words.next() {
        match word {
            "key" => message.key = words.next()?.parse().ok()?,
            "versions" => message.versions = Versions::parse(words.next()?)?,
            "flexible" => message.flexible = Versions::parse(words.next()?)?,
            "listeners" => words.next()?.clone_into(&mut message.listeners),
            "unstable" => message.unstable = true,
            _ => return None,
        }
    }
    Some(message)
}

fn parse_field(line: &str) -> Option<Field> {
    let (line, default) = match line.split_once(" = ") {
        Some((line, default)) => (line, Some(default.to_owned())),
        None => (line, None),
    };
    let mut words = line.split(' ');
    let mut field = Field {
        name: words.next()?.to_owned(),
        ty: words.next()?.to_owned(),
        versions: Versions::parse(words.next()?)?,
        nullable: Versions::NONE,
        tag: None,
        rigid: false,
        default,
    };
    while let Some(word) = words.next() {
        match word {
            "null" => field.nullable = Versions::parse(words.next()?)?,
            "tag" => field.tag = Some(words.next()?.parse().ok()?),
            "flexible" => field.rigid = words.next()? == "none",
            _ => return None,
        }
    }
    Some(field)
}
