"""Messages of the protocol, written and read after the schema files of `crates/protocol/schemas/rpc`.

A message is a dict of its fields; a tagged field that is absent is left out. The generated Rust code is not used, so that
a fault of the generator shows itself.
"""

import dataclasses
import pathlib
import struct

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "crates" / "protocol" / "schemas" / "rpc"
NUMBERS = {"int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "float64": "d"}


class Versions:
    """A range such as `3`, `2-4`, `3+` or `none`."""

    def __init__(self, text):
        first, _, last = text.rstrip("+").partition("-")
        self.first = None if text == "none" else int(first)
        self.last = None if text == "none" else 32767 if text.endswith("+") else int(last or first)

    def __contains__(self, version):
        return self.first is not None and self.first <= version <= self.last


@dataclasses.dataclass
class Field:
    name: str
    type: str
    versions: Versions
    null: Versions
    tag: int | None
    rigid: bool
    fields: list

    @property
    def is_array(self):
        return self.type.startswith("[]")

    @property
    def element(self):
        """The field of one element of an array."""
        return dataclasses.replace(self, type=self.type[2:], null=Versions("none"), tag=None)


@dataclasses.dataclass
class Message:
    kind: str
    name: str
    key: int
    versions: Versions
    flexible: Versions
    fields: list
    structs: dict

    @property
    def api(self):
        return self.name.removesuffix("Request").removesuffix("Response")


def parse(text):
    """All messages of one schema file."""
    messages, open_lists, flat = [], [], []
    for line in text.splitlines():
        body = line.strip()
        if not body or body.startswith("#"):
            continue
        level = (len(line) - len(line.lstrip())) // 2
        words = body.split(" = ")[0].split()
        if level == 0:
            facts = dict(zip(words[2::2], words[3::2]))
            message = Message(words[0], words[1], int(facts.get("key", -1)), Versions(facts["versions"]),
                              Versions(facts.get("flexible", "none")), [], {})
            messages.append(message)
            open_lists, flat = [message.fields], []
        elif words[0] == "struct":
            messages[-1].structs[words[1]] = fields = []
            open_lists = [messages[-1].fields, fields]
        else:
            facts = dict(zip(words[3::2], words[4::2]))
            tag = int(facts["tag"]) if "tag" in facts else None
            field = Field(words[0], words[1], Versions(words[2]), Versions(facts.get("null", "none")), tag,
                          facts.get("flexible") == "none", [])
            del open_lists[level:]
            open_lists[level - 1].append(field)
            open_lists.append(field.fields)
            flat.append((messages[-1], field))
    for message in messages:
        link(message, message.fields)
        for fields in message.structs.values():
            link(message, fields)
    return messages


def link(message, fields):
    """Gives fields that name a `struct` of the message the fields of that struct."""
    for field in fields:
        name = field.type.removeprefix("[]")
        if name[0].isupper() and not field.fields:
            field.fields = message.structs[name]
        elif field.fields is not message.structs.get(name):
            link(message, field.fields)


def load():
    """All requests and responses: (key, kind) to message."""
    messages = [message for path in sorted(FOLDER.glob("*.schema")) for message in parse(path.read_text())]
    return {(message.key, message.kind): message for message in messages if message.kind in ("request", "response")}


class Truncated(Exception):
    """The bytes end before the message does."""


def unsigned(value):
    """An unsigned varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Writer:
    """Writes one version of a message."""

    def __init__(self, message, version):
        self.version, self.flexible = version, version in message.flexible

    def message(self, fields, values):
        plain, tagged = bytearray(), []
        for field in fields:
            if self.version not in field.versions:
                continue
            if field.tag is not None and self.flexible:
                if field.name in values:
                    tagged.append((field.tag, self.value(field, values[field.name])))
            else:
                plain += self.value(field, values[field.name])
        if self.flexible:
            plain += unsigned(len(tagged))
            for tag, raw in sorted(tagged):
                plain += unsigned(tag) + unsigned(len(raw)) + raw
        return bytes(plain)

    def size(self, field, count, narrow):
        """A length before what it counts; `None` is null."""
        if self.flexible and not field.rigid:
            return unsigned(0 if count is None else count + 1)
        return struct.pack(">h" if narrow else ">i", -1 if count is None else count)

    def value(self, field, value):
        kind = field.type
        if field.is_array:
            if value is None:
                return self.size(field, None, False)
            return self.size(field, len(value), False) + b"".join(self.value(field.element, one) for one in value)
        if kind[0].isupper():
            if self.version in field.null:
                return b"\xff" if value is None else b"\x01" + self.message(field.fields, value)
            return self.message(field.fields, value)
        if kind == "bool":
            return b"\x01" if value else b"\x00"
        if kind in NUMBERS:
            return struct.pack(">" + NUMBERS[kind], value)
        if kind == "uuid":
            return value
        raw = value.encode() if isinstance(value, str) else value
        return self.size(field, None if raw is None else len(raw), kind == "string") + (raw or b"")


class Reader:
    """Reads one version of a message."""

    def __init__(self, message, version, raw):
        self.version, self.flexible, self.raw, self.at = version, version in message.flexible, raw, 0

    def take(self, size):
        if self.at + size > len(self.raw):
            raise Truncated(f"{self.at + size - len(self.raw)} bytes are missing")
        self.at += size
        return self.raw[self.at - size:self.at]

    def unsigned(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def message(self, fields):
        values, tags = {}, {}
        for field in fields:
            if self.version not in field.versions:
                continue
            if field.tag is not None and self.flexible:
                tags[field.tag] = field
            else:
                values[field.name] = self.value(field)
        if self.flexible:
            for _ in range(self.unsigned()):
                tag, size = self.unsigned(), self.unsigned()
                if tag in tags:
                    values[tags[tag].name] = self.value(tags[tag])
                else:
                    values[f"tag {tag}"] = self.take(size)
        return values

    def size(self, field, narrow):
        if self.flexible and not field.rigid:
            return self.unsigned() - 1
        return struct.unpack(">h" if narrow else ">i", self.take(2 if narrow else 4))[0]

    def value(self, field):
        kind = field.type
        if field.is_array:
            count = self.size(field, False)
            return None if count < 0 else [self.value(field.element) for _ in range(count)]
        if kind[0].isupper():
            if self.version in field.null and struct.unpack(">b", self.take(1))[0] < 0:
                return None
            return self.message(field.fields)
        if kind == "bool":
            return self.take(1) != b"\x00"
        if kind in NUMBERS:
            form = ">" + NUMBERS[kind]
            return struct.unpack(form, self.take(struct.calcsize(form)))[0]
        if kind == "uuid":
            return self.take(16)
        size = self.size(field, kind == "string")
        if size < 0:
            return None
        raw = self.take(size)
        return raw.decode(errors="replace") if kind == "string" else raw


def write(message, version, values):
    """The bytes of a message's body."""
    return Writer(message, version).message(message.fields, values)


def read(message, version, raw):
    """The fields of a message's body; what follows it is the field `stray bytes`."""
    reader = Reader(message, version, raw)
    values = reader.message(message.fields)
    if reader.at < len(raw):
        values["stray bytes"] = len(raw) - reader.at
    return values
