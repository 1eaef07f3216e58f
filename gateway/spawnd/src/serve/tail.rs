//! The last lines of a server, kept for whoever asks why it ended.

use std::collections::VecDeque;

/// The last lines of a server, for whoever asks why it ended. (What kernels and desks write is in the log only.)
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    /// So many lines of so many characters surely fit into a packet.
    const LINES: usize = 20;
    const CHARS: usize = 400;

    /// Adds lines; the oldest go.
    pub(crate) fn add(&mut self, lines: &[String]) {
        self.0.extend(lines.iter().map(|line| line.chars().take(Self::CHARS).collect()));
        self.0.drain(..self.0.len().saturating_sub(Self::LINES));
    }

    /// All that is kept, oldest first.
    pub(crate) fn lines(self) -> Vec<String> {
        self.0.into()
    }
}
