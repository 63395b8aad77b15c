//! Commands that run one after the other, and a table of what they came to.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// One command of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called in the table.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Its environment, besides ours.
    pub environment: BTreeMap<String, String>,
    /// After how many minutes it is ended; that is a failure.
    pub minutes_max: Option<u64>,
    /// A program that it needs, and how to get it; without the program it is left out, visibly.
    pub needs: Option<(&'static str, &'static str)>,
}

impl Step {
    /// A step with its command line; no word of it has a blank inside.
    #[must_use]
    pub fn new(name: &str, line: &str) -> Self {
        Self {
            name: name.to_owned(),
            words: line.split_whitespace().map(str::to_owned).collect(),
            environment: BTreeMap::new(),
            minutes_max: None,
            needs: None,
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// It succeeded.
    Passed,
    /// It failed: how.
    Failed(String),
    /// What it needs is not installed: what to do.
    LeftOut(&'static str),
}

/// Runs all steps, also after one has failed, and prints the table. Have all of them passed?
#[must_use]
pub fn run_all(root: &Path, steps: &[Step]) -> bool {
    let mut done = Vec::new();
    for step in steps {
        println!("\n== {}: {}", step.name, step.words.join(" "));
        let begun = time_now();
        let outcome = run_step(root, step);
        done.push((step.name.clone(), outcome, begun.elapsed()));
    }
    print!("\n{}", outcome_table(&done));
    !done.iter().any(|(_, outcome, _)| matches!(outcome, StepResult::Failed(_)))
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, which only developers run")]
fn time_now() -> Instant {
    Instant::now()
}

fn run_step(root: &Path, step: &Step) -> StepResult {
    if let Some((program, how)) = step.needs
        && !is_installed(program)
    {
        return StepResult::LeftOut(how);
    }
    let mut command = match step.minutes_max {
        None => Command::new(&step.words[0]),
        Some(minutes) => {
            let mut command = Command::new("timeout");
            command.args(["--kill-after=30s", &format!("{minutes}m"), &step.words[0]]);
            command
        }
    };
    command.args(&step.words[1..]).envs(&step.environment).current_dir(root);
    match command.status() {
        Ok(status) if status.success() => StepResult::Passed,
        Ok(status) if step.minutes_max.is_some() && status.code() == Some(124) => {
            StepResult::Failed(format!("not done after {} minutes", step.minutes_max.unwrap_or(0)))
        }
        Ok(status) => StepResult::Failed(status.to_string()),
        Err(error) => StepResult::Failed(format!("{}: {error}", step.words[0])),
    }
}

/// Is there such a program on the path?
fn is_installed(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status();
    found.is_ok_and(|status| status.success())
}

/// A line for each step.
#[must_use]
pub fn outcome_table(done: &[(String, StepResult, Duration)]) -> String {
    let width = done.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, outcome, took) in done {
        let (result, why) = match outcome {
            StepResult::Passed => ("passed", String::new()),
            StepResult::Failed(why) => ("FAILED", format!("  {why}")),
            StepResult::LeftOut(how) => ("left out", format!("  {how}")),
        };
        let line = format!("{name:<width$}  {result:<8}  {:>7.1} s{why}\n", took.as_secs_f64());
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn a_run_goes_on_after_a_failure_and_fails() {
        let sh = |name: &str, line: &str| Step {
            words: vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()],
            ..Step::new(name, "")
        };
        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("made");
        let touch = format!("touch {}", made.display());
        assert!(!run_all(&tree::tree_root(), &[sh("fails", "exit 3"), sh("comes after", &touch)]));
        assert!(made.exists());
        assert!(run_all(&tree::tree_root(), &[sh("passes", "true")]));
        let missing = ("no-such-program-here", "install it");
        let left_out = Step { needs: Some(missing), ..sh("left out", "exit 1") };
        assert!(run_all(&tree::tree_root(), &[left_out]));
    }

    #[test]
    fn the_table_says_what_failed_and_how() {
        let done = [
            ("law".to_owned(), StepResult::Passed, Duration::from_millis(1_500)),
            ("clippy".to_owned(), StepResult::Failed("exit status: 1".to_owned()), Duration::ZERO),
            ("fuzzing".to_owned(), StepResult::LeftOut("cargo install it"), Duration::ZERO),
        ];
        let expected = "law      passed        1.5 s\n\
            clippy   FAILED        0.0 s  exit status: 1\n\
            fuzzing  left out      0.0 s  cargo install it\n";
        assert_eq!(outcome_table(&done), expected);
    }
}
