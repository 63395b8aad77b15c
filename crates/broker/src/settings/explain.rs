//! Settings in words: one of them, all of them, and what a node is about to start with.

use std::fmt::Write;

use super::started::Settings;
use super::table::{Changes, Scope, Setting, in_scope, nearest};

const SCOPES: [(Scope, &str); 4] = [
    (Scope::Broker, "broker"),
    (Scope::Topic, "topic"),
    (Scope::Group, "group"),
    (Scope::ClientMetrics, "client-metrics"),
];

const fn changes(setting: &Setting) -> &'static str {
    match (setting.scope, setting.changes) {
        (Scope::Broker, Changes::Static) => "with a restart",
        (_, Changes::Broker) => "while it runs, for one broker",
        (Scope::Broker, _) => "while it runs, for one broker or all",
        _ => "while it runs",
    }
}

fn default(setting: &Setting) -> &str {
    match setting.default {
        None => "none",
        Some("") => "empty",
        Some(value) => value,
    }
}

/// What is known of the settings of this name; the nearest name if there is none.
///
/// # Errors
/// What may have been meant.
pub fn explain(name: &str) -> Result<String, String> {
    let mut text = String::new();
    for (scope, kind) in SCOPES {
        for it in in_scope(scope).filter(|it| it.name == name) {
            let _ = writeln!(text, "{name} ({kind})\n\n  {}\n", it.text);
            let _ = writeln!(text, "  type     {}", it.kind.name());
            let _ = writeln!(text, "  default  {}", default(it));
            let _ = writeln!(text, "  allowed  {}", it.allowed);
            let _ = writeln!(text, "  changes  {}", changes(it));
            if !it.fallbacks.is_empty() {
                let _ = writeln!(text, "  or else  {} of the broker", it.fallbacks.join(", "));
            }
            text.push('\n');
        }
    }
    if !text.is_empty() {
        return Ok(text.trim_end().to_owned());
    }
    let near = SCOPES.into_iter().find_map(|(scope, _)| nearest(scope, name));
    let hint = near.map_or_else(String::new, |it| format!("; did you mean {it}?"));
    Err(format!("there is no setting {name}{hint}"))
}

/// All settings as a page: `docs/settings.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\nMade by `ottla config reference > docs/settings.md`; a test compares them. Names, types and\ndefaults are those of Apache Kafka 4.3.1.\n",
    );
    for (scope, kind) in SCOPES {
        let _ = writeln!(text, "\n## Of a {kind}\n");
        text.push_str(
            "| name | type | default | allowed | changes | |\n|---|---|---|---|---|---|\n",
        );
        for it in in_scope(scope) {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} |",
                it.name,
                it.kind.name(),
                default(it).replace('|', "\\|"),
                it.allowed,
                changes(it),
                it.text.replace('|', "\\|"),
            );
        }
    }
    text
}

impl Settings {
    /// Every setting of the node with the value that it starts with, those that were given first.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = String::from("# given\n");
        let shown = |it: &Setting| {
            let value = if it.is_secret() { "[hidden]" } else { self.text(it.name).unwrap_or("") };
            format!("{}={value}", it.name)
        };
        let (given, usual): (Vec<_>, Vec<_>) =
            in_scope(Scope::Broker).partition(|it| self.given(it.name).is_some());
        text.extend(given.into_iter().map(|it| shown(it) + "\n"));
        text.push_str("\n# defaults\n");
        let usual = usual.into_iter().filter(|it| it.default.is_some());
        text.extend(usual.map(|it| shown(it) + "\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_explained_and_a_misspelt_one_recognised() {
        let text = explain("retention.ms").unwrap();
        assert!(text.contains("retention.ms (topic)") && text.contains("type     long"), "{text}");
        assert!(text.contains("or else  log.retention.ms"), "{text}");
        let both = explain("min.insync.replicas").unwrap();
        assert!(both.contains("(broker)") && both.contains("(topic)"), "{both}");
        let wrong = explain("retention.mss").unwrap_err();
        assert!(wrong.ends_with("did you mean retention.ms?"), "{wrong}");
    }

    #[test]
    fn the_page_of_settings_is_fresh() {
        let page = include_str!("../../../../docs/settings.md");
        for (at, (found, wanted)) in page.lines().zip(reference().lines()).enumerate() {
            assert_eq!(
                found,
                wanted,
                "line {}: run ottla config reference > docs/settings.md",
                at + 1
            );
        }
        assert_eq!(page.lines().count(), reference().lines().count());
    }

    #[test]
    fn what_a_node_starts_with_is_printed() {
        let settings = Settings::read(Some("num.partitions=3\n"), &[]).unwrap();
        let text = settings.print();
        let (given, usual) = text.split_once("# defaults").unwrap();
        assert_eq!(given, "# given\nnum.partitions=3\n\n");
        assert!(usual.contains("\nauto.create.topics.enable=true\n"));
    }
}
