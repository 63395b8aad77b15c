//! The list of settings, read once from `table.txt`.

use std::sync::OnceLock;

use crate::allowed::Allowed;
use crate::value::Value;

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A broker.
    Broker,
    /// A topic.
    Topic,
    /// A group.
    Group,
    /// A subscription to clients' metrics.
    ClientMetrics,
}

/// The type of a value. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// A text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// A fraction.
    Double = 6,
    /// Texts, separated by commas.
    List = 7,
    /// The name of a Java class; nothing is loaded for it here.
    Class = 8,
    /// A text that is never shown.
    Password = 9,
}

impl ConfigType {
    /// What a message calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }
}

/// How a setting changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// With a restart.
    Static,
    /// For one broker, while it runs.
    Broker,
    /// For all brokers, while they run.
    Cluster,
}

/// What a setting does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingEffect {
    /// It is obeyed; these tests, separated by blanks, fail when it is not.
    Obeyed(&'static str),
    /// It is read and checked, and does nothing: why.
    None(&'static str),
    /// It promises what this release cannot keep, and is refused unless it has its default: why,
    /// and what to do instead.
    Refused(&'static str),
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it belongs to.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: ConfigType,
    /// Its value when it is not set.
    pub default: Option<&'static str>,
    /// Which values are allowed.
    pub allowed: Allowed,
    /// How it changes.
    pub changes: UpdateMode,
    /// The brokers' settings that stand in for a topic's, the nearest first.
    pub fallbacks: Vec<&'static str>,
    /// Is it shown only where it is set?
    pub is_unlisted: bool,
    /// What it means.
    pub text: &'static str,
    /// What it does here.
    pub effect: SettingEffect,
}

impl Setting {
    /// Reads a value of this setting.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed, in Kafka's words.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let value = Value::read(self.kind, text).and_then(|value| self.allowed.check(value));
        value.map_err(|why| {
            let text = if self.is_secret() { "[hidden]" } else { text };
            format!("Invalid value {text} for configuration {}: {why}", self.name)
        })
    }

    /// A value as Kafka shows it; as it was typed, if it is not valid.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        self.read(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
    }

    /// What it means, and what it does here if that is nothing.
    #[must_use]
    pub fn documentation(&self) -> String {
        let text = self.text;
        match self.effect {
            SettingEffect::Obeyed(_) => text.to_owned(),
            SettingEffect::None(why) => format!("{text} No effect here: {why}."),
            SettingEffect::Refused(why) => format!("{text} Not built, refused: {why}."),
        }
    }

    /// Does this value ask for more than the default does?
    #[must_use]
    pub fn is_promise(&self, text: &str) -> bool {
        let value = self.shown(text);
        !value.is_empty() && Some(value.as_str()) != self.default
    }

    /// May its value not be shown?
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == ConfigType::Password
    }
}

fn all_settings() -> &'static [Setting] {
    static ALL: OnceLock<Vec<Setting>> = OnceLock::new();
    ALL.get_or_init(|| {
        let lines = include_str!("table.txt").lines();
        let rows = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
        let row = |line| parse_row(line).expect("every row of the table is well-formed");
        // They stay for good: what a growing vector leaves behind would, too.
        let mut all = Vec::with_capacity(rows.clone().count());
        all.extend(rows.map(row));
        all
    })
}

fn parse_row(line: &'static str) -> Option<Setting> {
    let columns: Vec<&str> = line.split(" | ").collect();
    let [scope, name, kind, default, allowed, importance, changes, fallbacks, effect, text] =
        columns.try_into().ok()?;
    Some(Setting {
        scope: match scope {
            "broker" => Scope::Broker,
            "topic" => Scope::Topic,
            "group" => Scope::Group,
            "metrics" => Scope::ClientMetrics,
            _ => return None,
        },
        name,
        is_unlisted: matches!(importance, "unlisted" | "internal"),
        kind: match kind {
            "boolean" => ConfigType::Boolean,
            "string" => ConfigType::String,
            "int" => ConfigType::Int,
            "short" => ConfigType::Short,
            "long" => ConfigType::Long,
            "double" => ConfigType::Double,
            "list" => ConfigType::List,
            "class" => ConfigType::Class,
            "password" => ConfigType::Password,
            _ => return None,
        },
        default: match default {
            "-" => None,
            "\"\"" => Some(""),
            value => Some(value),
        },
        allowed: Allowed::parse(allowed)?,
        changes: match changes {
            "static" => UpdateMode::Static,
            "broker" => UpdateMode::Broker,
            "cluster" => UpdateMode::Cluster,
            _ => return None,
        },
        fallbacks: fallbacks.split(' ').filter(|name| *name != "-").collect(),
        text: if text == "-" { "" } else { text },
        effect: match effect.split_once(' ')? {
            ("obeyed:", tests) => SettingEffect::Obeyed(tests),
            ("none:", why) => SettingEffect::None(why),
            ("refused:", why) => SettingEffect::Refused(why),
            _ => return None,
        },
    })
}

/// The setting of this name.
#[must_use]
pub fn find_setting(scope: Scope, name: &str) -> Option<&'static Setting> {
    all_settings().iter().find(|setting| setting.scope == scope && setting.name == name)
}

/// All settings of a scope, by name.
pub fn in_scope(scope: Scope) -> impl Iterator<Item = &'static Setting> {
    all_settings().iter().filter(move |setting| setting.scope == scope)
}

/// The known name that looks most like `name`, if any does.
#[must_use]
pub fn nearest_setting(scope: Scope, name: &str) -> Option<&'static str> {
    ottla_types::nearest(in_scope(scope).map(|setting| setting.name), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        assert!(all_settings().len() > 350);
        for setting in all_settings() {
            if let Some(default) = setting.default {
                assert_eq!(setting.shown(default), default, "{}", setting.name);
                assert!(setting.read(default).is_ok(), "{}", setting.name);
            }
        }
    }

    #[test]
    fn every_setting_says_what_it_does() {
        for setting in all_settings() {
            let text = setting.text;
            assert!(text.len() > 20 && text.ends_with('.'), "{}: {text:?}", setting.name);
        }
    }

    #[test]
    fn every_fallback_is_a_setting_of_brokers() {
        for setting in in_scope(Scope::Topic) {
            for name in &setting.fallbacks {
                assert!(find_setting(Scope::Broker, name).is_some(), "{} -> {name}", setting.name);
            }
        }
    }

    #[test]
    fn a_wrong_value_is_told_what_is_allowed() {
        let policy = find_setting(Scope::Topic, "cleanup.policy").unwrap();
        assert!(policy.read("compact,delete").is_ok());
        assert!(policy.read("keep").unwrap_err().contains("compact, delete"));
        let bytes = find_setting(Scope::Topic, "segment.bytes").unwrap();
        assert!(bytes.read("1").unwrap_err().contains("at least 1048576"));
        assert!(bytes.read("many").unwrap_err().contains("INT"));
    }

    #[test]
    fn a_misspelt_name_is_recognised() {
        assert_eq!(nearest_setting(Scope::Broker, "num.partition"), Some("num.partitions"));
        assert_eq!(nearest_setting(Scope::Broker, "lgo.dirs"), Some("log.dirs"));
        assert_eq!(nearest_setting(Scope::Broker, "something.else.entirely"), None);
    }
}
