//! The list of settings, read once from `table.txt`.

use std::sync::OnceLock;

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
pub enum Kind {
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

impl Kind {
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
pub enum Changes {
    /// With a restart.
    Static,
    /// For one broker, while it runs.
    Broker,
    /// For all brokers, while they run.
    Cluster,
}

/// Which values are allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// All of the type.
    Any,
    /// Numbers from here to there.
    Range(f64, f64),
    /// These texts.
    OneOf(Vec<&'static str>),
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it belongs to.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Its value when nobody has set it.
    pub default: Option<&'static str>,
    /// Which values are allowed.
    pub allowed: Allowed,
    /// How it changes.
    pub changes: Changes,
    /// The brokers' settings that stand in for a topic's, the nearest first.
    pub fallbacks: Vec<&'static str>,
    /// Is it shown only where somebody has set it?
    pub is_unlisted: bool,
    /// What it means.
    pub text: &'static str,
}

impl Setting {
    /// Is `value` one of those allowed?
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let value = value.trim();
        let wrong = |why: String| {
            Err(format!("Invalid value {value} for configuration {}: {why}", self.name))
        };
        let number = match self.kind {
            Kind::Boolean => {
                return match value.to_ascii_lowercase().as_str() {
                    "true" | "false" => Ok(()),
                    _ => wrong("Expected value to be either true or false".to_owned()),
                };
            }
            Kind::Int => value.parse::<i32>().ok().map(f64::from),
            Kind::Short => value.parse::<i16>().ok().map(f64::from),
            #[expect(clippy::cast_precision_loss, reason = "bounds are compared, not stored")]
            Kind::Long => value.parse::<i64>().ok().map(|value| value as f64),
            Kind::Double => value.parse::<f64>().ok().filter(|value| value.is_finite()),
            Kind::String | Kind::List | Kind::Class | Kind::Password => {
                return self.check_text(value).or_else(wrong);
            }
        };
        let Some(number) = number else {
            return wrong(format!("Not a number of type {}", self.kind.name().to_uppercase()));
        };
        match self.allowed {
            Allowed::Range(low, _) if number < low => {
                wrong(format!("Value must be at least {low}"))
            }
            Allowed::Range(_, high) if number > high => {
                wrong(format!("Value must be no more than {high}"))
            }
            _ => Ok(()),
        }
    }

    fn check_text(&self, value: &str) -> Result<(), String> {
        let Allowed::OneOf(all) = &self.allowed else { return Ok(()) };
        let known = |item: &str| all.iter().any(|it| it.eq_ignore_ascii_case(item));
        let good = match self.kind {
            Kind::List => value.split(',').all(|item| known(item.trim())),
            _ => known(value),
        };
        if good { Ok(()) } else { Err(format!("String must be one of: {}", all.join(", "))) }
    }

    /// May its value not be shown?
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Password
    }
}

fn all() -> &'static [Setting] {
    static ALL: OnceLock<Vec<Setting>> = OnceLock::new();
    ALL.get_or_init(|| {
        let lines = include_str!("table.txt").lines();
        let rows = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
        let row = |line| row(line).expect("every row of the table is well-formed");
        // They stay for good: what a growing vector leaves behind would, too.
        let mut all = Vec::with_capacity(rows.clone().count());
        all.extend(rows.map(row));
        all
    })
}

fn row(line: &'static str) -> Option<Setting> {
    let columns: Vec<&str> = line.split(" | ").collect();
    let [scope, name, kind, default, allowed, importance, changes, fallbacks, text] =
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
        is_unlisted: importance == "unlisted",
        kind: match kind {
            "boolean" => Kind::Boolean,
            "string" => Kind::String,
            "int" => Kind::Int,
            "short" => Kind::Short,
            "long" => Kind::Long,
            "double" => Kind::Double,
            "list" => Kind::List,
            "class" => Kind::Class,
            "password" => Kind::Password,
            _ => return None,
        },
        default: match default {
            "-" => None,
            "\"\"" => Some(""),
            value => Some(value),
        },
        allowed: allowed_of(allowed)?,
        changes: match changes {
            "static" => Changes::Static,
            "broker" => Changes::Broker,
            "cluster" => Changes::Cluster,
            _ => return None,
        },
        fallbacks: fallbacks.split(' ').filter(|name| *name != "-").collect(),
        text: if text == "-" { "" } else { text },
    })
}

fn allowed_of(text: &'static str) -> Option<Allowed> {
    if text == "-" {
        return Some(Allowed::Any);
    }
    if let Some(all) = text.strip_prefix("in ") {
        return Some(Allowed::OneOf(all.split(',').map(str::trim).collect()));
    }
    let (low, high) = text.split_once("..")?;
    let bound =
        |text: &str, open: f64| if text.is_empty() { Some(open) } else { text.parse().ok() };
    Some(Allowed::Range(bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?))
}

/// The setting of this name.
#[must_use]
pub fn find(scope: Scope, name: &str) -> Option<&'static Setting> {
    all().iter().find(|setting| setting.scope == scope && setting.name == name)
}

/// All settings of a scope, by name.
pub fn in_scope(scope: Scope) -> impl Iterator<Item = &'static Setting> {
    all().iter().filter(move |setting| setting.scope == scope)
}

/// The known name that looks most like `name`, if any does.
#[must_use]
pub fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    ottla_types::nearest(in_scope(scope).map(|setting| setting.name), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        assert!(all().len() > 350);
        for setting in all() {
            if let Some(default) = setting.default.filter(|default| !default.is_empty()) {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
        }
    }

    #[test]
    fn every_setting_says_what_it_does() {
        for setting in all() {
            let text = setting.text;
            assert!(text.len() > 20 && text.ends_with('.'), "{}: {text:?}", setting.name);
        }
    }

    #[test]
    fn every_fallback_is_a_setting_of_brokers() {
        for setting in in_scope(Scope::Topic) {
            for name in &setting.fallbacks {
                assert!(find(Scope::Broker, name).is_some(), "{} -> {name}", setting.name);
            }
        }
    }

    #[test]
    fn a_wrong_value_is_told_what_is_allowed() {
        let policy = find(Scope::Topic, "cleanup.policy").unwrap();
        assert!(policy.check("compact,delete").is_ok());
        assert!(policy.check("keep").unwrap_err().contains("compact, delete"));
        let bytes = find(Scope::Topic, "segment.bytes").unwrap();
        assert!(bytes.check("1").unwrap_err().contains("at least 1048576"));
        assert!(bytes.check("many").unwrap_err().contains("INT"));
    }

    #[test]
    fn a_misspelt_name_is_recognised() {
        assert_eq!(nearest(Scope::Broker, "num.partition"), Some("num.partitions"));
        assert_eq!(nearest(Scope::Broker, "lgo.dirs"), Some("log.dirs"));
        assert_eq!(nearest(Scope::Broker, "something.else.entirely"), None);
    }
}
