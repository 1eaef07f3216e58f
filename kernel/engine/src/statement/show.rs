//! `SHOW DATASETS` and `SHOW TABLES`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use carrel_cell::problem::Problem;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::catalog::Dataset;
use crate::names;
use crate::output::{Output, batch, text_table};
use crate::run::{Run, grouped};
use crate::session::Session;
use carrel_query::functions::catalog;
use carrel_query::words::show_size;

/// How long the figures of all datasets may take together; what is not known by then stays empty.
const PATIENCE: Duration = Duration::from_secs(3);

/// Datasets looked at at the same time.
const ABREAST: usize = 8;

/// All datasets with what is known of them without reading data.
pub(super) async fn datasets(
    session: &Session,
    like: Option<&str>,
    run: &Arc<Run>,
) -> Result<Output, Problem> {
    run.stage("looking at datasets");
    let all: Vec<Dataset> = session
        .catalog()
        .all()
        .await
        .into_iter()
        .filter(|dataset| matches_like(&dataset.name(), &dataset.table, like))
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let rows: Vec<Row> = futures::stream::iter(all)
        .map(|dataset| look(session, dataset, deadline))
        .buffered(ABREAST)
        .collect()
        .await;
    run.check()?;
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let schema = Schema::new(vec![
        text("name"),
        text("owner"),
        text("rows"),
        text("size"),
        Field::new("updated", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        text("access"),
        text("description"),
    ]);
    let column =
        |f: fn(&Row) -> Option<&str>| Arc::new(rows.iter().map(f).collect::<StringArray>()) as ArrayRef;
    let updated: TimestampMillisecondArray = rows.iter().map(|row| row.updated).collect();
    let columns = vec![
        column(|row| Some(&row.name)),
        column(|row| row.owner.as_deref()),
        column(|row| row.rows.as_deref()),
        column(|row| row.size.as_deref()),
        Arc::new(updated.with_timezone("UTC")) as ArrayRef,
        column(|row| Some(row.access)),
        column(|row| row.description.as_deref()),
    ];
    Ok(Output::whole(batch(schema, columns, rows.len())?))
}

struct Row {
    name: String,
    owner: Option<String>,
    rows: Option<String>,
    size: Option<String>,
    updated: Option<i64>,
    access: &'static str,
    description: Option<String>,
}

async fn look(session: &Session, dataset: Dataset, deadline: Instant) -> Row {
    let mut row = Row {
        name: dataset.name(),
        owner: dataset.owner.clone(),
        rows: None,
        size: None,
        updated: None,
        access: "full",
        description: dataset.description.clone(),
    };
    let table = match timeout_at(deadline, names::open_dataset(session, &dataset)).await {
        Ok(Ok(table)) => table,
        Ok(Err(problem)) => {
            tracing::warn!(dataset = row.name, %problem, "a dataset cannot be opened");
            row.access = "unreadable";
            return row;
        }
        Err(_) => return row,
    };
    row.size = Some(show_size(table.files.bytes()));
    row.updated = table.files.list.iter().map(|meta| meta.last_modified.timestamp_millis()).max();
    let state = session.context().state();
    if let Ok(Some((rows, exact))) = timeout_at(deadline, table.rows(&state)).await {
        row.rows = Some(format!("{}{}", if exact { "" } else { "~" }, grouped(rows)));
    }
    row
}

/// The session's tables and views.
pub(super) fn tables(session: &Session, like: Option<&str>) -> Result<Output, Problem> {
    let entries: Vec<_> = session
        .scratch()
        .entries()
        .into_iter()
        .filter(|entry| matches_like(&entry.name, &entry.name, like))
        .collect();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let schema = Schema::new(vec![
        text("name"),
        text("kind"),
        text("rows"),
        text("columns"),
        text("size"),
        Field::new("created", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
    ]);
    let mut columns: [Vec<Option<String>>; 5] = Default::default();
    let mut created = Vec::new();
    for entry in &entries {
        let table = if entry.view { None } else { session.scratch().table(&entry.name).ok().flatten() };
        let fields =
            table.as_ref().map(|table| datafusion::catalog::TableProvider::schema(&**table).fields().len());
        columns[0].push(Some(entry.name.clone()));
        columns[1].push(Some(if entry.view { "view" } else { "table" }.to_owned()));
        columns[2].push(table.as_ref().and_then(|table| table.rows()).map(grouped));
        columns[3].push(fields.map(|fields| fields.to_string()));
        columns[4].push((!entry.view).then(|| show_size(entry.bytes)));
        created.push(millis(entry.created));
    }
    let mut arrays: Vec<ArrayRef> =
        columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    arrays.push(Arc::new(TimestampMillisecondArray::from(created).with_timezone("UTC")));
    Ok(Output::whole(batch(schema, arrays, entries.len())?))
}

/// The functions that a query may call.
pub(super) fn functions(session: &Session, like: Option<&str>) -> Result<Output, Problem> {
    let rows = catalog::all(&session.context().state())
        .into_values()
        .filter(|known| matches_like(&known.name, &known.name, like))
        .map(|known| vec![Some(known.name), Some(known.kind.to_owned()), known.signature, known.description]);
    let rows = rows.collect();
    Ok(Output::whole(text_table(&["name", "kind", "signature", "description"], rows)?))
}

fn millis(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// `LIKE` over the whole name or its last part, without regard to case.
fn matches_like(full: &str, last: &str, like: Option<&str>) -> bool {
    let Some(pattern) = like else { return true };
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    [full, last].iter().any(|name| like_matches(&name.to_lowercase().chars().collect::<Vec<_>>(), &pattern))
}

fn like_matches(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|at| like_matches(&text[at..], rest)),
        Some(('_', rest)) => !text.is_empty() && like_matches(&text[1..], rest),
        Some((c, rest)) => text.first() == Some(c) && like_matches(&text[1..], rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like() {
        for (pattern, is) in [
            ("click%", true),
            ("ads.%", true),
            ("%CLICK%", true),
            ("click", false),
            ("click_", true),
            ("%x%", false),
        ] {
            assert_eq!(matches_like("ads.clicks", "clicks", Some(pattern)), is, "{pattern}");
        }
        assert!(matches_like("a", "a", None));
    }
}
