//! The cell language: statements, problems, completion and rendering. Pure: no sockets, no clock, no engine.

pub mod problem;
pub mod statement;
pub mod token;
