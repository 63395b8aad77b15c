//! What commands print: tables for people, JSON and plain lines for programs.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::{Map, Value};

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns with a header, for reading.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
    /// Columns divided by tabs, without a header, for scripts.
    Plain,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// A number of bytes: shown in the unit that suits it.
    Bytes(u64),
    /// A time that has passed, in milliseconds: shown in the unit that suits it.
    Ago(i64),
    /// Something that is as it should be.
    Good(String),
    /// Something that is not.
    Bad(String),
    /// Nothing.
    Nothing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Nothing, Into::into)
    }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Good(text) | Self::Bad(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(count) => bytes(*count),
            Self::Ago(ms) => ago(*ms),
            Self::Nothing => "-".to_owned(),
        }
    }

    /// For programs: numbers are numbers, and nothing is empty.
    fn plain(&self) -> String {
        match self {
            Self::Bytes(count) => count.to_string(),
            Self::Ago(ms) => ms.to_string(),
            Self::Nothing => String::new(),
            other => other.text(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) | Self::Good(text) | Self::Bad(text) => text.clone().into(),
            Self::Number(number) | Self::Ago(number) => (*number).into(),
            Self::Bytes(count) => (*count).into(),
            Self::Nothing => Value::Null,
        }
    }

    const fn colour(&self) -> Option<&'static str> {
        match self {
            Self::Good(_) => Some("\x1b[32m"),
            Self::Bad(_) => Some("\x1b[31m"),
            _ => None,
        }
    }
}

/// Rows under a header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Has it no rows?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In the wanted form; with colours where they are wanted.
    #[must_use]
    pub fn show(&self, format: Format, colours: bool) -> String {
        match format {
            Format::Table => self.columns(colours),
            Format::Json => self.json(),
            Format::Plain => {
                let line = |row: &Vec<Cell>| {
                    row.iter().map(Cell::plain).collect::<Vec<_>>().join("\t") + "\n"
                };
                self.rows.iter().map(line).collect()
            }
        }
    }

    fn columns(&self, colours: bool) -> String {
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let head: Vec<String> = self.head.iter().map(|it| (*it).to_owned()).collect();
        let all = || [&head].into_iter().chain(&texts);
        let width = |at: usize| all().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let padded = |row: &[String], colour: &dyn Fn(usize) -> Option<&'static str>| {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let gap = widths[at] - cell.chars().count() + 2;
                let gap = if at + 1 == row.len() { 0 } else { gap };
                let _ = match colour(at).filter(|_| colours) {
                    Some(code) => write!(line, "{code}{cell}\x1b[0m{:gap$}", ""),
                    None => write!(line, "{cell}{:gap$}", ""),
                };
            }
            line + "\n"
        };
        let mut text = padded(&head, &|_| Some("\x1b[1m"));
        for (row, cells) in texts.iter().zip(&self.rows) {
            text.push_str(&padded(row, &|at| cells[at].colour()));
        }
        text
    }

    fn json(&self) -> String {
        let object = |row: &Vec<Cell>| {
            let pairs = self.head.iter().zip(row);
            let pairs = pairs.map(|(name, cell)| (name.replace(' ', "_"), cell.json()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let all: Vec<Value> = self.rows.iter().map(object).collect();
        format!("{:#}\n", Value::Array(all))
    }
}

/// A time that has passed, in milliseconds, in the unit that suits it.
#[must_use]
pub fn ago(ms: i64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds if seconds < 172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A number of bytes in the unit that suits it.
#[must_use]
pub fn bytes(count: u64) -> String {
    let units = ["KB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let mut size = count as f64;
    let mut unit = "B";
    for next in units {
        if size < 1000.0 {
            break;
        }
        (size, unit) = (size / 1000.0, next);
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_the_unit_that_suits_them() {
        let shown = [5, 1500, 119_000, 3_600_000, 7_300_000, 9 * 86_400_000].map(ago);
        assert_eq!(shown, ["5 ms", "1 s", "119 s", "60 min", "2 h", "9 days"]);
        let shown = [0, 999, 1000, 1_500_000, 25_000_000_000, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 KB", "1.5 MB", "25.0 GB", "18446.7 PB"]);
    }

    #[test]
    fn a_table_is_for_people_and_for_programs() {
        let mut table = Table::new(&["group", "behind by", "size"]);
        table.row(vec!["a".into(), 12.into(), Cell::Bytes(2500)]);
        table.row(vec!["long".into(), Cell::Nothing, Cell::Bad("gone".to_owned())]);
        let text = "group  behind by  size\na      12         2.5 KB\nlong   -          gone\n";
        assert_eq!(table.show(Format::Table, false), text);
        assert_eq!(table.show(Format::Plain, true), "a\t12\t2500\nlong\t\tgone\n");
        let json: Value = serde_json::from_str(&table.show(Format::Json, true)).unwrap();
        assert_eq!(json[0], serde_json::json!({"group": "a", "behind_by": 12, "size": 2500}));
        assert_eq!(json[1]["behind_by"], Value::Null);
        assert!(table.show(Format::Table, true).contains("\x1b[31mgone\x1b[0m"));
    }
}
