//! What a committed offset may be: the last that was acknowledged, or one whose commit was never
//! answered. Such a commit may be carried out as long as the process lives that it was sent to.

use std::collections::BTreeSet;

/// A committed offset of one group and partition.
#[derive(Debug, Default)]
pub struct ModelOffset {
    /// The last that was acknowledged, or seen; `None` is no offset at all.
    settled: Option<i64>,
    /// Those that were sent and not answered.
    doubtful: BTreeSet<i64>,
    /// All that were ever sent, for after a power cut.
    ever: BTreeSet<i64>,
    /// May a power cut have taken it back?
    is_uncertain: bool,
}

impl ModelOffset {
    /// A commit is about to be sent.
    pub fn send(&mut self, offset: i64) {
        self.doubtful.insert(offset);
        self.ever.insert(offset);
    }

    /// The commit was acknowledged; no other one was sent meanwhile.
    pub fn acknowledged(&mut self, offset: i64) {
        self.doubtful.remove(&offset);
        self.settled = Some(offset);
        self.is_uncertain = false;
    }

    /// The commit was refused: it has changed nothing.
    pub fn refused(&mut self, offset: i64) {
        self.doubtful.remove(&offset);
    }

    /// The power has gone, and nothing was durable.
    pub fn power_cut(&mut self) {
        self.is_uncertain = true;
    }

    /// The offset was read, and no commit was sent meanwhile.
    ///
    /// # Errors
    /// It cannot be that one.
    pub fn see(&mut self, offset: Option<i64>) -> Result<(), String> {
        let is_doubtful = offset.is_some_and(|offset| self.doubtful.contains(&offset));
        let was_ever = offset.is_none_or(|offset| self.ever.contains(&offset));
        if offset == self.settled || is_doubtful {
            return Ok(());
        }
        if self.is_uncertain && was_ever {
            self.settled = offset;
            self.is_uncertain = false;
            return Ok(());
        }
        let Self { settled, doubtful, .. } = self;
        Err(format!("{offset:?} is committed, and not {settled:?} or one of {doubtful:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_stays_unless_one_in_doubt_or_a_power_cut_has_replaced_it() {
        let mut committed = ModelOffset::default();
        committed.see(None).expect("none yet");
        committed.send(3);
        committed.see(None).expect("in doubt");
        committed.see(Some(3)).expect("in doubt");
        committed.acknowledged(3);
        committed.send(5);
        committed.send(4);
        committed.acknowledged(4);
        committed.see(Some(4)).expect("acknowledged");
        committed.see(Some(5)).expect("late");
        committed.see(Some(3)).expect_err("replaced");
        committed.see(None).expect_err("there is one");
        committed.power_cut();
        committed.see(Some(3)).expect("older");
        committed.see(Some(4)).expect_err("settled by then");
    }
}
