//! `cargo xtask new-api` and `new-setting`: the files and rows that a new API or setting has, so
//! that it compiles at once and the tests that hold the tables together pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DISPATCH: &str = "crates/broker/src/dispatch.rs";
const HANDLERS: &str = "crates/broker/src/handlers/mod.rs";
const RIGHTS: &str = "crates/broker/src/authorisation.txt";
const SAMPLES: &str = "crates/broker/src/authorisation_samples/operators.rs";
const SETTINGS: &str = "crates/settings/src/table.txt";
const RULES: &str = "crates/broker/src/rules.rs";

/// The way of a failure: what is wrong, in words.
type Made = Result<Vec<PathBuf>, String>;

/// What a schema says of an API.
struct ApiSchema {
    /// Such as `ListGroups`.
    name: String,
    oldest: String,
    newest: String,
}

/// Adds the API of `crates/protocol/schemas/rpc/NAME.schema` to the tree at `root`: a handler that
/// answers its response's defaults, its test, the row of dispatch, of the rights, and a request for
/// that row. Returns the files.
///
/// # Errors
/// There is no such schema, the API is there already, or a file is not as expected.
pub fn add_api(root: &Path, name: &str) -> Made {
    let api = read_schema(root, name)?;
    let handler = format!("crates/broker/src/handlers/{name}.rs");
    let tests = format!("crates/broker/src/handlers/{name}_tests.rs");
    if root.join(&handler).exists() {
        return Err(format!("{handler} is there already"));
    }
    let mut tree = Tree { root, changed: BTreeMap::new() };
    let modules = tree.text(HANDLERS)?;
    tree.put(HANDLERS, with_sorted_line(&modules, "pub mod ", &format!("pub mod {name};")));
    let dispatch = tree.text(DISPATCH)?;
    tree.put(DISPATCH, with_route(&dispatch, name)?);
    let rights = tree.text(RIGHTS)?;
    tree.put(RIGHTS, format!("{}\n{} | - | -\n", rights.trim_end(), api.name));
    let samples = tree.text(SAMPLES)?;
    tree.put(SAMPLES, with_sample(&samples, name, &api)?);
    tree.put(&handler, handler_text(name, &api));
    tree.put(&tests, tests_text(name, &api));
    tree.write()
}

/// Adds a setting of brokers that is a text, empty by default, to the tree at `root`: the row of
/// the table, the field that the node keeps it in, and the line that reads it. Returns the files.
///
/// # Errors
/// The name is not valid for a setting, it is there already, or a file is not as expected.
pub fn add_setting(root: &Path, name: &str) -> Made {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if !name.split('.').all(is_word) {
        return Err(format!("{name:?}: names have words of small letters, with dots between"));
    }
    let mut tree = Tree { root, changed: BTreeMap::new() };
    let table = tree.text(SETTINGS)?;
    let start = format!("broker | {name} | ");
    if table.lines().any(|line| line.starts_with(&start)) {
        return Err(format!("{name} stands in {SETTINGS} already"));
    }
    let row = format!(
        "{start}string | \"\" | - | low | static | - | \
            obeyed: an_obeyed_setting_reaches_the_code_that_obeys_it | Say here what {name} does."
    );
    tree.put(SETTINGS, with_sorted_line(&table, "broker | ", &row));
    let field = name.replace('.', "_");
    let rules = tree.text(RULES)?;
    let rules = with_block_line(
        &rules,
        "pub struct NodeSettings {",
        &format!("    /// `{name}`.\n    pub {field}: Option<String>,"),
    )?;
    let rules = with_block_line(
        &rules,
        "\n    NodeSettings {",
        &format!("        {field}: settings.given(\"{name}\").map(str::to_owned),"),
    )?;
    tree.put(RULES, rules);
    tree.write()
}

/// Files as they will be; nothing is written before all of them are made.
struct Tree<'a> {
    root: &'a Path,
    changed: BTreeMap<String, String>,
}

impl Tree<'_> {
    fn text(&self, path: &str) -> Result<String, String> {
        let read = || fs::read_to_string(self.root.join(path));
        self.changed
            .get(path)
            .map_or_else(read, |text| Ok(text.clone()))
            .map_err(|error| format!("{path}: {error}"))
    }

    fn put(&mut self, path: &str, text: String) {
        self.changed.insert(path.to_owned(), text);
    }

    fn write(self) -> Made {
        for (path, text) in &self.changed {
            fs::write(self.root.join(path), text).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(self.changed.into_keys().map(PathBuf::from).collect())
    }
}

/// The first line of the schema: `request NameRequest key 16 versions 0-5 ...`.
fn read_schema(root: &Path, name: &str) -> Result<ApiSchema, String> {
    let path = format!("crates/protocol/schemas/rpc/{name}.schema");
    let text = fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
    let words: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    match words[..] {
        ["request", request, "key", _, "versions", versions, ..] => {
            let (oldest, newest) = versions.split_once('-').unwrap_or((versions, versions));
            Ok(ApiSchema {
                name: request.trim_end_matches("Request").to_owned(),
                oldest: oldest.to_owned(),
                newest: newest.to_owned(),
            })
        }
        _ => Err(format!("{path} does not begin with a request")),
    }
}

/// The text with one line more among those that begin alike, before the first that is greater.
fn with_sorted_line(text: &str, start: &str, line: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let alike = |at: &usize| lines[*at].starts_with(start);
    let behind = (0..lines.len()).filter(alike).find(|at| lines[*at] > line);
    let last = (0..lines.len()).rfind(alike).map_or(lines.len(), |at| at + 1);
    let at = behind.unwrap_or(last);
    let all = lines[..at].iter().chain([&line]).chain(&lines[at..]);
    all.map(|line| format!("{line}\n")).collect()
}

/// The text with a line more before the bracket that ends the block which begins so.
fn with_block_line(text: &str, start: &str, line: &str) -> Result<String, String> {
    let begin = text.find(start).ok_or_else(|| format!("{:?} is not there", start.trim()))?;
    let open = begin + start.len() - 1;
    let close = crate::code::closing_bracket(&text[open..]);
    let close = open + close.ok_or_else(|| format!("{:?} does not end", start.trim()))?;
    let at = text[..close].rfind('\n').unwrap_or(close);
    Ok(format!("{}\n{line}{}", &text[..at], &text[at..]))
}

/// `apis!` with one more name at its end, wrapped again.
fn with_route(dispatch: &str, name: &str) -> Result<String, String> {
    const START: &str = "    produce by produce_wire::serve_produce,\n";
    const WIDTH: usize = 100;
    let begin = dispatch.find(START).ok_or("dispatch has no list that begins with produce")?;
    let begin = begin + START.len();
    let end = begin + dispatch[begin..].find("\n}").ok_or("the list of dispatch has no end")?;
    let mut lines = vec![String::from("   ")];
    for word in dispatch[begin..end].split_whitespace().chain([format!("{name},").as_str()]) {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("    {word}")),
        }
    }
    Ok(format!("{}{}{}", &dispatch[..begin], lines.join("\n"), &dispatch[end..]))
}

/// The samples with a request of this API at their end.
fn with_sample(samples: &str, name: &str, api: &ApiSchema) -> Result<String, String> {
    let end = samples.rfind("\n];").ok_or_else(|| format!("{SAMPLES} has no list"))?;
    let (api_name, newest) = (&api.name, &api.newest);
    let request = format!("ottla_protocol::messages::{name}_request::{api_name}Request");
    let sample = format!(
        "    (\"{api_name}\", |h| {{\n        let request = {request}::default();\n        \
            show(h, {newest}, &request)\n    }}),"
    );
    Ok(format!("{}\n{sample}{}", &samples[..end], &samples[end..]))
}

fn handler_text(name: &str, api: &ApiSchema) -> String {
    let ApiSchema { name: api, oldest, newest } = api;
    format!(
        "//! {api}: say here what it answers, which KIPs it follows, what is not built, and what the\n\
         //! versions differ in.\n\n\
         use ottla_protocol::ApiKey;\n\
         use ottla_protocol::messages::{name}_request::{api}Request;\n\
         use ottla_protocol::messages::{name}_response::{api}Response;\n\n\
         use crate::node::Node;\n\
         use crate::request::{{Api, Call}};\n\n\
         /// Say here which clients send it.\n\
         pub const API: Api = Api::of(ApiKey::{api}, {oldest}, {newest});\n\n\
         /// Answers the response's defaults. First it will ask `call.may` for the right of its\n\
         /// row in `authorisation.txt`.\n\
         pub async fn handle(_: &Node, _: &Call, _: {api}Request) -> {api}Response {{\n    \
             {api}Response::default()\n}}\n\n\
         #[cfg(test)]\n\
         #[path = \"{name}_tests.rs\"]\n\
         mod tests;\n"
    )
}

fn tests_text(name: &str, api: &ApiSchema) -> String {
    let ApiSchema { name: api, oldest, newest } = api;
    format!(
        "//! {api}, asked of a node in this process.\n\n\
         use ottla_protocol::messages::{name}_request::{api}Request;\n\
         use ottla_protocol::messages::{name}_response::{api}Response;\n\n\
         use crate::harness::Harness;\n\n\
         #[test]\n\
         fn {name}_answers_in_every_version() {{\n    \
             let harness = Harness::start(&[]);\n    \
             for version in {oldest}..={newest} {{\n        \
                 let answer = harness.ask(&{api}Request::default(), version);\n        \
                 assert_eq!(answer, {api}Response::default(), \"version {{version}}\");\n    \
             }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    /// A copy of the files that are changed or read.
    fn copied(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let to = folder.path().join(file);
            fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
            fs::copy(tree::tree_root().join(file), to).expect("a copy");
        }
        folder
    }

    #[test]
    fn a_new_api_has_its_files_and_its_rows() {
        const NAME: &str = "share_group_describe";
        let schema = "crates/protocol/schemas/rpc/share_group_describe.schema";
        let copy = copied(&[DISPATCH, HANDLERS, RIGHTS, SAMPLES, schema]);
        let made = add_api(copy.path(), NAME).expect("made");
        assert_eq!(made.len(), 6);
        let text = |file: &str| fs::read_to_string(copy.path().join(file)).expect(file);
        let sorted = "pub mod renew_delegation_token;\npub mod share_group_describe;\npub mod sync";
        assert!(text(HANDLERS).contains(sorted));
        assert!(text(DISPATCH).contains(" share_group_describe,\n}\n"));
        assert!(text(DISPATCH).lines().all(|line| line.chars().count() <= 100));
        assert!(text(RIGHTS).ends_with("\nShareGroupDescribe | - | -\n"));
        assert!(text(SAMPLES).contains("(\"ShareGroupDescribe\", |h| {"));
        let handler = text("crates/broker/src/handlers/share_group_describe.rs");
        assert!(handler.starts_with("//! ShareGroupDescribe: "));
        assert!(handler.contains("Api::of(ApiKey::ShareGroupDescribe, 1, 1);"), "{handler}");
        let tests = text("crates/broker/src/handlers/share_group_describe_tests.rs");
        assert!(tests.contains("for version in 1..=1 {"));
        assert!(add_api(copy.path(), NAME).expect_err("refused").contains("is there already"));
        assert!(add_api(copy.path(), "no_such_api").is_err());
    }

    #[test]
    fn a_new_setting_has_a_row_a_field_and_a_line_that_reads_it() {
        let copy = copied(&[SETTINGS, RULES]);
        let made = add_setting(copy.path(), "queued.max.wishes").expect("made");
        assert_eq!(made.len(), 2);
        let text = |file: &str| fs::read_to_string(copy.path().join(file)).expect(file);
        let table = text(SETTINGS);
        let names = table.lines().filter_map(|line| line.strip_prefix("broker | "));
        let names: Vec<&str> = names.filter_map(|row| row.split(" | ").next()).collect();
        let at = names.iter().position(|name| *name == "queued.max.wishes").expect("a row");
        assert!(names[at - 1] < names[at] && names[at] < names[at + 1]);
        let rules = text(RULES);
        assert!(rules.contains("    pub queued_max_wishes: Option<String>,\n}"));
        assert!(rules.contains("        queued_max_wishes: settings.given(\"queued.max.wishes\")"));
        let again = add_setting(copy.path(), "queued.max.wishes").expect_err("refused");
        assert!(again.contains("already"));
        assert!(add_setting(copy.path(), "Wrong Name").is_err());
    }
}
