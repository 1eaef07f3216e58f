//! What jails write to standard output and error: whole lines, short, not too many.

use std::time::{Duration, Instant};

/// The longest line that is passed on.
const MAX_LINE: usize = 4096;
/// Lines passed on per [`WINDOW`]; what is over is counted.
const MAX_LINES: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);

/// Cuts a stream of bytes into lines, bounded in length and rate.
pub(crate) struct Lines {
    rest: Vec<u8>,
    /// Inside a line whose first [`MAX_LINE`] bytes were passed on already.
    skipping: bool,
    window: Instant,
    passed: u32,
    dropped: u64,
}

impl Lines {
    pub(crate) fn new(now: Instant) -> Self {
        Self { rest: Vec::new(), skipping: false, window: now, passed: 0, dropped: 0 }
    }

    /// Takes bytes and gives the lines that are to be logged.
    pub(crate) fn take(&mut self, bytes: &[u8], now: Instant) -> Vec<String> {
        let mut out = Vec::new();
        if now.duration_since(self.window) >= WINDOW {
            if self.dropped > 0 {
                out.push(format!("({} lines dropped)", self.dropped));
            }
            (self.window, self.passed, self.dropped) = (now, 0, 0);
        }
        for byte in bytes {
            if *byte == b'\n' {
                if !std::mem::take(&mut self.skipping) {
                    self.pass(&mut out);
                }
            } else if !self.skipping {
                self.rest.push(*byte);
                if self.rest.len() >= MAX_LINE {
                    self.pass(&mut out);
                    self.skipping = true;
                }
            }
        }
        out
    }

    /// What came without a newline before the end.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        if !self.rest.is_empty() {
            self.pass(&mut out);
        }
        out
    }

    fn pass(&mut self, out: &mut Vec<String>) {
        let line = String::from_utf8_lossy(&self.rest).trim_end().to_owned();
        self.rest.clear();
        if line.is_empty() {
        } else if self.passed < MAX_LINES {
            self.passed += 1;
            out.push(line);
        } else {
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_cut_and_counted() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        assert_eq!(lines.take(b"ab", now), Vec::<String>::new());
        assert_eq!(lines.take(b"c\n\nd\r\ne", now), ["abc", "d"]);
        assert_eq!(lines.finish(), ["e"]);
        let long = lines.take(&[b'x'; 10_000], now);
        assert_eq!((long.len(), long[0].len()), (1, MAX_LINE));
        assert_eq!(lines.take(b"tail\nnext\n", now), ["next"]);
        let many = b"y\n".repeat(1000);
        assert!(lines.take(&many, now).len() < 200);
        let later = lines.take(b"z\n", now + WINDOW);
        assert!(later[0].contains("lines dropped") && later[1] == "z", "{later:?}");
    }
}
