//! The plans that tools take as JSON: what they must have, and what is wrong with one that has not.
//!
//! A plan is read as a whole before anything is done, and refused as a whole.

use std::collections::BTreeSet;

use ottla_client::TopicPartition;
use serde_json::Value;

use crate::session::{ToolError, read_file, tool_failed};

/// The only version of plans that there is.
const VERSION: i64 = 1;

/// A plan of a file.
pub struct PlanFile {
    file: String,
    all: Value,
}

impl PlanFile {
    /// Reads a plan, whatever its version.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold an object of JSON.
    pub fn read(file: &str) -> Result<Self, ToolError> {
        let all: Value = serde_json::from_str(&read_file(file)?)
            .map_err(|error| tool_failed(format!("{file}: not valid JSON: {error}")))?;
        let plan = Self { file: file.to_owned(), all };
        if plan.all.is_object() { Ok(plan) } else { Err(plan.expected("JSON object", &plan.all)) }
    }

    /// Reads a plan of the version that is known here; without one it is that.
    ///
    /// # Errors
    /// As [`Self::read`]; or its version is another.
    pub fn versioned(file: &str) -> Result<Self, ToolError> {
        let plan = Self::read(file)?;
        match plan.all.get("version") {
            None => Ok(plan),
            Some(version) => match version.as_i64() {
                Some(VERSION) => Ok(plan),
                Some(other) => {
                    Err(plan.wrong(&format!("Not supported version field value {other}")))
                }
                None => Err(plan.expected("Integer", version)),
            },
        }
    }

    /// The entries of a list of the plan.
    ///
    /// # Errors
    /// It is missing, or not a list of objects.
    pub fn list(&self, name: &str) -> Result<Vec<PlanEntry<'_>>, ToolError> {
        let list =
            self.all.get(name).ok_or_else(|| self.wrong(&format!("Missing {name} field")))?;
        let list = list.as_array().ok_or_else(|| self.expected("JSON array", list))?;
        let one = |entry: &'_ Value| match entry {
            Value::Object(_) => Ok(()),
            other => Err(self.expected("JSON object", other)),
        };
        list.iter().try_for_each(one)?;
        Ok(list.iter().map(|it| PlanEntry { plan: self, it }).collect())
    }

    /// An error in this plan.
    pub fn wrong(&self, why: &str) -> ToolError {
        tool_failed(format!("{}: {why}", self.file))
    }

    fn expected(&self, what: &str, found: &Value) -> ToolError {
        self.wrong(&format!("Expected `{what}` value, received {found}"))
    }

    /// Refuses entries that name a thing again; `what` begins the message.
    ///
    /// # Errors
    /// A thing is named twice.
    pub fn no_duplicates<T: Ord + ToString>(
        &self,
        what: &str,
        all: impl IntoIterator<Item = T>,
    ) -> Result<(), ToolError> {
        let (mut known, mut again) = (BTreeSet::new(), BTreeSet::new());
        for it in all {
            if let Some(it) = known.replace(it) {
                again.insert(it);
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = again.iter().map(ToString::to_string).collect();
        Err(self.wrong(&format!("{what}: {}", names.join(","))))
    }
}

/// An entry of a plan.
#[derive(Clone, Copy)]
pub struct PlanEntry<'a> {
    plan: &'a PlanFile,
    it: &'a Value,
}

impl PlanEntry<'_> {
    fn field(&self, name: &str) -> Result<&Value, ToolError> {
        let why = || self.plan.wrong(&format!("No such field exists: `{name}` in {}", self.it));
        self.it.get(name).ok_or_else(why)
    }

    /// A text.
    ///
    /// # Errors
    /// The field is missing, or has another type.
    pub fn text(&self, name: &str) -> Result<&str, ToolError> {
        let found = self.field(name)?;
        found.as_str().ok_or_else(|| self.plan.expected("String", found))
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    /// The field is missing, or has another type.
    pub fn int(&self, name: &str) -> Result<i32, ToolError> {
        let found = self.field(name)?;
        as_int(found).ok_or_else(|| self.plan.expected("Integer", found))
    }

    /// A number of 64 bits.
    ///
    /// # Errors
    /// The field is missing, or has another type.
    pub fn long(&self, name: &str) -> Result<i64, ToolError> {
        let found = self.field(name)?;
        found.as_i64().ok_or_else(|| self.plan.expected("Long", found))
    }

    /// A list of numbers of 32 bits.
    ///
    /// # Errors
    /// The field is missing, or has another type.
    pub fn ints(&self, name: &str) -> Result<Vec<i32>, ToolError> {
        let found = self.field(name)?;
        let list = found.as_array().ok_or_else(|| self.plan.expected("JSON array", found))?;
        let one = |it: &Value| as_int(it).ok_or_else(|| self.plan.expected("Integer", it));
        list.iter().map(one).collect()
    }

    /// A list of texts, if there is one.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ToolError> {
        let Some(found) = self.it.get(name) else { return Ok(None) };
        let list = found.as_array().ok_or_else(|| self.plan.expected("JSON array", found))?;
        let one = |item: &Value| {
            item.as_str().map(str::to_owned).ok_or_else(|| self.plan.expected("String", item))
        };
        list.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// The partition that `topic` and `partition` name.
    ///
    /// # Errors
    /// A field is missing, or has another type.
    pub fn place(&self) -> Result<TopicPartition, ToolError> {
        Ok(TopicPartition::new(self.text("topic")?, self.int("partition")?))
    }
}

fn as_int(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|it| i32::try_from(it).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> PlanFile {
        PlanFile { file: "f".to_owned(), all: serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn an_entry_has_what_it_should_have() {
        let plan = plan(
            r#"{"partitions": [{"topic": "t", "partition": 3, "offset": -1, "replicas": [1, 2]}]}"#,
        );
        let entries = plan.list("partitions").unwrap();
        let [entry] = entries.as_slice() else { panic!("one entry") };
        assert_eq!(entry.place().unwrap(), TopicPartition::new("t", 3));
        assert_eq!(entry.long("offset").unwrap(), -1);
        assert_eq!(entry.ints("replicas").unwrap(), [1, 2]);
        assert_eq!(entry.texts("log_dirs").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_said() {
        for (text, right) in [
            (r#"{}"#, "f: Missing partitions field"),
            (r#"{"partitions": 3}"#, "f: Expected `JSON array` value, received 3"),
            (r#"{"partitions": [3]}"#, "f: Expected `JSON object` value, received 3"),
            (r#"{"partitions": [{}]}"#, "f: No such field exists: `topic` in {}"),
            (r#"{"partitions": [{"topic": 3}]}"#, "f: Expected `String` value, received 3"),
            (
                r#"{"partitions": [{"topic": "t", "partition": "3"}]}"#,
                "f: Expected `Integer` value, received \"3\"",
            ),
            (
                r#"{"partitions": [{"topic": "t", "partition": 1.0}]}"#,
                "f: Expected `Integer` value, received 1.0",
            ),
            (
                r#"{"partitions": [{"topic": "t", "partition": 2147483648}]}"#,
                "f: Expected `Integer` value, received 2147483648",
            ),
            (
                r#"{"partitions": [{"topic": "t", "partition": null}]}"#,
                "f: Expected `Integer` value, received null",
            ),
        ] {
            let plan = plan(text);
            let places = plan
                .list("partitions")
                .and_then(|all| all.iter().map(PlanEntry::place).collect::<Result<Vec<_>, _>>());
            assert_eq!(places.unwrap_err().to_string(), right, "{text}");
        }
        let again = plan("{}").no_duplicates("twice", ["b", "a", "b", "a", "c"]).unwrap_err();
        assert_eq!(again.to_string(), "f: twice: a,b");
    }
}
