//! Edits of a statement's text that remember where everything came from, so that a problem found in the edited text is shown in the original.

use crate::problem::{Problem, Span};

/// Replacements in a text, in any order, that do not overlap.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    edits: Vec<(Span, String)>,
}

impl Edits {
    /// Replaces a range.
    pub fn replace(&mut self, span: Span, text: impl Into<String>) {
        self.edits.push((span, text.into()));
    }

    /// Is there anything to do?
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The edited text with its way back.
    pub fn apply(mut self, src: &str) -> Edited {
        self.edits.sort_by_key(|(span, _)| (span.start, span.end));
        let mut edited = Edited { sql: String::with_capacity(src.len()), pieces: Vec::new() };
        let mut at = 0;
        for (span, text) in self.edits {
            if span.start < at || span.end > src.len() {
                continue;
            }
            edited.push(&src[at..span.start], Span::new(at, span.start), true);
            edited.push(&text, span, false);
            at = span.end;
        }
        edited.push(&src[at..], Span::new(at, src.len()), true);
        edited
    }
}

/// A text made from another one.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The new text.
    pub sql: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    new: Span,
    old: Span,
    copied: bool,
}

impl Edited {
    /// A text as it is.
    pub fn unchanged(src: &str) -> Self {
        Edits::default().apply(src)
    }

    fn push(&mut self, text: &str, old: Span, copied: bool) {
        let start = self.sql.len();
        self.sql.push_str(text);
        self.pieces.push(Piece { new: Span::new(start, self.sql.len()), old, copied });
    }

    /// Where a range of the new text came from; a range inside a replacement came from all that was replaced.
    pub fn back(&self, span: Span) -> Span {
        let start = self.offset(span.start, false);
        let end = self.offset(span.end, true);
        Span::new(start, end.max(start))
    }

    fn offset(&self, at: usize, end: bool) -> usize {
        let inside = |piece: &&Piece| {
            if end {
                piece.new.start < at && at <= piece.new.end
            } else {
                piece.new.start <= at && at < piece.new.end
            }
        };
        match self.pieces.iter().find(inside) {
            Some(piece) if piece.copied => piece.old.start + (at - piece.new.start),
            Some(piece) if end => piece.old.end,
            Some(piece) => piece.old.start,
            None if at == 0 => 0,
            None => self.pieces.last().map_or(0, |piece| piece.old.end),
        }
    }

    /// The same, for an original that stands `by` bytes into a longer text.
    #[must_use]
    pub fn within(mut self, by: usize) -> Self {
        for piece in &mut self.pieces {
            piece.old = piece.old.shifted(by);
        }
        self
    }

    /// A text that all came from one place.
    pub fn all_from(sql: String, old: Span) -> Self {
        let new = Span::new(0, sql.len());
        Self { sql, pieces: vec![Piece { new, old, copied: false }] }
    }

    /// The problem, placed in the original text.
    pub fn place(&self, mut problem: Problem) -> Problem {
        problem.span = problem.span.map(|span| self.back(span));
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_back() {
        let src = "SELECT a FROM ML.PREDICT(MODEL m, TABLE t) WHERE contry = 1";
        let mut edits = Edits::default();
        edits.replace(Span::new(14, 42), "x");
        let edited = edits.apply(src);
        assert_eq!(edited.sql, "SELECT a FROM x WHERE contry = 1");
        let at = edited.sql.find("contry").unwrap();
        assert_eq!(edited.back(Span::new(at, at + 6)).of(src), "contry");
        assert_eq!(edited.back(Span::new(14, 15)).of(src), "ML.PREDICT(MODEL m, TABLE t)");
        assert_eq!(edited.back(Span::new(7, 8)).of(src), "a");
        let end = edited.sql.len();
        assert_eq!(edited.back(Span::new(end, end)), Span::new(src.len(), src.len()));
    }
}
