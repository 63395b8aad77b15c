//! The doors of rule 4: which files may name the file system, and which a socket.
//!
//! `crates/xtask/doors.txt` lists them with what for. A file that names one without standing there
//! breaks the rule, and so does a row that is not needed.

use std::collections::BTreeMap;

use crate::code::{blank_comments, is_word_char};
use crate::tree::Source;

/// What a door opens, and the words that show it.
const DOORS: [(&str, &[&str]); 2] = [
    ("files", &["std::fs", "tokio::fs", "rustix::fs", "os::unix::fs", "fs::File", "memmap"]),
    (
        "sockets",
        &[
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "UnixListener",
            "UnixDatagram",
            "socket2",
            "dns_lookup",
            "lookup_host",
            "ToSocketAddrs",
        ],
    ),
];

/// Whole crates that are such a room (rule 4), and the garden, which is not the product.
const ROOMS: [(&str, &str); 6] = [
    ("files", "crates/storage/src/files/"),
    ("sockets", "crates/net/src/"),
    ("files", "crates/xtask/"),
    ("sockets", "crates/xtask/"),
    ("files", "crates/load/"),
    ("sockets", "crates/load/"),
];

/// The rows of `doors.txt`: what, and which file.
///
/// # Errors
/// A row is not `files|sockets | path | what for`.
pub fn read_rows(text: &str) -> Result<BTreeMap<(String, String), String>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            [door, path, why] if DOORS.iter().any(|(known, _)| *known == door) => {
                Ok(((door.to_owned(), path.to_owned()), why.to_owned()))
            }
            _ => Err(format!("not `files | path | what for`: {line}")),
        }
    });
    rows.collect()
}

/// Files that name a file or a socket and are not listed as doors, and listed doors that open
/// nothing.
#[must_use]
pub fn unlisted_doors(
    sources: &[Source],
    rows: &BTreeMap<(String, String), String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut needed = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let code = blank_comments(&source.production_lines().join("\n"));
        for (door, words) in DOORS {
            let is_room = ROOMS.iter().any(|(d, path)| *d == door && source.path.starts_with(path));
            let Some(word) = words.iter().find(|word| is_named(&code, word)) else { continue };
            let row = (door.to_owned(), source.path.clone());
            if !is_room && !rows.contains_key(&row) {
                wrong.push(format!("{}: names {word} and is no door to {door}", source.path));
            }
            needed.push(row);
        }
    }
    let idle = rows.keys().filter(|row| !needed.contains(row));
    wrong
        .extend(idle.map(|(door, path)| format!("{path} stands in doors.txt and opens no {door}")));
    wrong
}

/// Does the code name this word as a whole?
fn is_named(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_word_char) && !code[at + word.len()..].starts_with(is_word_char)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_behind_a_door_only() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [
            source("crates/a/src/open.rs", "use std::fs;"),
            source("crates/a/src/quiet.rs", "// std::fs\nlet a = \"std::fs\";"),
            source("crates/a/src/dial.rs", "let a: TcpStream;"),
            source("crates/net/src/dial.rs", "let a: TcpStream;"),
            source("crates/a/tests/it/main.rs", "use std::fs;"),
        ];
        let rows = read_rows("# A comment.\nfiles | crates/a/src/quiet.rs | why\n").expect("rows");
        let wrong = unlisted_doors(&sources, &rows);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("crates/a/src/open.rs: names std::fs"));
        assert!(wrong[1].starts_with("crates/a/src/dial.rs: names TcpStream"));
        assert!(wrong[2].starts_with("crates/a/src/quiet.rs stands in doors.txt"));
        assert!(read_rows("doors | x | y").is_err());
    }
}
