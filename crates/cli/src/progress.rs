//! The progress line of a command.

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::Duration;

use ottla_clock::Clock;

/// How long a line stands before another takes its place.
const STANDS: Duration = Duration::from_millis(200);

/// A line of its own on a terminal, gone when this is dropped; nothing if the
/// standard error is not a terminal.
pub(crate) struct ProgressLine<W: Write = Stderr> {
    out: Option<W>,
    clock: Clock,
    began: Duration,
    drawn: Option<Duration>,
}

impl ProgressLine {
    /// On the screen, if there is one.
    pub(crate) fn new(clock: &Clock) -> Self {
        let out = io::stderr();
        Self::on(Some(out).filter(IsTerminal::is_terminal), clock)
    }

    /// Of a command that shows something else.
    pub(crate) fn hidden(clock: &Clock) -> Self {
        Self::on(None, clock)
    }
}

impl<W: Write> ProgressLine<W> {
    fn on(out: Option<W>, clock: &Clock) -> Self {
        Self { out, clock: clock.clone(), began: clock.monotonic(), drawn: None }
    }

    /// Shows a text, unless the one before it has only just been shown.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        let Some(out) = &mut self.out else { return };
        let now = self.clock.monotonic();
        if self.drawn.is_some_and(|at| now < at + STANDS) {
            return;
        }
        self.drawn = Some(now);
        // From the line's begin, and without what is left of a longer one. An output that cannot
        // show the line is ignored.
        let _ = write!(out, "\r\x1b[2K{}", text()).and_then(|()| out.flush());
    }

    /// Shows how many of how many are done, and how long the others will take.
    pub(crate) fn show_part(&mut self, what: &str, done: u64, all: u64) {
        if done == 0 {
            // Without a rate there is no estimate.
            return;
        }
        let took = self.clock.monotonic() - self.began;
        self.show(|| {
            let percent = done * 100 / all.max(1);
            let a_second = u128::from(done) * 1000 / took.as_millis().max(1);
            let left = u128::from(all.saturating_sub(done)) / a_second.max(1);
            format!("{what} {done} of {all} ({percent} %, {a_second} a second, {left} s left)")
        });
    }
}

impl<W: Write> Drop for ProgressLine<W> {
    fn drop(&mut self) {
        if let Some(out) = self.out.as_mut().filter(|_| self.drawn.is_some()) {
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_for_a_while_and_is_gone_at_the_end() {
        let (clock, mut out) = (Clock::manual(0), Vec::new());
        let mut line = ProgressLine::on(Some(&mut out), &clock);
        for (later_ms, done) in [(10, 0), (90, 10), (199, 20), (1, 50), (1700, 100)] {
            clock.advance(later_ms);
            line.show_part("writing", done, 200);
        }
        drop(line);
        let out = String::from_utf8(out).expect("text");
        let shown: Vec<&str> = out.split("\r\x1b[2K").collect();
        let wanted = [
            "",
            "writing 10 of 200 (5 %, 100 a second, 1 s left)",
            "writing 50 of 200 (25 %, 166 a second, 0 s left)",
            "writing 100 of 200 (50 %, 50 a second, 2 s left)",
            "",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn where_nobody_looks_no_text_is_made() {
        let mut line = ProgressLine::hidden(&Clock::manual(0));
        line.show(|| unreachable!("no terminal, no line"));
    }
}
