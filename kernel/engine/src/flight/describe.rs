//! `carrel.describe`: names, columns and facts for completion and tooltips. No data is read.
//!
//! `{"op":"names"}` → `{"names":[{"name","kind","description"}],"functions":[{"name","signature"}]}`;
//! `{"op":"columns","names":[…]}` → `{"columns":{name:[{"name","type"}]}}`;
//! `{"op":"inspect","name","detail"}` → `{"found","kind","title","description","facts":[[label,value]],"columns":[{"name","type","note"}]}`.

mod column;

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::Dataset;
use crate::model;
use crate::names;
use crate::run::grouped;
use crate::scratch::provider::ScratchTable;
use crate::session::Session;
use crate::table::FileTable;
use carrel_query::functions::catalog;
use carrel_query::words::show_size;
use carrel_query::words::type_name;

/// Relations whose columns are answered at a time.
const MOST: usize = 32;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Ask {
    Names,
    Columns {
        names: Vec<String>,
    },
    Inspect {
        name: String,
        #[serde(default)]
        detail: u8,
    },
}

/// The answer to a request.
pub(super) async fn answer(session: &Session, body: &Bytes) -> Result<Bytes, Problem> {
    let ask: Ask = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Ename::BadOption, format!("the request cannot be read: {error}")))?;
    let answer = match ask {
        Ask::Names => all(session).await,
        Ask::Columns { names } => {
            let mut columns = serde_json::Map::new();
            for name in names.into_iter().take(MOST) {
                if let Some((table, _)) = find(session, &name).await {
                    let list = table.schema().fields().iter().map(|field| column(field, None)).collect();
                    columns.insert(name, Value::Array(list));
                }
            }
            json!({ "columns": columns })
        }
        Ask::Inspect { name, detail } => inspect(session, &name, detail).await,
    };
    serde_json::to_vec(&answer)
        .map(Bytes::from)
        .map_err(|error| carrel_query::problems::internal("an answer", &error))
}

async fn all(session: &Session) -> Value {
    let entry = |name: String, kind: &str, description: Option<String>| json!({ "name": name, "kind": kind, "description": description });
    let mut names = Vec::new();
    for own in session.scratch().entries() {
        names.push(entry(own.name, if own.view { "view" } else { "table" }, None));
    }
    names.extend(model::names(session).into_iter().map(|name| entry(name, "model", None)));
    names
        .extend(session.catalog().all().await.into_iter().map(|d| entry(d.name(), "dataset", d.description)));
    json!({ "names": names, "functions": functions(session) })
}

/// Functions of models, which only rewritten queries have.
const OF_MODELS: &[&str] = &["ml.predict", "ml.evaluate", "ml.weights", "ml.training_info"];

fn functions(session: &Session) -> Vec<Value> {
    let known = catalog::all(&session.context().state()).into_values();
    let known =
        known.map(|known| json!({ "name": known.name, "kind": known.kind, "signature": known.signature }));
    let models = OF_MODELS.iter().map(|name| json!({ "name": name, "kind": "table", "signature": null }));
    known.chain(models).collect()
}

async fn find(session: &Session, name: &str) -> Option<(std::sync::Arc<dyn TableProvider>, Option<Dataset>)> {
    let reference = TableReference::parse_str(name);
    let table = names::resolve(session, &reference).await.ok()?;
    let dataset = match reference.schema() {
        Some(schema) => session.catalog().find(schema, reference.table()).await,
        None => session.catalog().find_bare(reference.table()).await.pop(),
    };
    let dataset = dataset.filter(|_| table.downcast_ref::<FileTable>().is_some());
    Some((table, dataset))
}

async fn inspect(session: &Session, name: &str, _detail: u8) -> Value {
    if let Some((table, dataset)) = find(session, name).await {
        return relation(session, name, &table, dataset).await;
    }
    if model::names(session).iter().any(|model| model == name) {
        return json!({ "found": true, "kind": "model", "title": name });
    }
    // schema.table.column or table.column
    if let Some((before, last)) = name.rsplit_once('.')
        && let Some((table, dataset)) = find(session, before).await
        && let Ok(field) = table.schema().field_with_name(last)
    {
        let mut facts = vec![
            ("type", type_name(field.data_type())),
            ("nullable", if field.is_nullable() { "yes" } else { "no" }.to_owned()),
        ];
        if let Some(files) = table.downcast_ref::<FileTable>() {
            facts.extend(column::facts(session, files, field).await);
        }
        let comment = dataset.as_ref().and_then(|dataset| dataset.comments.get(last)).cloned();
        return json!({
            "found": true,
            "kind": "column",
            "title": name,
            "description": comment.or_else(|| field.metadata().get("comment").cloned()),
            "facts": facts,
        });
    }
    match function(session, name) {
        Some(found) => found,
        None => json!({ "found": false }),
    }
}

async fn relation(
    session: &Session,
    name: &str,
    table: &std::sync::Arc<dyn TableProvider>,
    dataset: Option<Dataset>,
) -> Value {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut kind = "view";
    if let Some(files) = table.downcast_ref::<FileTable>() {
        kind = "dataset";
        if let Some((rows, exact)) = files.rows(&session.context().state()).await {
            facts.push(("rows", format!("{}{}", if exact { "" } else { "~" }, grouped(rows))));
        }
        facts.push((
            "size",
            format!("{} in {} files", show_size(files.files.bytes()), files.files.list.len()),
        ));
        if !files.partitions.is_empty() {
            facts.push(("partitioned by", files.partitions.join(", ")));
        }
    } else if let Some(own) = table.downcast_ref::<ScratchTable>() {
        kind = "table";
        facts.extend(own.rows().map(|rows| ("rows", grouped(rows))));
        facts.push(("size", show_size(own.bytes())));
    }
    if let Some(owner) = dataset.as_ref().and_then(|dataset| dataset.owner.clone()) {
        facts.push(("owner", owner));
    }
    let comments = dataset.as_ref().map(|dataset| dataset.comments.clone()).unwrap_or_default();
    let columns: Vec<_> = table
        .schema()
        .fields()
        .iter()
        .map(|field| {
            column(field, comments.get(field.name()).or_else(|| field.metadata().get("comment")).cloned())
        })
        .collect();
    json!({
        "found": true,
        "kind": kind,
        "title": dataset.as_ref().map_or_else(|| name.to_owned(), Dataset::name),
        "description": dataset.and_then(|dataset| dataset.description),
        "facts": facts,
        "columns": columns,
    })
}

fn column(field: &arrow::datatypes::Field, note: Option<String>) -> Value {
    json!({ "name": field.name(), "type": type_name(field.data_type()), "note": note })
}

fn function(session: &Session, name: &str) -> Option<Value> {
    let known = catalog::all(&session.context().state()).remove(&name.to_lowercase())?;
    let mut facts = vec![("kind".to_owned(), format!("{} function", known.kind))];
    facts.extend(known.arguments);
    Some(json!({
        "found": true,
        "kind": "function",
        "title": known.signature.unwrap_or_else(|| format!("{}(…)", known.name)),
        "description": known.description,
        "facts": facts,
    }))
}
