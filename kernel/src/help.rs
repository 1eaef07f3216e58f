//! Names for completion and facts for tooltips, asked of the engine and kept for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrel_cell::complete::{ColumnName, Function, Names, Relation};
use carrel_cell::inspect::Facts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Engine;

/// Names are asked again when they are older than this.
const FRESH: Duration = Duration::from_secs(60);
/// Front ends drop completions after a second; what is known by then is better than nothing.
const PATIENCE: Duration = Duration::from_millis(700);
/// Relations whose columns are kept.
const RELATIONS: usize = 256;

/// Names as they were last seen.
pub(crate) struct Help {
    engine: Arc<Engine>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    names: Names,
    at: Option<Instant>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct NamesReply {
    names: Vec<NameReply>,
    functions: Vec<FunctionReply>,
}

#[derive(Deserialize)]
struct NameReply {
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize)]
struct FunctionReply {
    name: String,
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ColumnsReply {
    columns: BTreeMap<String, Vec<ColumnReply>>,
}

#[derive(Deserialize)]
struct ColumnReply {
    name: String,
    #[serde(rename = "type", default)]
    type_name: String,
}

impl Help {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, known: Mutex::default() }
    }

    /// All names, with the columns of these relations.
    pub(crate) async fn names(&self, relations: &[String]) -> Names {
        let stale = self.locked().at.is_none_or(|at| at.elapsed() > FRESH);
        if stale {
            self.refresh().await;
        }
        let missing: Vec<String> = {
            let known = self.locked();
            relations.iter().filter(|name| !known.names.columns.contains_key(*name)).cloned().collect()
        };
        if !missing.is_empty()
            && let Some(reply) = self.ask::<ColumnsReply>(json!({"op": "columns", "names": missing})).await
        {
            let mut known = self.locked();
            if known.names.columns.len() > RELATIONS {
                known.names.columns.clear();
            }
            for (relation, columns) in reply.columns {
                let columns =
                    columns.into_iter().map(|c| ColumnName { name: c.name, type_name: c.type_name });
                known.names.columns.insert(relation, columns.collect());
            }
        }
        self.locked().names.clone()
    }

    /// What is known about a name.
    pub(crate) async fn facts(&self, name: &str, detail: u8) -> Option<Facts> {
        self.ask(json!({"op": "inspect", "name": name, "detail": detail})).await
    }

    /// Names changed: the next question asks the engine.
    pub(crate) fn forget(&self) {
        let mut known = self.locked();
        known.at = None;
        known.names.columns.clear();
    }

    /// Asks for all names.
    pub(crate) async fn refresh(&self) {
        let Some(reply) = self.ask::<NamesReply>(json!({"op": "names"})).await else { return };
        let relation = |n: NameReply| Relation { name: n.name, kind: n.kind, description: n.description };
        let function = |f: FunctionReply| Function { name: f.name, signature: f.signature };
        let mut known = self.locked();
        known.names.relations = reply.names.into_iter().map(relation).collect();
        known.names.functions = reply.functions.into_iter().map(function).collect();
        known.at = Some(Instant::now());
    }

    async fn ask<T: for<'a> Deserialize<'a>>(&self, request: Value) -> Option<T> {
        let body = Bytes::from(request.to_string());
        match tokio::time::timeout(PATIENCE, self.engine.json("carrel.describe", body)).await {
            Ok(Ok(reply)) => Some(reply),
            Ok(Err(failure)) => {
                tracing::debug!(%failure, "the engine did not describe its names");
                None
            }
            Err(_elapsed) => None,
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
