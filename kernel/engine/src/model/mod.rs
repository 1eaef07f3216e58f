//! Models: `CREATE MODEL`, `SHOW MODELS`, `DROP MODEL` and the `ML.` functions in FROM.
//!
//! Training: the query's batches become a polars frame ([`frame`]), the frame becomes a design ([`encode`]), the design is
//! fitted by `kernel/train` ([`learn`]) and the result kept as JSON in scratch ([`store`]). Using a model: `ML.` calls are
//! rewritten to plain SQL over functions made from the stored model ([`rewrite`](mod@rewrite), [`predict`], [`evaluate`],
//! [`describe`]), so predictions stream through DataFusion like anything else and can be filtered, joined and limited.

mod create;
mod describe;
mod encode;
mod evaluate;
mod frame;
mod label;
mod learn;
mod options;
mod predict;
mod rewrite;
mod rows;
mod store;

use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::Name;

use crate::output::Output;
use crate::session::Session;

pub use create::create;
pub use rewrite::rewrite;

/// The models of this session.
pub fn show(session: &Session, like: Option<&str>) -> Result<Output, Problem> {
    describe::models(&store::Store::new(session.models_dir()), like).map(Output::whole)
}

/// Removes a model.
pub fn drop(session: &Session, name: &Name, if_exists: bool) -> Result<Output, Problem> {
    let store = store::Store::new(session.models_dir());
    let plain = store::model_name(name)?;
    if store.remove(&plain)? {
        return Output::says("status", format!("model {plain} dropped"));
    }
    if if_exists {
        return Output::says("status", format!("there is no model {plain}"));
    }
    Err(store.unknown(&plain).at(name.span))
}

/// The names of the models, for completion and suggestions.
pub fn names(session: &Session) -> Vec<String> {
    store::Store::new(session.models_dir()).names()
}

/// Removes all models.
pub fn clear(session: &Session) -> Result<(), Problem> {
    let store = store::Store::new(session.models_dir());
    store.names().iter().try_for_each(|name| store.remove(name).map(|_was_there| ()))
}

/// A fault that is not the user's.
fn internal(what: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(Ename::Internal, format!("{what}: {error}"))
}
