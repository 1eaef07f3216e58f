//! The cell language and what its results look like: statements are parsed, problems and tables become MIME bundles, a cursor
//! gets completions. Pure functions over text and values: no sockets, no engine, no clock.
//!
//! * [`statement`]: what a cell asks for
//! * [`parameters`]: values for `:name`; [`edit`]: texts that remember where they came from
//! * [`problem`]: what a user's mistake looks like; [`error_output`] draws it with its caret
//! * [`table`], [`caption`], [`progress`], [`inspect`]: results as [`bundle::MimeBundle`]s
//! * [`mod@complete`], [`mod@is_complete`]: help while typing, in code points as the protocol counts

pub mod bundle;
pub mod caption;
pub mod complete;
pub mod edit;
pub mod error_output;
pub mod inspect;
pub mod is_complete;
pub mod parameters;
pub mod position;
pub mod problem;
pub mod progress;
pub mod statement;
pub mod table;
pub mod token;
