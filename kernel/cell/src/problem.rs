//! What a user's mistake looks like on its way to the cell: a name, one line, a place in the statement, a hint.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A range of byte offsets in the text that was parsed or sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The same range in a text that begins `by` bytes earlier.
    pub fn shifted(self, by: usize) -> Self {
        Self { start: self.start + by, end: self.end + by }
    }

    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end.max(self.start) }
    }

    /// The text that it covers, or nothing if it does not fit `src`.
    pub fn of(self, src: &str) -> &str {
        src.get(self.start..self.end).unwrap_or("")
    }
}

/// What kind of problem; a front end can tell them apart without reading the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ename {
    /// The text is not a statement.
    SyntaxError,
    /// No dataset, session table, view or model has this name.
    UnknownDataset,
    /// No column has this name.
    UnknownColumn,
    /// No function has this name.
    UnknownFunction,
    /// No model has this name.
    UnknownModel,
    /// No value was given for this `:name`.
    UnknownParameter,
    /// A name that could mean several things.
    AmbiguousName,
    /// A table, view or model with this name is there already.
    AlreadyExists,
    /// Values of types that do not go together, or an argument of the wrong type.
    TypeError,
    /// A value that cannot be computed: a cast that fails, division by zero, a number out of range.
    ValueError,
    /// Understood, and not supported.
    Unsupported,
    /// The session's memory is not enough.
    MemoryLimit,
    /// The session's scratch space or the home is full.
    DiskLimit,
    /// Stopped because the user asked.
    Cancelled,
    /// A file of a dataset cannot be read as what it says it is.
    CorruptFile,
    /// No such file.
    FileNotFound,
    /// Not allowed.
    PolicyDenied,
    /// What holds the data cannot be reached, or does not let Carrel in.
    SourceUnavailable,
    /// A file was changed while it was read.
    SourceChanged,
    /// A setting or an option that does not exist or cannot take this value.
    BadOption,
    /// A model could not be trained on this data.
    TrainingError,
    /// The engine ended while the statement ran.
    EngineLost,
    /// A fault of Carrel; the message holds the reference under which it was logged.
    #[serde(other)]
    Internal,
}

impl fmt::Display for Ename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A mistake or a refusal, as shown in the cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{ename}: {message}")]
pub struct Problem {
    /// The kind.
    pub ename: Ename,
    /// One line without a full stop.
    pub message: String,
    /// The offending place in the statement as sent, if it is known.
    pub span: Option<Span>,
    /// What to try instead.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a place or a hint.
    pub fn new(ename: Ename, message: impl Into<String>) -> Self {
        Self { ename, message: message.into(), span: None, hint: None }
    }

    /// A syntax error at a place.
    pub fn syntax(span: Span, message: impl Into<String>) -> Self {
        Self::new(Ename::SyntaxError, message).at(span)
    }

    /// A refusal at a place with what to do instead.
    pub fn unsupported(span: Span, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Ename::Unsupported, message).at(span).hint(hint)
    }

    /// With a place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// With a place, unless it has one.
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the hint "did you mean …?" if one of the candidates is close to the word.
    #[must_use]
    pub fn suggest<S: AsRef<str>>(self, word: &str, candidates: impl IntoIterator<Item = S>) -> Self {
        match did_you_mean(word, candidates) {
            Some(near) => self.hint(format!("did you mean {near}?")),
            None => self,
        }
    }

    /// The same problem in a text that begins `by` bytes earlier: a statement's problem in its cell.
    #[must_use]
    pub fn shifted(mut self, by: usize) -> Self {
        self.span = self.span.map(|span| span.shifted(by));
        self
    }
}

/// The candidate closest to a word, if it is close enough that a person may have meant it.
pub fn did_you_mean<S: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = S>) -> Option<String> {
    let wanted = word.to_lowercase();
    let mut best: Option<(f64, String)> = None;
    for candidate in candidates {
        let name = candidate.as_ref();
        let lower = name.to_lowercase();
        let last = lower.rsplit('.').next().unwrap_or(&lower);
        let score = closeness(&wanted, &lower).max(closeness(&wanted, last));
        if score >= 0.6 && best.as_ref().is_none_or(|(top, _)| score > *top) {
            best = Some((score, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

fn closeness(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    strsim::normalized_damerau_levenshtein(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_over_the_wire_and_back() {
        let problem = Problem::unsupported(Span::new(3, 7), "no", "try this");
        let json = serde_json::to_string(&problem).unwrap();
        assert_eq!(
            json,
            r#"{"ename":"Unsupported","message":"no","span":{"start":3,"end":7},"hint":"try this"}"#
        );
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
    }

    #[test]
    fn a_kind_from_a_newer_engine_is_read_as_internal() {
        let json = r#"{"ename":"Quantum","message":"x","span":null,"hint":null}"#;
        assert_eq!(serde_json::from_str::<Problem>(json).unwrap().ename, Ename::Internal);
    }

    #[test]
    fn suggests_near_names_only() {
        assert_eq!(did_you_mean("contry", ["day", "country"]).as_deref(), Some("country"));
        assert_eq!(did_you_mean("clicsk", ["ads.clicks", "tpch.orders"]).as_deref(), Some("ads.clicks"));
        assert_eq!(did_you_mean("zzz", ["country", "day"]), None);
    }
}
