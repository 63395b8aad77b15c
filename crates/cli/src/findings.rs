//! What a doctor found, and what the program ends with for it.

use std::error::Error;
use std::fmt;

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, titled};

/// How bad something is. Its number is the doctor's exit code, if it is the worst finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthVerdict {
    /// As it should be.
    Good,
    /// Worth a thought.
    Note,
    /// It works, with something missing or at risk.
    Warning,
    /// It does not work, or something is lost.
    Error,
}

impl HealthVerdict {
    /// 0 if there is nothing to be done, 1 after a warning, 2 after an error. What monitoring calls
    /// UNKNOWN, 3, is for a doctor that could not look.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Good | Self::Note => 0,
            Self::Warning => 1,
            Self::Error => 2,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for HealthVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Error for HealthVerdict {}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub verdict: HealthVerdict,
    /// The subject of the finding: a broker, a topic, a file.
    pub subject: String,
    /// What was found, and what to do about it.
    pub finding: String,
}

/// Prints what was found; the worst of it as an error, if it has an exit code of its own.
///
/// # Errors
/// It cannot be printed; or the worst verdict.
pub fn report(
    findings: &[Finding],
    shared: &SharedOptions,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let head = [titled("", "verdict"), titled("of what", "subject"), titled("found", "finding")];
    let mut table = OutputTable::new(&head);
    for it in findings {
        let word = Cell::from(it.verdict.word());
        let word = match it.verdict {
            HealthVerdict::Good => word.good(),
            HealthVerdict::Note => word,
            HealthVerdict::Warning | HealthVerdict::Error => word.bad(),
        };
        table.row(vec![word, it.subject.as_str().into(), it.finding.as_str().into()]);
    }
    Front::new(shared, environment)?.print(&table)?;
    match findings.iter().map(|it| it.verdict).max() {
        Some(worst) if worst.exit_code() > 0 => Err(worst.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_from_the_worst_finding() {
        let ended = |verdicts: &[HealthVerdict]| {
            let finding = |verdict: &HealthVerdict| Finding {
                verdict: *verdict,
                subject: "s".to_owned(),
                finding: "f".to_owned(),
            };
            let all: Vec<Finding> = verdicts.iter().map(finding).collect();
            let done = report(&all, &SharedOptions::default(), &Environment::default());
            done.map_or_else(|error| crate::exit_code(&*error), |()| Some(0))
        };
        use HealthVerdict::{Error, Good, Note, Warning};
        assert_eq!(ended(&[]), Some(0));
        assert_eq!(ended(&[Good, Note]), Some(0));
        assert_eq!(ended(&[Warning, Note]), Some(1));
        assert_eq!(ended(&[Warning, Error, Good]), Some(2));
    }
}
