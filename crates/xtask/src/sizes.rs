//! Sizes: files and lines. (Functions and parameters are clippy's: `too_many_lines` and
//! `too_many_arguments`, with the thresholds of clippy.toml.)

use crate::tree::Source;

/// The most production lines a file may have.
pub const FILE_LINES_MAX: usize = 600;
/// The widest a line may be.
pub const LINE_WIDTH_MAX: usize = 100;

/// The files and lines that are too long.
#[must_use]
pub fn breaches(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let lines = source.production_lines().len();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, {FILE_LINES_MAX} allowed", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let width = line.chars().count();
            // A long literal, a row of a table or one path cannot be broken without changing it.
            let starts = ["//! |", "use "];
            let is_whole = line.contains('"')
                || starts.iter().any(|start| line.trim_start().starts_with(start));
            if width > LINE_WIDTH_MAX && !is_whole {
                wrong.push(format!("{}:{}: {width} wide", source.path, number + 1));
            }
        }
    }
    wrong
}
