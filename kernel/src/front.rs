//! Carrel SQL as a kernel: cuts a cell into statements and shows what each gives.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use carrel_cell::complete::{complete, name_at, relations_in};
use carrel_cell::error_output::error_output;
use carrel_cell::inspect::inspection;
use carrel_cell::is_complete::{Completeness, is_complete};
use carrel_cell::problem::Problem;
use carrel_cell::statement::{Statement, StatementKind, parse_cell};
use carrel_channels::kernel::Object;
use carrel_channels::{Cell, CompleteReply, ErrorOutput, IsComplete, Kernel, KernelInfo, Outcome, Output};
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::help::Help;
use crate::info::info;
use crate::panel::Panel;
use crate::plot;
use crate::settings::{Settings, Taken};
use crate::show::{self, Shown};

/// The front of one session.
pub struct Front {
    engine: Arc<Engine>,
    help: Help,
    panel: Panel,
    settings: Mutex<Settings>,
}

impl Front {
    /// A front of this engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            help: Help::new(Arc::clone(&engine)),
            panel: Panel::new(Arc::clone(&engine)),
            engine,
            settings: Mutex::default(),
        }
    }

    /// Opens the connection, and learns the names, before they are needed.
    pub async fn warm(&self) {
        self.help.refresh().await;
    }

    async fn run(&self, cell: &Cell, output: &Output) -> Result<(), Problem> {
        let statements = parse_cell(&cell.code)?;
        for (at, statement) in statements.iter().enumerate() {
            let shown = self.statement(statement, cell, output).await;
            let Shown { bundle, metadata } =
                shown.map_err(|problem| problem.shifted(statement.span.start))?;
            if at + 1 == statements.len() {
                output.result(bundle.into_map(), metadata).await;
            } else {
                output.display(bundle.into_map(), metadata, None).await;
            }
        }
        Ok(())
    }

    /// What one statement shows; places in its problem are those of its own text.
    async fn statement(&self, statement: &Statement, cell: &Cell, output: &Output) -> Result<Shown, Problem> {
        let (taken, rows) = {
            let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            (settings.take(&statement.kind), settings.rows)
        };
        match taken {
            Taken::Done(line) => {
                return Ok(Shown {
                    bundle: carrel_cell::bundle::MimeBundle::text(line),
                    metadata: Map::new(),
                });
            }
            // The parser counts from the start of the cell.
            Taken::Refused(problem) => return Err(within(problem, statement.span.start)),
            Taken::No => {}
        }
        let shown = match &statement.kind {
            // Its places are the cell's; the caller moves them there once more.
            StatementKind::Visualise { query, clauses } => {
                let query = query.as_ref().map(|query| query.span);
                plot::statement(&self.engine, &cell.code, query, clauses.span, output, &cell.cancel)
                    .await
                    .map_err(|problem| within(problem, statement.span.start))
            }
            _ => show::statement(&self.engine, &statement.text, rows, output, &cell.cancel).await,
        };
        if changes_names(&statement.kind) {
            self.help.forget();
        }
        shown
    }
}

/// A problem placed in the cell, as one of a statement that begins at `start`.
fn within(mut problem: Problem, start: usize) -> Problem {
    if let Some(span) = &mut problem.span {
        span.start = span.start.saturating_sub(start);
        span.end = span.end.saturating_sub(start);
    }
    problem
}

fn changes_names(kind: &StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::CreateTable(_)
            | StatementKind::CreateView(_)
            | StatementKind::CreateModel(_)
            | StatementKind::Drop { .. }
            | StatementKind::DropModel { .. }
            | StatementKind::Set { .. }
    )
}

impl Kernel for Front {
    fn info(&self) -> KernelInfo {
        info()
    }

    async fn execute(&self, cell: Cell, output: Output) -> Outcome {
        match self.run(&cell, &output).await {
            Ok(()) => Outcome::Ok,
            Err(problem) => {
                let drawn = error_output(&problem, &cell.code);
                Outcome::Error(ErrorOutput {
                    ename: drawn.ename,
                    evalue: drawn.evalue,
                    traceback: drawn.traceback,
                })
            }
        }
    }

    /// A restart that the user asked for begins a new session; tables survive a kernel that died, not one that was told to forget.
    async fn shutdown(&self, restart: bool) {
        if restart && let Err(failure) = self.engine.action("carrel.reset", Bytes::new()).await {
            tracing::warn!(%failure, "the session's tables could not be forgotten");
        }
    }

    async fn complete(&self, code: String, cursor: usize) -> CompleteReply {
        let names = self.help.names(&relations_in(&code, cursor)).await;
        let found = complete(&code, cursor, &names);
        let typed: Vec<_> = found
            .matches
            .iter()
            .map(|one| {
                let mut entry =
                    json!({"start": found.start, "end": found.end, "text": one.text, "type": one.kind});
                if let Some(signature) = &one.signature {
                    entry["signature"] = json!(signature);
                }
                entry
            })
            .collect();
        CompleteReply {
            matches: found.matches.into_iter().map(|one| one.text).collect(),
            start: found.start,
            end: found.end,
            metadata: Map::from_iter([("_jupyter_types_experimental".to_owned(), typed.into())]),
        }
    }

    async fn inspect(&self, code: String, cursor: usize, detail: u8) -> Option<Object> {
        let name = name_at(&code, cursor)?;
        let facts = self.help.facts(&name, detail).await?;
        inspection(&facts, detail).map(carrel_cell::bundle::MimeBundle::into_map)
    }

    fn is_complete(&self, code: &str) -> IsComplete {
        match is_complete(code) {
            Completeness::Complete => IsComplete::Complete,
            Completeness::Incomplete { indent } => IsComplete::Incomplete(indent),
            Completeness::Invalid => IsComplete::Invalid,
        }
    }
    async fn comm_open(&self, comm_id: String, target: String, _data: Value, _output: Output) -> bool {
        self.panel.open(comm_id, &target)
    }

    async fn comm_msg(&self, comm_id: String, data: Value, output: Output) {
        self.panel.answer(comm_id, data, output).await;
    }

    async fn comm_close(&self, comm_id: String, _data: Value) {
        self.panel.close(&comm_id);
    }

    fn comm_info(&self, target: Option<&str>) -> Object {
        self.panel.comms(target)
    }
}
