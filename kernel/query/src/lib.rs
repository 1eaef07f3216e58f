//! SQL as Carrel understands it, over DataFusion: what a query's text means, functions, rewrites of plans, and what goes wrong in words. Nothing
//! here knows of a session, a catalog or a file; the engine brings the tables.
//!
//! * [`sql`]: text to plan: dialect, what is refused, spellings that are rewritten
//! * [`functions`]: those that DataFusion lacks or means otherwise
//! * [`plan`]: rewrites between the planner and the optimizer
//! * [`problems`]: errors of the libraries as problems of the user's; [`words`]: types and sizes

pub mod functions;
pub mod plan;
pub mod problems;
pub mod sql;
pub mod words;
