//! Settings in words: one of them, all of them, and what a node is about to start with.

use std::fmt::Write;

use crate::started::{Origin, Settings, base_name};
use crate::table::{
    Scope, Setting, SettingEffect, UpdateMode, find_setting, in_scope, nearest_setting,
};

const SCOPES: [(Scope, &str); 4] = [
    (Scope::Broker, "broker"),
    (Scope::Topic, "topic"),
    (Scope::Group, "group"),
    (Scope::ClientMetrics, "client-metrics"),
];

const fn update_mode_text(setting: &Setting) -> &'static str {
    match (setting.scope, setting.changes) {
        (Scope::Broker, UpdateMode::Static) => "with a restart",
        (_, UpdateMode::Broker) => "while it runs, for one broker",
        (Scope::Broker, _) => "while it runs, for one broker or all",
        _ => "while it runs",
    }
}

fn default_text(setting: &Setting) -> &str {
    match setting.default {
        None => "none",
        Some("") => "empty",
        Some(value) => value,
    }
}

/// What a setting does here.
fn effect_text(setting: &Setting) -> String {
    match setting.effect {
        SettingEffect::Obeyed(_) => "obeyed".to_owned(),
        SettingEffect::None(why) => format!("no effect: {why}"),
        SettingEffect::Refused(why) => format!("not built, refused: {why}"),
    }
}

/// The explanation of the settings of this name.
///
/// # Errors
/// The setting is unknown: the nearest name.
pub fn explain_setting(name: &str) -> Result<String, String> {
    let mut text = String::new();
    for (scope, kind) in SCOPES {
        for it in in_scope(scope).filter(|it| it.name == name) {
            let _ = writeln!(text, "{name} ({kind})\n\n  {}\n", it.text);
            let _ = writeln!(text, "  type     {}", it.kind.name());
            let _ = writeln!(text, "  default  {}", default_text(it));
            let _ = writeln!(text, "  allowed  {}", it.allowed);
            let _ = writeln!(text, "  changes  {}", update_mode_text(it));
            let _ = writeln!(text, "  here     {}", effect_text(it));
            if !it.fallbacks.is_empty() {
                let _ = writeln!(text, "  or else  {} of the broker", it.fallbacks.join(", "));
            }
            text.push('\n');
        }
    }
    if !text.is_empty() {
        return Ok(text.trim_end().to_owned());
    }
    let near = SCOPES.into_iter().find_map(|(scope, _)| nearest_setting(scope, name));
    let hint = near.map_or_else(String::new, |it| format!("; did you mean {it}?"));
    Err(format!("unknown setting {name}{hint}"))
}

/// All settings as a page: `docs/settings.md`.
#[must_use]
pub fn settings_reference() -> String {
    let mut text = String::from(
        "# Settings\n\nMade by `ottla config reference > docs/settings.md`; a test compares them. Names, types and\ndefaults are those of Apache Kafka 4.3.1. The column *here* says whether Ottla obeys a setting; one that is\n*not built, refused* stops the start unless it has its default.\n",
    );
    for (scope, kind) in SCOPES {
        let _ = writeln!(text, "\n## Of a {kind}\n");
        text.push_str(
            "| name | type | default | allowed | changes | here | |\n|---|---|---|---|---|---|---|\n",
        );
        for it in in_scope(scope) {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} | {} |",
                it.name,
                it.kind.name(),
                default_text(it).replace('|', "\\|"),
                it.allowed,
                update_mode_text(it),
                effect_text(it),
                it.text.replace('|', "\\|"),
            );
        }
    }
    text
}

impl Settings {
    /// Every setting of the node with the value that it starts with: those that were given first,
    /// by where they come from, then what has no effect, then the defaults. The text is a
    /// properties file again.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = String::new();
        let mut heading = String::new();
        let mut given: Vec<_> = self.all_given().collect();
        given.sort_by_key(|(_, _, origin)| *origin);
        for (name, _, origin) in given {
            let source = source_of(origin);
            if source != heading {
                let _ = writeln!(text, "{}# {source}", if heading.is_empty() { "" } else { "\n" });
                heading = source;
            }
            let value = self.given_to_show(name).unwrap_or_default();
            if let Origin::File { line, .. } = origin {
                let _ = writeln!(text, "# line {line}");
            }
            if let Origin::Environment(variable) = origin {
                let _ = writeln!(text, "# {variable}");
            }
            let _ = writeln!(text, "{name}={value}");
        }
        let idle = self.without_effect();
        if !idle.is_empty() {
            text.push_str("\n# given, without effect\n");
            text.extend(idle.into_iter().map(|(name, why)| format!("# {name}: {why}\n")));
        }
        text.push_str("\n# defaults\n");
        for setting in in_scope(Scope::Broker).filter(|it| self.given(it.name).is_none()) {
            if let Some(default) = setting.default {
                let _ = writeln!(text, "{}={default}", setting.name);
            }
        }
        text
    }

    /// What was given and does nothing here although it asks for more than the default: names, and
    /// why.
    #[must_use]
    pub fn without_effect(&self) -> Vec<(String, &'static str)> {
        let mut all = Vec::new();
        for (name, value, origin) in self.all_given() {
            let Some(setting) = find_setting(Scope::Broker, base_name(name)) else { continue };
            let why = match setting.effect {
                SettingEffect::None(why) => why,
                SettingEffect::Obeyed(_) if setting.name != name => {
                    "it is not obeyed for a single listener yet, only for all of them"
                }
                _ => continue,
            };
            if setting.is_promise(value) && *origin != Origin::TriedOut {
                all.push((name.to_owned(), why));
            }
        }
        all
    }
}

/// What a group of settings is called that come from one place.
fn source_of(origin: &Origin) -> String {
    match origin {
        Origin::TriedOut => "built in, as no file was given".to_owned(),
        Origin::Cluster => "from ottla.cluster".to_owned(),
        Origin::File { name, .. } => format!("from {name}"),
        Origin::Environment(_) => "from the environment".to_owned(),
        Origin::Override => "from --override".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sources;

    #[test]
    fn a_setting_is_explained_and_a_misspelt_one_recognised() {
        let text = explain_setting("retention.ms").unwrap();
        assert!(text.contains("retention.ms (topic)") && text.contains("type     long"), "{text}");
        assert!(text.contains("or else  log.retention.ms"), "{text}");
        let both = explain_setting("min.insync.replicas").unwrap();
        assert!(both.contains("(broker)") && both.contains("(topic)"), "{both}");
        let wrong = explain_setting("retention.mss").unwrap_err();
        assert!(wrong.ends_with("did you mean retention.ms?"), "{wrong}");
    }

    #[test]
    fn the_page_of_settings_is_fresh() {
        ottla_expected::check_file("docs/settings.md", &settings_reference());
    }

    #[test]
    fn what_a_node_starts_with_is_printed_with_its_source() {
        let environment = [("KAFKA_SSL_KEY_PASSWORD".to_owned(), "geheim".to_owned())];
        let settings = Settings::from_sources(&Sources {
            file: Some("node.id=1\nnum.partitions=3\nnum.io.threads=16\n"),
            file_name: "a.properties",
            environment: &environment,
            overrides: &["log.dirs=/d".to_owned()],
        })
        .unwrap();
        let text = settings.print();
        for part in [
            "# from a.properties\n# line 1\nnode.id=1\n# line 2\nnum.partitions=3\n",
            "\n# from the environment\n# KAFKA_SSL_KEY_PASSWORD\nssl.key.password=[hidden]\n",
            "\n# from --override\nlog.dirs=/d\n",
            "\n# num.io.threads: Ottla runs one thread for each core\n",
            "\nauto.create.topics.enable=true\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("geheim"), "{text}");
    }
}
