//! Bytes of any message in any version, made from the schema files without the generated code.
//!
//! Every value differs from its default, so that no tagged field may be left out.

use std::fs;
use std::path::PathBuf;

use crate::schema::{Field, Message, Versions, parse_schema};

/// The messages of one schema file, or of all files in a folder.
pub fn schemas(place: &str) -> Vec<Message> {
    let place = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).join(place);
    let mut files = vec![place.clone()];
    if place.is_dir() {
        files = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    }
    files.sort();
    files
        .iter()
        .flat_map(|file| parse_schema(&fs::read_to_string(file).unwrap()).unwrap())
        .collect()
}

/// A small generator; the same seed gives the same bytes.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

/// The bytes of `message` in `version`.
pub fn bytes(message: &Message, version: i16, dice: &mut Dice) -> Vec<u8> {
    let mut maker = Maker { message, version, dice, out: Vec::new() };
    maker.part(&message.name);
    maker.out
}

struct Maker<'a> {
    message: &'a Message,
    version: i16,
    dice: &'a mut Dice,
    out: Vec<u8>,
}

impl Maker<'_> {
    fn has(&self, versions: Versions) -> bool {
        (versions.from..=versions.to).contains(&self.version)
    }

    fn part(&mut self, name: &str) {
        let message = self.message;
        let part = message.structs.iter().find(|part| part.name == name).unwrap();
        let here: Vec<&Field> =
            part.fields.iter().filter(|field| self.has(field.versions)).collect();
        for field in here.iter().filter(|field| field.tag.is_none()) {
            self.field(field);
        }
        if !self.has(message.flexible) {
            return;
        }
        let mut tagged: Vec<&&Field> = here.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        self.uvarint(u32::try_from(tagged.len()).unwrap());
        for field in tagged {
            self.uvarint(field.tag.unwrap());
            let outer = std::mem::take(&mut self.out);
            self.value(field);
            let value = std::mem::replace(&mut self.out, outer);
            self.uvarint(u32::try_from(value.len()).unwrap());
            self.out.extend(value);
        }
    }

    fn field(&mut self, field: &Field) {
        if self.has(field.nullable) && self.dice.roll(3) == 0 {
            self.null(field);
        } else {
            self.value(field);
        }
    }

    fn null(&mut self, field: &Field) {
        let flexible = self.has(self.message.flexible) && !field.rigid;
        match (field.element(), field.ty.as_str()) {
            (None, ty) if ty.starts_with(char::is_uppercase) => self.out.push(0xff),
            _ if flexible => self.out.push(0),
            (None, "string") => self.out.extend([0xff; 2]),
            _ => self.out.extend([0xff; 4]),
        }
    }

    fn value(&mut self, field: &Field) {
        match field.element() {
            Some(element) => {
                let count = 1 + self.dice.roll(2);
                self.length(usize::try_from(count).unwrap(), field, 4);
                for _ in 0..count {
                    self.plain(element, field);
                }
            }
            None => {
                let is_struct = field.ty.starts_with(char::is_uppercase);
                if is_struct && self.has(field.nullable) {
                    self.out.push(1);
                }
                self.plain(&field.ty, field);
            }
        }
    }

    fn plain(&mut self, ty: &str, field: &Field) {
        match ty {
            // One of the values that is never a default.
            "bool" => self.out.push(u8::from(field.default.as_deref() != Some("true"))),
            "int8" => self.number(1),
            "int16" | "uint16" => self.number(2),
            "int32" | "uint32" => self.number(4),
            "int64" => self.number(8),
            "float64" => self.out.extend(1.5f64.to_be_bytes()),
            "uuid" => self.number(16),
            "string" => {
                let length = usize::try_from(1 + self.dice.roll(9)).unwrap();
                self.length(length, field, 2);
                self.letters(length);
            }
            "bytes" | "records" => {
                let length = usize::try_from(1 + self.dice.roll(3000)).unwrap();
                self.length(length, field, 4);
                self.letters(length);
            }
            name => self.part(name),
        }
    }

    fn letters(&mut self, count: usize) {
        for _ in 0..count {
            let letter = b'a' + u8::try_from(self.dice.roll(26)).unwrap();
            self.out.push(letter);
        }
    }

    /// A positive number of so many bytes that is no default of any field.
    fn number(&mut self, size: usize) {
        for at in 0..size {
            let byte = 3 + u8::try_from(self.dice.roll(90)).unwrap();
            self.out.push(if at == 0 { byte & 0x3f | 0x20 } else { byte });
        }
    }

    fn length(&mut self, length: usize, field: &Field, width: usize) {
        if self.has(self.message.flexible) && !field.rigid {
            self.uvarint(u32::try_from(length + 1).unwrap());
        } else {
            let wide = u32::try_from(length).unwrap().to_be_bytes();
            self.out.extend(&wide[4 - width..]);
        }
    }

    fn uvarint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.out.push(value.to_le_bytes()[0]);
    }
}
