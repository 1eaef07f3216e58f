//! Lines to standard error: the shim's own notes and what the kernel or server writes, bounded in length and rate, never waiting for a reader.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Longest line passed on.
const LINE: usize = 1024;
/// Lines in a burst, and lines a second after that.
const BURST: u32 = 200;
const PER_SECOND: u32 = 50;

/// A note of the shim's own.
pub(crate) fn note(text: &str) {
    write_line(b"shim: ", text.as_bytes());
}

/// Passes a kernel's or a server's stream on, line by line, until it ends.
pub(crate) async fn pass_on(mut stream: pipe::Receiver, whose: &'static str) {
    let budget = Budget::new(whose);
    let mut line: Vec<u8> = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        for &byte in &buffer[..count] {
            if byte == b'\n' {
                budget.line(&line);
                line.clear();
            } else if line.len() < LINE {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        budget.line(&line);
    }
}

/// How many lines may still pass.
struct Budget {
    whose: &'static str,
    tokens: Cell<u32>,
    filled: Cell<Instant>,
    left_out: Cell<u64>,
}

impl Budget {
    fn new(whose: &'static str) -> Budget {
        Budget { whose, tokens: Cell::new(BURST), filled: Cell::new(Instant::now()), left_out: Cell::new(0) }
    }

    fn line(&self, line: &[u8]) {
        let (tokens, spent) = refill(self.tokens.get(), self.filled.get().elapsed());
        self.filled.set(self.filled.get() + spent);
        if tokens == 0 {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        self.tokens.set(tokens - 1);
        if self.left_out.get() > 0 {
            note(&format!("{} lines of the {} left out", self.left_out.replace(0), self.whose));
        }
        write_line(format!("{}: ", self.whose).as_bytes(), line);
    }
}

/// Tokens after `elapsed` time, and how much of that time was turned into tokens.
fn refill(tokens: u32, elapsed: Duration) -> (u32, Duration) {
    let each = Duration::from_secs(1) / PER_SECOND;
    let new = u32::try_from(elapsed.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX);
    let spent = if new > BURST { elapsed } else { each * new };
    (tokens.saturating_add(new).min(BURST), spent)
}

/// Writes one line if standard error takes it at once: pid 1 must not hang on a reader that does not read.
fn write_line(prefix: &[u8], line: &[u8]) {
    let stderr = std::io::stderr();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&now));
    if !matches!(ready, Ok(1)) {
        return;
    }
    // One write below PIPE_BUF: whole or not at all. Control characters are the terminal's, not the log's.
    let clean = line.iter().take(LINE).map(|&byte| if byte < b' ' && byte != b'\t' { b'?' } else { byte });
    let mut out = prefix.to_vec();
    out.extend(clean);
    out.push(b'\n');
    (&stderr).write_all(&out).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let each = Duration::from_secs(1) / PER_SECOND;
        assert_eq!(refill(0, Duration::from_millis(1)), (0, Duration::ZERO));
        assert_eq!(refill(0, each * 3 + Duration::from_millis(1)), (3, each * 3));
        assert_eq!(refill(BURST - 1, each * 3), (BURST, each * 3));
        assert_eq!(refill(0, Duration::from_secs(3600)), (BURST, Duration::from_secs(3600)));
        let budget = Budget::new("kernel");
        for _ in 0..BURST + 100 {
            budget.line(b"x");
        }
        assert!(budget.left_out.get() > 0);
    }
}
