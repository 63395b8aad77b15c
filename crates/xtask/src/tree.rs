//! The work tree as text.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One source file.
#[derive(Debug)]
pub struct Source {
    /// Its path from the root, with forward slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// Is this test code as a whole file?
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
            || self.path.contains("_samples/")
    }

    /// The lines before a `#[cfg(test)] mod tests` block.
    #[must_use]
    pub fn production_lines(&self) -> Vec<&str> {
        if self.is_test() {
            return Vec::new();
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod tests {")
        });
        lines[..tests.unwrap_or(lines.len())].to_vec()
    }
}

/// The root of the work tree.
#[must_use]
pub fn tree_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file of every crate.
///
/// # Errors
/// A folder or file cannot be read.
pub fn rust_sources() -> io::Result<Vec<Source>> {
    files_of("crates", "rs")
}

/// Every Rust file of every crate, as of a commit.
///
/// # Errors
/// Git cannot be run, or does not know the commit.
pub fn rust_sources_at(commit: &str) -> io::Result<Vec<Source>> {
    let git = |arguments: &[&str]| {
        let answer = Command::new("git").args(arguments).current_dir(tree_root()).output()?;
        if !answer.status.success() {
            let why = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
            return Err(io::Error::other(format!("git {}: {why}", arguments.join(" "))));
        }
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    };
    let names = git(&["ls-tree", "-r", "--name-only", "--end-of-options", commit, "crates"])?;
    let names = names.lines().filter(|name| name.ends_with(".rs"));
    let source = |path: &str| {
        let text = git(&["show", "--end-of-options", &format!("{commit}:./{path}")])?;
        Ok(Source { path: path.to_owned(), text })
    };
    names.map(source).collect()
}

/// Every Markdown file.
///
/// # Errors
/// A folder or file cannot be read.
pub fn markdown_documents() -> io::Result<Vec<Source>> {
    files_of("", "md")
}

fn files_of(folder: &str, extension: &str) -> io::Result<Vec<Source>> {
    let root = tree_root();
    let mut found = Vec::new();
    collect_files(&root.join(folder), &root, extension, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect_files(
    folder: &Path,
    root: &Path,
    extension: &str,
    found: &mut Vec<Source>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name != "target" && name != "golden" && !name.starts_with('.') {
                collect_files(&path, root, extension, found)?;
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            let text = fs::read_to_string(&path)?;
            let path = path.strip_prefix(root).unwrap_or(&path);
            found.push(Source { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
    Ok(())
}
