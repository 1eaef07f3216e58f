//! Models: `CREATE MODEL`, `SHOW MODELS`, `DROP MODEL` and the `ML.` functions in FROM.

use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::{CreateModel, Name};

use crate::edit::Edited;
use crate::output::{Output, text_table};
use crate::run::Run;
use crate::session::Session;

/// Trains a model and keeps it in the session's models folder.
pub async fn create(_session: &Session, create: &CreateModel, _run: &Arc<Run>) -> Result<Output, Problem> {
    Err(Problem::unsupported(create.name.span, "CREATE MODEL is not supported", "this engine was built without models"))
}

/// The models of this session.
pub fn show(_session: &Session, _like: Option<&str>) -> Result<Output, Problem> {
    Ok(Output::whole(text_table(&["name", "model_type"], Vec::new())?))
}

/// Removes a model.
pub fn drop(_session: &Session, name: &Name, if_exists: bool) -> Result<Output, Problem> {
    if if_exists {
        return Output::says("status", format!("there is no model {name}"));
    }
    Err(Problem::new(Ename::UnknownModel, format!("no model {name}")).at(name.span))
}

/// The names of the models, for completion and suggestions.
pub fn names(_session: &Session) -> Vec<String> {
    Vec::new()
}

/// Replaces `ML.PREDICT(MODEL m, TABLE t | (query))` and its kin in a query by what DataFusion understands.
/// Must be quick when the text holds no `ML.`.
pub async fn rewrite(_session: &Session, sql: &str, _run: &Arc<Run>) -> Result<Edited, Problem> {
    Ok(Edited::unchanged(sql))
}
