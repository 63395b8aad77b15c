//! Command lines as Apache's tools read them.

use std::collections::BTreeMap;
use std::fmt::Write;

use ottla_types::nearest;

use crate::tool::Tool;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value, shown as this, and only once.
    Value(&'static str),
    /// A value each time that it is given.
    Values(&'static str),
    /// A value or none.
    Maybe(&'static str),
    /// One value and all that follow, up to the next option.
    Many(&'static str),
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it does, in a line.
    pub help: &'static str,
}

/// An option that takes nothing.
pub const fn flag(name: &'static str, help: &'static str) -> Opt {
    Opt { name, takes: Takes::Nothing, help }
}

/// An option with a value.
pub const fn value(name: &'static str, shown: &'static str, help: &'static str) -> Opt {
    Opt { name, takes: Takes::Value(shown), help }
}

/// An option with a value that may be given more than once.
pub const fn values(name: &'static str, shown: &'static str, help: &'static str) -> Opt {
    Opt { name, takes: Takes::Values(shown), help }
}

/// An option with a value, of which the last counts where it is given more than once.
pub const fn last(name: &'static str, shown: &'static str, help: &'static str) -> Opt {
    values(name, shown, help)
}

/// An option that may have a value.
pub const fn maybe_value(name: &'static str, shown: &'static str, help: &'static str) -> Opt {
    Opt { name, takes: Takes::Maybe(shown), help }
}

/// An option with one value or several.
pub const fn many(name: &'static str, shown: &'static str, help: &'static str) -> Opt {
    Opt { name, takes: Takes::Many(shown), help }
}

/// The options that every tool has.
const COMMON: [Opt; 6] = [
    value("bootstrap-server", "HOST:PORT,...", "The brokers to connect to first."),
    value("broker-list", "HOST:PORT,...", "The former name of --bootstrap-server."),
    value(
        "zookeeper",
        "HOST:PORT,...",
        "There is no ZooKeeper any more; its host is asked as a broker.",
    ),
    value("command-config", "FILE", "Settings of the client, one NAME=VALUE a line."),
    flag("help", "Print this help."),
    flag("version", "Print the version."),
];

/// The option of the tools that may ask controllers (KIP-919).
pub const BOOTSTRAP_CONTROLLER: Opt = value(
    "bootstrap-controller",
    "HOST:PORT,...",
    "The controllers to connect to, instead of brokers.",
);

/// A tool's options, and those of all tools that it does not mean otherwise.
pub fn with_common(own: &'static [Opt]) -> impl Iterator<Item = &'static Opt> {
    own.iter().chain(COMMON.iter().filter(|it| own.iter().all(|known| known.name != it.name)))
}

/// A command line that was understood.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    given: BTreeMap<&'static str, Vec<Option<String>>>,
    order: Vec<(&'static str, Option<String>)>,
    /// The tool's own options.
    own: &'static [Opt],
    /// What is no option.
    pub rest: Vec<String>,
}

impl Parsed {
    /// Reads a command line: `--name value`, `--name=value`; a name may be cut short where it is
    /// clear.
    ///
    /// # Errors
    /// There is no such option, or its value is missing.
    pub fn read(args: &[String], options: &'static [Opt]) -> Result<Self, String> {
        let known: Vec<&'static Opt> = with_common(options).collect();
        let mut parsed = Self { own: options, ..Self::default() };
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            let long = arg.strip_prefix("--").filter(|word| !word.is_empty());
            let Some(word) = long.or_else(|| short_option(&known, arg)) else {
                parsed.rest.push(arg.clone());
                continue;
            };
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word, None),
            };
            let option = find_option(&known, name)?;
            let value = match option.takes {
                Takes::Nothing => None,
                _ if attached.is_some() => attached,
                Takes::Maybe(_) => args.next_if(|next| !next.starts_with("--")).cloned(),
                Takes::Value(_) | Takes::Values(_) | Takes::Many(_) => {
                    let next = args
                        .next()
                        .ok_or_else(|| format!("Option {} requires an argument", option.name))?;
                    // Apache's tools would take the next option as the value.
                    if next.strip_prefix("--").is_some_and(|it| find_option(&known, it).is_ok()) {
                        return Err(format!(
                            "Option {} requires an argument, but {next} follows; is a value missing, or the option one too many?",
                            option.name
                        ));
                    }
                    Some(next.clone())
                }
            };
            if let Takes::Value(_) = option.takes
                && parsed.has(option.name)
            {
                return Err(format!(
                    "Found multiple arguments for option {}, but you asked for only one",
                    option.name
                ));
            }
            parsed.order.push((option.name, value.clone()));
            let values = parsed.given.entry(option.name).or_default();
            values.push(value);
            while let Takes::Many(_) = option.takes
                && let Some(more) = args.next_if(|next| !next.starts_with("--"))
            {
                values.push(Some(more.clone()));
            }
        }
        Ok(parsed)
    }

    /// Was this given?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The last value of an option.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.last()?.as_deref()
    }

    /// All its values.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.given.get(name).into_iter().flatten().filter_map(Option::as_deref)
    }

    /// The last value of an option that all tools have, unless this one means something else by it.
    #[must_use]
    pub fn common(&self, name: &str) -> Option<&str> {
        self.one(name).filter(|_| self.own.iter().all(|it| it.name != name))
    }

    /// The one of these that was given, if it is just one.
    pub fn only<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        let mut given = names.iter().filter(|it| self.has(it));
        given.next().copied().filter(|_| given.next().is_none())
    }

    /// All options in the order in which they were given.
    pub fn in_order(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.order.iter().map(|(name, value)| (*name, value.as_deref()))
    }

    /// The value of an option that cannot be left out.
    ///
    /// # Errors
    /// A required option is missing.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        self.one(name).ok_or_else(|| format!("Missing required option(s) [{name}]"))
    }

    /// A number that cannot be left out.
    ///
    /// # Errors
    /// The option is missing, or its value is not a number.
    pub fn required_number<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        self.required(name)?;
        self.number(name)?.ok_or_else(|| format!("Missing required option(s) [{name}]"))
    }

    /// A number.
    ///
    /// # Errors
    /// The value is not a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.one(name) else { return Ok(None) };
        let wrong = |_| format!("Cannot parse argument '{text}' of option {name}");
        text.trim().parse().map(Some).map_err(wrong)
    }
}

/// The option that a dash and a letter stand for: the first that begins with it.
fn short_option(known: &[&'static Opt], arg: &str) -> Option<&'static str> {
    let letter = arg.strip_prefix('-').filter(|it| it.len() == 1)?;
    known.iter().find(|it| it.name.starts_with(letter)).map(|it| it.name)
}

fn find_option(known: &[&'static Opt], name: &str) -> Result<&'static Opt, String> {
    if let Some(found) = known.iter().find(|it| it.name == name) {
        return Ok(found);
    }
    let mut short = known.iter().filter(|it| it.name.starts_with(name));
    match (short.next(), short.next()) {
        (Some(found), None) => Ok(found),
        (Some(one), Some(other)) => {
            Err(format!("{name} is not clear: --{} or --{}?", one.name, other.name))
        }
        _ => {
            let near = nearest(known.iter().map(|it| it.name), name);
            let hint = near.map_or_else(String::new, |it| format!("; did you mean --{it}?"));
            Err(format!("{name} is not a recognized option{hint}"))
        }
    }
}

const HELP_COLUMN: usize = 34;

/// A tool's options, as a text.
pub fn help_text(tool: &Tool) -> String {
    let mut text = format!("{}: {}\n\n", tool.name, tool.about);
    for option in with_common(tool.options) {
        let shown = match option.takes {
            Takes::Nothing => format!("--{}", option.name),
            Takes::Value(shown) | Takes::Values(shown) => format!("--{} <{shown}>", option.name),
            Takes::Maybe(shown) => format!("--{} [{shown}]", option.name),
            Takes::Many(shown) => format!("--{} <{shown} ...>", option.name),
        };
        let _ = if shown.len() < HELP_COLUMN {
            writeln!(text, "  {shown:HELP_COLUMN$}{}", option.help)
        } else {
            writeln!(text, "  {shown}\n  {:HELP_COLUMN$}{}", "", option.help)
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        flag("list", ""),
        value("topic", "NAME", ""),
        values("config", "NAME=VALUE", ""),
        maybe_value("state", "STATE", ""),
        many("p", "P", ""),
    ];

    fn read(line: &str) -> Result<Parsed, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Parsed::read(&args, OPTIONS)
    }

    #[test]
    fn an_option_of_its_own_is_no_common_one() {
        const OWN: &[Opt] = &[value("broker-list", "ID,...", "")];
        let words = ["--broker-list".to_owned(), "1,2".to_owned()];
        let parsed = Parsed::read(&words, OWN).unwrap();
        assert_eq!((parsed.one("broker-list"), parsed.common("broker-list")), (Some("1,2"), None));
        let parsed = Parsed::read(&words, OPTIONS).unwrap();
        assert_eq!(parsed.common("broker-list"), Some("1,2"));
        assert_eq!(with_common(OWN).filter(|it| it.name == "broker-list").count(), 1);
    }

    #[test]
    fn command_lines_are_read_as_apaches_tools_do() {
        let parsed =
            read("--list --config a --config=b --topic b --state --bootst h:1 word").unwrap();
        assert!(parsed.has("list") && parsed.has("state") && !parsed.has("help"));
        assert_eq!(parsed.all("config").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((parsed.one("topic"), parsed.one("state")), (Some("b"), None));
        assert_eq!(parsed.one("bootstrap-server"), Some("h:1"));
        assert_eq!(parsed.rest, ["word"]);
        assert_eq!(read("--state Stable").unwrap().one("state"), Some("Stable"));
        assert_eq!(read("-t x").unwrap().one("topic"), Some("x"));
        let parsed = read("--p a=b c=d --list --p e=f").unwrap();
        assert_eq!(parsed.all("p").collect::<Vec<_>>(), ["a=b", "c=d", "e=f"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_may_be_meant() {
        let wrong = |line: &str| read(line).unwrap_err();
        assert_eq!(wrong("--topics a"), "topics is not a recognized option; did you mean --topic?");
        assert_eq!(
            wrong("--topic a --list --topic=b"),
            "Found multiple arguments for option topic, but you asked for only one"
        );
        assert_eq!(wrong("--topic"), "Option topic requires an argument");
        const CONTROLLERS: &[Opt] = &[BOOTSTRAP_CONTROLLER];
        assert_eq!(
            Parsed::read(&["--bootstrap".to_owned(), "x".to_owned()], CONTROLLERS).unwrap_err(),
            "bootstrap is not clear: --bootstrap-controller or --bootstrap-server?"
        );
        assert!(wrong("--topic --list --topic t").contains("--list follows"));
    }
}
