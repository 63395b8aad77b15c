//! What has happened: always as a hash, as text when it is to be read.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

/// The history of a seed. Two runs that differ anywhere have different hashes.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Mixer,
    lines: Option<Vec<String>>,
    events: u64,
}

impl Trace {
    /// A trace that keeps the hash only.
    #[must_use]
    pub fn hashed() -> Self {
        Self::default()
    }

    /// A trace that keeps one line for each event.
    #[must_use]
    pub fn written() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    /// `what` has happened at a node.
    pub fn event<T: Hash + Debug>(&mut self, at_ms: u64, node: usize, what: &T) {
        self.events += 1;
        (at_ms, node).hash(&mut self.hash);
        what.hash(&mut self.hash);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at_ms:>7} ms  node {node}  {what:?}"));
        }
    }

    /// Something that helps to read the events, and follows from them: text only.
    pub fn note(&mut self, at_ms: u64, node: usize, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at_ms:>7} ms  node {node}    {}", text()));
        }
    }

    /// How many events there were.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The hash of all events.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The events as text, if they were kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

/// A hasher that is the same on every machine and in every version of Rust's library.
#[derive(Clone, Debug, Default)]
pub struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_every_event_and_on_the_text_of_none() {
        let run = |mut trace: Trace, last: u32| {
            trace.event(1, 0, &"a");
            trace.event(2, 0, &last);
            trace.hash()
        };
        assert_eq!(run(Trace::hashed(), 5), run(Trace::written(), 5));
        assert_ne!(run(Trace::hashed(), 5), run(Trace::hashed(), 6));
    }
}
