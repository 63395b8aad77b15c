//! The CSV files that offsets are exported to and reset from: `topic,partition,offset` for one
//! group, and `group,topic,partition,offset` for several.

use std::collections::BTreeMap;

use ottla_client::{PartitionOffsets, TopicPartition};

use crate::session::{ToolError, tool_failed};

/// The offsets of each group.
pub type OffsetPlan = BTreeMap<String, PartitionOffsets>;

/// Texts that are longer are put in quotes, whatever they are.
const PLAIN_LENGTH: usize = 24;

/// The plan of a text. The three columns are for the only group that is named on the command line.
///
/// # Errors
/// A line is not of the form.
pub fn plan(text: &str, only: Option<&str>) -> Result<OffsetPlan, ToolError> {
    let lines: Vec<&str> = text.trim_end_matches(['\r', '\n']).lines().collect();
    let has_group = lines.first().is_none_or(|it| fields(it).len() != 3);
    let only = only.filter(|_| !has_group);
    let form =
        if only.is_some() { "topic,partition,offset" } else { "group,topic,partition,offset" };
    let mut plan = OffsetPlan::new();
    for (line, number) in lines.into_iter().zip(1..) {
        let wrong = || tool_failed(format!("line {number}: {line:?} is not of the form {form}"));
        let fields = fields(line);
        let (group, rest) = match (only, fields.as_slice()) {
            (Some(group), rest @ [_, _, _]) => (group, rest),
            (None, [group, rest @ ..]) => (group.as_str(), rest),
            _ => return Err(wrong()),
        };
        let [topic, partition, offset] = rest else { return Err(wrong()) };
        let partition = partition.trim().parse().map_err(|_| wrong())?;
        let offset = offset.trim().parse().map_err(|_| wrong())?;
        let place = TopicPartition::new(topic.as_str(), partition);
        plan.entry(group.to_owned()).or_default().insert(place, offset);
    }
    Ok(plan)
}

/// The fields of a line; a quote within quotes is doubled.
fn fields(line: &str) -> Vec<String> {
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            letter => field.push(letter),
        }
    }
    all.push(field);
    all
}

/// A field of a line, in quotes where Kafka's tool puts it in quotes.
pub fn field(text: &str) -> String {
    if text.len() <= PLAIN_LENGTH && text.chars().all(|it| it > ',') {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(plan: &OffsetPlan) -> String {
        let all = plan.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(move |(place, offset)| format!("{group}/{place}={offset}"))
        });
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_plan_has_three_columns_for_one_group_or_four() {
        for (text, only, right) in [
            ("t,0,5\nt,1,6\n", Some("g"), "g/t-0=5 g/t-1=6"),
            ("\"t\",0,5\r\nt,1, 6\r\n\r\n", Some("g"), "g/t-0=5 g/t-1=6"),
            ("g,t,0,5\nh,t,1,6\n", Some("g"), "g/t-0=5 h/t-1=6"),
            ("g,t,0,5\nh,t,1,6", None, "g/t-0=5 h/t-1=6"),
            ("\"a,\"\"b\",t,0,5", None, "a,\"b/t-0=5"),
            ("t,0,5\nt,0,7", Some("g"), "g/t-0=7"),
            ("", Some("g"), ""),
        ] {
            assert_eq!(shown(&plan(text, only).unwrap()), right, "{text:?}");
        }
    }

    #[test]
    fn a_line_of_another_form_is_refused_with_its_number() {
        for (text, only, right) in [
            ("t,0,5\ng,t,0,5", Some("g"), "line 2"),
            ("t,0,5", None, "line 1"),
            ("t,0", Some("g"), "line 1"),
            ("t,x,5", Some("g"), "line 1"),
            ("t,0,", Some("g"), "line 1"),
            ("t,0,5\n\nt,1,5", Some("g"), "line 2"),
            ("g,t,0,5,6", None, "line 1"),
        ] {
            let why = plan(text, only).unwrap_err().to_string();
            assert!(why.starts_with(right), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_field_is_quoted_where_that_is_due() {
        for (text, right) in [
            ("topic", "topic"),
            ("a.b_c-d", "a.b_c-d"),
            ("a b", "\"a b\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwx"),
            ("abcdefghijklmnopqrstuvwxy", "\"abcdefghijklmnopqrstuvwxy\""),
        ] {
            assert_eq!(field(text), right);
        }
    }
}
