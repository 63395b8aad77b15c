//! The lines of the standard input, read beside the work, so that what is read goes on its way even
//! while the input pauses.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use ottla_clock::Clock;
use tokio::sync::mpsc::{Receiver, channel};

use crate::session::ToolStop;

/// How many lines are read ahead at most.
const AHEAD: usize = 1024;

/// What comes next.
pub enum NextLine {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing yet, for as long as was asked.
    Pause,
    /// No more lines.
    End,
    /// The process is asked to end, with this exit code.
    Stopped(u8),
}

/// Lines that a thread of its own reads.
pub struct LineInput {
    lines: Receiver<std::io::Result<Vec<u8>>>,
    clock: Clock,
    stop: ToolStop,
}

impl LineInput {
    /// The lines of a source. Its thread ends with the process.
    pub fn new(source: impl Read + Send + 'static, clock: Clock, stop: ToolStop) -> Self {
        let (tell, lines) = channel(AHEAD);
        std::thread::spawn(move || {
            for line in JavaLines::new(BufReader::new(source)) {
                let is_last = line.is_err();
                if tell.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        });
        Self { lines, clock, stop }
    }

    /// The next line, waited for until `deadline` by the clock if there is one.
    ///
    /// # Errors
    /// The source cannot be read.
    pub async fn next(&mut self, deadline: Option<Duration>) -> std::io::Result<NextLine> {
        let pause = self.clock.sleep_until_due(deadline);
        tokio::select! {
            biased;
            code = self.stop.asked() => Ok(NextLine::Stopped(code)),
            line = self.lines.recv() => match line {
                Some(line) => Ok(NextLine::Line(line?)),
                None => Ok(NextLine::End),
            },
            () = pause => Ok(NextLine::Pause),
        }
    }
}

/// Lines as Java's `BufferedReader` has them: they end with LF, with CR, or with both.
struct JavaLines<R> {
    source: R,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_return: bool,
}

impl<R: BufRead> JavaLines<R> {
    const fn new(source: R) -> Self {
        Self { source, after_return: false }
    }

    fn read(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let (mut line, mut any) = (Vec::new(), false);
        loop {
            let bytes = self.source.fill_buf()?;
            if bytes.is_empty() {
                return Ok(any.then_some(line));
            }
            if std::mem::take(&mut self.after_return) && bytes.first() == Some(&b'\n') {
                self.source.consume(1);
                continue;
            }
            any = true;
            let Some(end) = bytes.iter().position(|it| matches!(it, b'\n' | b'\r')) else {
                let count = bytes.len();
                line.extend_from_slice(bytes);
                self.source.consume(count);
                continue;
            };
            line.extend_from_slice(&bytes[..end]);
            self.after_return = bytes[end] == b'\r';
            self.source.consume(end + 1);
            return Ok(Some(line));
        }
    }
}

impl<R: BufRead> Iterator for JavaLines<R> {
    type Item = std::io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_either_or_both() {
        let text = b"a\nb\r\nc\rd\n\n\r\re";
        let right: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"", b"", b"", b"e"];
        // However the bytes come in.
        for size in 1..text.len() {
            let source = BufReader::with_capacity(size, &text[..]);
            let lines: Vec<Vec<u8>> = JavaLines::new(source).map(Result::unwrap).collect();
            assert_eq!(lines, right, "in pieces of {size}");
        }
        assert_eq!(JavaLines::new(&b""[..]).count(), 0);
        assert_eq!(JavaLines::new(&b"\n"[..]).count(), 1);
        assert_eq!(JavaLines::new(&b"a\r\n"[..]).count(), 1);
    }
}
