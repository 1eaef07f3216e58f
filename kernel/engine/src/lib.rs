//! The data engine: catalog, SQL, session tables, models and demo data, served as Arrow Flight SQL on a unix socket.
//! It runs no user code. Read `session` first, then `query`, `statement` and `flight`.

pub mod activity;
pub mod authority;
pub mod beneath;
pub mod catalog;
pub mod cluster;
mod column_names;
pub mod config;
pub mod corrupt;
pub mod demo;
pub mod files;
pub mod flight;
pub mod lanes;
pub mod listen;
pub mod matching;
pub mod model;
pub mod names;
pub mod output;
pub mod panics;
pub mod place;
pub mod query;
pub mod registry;
pub mod run;
pub mod runtime;
pub mod scanned;
pub mod scratch;
pub mod serve;
pub mod session;
pub mod settings;
pub mod snapshot;
pub mod sql;
pub mod statement;
pub mod summary;
pub mod table;
