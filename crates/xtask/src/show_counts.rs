//! `cargo xtask counts`: how often the habits that may not grow occur.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use ottla_xtask::counts::{
    Habit, count_habits, longest_parts, read_agreed, risen_counts, write_agreed,
};
use ottla_xtask::tree;

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Prints the counts of the work tree, or of a commit.
pub fn show(commit: Option<&str>) -> Done {
    let sources = match commit {
        None => tree::rust_sources()?,
        Some(commit) => tree::rust_sources_at(commit)?,
    };
    for Habit { name, text, found } in count_habits(&sources) {
        println!("{name:<20} {:>5}  {text}", found.len());
    }
    let (file, function) = longest_parts(&sources);
    println!("{:<20} {:>5}  {}", "longest-file", file.lines, file.place);
    println!("{:<20} {:>5}  {}", "longest-function", function.lines, function.place);
    Ok(())
}

/// Prints each place of one count.
pub fn list(name: &str) -> Done {
    let all = count_habits(&tree::rust_sources()?);
    let known: Vec<&str> = all.iter().map(|count| count.name).collect();
    let count = all.iter().find(|count| count.name == name);
    let count = count.ok_or_else(|| format!("{name} is not one of {}", known.join(", ")))?;
    let mut out = std::io::stdout().lock();
    // A reader such as `head` may have enough.
    let _ = count.found.iter().try_for_each(|place| writeln!(out, "{place}"));
    Ok(())
}

/// Writes down what has fallen.
pub fn update() -> Done {
    let all = count_habits(&tree::rust_sources()?);
    let path = path();
    let wrong = match fs::read_to_string(&path) {
        Ok(text) => risen_counts(&all, &read_agreed(&text)?),
        // The first time there is nothing to compare with.
        Err(_) => Vec::new(),
    };
    if !wrong.is_empty() {
        return Err(format!("what has risen is not written down:\n{}", wrong.join("\n")).into());
    }
    Ok(fs::write(path, write_agreed(&all))?)
}

fn path() -> PathBuf {
    tree::tree_root().join("crates/xtask/counts.txt")
}
