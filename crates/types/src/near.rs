//! Which name was meant.

use alloc::vec::Vec;

/// The name among `all` that looks most like `name`, if any does.
pub fn nearest<'a>(all: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let (far, found) = all.map(|known| (distance(known, name), known)).min()?;
    (far <= 1 + name.len() / 4).then_some(found)
}

/// How many letters must be put in, taken out or replaced to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.bytes().enumerate() {
        let mut before = at;
        row[0] = at + 1;
        for (column, to) in b.bytes().enumerate() {
            let replaced = before + usize::from(from != to);
            before = row[column + 1];
            row[column + 1] = replaced.min(before + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}
