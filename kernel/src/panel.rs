//! The side panel's questions, on comms of the target `carrel.data` (docs/panel.md): names, columns, statistics of a column.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use carrel_channels::Output;
use carrel_channels::kernel::Object;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Failure, problem_of};
use crate::values;

/// What a front end opens a comm to.
const TARGET: &str = "carrel.data";
/// Comms that may be open: tabs of one notebook.
const COMMS: usize = 64;
/// How long a stop may take to reach the engine.
const CANCEL: Duration = Duration::from_millis(500);

/// Open comms, with the statistics that each waits for.
pub(crate) struct Panel {
    engine: Arc<Engine>,
    comms: Mutex<HashMap<String, Asking>>,
}

/// Stops by the number of the question.
type Asking = HashMap<String, CancellationToken>;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Ask {
    Names,
    Columns { name: String },
    Statistics { name: String, column: String },
    Cancel { of: Value },
}

impl Panel {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, comms: Mutex::default() }
    }

    /// A front end opens a comm; one of another target is refused.
    pub(crate) fn open(&self, comm_id: String, target: &str) -> bool {
        let mut comms = self.locked();
        if target != TARGET || comms.len() >= COMMS {
            return false;
        }
        comms.insert(comm_id, Asking::new());
        true
    }

    /// A front end is gone: what it waits for is stopped.
    pub(crate) fn close(&self, comm_id: &str) {
        let asking = self.locked().remove(comm_id).unwrap_or_default();
        asking.values().for_each(CancellationToken::cancel);
    }

    /// Open comms for `comm_info_reply`.
    pub(crate) fn comms(&self, target: Option<&str>) -> Object {
        if target.is_some_and(|target| target != TARGET) {
            return Object::new();
        }
        self.locked().keys().map(|id| (id.clone(), json!({"target_name": TARGET}))).collect()
    }

    /// Answers a question on its comm. A comm of a kernel before this one is closed, so that its front end opens another.
    pub(crate) async fn answer(&self, comm_id: String, data: Value, output: Output) {
        if !self.locked().contains_key(&comm_id) {
            output.comm("comm_close", &json!({"comm_id": comm_id, "data": {}}), Vec::new()).await;
            return;
        }
        let id = data.get("id").cloned().unwrap_or_default();
        let mut answer = match self.asked(&comm_id, &id, data).await {
            Ok(answer) => answer,
            Err(Problem { ename, message, hint, .. }) => {
                json!({"error": {"ename": ename, "message": message, "hint": hint}})
            }
        };
        answer["id"] = id;
        output.comm("comm_msg", &json!({"comm_id": comm_id, "data": answer}), Vec::new()).await;
    }

    async fn asked(&self, comm_id: &str, id: &Value, data: Value) -> Result<Value, Problem> {
        let ask: Ask = serde_json::from_value(data).map_err(|_| {
            Problem::new(Ename::BadOption, "this question is not understood")
                .hint("ops are names, columns, statistics and cancel")
        })?;
        match ask {
            Ask::Names => {
                let found = self.describe(json!({"op": "names"})).await?;
                Ok(json!({"names": found["names"]}))
            }
            Ask::Columns { name } => {
                let found = self.describe(json!({"op": "inspect", "name": name, "detail": 1})).await?;
                if found["found"] != true || !found["columns"].is_array() {
                    return Err(Problem::new(Ename::UnknownDataset, format!("there is no {name}")));
                }
                let take = |key: &str| found[key].clone();
                Ok(
                    json!({"kind": take("kind"), "description": take("description"), "facts": take("facts"), "columns": take("columns")}),
                )
            }
            Ask::Statistics { name, column } => {
                let stop = CancellationToken::new();
                let number = id.to_string();
                if let Some(asking) = self.locked().get_mut(comm_id) {
                    asking.insert(number.clone(), stop.clone());
                }
                let found = self.statistics(&name, &column, &stop).await;
                if let Some(asking) = self.locked().get_mut(comm_id) {
                    asking.remove(&number);
                }
                Ok(json!({"statistics": found?}))
            }
            Ask::Cancel { of } => {
                let comms = self.locked();
                let stop = comms.get(comm_id).and_then(|asking| asking.get(&of.to_string()));
                if let Some(stop) = stop {
                    stop.cancel();
                }
                Ok(json!({"cancelled": stop.is_some()}))
            }
        }
    }

    async fn describe(&self, request: Value) -> Result<Value, Problem> {
        let body = Bytes::from(request.to_string());
        self.engine.json("carrel.describe", body).await.map_err(|failure| problem_of(&failure))
    }

    /// The figures of one column, as `[name, text]`: only that column is read.
    async fn statistics(
        &self,
        name: &str,
        column: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<Value>, Problem> {
        let sql = summarize(name, column);
        let answer = tokio::select! {
            () = stop.cancelled() => return Err(stopped()),
            answer = self.engine.statement(&sql) => answer.map_err(|failure| problem_of(&failure))?,
        };
        let fetch = async {
            let Some(mut rows) = self.engine.rows(&answer).await? else { return Ok(Vec::new()) };
            let mut texts = Vec::new();
            while let Some(batch) = self.engine.next(&mut rows).await? {
                values::append_rows(&batch, 1, &mut texts).map_err(Failure::Draw)?;
            }
            let names = rows.schema().map(|schema| values::columns(schema)).unwrap_or_default();
            let row = texts.into_iter().next().unwrap_or_default();
            Ok(names.into_iter().zip(row).map(|(column, text)| json!([column.name, text])).collect())
        };
        tokio::select! {
            found = fetch => found.map_err(|failure: Failure| problem_of(&failure)),
            () = stop.cancelled() => {
                let told = self.engine.action("carrel.cancel", answer.handle.clone());
                let _ = tokio::time::timeout(CANCEL, told).await;
                Err(stopped())
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Asking>> {
        self.comms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped() -> Problem {
    Problem::new(Ename::Cancelled, "the question was withdrawn")
}

fn summarize(name: &str, column: &str) -> String {
    let name: Vec<String> = name.split('.').map(quoted).collect();
    format!("SUMMARIZE SELECT {} FROM {}", quoted(column), name.join("."))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name_whatever_is_in_it() {
        assert_eq!(
            summarize("ads.clicks", "a\" FROM x; DROP"),
            "SUMMARIZE SELECT \"a\"\" FROM x; DROP\" FROM \"ads\".\"clicks\""
        );
    }
}
