//! What commands print: tables for people, JSON and plain lines for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ValueEnum;
use ottla_client::TopicPartition;
use serde_json::{Map, Value, json};

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns with a header, for reading.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
    /// Columns divided by tabs, without a header, for scripts.
    Plain,
}

/// A cell of a table: what people see, and what programs read.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    shown: String,
    plain: String,
    json: Value,
    mark: Mark,
}

/// Whether a cell shows something as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Neither,
    Good,
    Bad,
}

impl Cell {
    /// Nothing: `-` for people, empty in plain lines, `null` in JSON.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new("-".to_owned(), String::new(), Value::Null)
    }

    /// A number of bytes, shown in the unit that suits it.
    #[must_use]
    pub fn bytes(count: u64) -> Self {
        Self::new(format_bytes(count), count.to_string(), count.into())
    }

    /// A time that has passed, in milliseconds, shown in the unit that suits it.
    #[must_use]
    pub fn ago(ms: i64) -> Self {
        Self::new(format_ago(ms), ms.to_string(), ms.into())
    }

    /// A number of any size.
    #[must_use]
    pub fn count(number: u64) -> Self {
        Self::new(number.to_string(), number.to_string(), number.into())
    }

    /// Ids: divided by commas, in JSON a list of numbers.
    #[must_use]
    pub fn ids(ids: &[i32]) -> Self {
        let text = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Self::new(text.clone(), text, ids.to_vec().into())
    }

    /// Anything for programs, and how it is shown in a table and in plain lines.
    #[must_use]
    pub fn json(json: Value, shown: impl Into<String>) -> Self {
        let shown = shown.into();
        Self::new(shown.clone(), shown, json)
    }

    /// The same for programs; people see this text.
    #[must_use]
    pub fn shown(self, shown: impl Into<String>) -> Self {
        Self { shown: shown.into(), ..self }
    }

    /// As it should be.
    #[must_use]
    pub fn good(self) -> Self {
        Self { mark: Mark::Good, ..self }
    }

    /// Marks the cell as bad.
    #[must_use]
    pub fn bad(self) -> Self {
        Self { mark: Mark::Bad, ..self }
    }

    const fn new(shown: String, plain: String, json: Value) -> Self {
        Self { shown, plain, json, mark: Mark::Neither }
    }

    const fn colour(&self) -> Option<&'static str> {
        match self.mark {
            Mark::Neither => None,
            Mark::Good => Some("\x1b[32m"),
            Mark::Bad => Some("\x1b[31m"),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text.clone(), text.clone(), text.into())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::new(number.to_string(), number.to_string(), number.into())
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        i64::from(number).into()
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::count(number as u64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(it: Option<T>) -> Self {
        it.map_or_else(Self::nothing, Into::into)
    }
}

/// A column: its title for people, and its name in JSON, which says the unit of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// `None` where only programs are given it.
    title: Option<&'static str>,
    name: &'static str,
}

/// A column that has one name for people and programs.
#[must_use]
pub const fn column(name: &'static str) -> Column {
    Column { title: Some(name), name }
}

/// A column that programs know by a longer name.
#[must_use]
pub const fn titled(title: &'static str, name: &'static str) -> Column {
    Column { title: Some(title), name }
}

/// A column that only JSON has.
#[must_use]
pub const fn only_json(name: &'static str) -> Column {
    Column { title: None, name }
}

/// Rows under a header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputTable {
    head: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// What JSON has instead of the rows.
    objects: Option<Vec<Value>>,
}

impl OutputTable {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(head: &[Column]) -> Self {
        Self { head: head.to_vec(), ..Self::default() }
    }

    /// Adds a row: a cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// In JSON these objects stand instead of the rows, which are written for people.
    pub fn in_json(&mut self, objects: Vec<Value>) {
        self.objects = Some(objects);
    }

    /// Has it no rows?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In the wanted form; with colours where they are wanted.
    #[must_use]
    pub fn show(&self, format: OutputFormat, colours: bool) -> String {
        match format {
            OutputFormat::Table => self.columns(colours),
            OutputFormat::Json => self.json(),
            OutputFormat::Plain => {
                let line = |row: &Vec<Cell>| {
                    let cells = self.seen(row).map(|cell| one_line(&cell.plain));
                    cells.collect::<Vec<_>>().join("\t") + "\n"
                };
                self.rows.iter().map(line).collect()
            }
        }
    }

    /// The cells of a row that have a title.
    fn seen<'a>(&'a self, row: &'a [Cell]) -> impl Iterator<Item = &'a Cell> {
        self.head.iter().zip(row).filter(|(column, _)| column.title.is_some()).map(|(_, it)| it)
    }

    fn columns(&self, colours: bool) -> String {
        let rows = self.rows.iter().map(|row| self.seen(row).collect::<Vec<_>>());
        let rows: Vec<Vec<&Cell>> = rows.collect();
        let texts: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| one_line(&cell.shown)).collect()).collect();
        let head: Vec<String> =
            self.head.iter().filter_map(|it| it.title.map(str::to_owned)).collect();
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
        for (row, cells) in texts.iter().zip(&rows) {
            text.push_str(&padded(row, &|at| cells[at].colour()));
        }
        text
    }

    fn json(&self) -> String {
        let object = |row: &Vec<Cell>| {
            let pairs = self.head.iter().zip(row);
            let pairs = pairs.map(|(column, cell)| (column.name.to_owned(), cell.json.clone()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let rows = || self.rows.iter().map(object).collect();
        let all: Vec<Value> = self.objects.clone().unwrap_or_else(rows);
        format!("{:#}\n", Value::Array(all))
    }
}

/// Without what would break lines and columns, such as a name that a hostile client chose.
fn one_line(text: &str) -> String {
    match text.contains(char::is_control) {
        true => text.chars().flat_map(|it| shown_char(it).collect::<Vec<_>>()).collect(),
        false => text.to_owned(),
    }
}

fn shown_char(it: char) -> Box<dyn Iterator<Item = char>> {
    if it.is_control() { Box::new(it.escape_default()) } else { Box::new(std::iter::once(it)) }
}

/// Partitions: `t-0 t-1` for people; for programs the numbers of each topic.
#[must_use]
pub fn partitions_cell<'a>(all: impl IntoIterator<Item = &'a TopicPartition>) -> Cell {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    let mut names = Vec::new();
    for place in all {
        names.push(place.to_string());
        topics.entry(&place.topic).or_default().push(place.partition);
    }
    let objects = topics
        .into_iter()
        .map(|(topic, partitions)| json!({ "topic": topic, "partitions": partitions }));
    Cell::json(objects.collect::<Vec<_>>().into(), names.join(" "))
}

/// A time that has passed, in milliseconds, in the unit that suits it.
#[must_use]
pub fn format_ago(ms: i64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds if seconds < 172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A duration of so many seconds, in days where it has some.
#[must_use]
pub fn format_duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let plural = if days == 1 { "" } else { "s" };
    match (days, rest) {
        (0, _) if seconds >= 7200 => format!("{} h", seconds / 3600),
        (0, _) if seconds >= 120 => format!("{} min", seconds / 60),
        (0, _) => format!("{seconds} s"),
        (_, 0..3600) => format!("{days} day{plural}"),
        _ => format!("{days} day{plural} {} h", rest / 3600),
    }
}

/// A number of bytes in the unit that suits it.
#[must_use]
pub fn format_bytes(count: u64) -> String {
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
        let shown = [5, 1500, 119_000, 3_600_000, 7_300_000, 9 * 86_400_000].map(format_ago);
        assert_eq!(shown, ["5 ms", "1 s", "119 s", "60 min", "2 h", "9 days"]);
        let shown = [30, 600, 7200, 86_400, 180_000, 7 * 86_400].map(format_duration);
        assert_eq!(shown, ["30 s", "10 min", "2 h", "1 day", "2 days 2 h", "7 days"]);
        let shown = [0, 999, 1000, 1_500_000, 25_000_000_000, u64::MAX].map(format_bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 KB", "1.5 MB", "25.0 GB", "18446.7 PB"]);
    }

    #[test]
    fn a_table_is_for_people_and_for_programs() {
        let head = [
            column("group"),
            titled("behind by", "lag_records"),
            only_json("members"),
            titled("size", "size_bytes"),
        ];
        let mut table = OutputTable::new(&head);
        table.row(vec!["a".into(), 12.into(), Cell::ids(&[1, 2]), Cell::bytes(2500)]);
        table.row(vec!["long\n".into(), Cell::nothing(), Cell::ids(&[]), Cell::from("gone").bad()]);
        let text = "group   behind by  size\na       12         2.5 KB\nlong\\n  -          gone\n";
        assert_eq!(table.show(OutputFormat::Table, false), text);
        assert_eq!(table.show(OutputFormat::Plain, true), "a\t12\t2500\nlong\\n\t\tgone\n");
        let json: Value = serde_json::from_str(&table.show(OutputFormat::Json, true)).unwrap();
        let row = serde_json::json!({"group": "a", "lag_records": 12, "members": [1, 2], "size_bytes": 2500});
        assert_eq!(json[0], row);
        assert_eq!((&json[1]["group"], &json[1]["lag_records"]), (&"long\n".into(), &Value::Null));
        assert!(table.show(OutputFormat::Table, true).contains("\x1b[31mgone\x1b[0m"));
    }
}
