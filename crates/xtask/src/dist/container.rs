//! The folder that a container image is built in, and what is checked of its Containerfile.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DistResult, DistStage, install_file};

/// Lays out what `podman build` and `docker build` need; returns the folder.
pub fn context(stage: &DistStage, binary: &Path) -> DistResult<PathBuf> {
    let folder = stage.out.join("container");
    install_file(binary, &folder.join("bin/ottla"), 0o755)?;
    install_file(&stage.root.join("LICENSE"), &folder.join("LICENSE"), 0o644)?;
    // The owner of the volume's folder comes from here; an empty folder cannot be in a repository.
    fs::create_dir_all(folder.join("container/data"))?;
    let from = stage.root.join("packaging/Containerfile");
    install_file(&from, &folder.join("Containerfile"), 0o644)?;
    Ok(folder)
}

/// Refuses a Containerfile that breaks a rule.
pub fn lint(context: &Path) -> DistResult<()> {
    let text = fs::read_to_string(context.join("Containerfile"))?;
    let exists = |path: &str| context.join(path).exists();
    let wrong = breaches(&text, &exists);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The instructions: lines that end with a backslash go on, comments and empty lines are left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut whole = String::new();
    for line in text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')) {
        if let Some(part) = line.strip_suffix('\\') {
            whole.push_str(part);
            continue;
        }
        whole.push_str(line);
        if let Some((word, rest)) = whole.split_once(char::is_whitespace) {
            all.push((word.to_ascii_uppercase(), rest.trim().to_owned()));
        }
        whole.clear();
    }
    all
}

fn breaches(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let all = instructions(text);
    let of = |word: &str| -> Vec<&str> {
        all.iter().filter(|(it, _)| it == word).map(|(_, rest)| rest.as_str()).collect()
    };
    let mut wrong = Vec::new();
    let mut due = |is_well: bool, why: &str| {
        if !is_well {
            wrong.push(format!("Containerfile: {why}"));
        }
    };
    let bases = of("FROM");
    due(!bases.is_empty(), "FROM is missing");
    let is_pinned = |base: &&str| *base == "scratch" || base.contains("@sha256:");
    due(bases.iter().all(is_pinned), "a base image is pinned by its digest, or is scratch");
    let is_number = |it: &str| it.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0));
    let user = of("USER").last().copied().unwrap_or("0");
    due(is_number(user), "USER is a number other than 0: Kubernetes checks runAsNonRoot by it");
    let is_exec = |it: &&str| it.starts_with('[') && it.ends_with(']');
    due(of("ENTRYPOINT").len() == 1, "there is one ENTRYPOINT");
    let entries = of("ENTRYPOINT").into_iter().chain(of("CMD")).collect::<Vec<_>>();
    due(entries.iter().all(is_exec), "ENTRYPOINT and CMD are lists: no shell keeps signals back");
    let health = of("HEALTHCHECK");
    let command = health.first().and_then(|it| it.split_once("CMD")).map(|(_, it)| it.trim());
    due(command.as_ref().is_some_and(is_exec), "there is a HEALTHCHECK, its CMD a list");
    due(of("ADD").is_empty(), "COPY, not ADD");
    due(of("RUN").is_empty() || bases != ["scratch"], "nothing can be run in scratch");
    due(of("EXPOSE").contains(&"9092"), "the port of clients is exposed");
    due(!of("VOLUME").is_empty(), "the data is a volume");
    due(of("LABEL").iter().any(|it| it.contains("image.licenses")), "the licence is a label");
    for copied in of("COPY") {
        let words = copied.split_whitespace().filter(|it| !it.starts_with("--"));
        let words: Vec<&str> = words.collect();
        let sources = words.split_last().map_or(&[][..], |(_, sources)| sources);
        for source in sources {
            due(exists(source), &format!("COPY {source}: it is not in the folder"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_containerfile_breaks_no_rule_and_broken_ones_are_found() {
        let text = include_str!("../../../../packaging/Containerfile");
        assert_eq!(breaches(text, &|_| true), Vec::<String>::new());
        // What is replaced, by what, and the error.
        let cases = [
            ("FROM scratch", "FROM debian:latest", "pinned"),
            ("USER 10001:10001", "USER root", "USER"),
            ("USER 10001:10001", "USER 0", "USER"),
            ("ENTRYPOINT [\"/usr/bin/ottla\"]", "ENTRYPOINT ottla", "lists"),
            ("HEALTHCHECK", "LABEL", "HEALTHCHECK"),
            ("EXPOSE 9092", "EXPOSE 1", "exposed"),
            ("VOLUME", "LABEL", "volume"),
            ("STOPSIGNAL SIGTERM", "RUN true", "scratch"),
        ];
        for (from, to, said) in cases {
            let found = breaches(&text.replace(from, to), &|_| true);
            assert!(found.iter().any(|it| it.contains(said)), "{to}: {found:?}");
        }
        let missing = breaches(text, &|path| path != "bin/ottla");
        assert_eq!(missing, ["Containerfile: COPY bin/ottla: it is not in the folder"]);
    }
}
