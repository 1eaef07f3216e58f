//! Carrel SQL as a kernel: cuts a cell into statements and shows what each gives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use carrel_cell::complete::{complete, name_at, relations_in};
use carrel_cell::edit::Edited;
use carrel_cell::error_output::error_output;
use carrel_cell::inspect::inspection;
use carrel_cell::is_complete::{Completeness, is_complete};
use carrel_cell::parameters::Parameters;
use carrel_cell::problem::Problem;
use carrel_cell::statement::{Statement, StatementKind, cut, parse_statement};
use carrel_channels::kernel::Object;
use carrel_channels::{Cell, CompleteReply, ErrorOutput, IsComplete, Kernel, KernelInfo, Outcome, Output};
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::help::Help;
use crate::info::info;
use crate::panel::Panel;
use crate::plot;
use crate::settings::{Settings, Taken};
use crate::show::{self, More, Rest, Shown};

/// The comm by which a front end tells the parameters in a notebook's metadata (docs/panel.md).
const PARAMETERS: &str = "carrel.parameters";

/// The front of one session.
pub struct Front {
    engine: Arc<Engine>,
    help: Help,
    panel: Panel,
    settings: Mutex<Settings>,
    more: More,
}

impl Front {
    /// A front of this engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            help: Help::new(Arc::clone(&engine)),
            panel: Panel::new(Arc::clone(&engine)),
            more: More::new(Arc::clone(&engine)),
            engine,
            settings: Mutex::default(),
        }
    }

    /// Opens the connection, and learns the names, before they are needed.
    pub async fn warm(&self) {
        self.help.refresh().await;
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was not fetched.
    fn page(&self, (shown, rest): (Shown, Option<Rest>)) -> Shown {
        if let Some(rest) = rest {
            self.more.keep(rest);
        }
        shown
    }

    /// The full name of a column that is written by its last name, if one of the statement's relations has it.
    async fn column(&self, name: &str, code: &str, cursor: usize) -> Option<String> {
        let relations = relations_in(code, cursor);
        if name.contains('.') || relations.is_empty() {
            return None;
        }
        let known = self.help.names(&relations).await;
        let has = |relation: &&String| {
            known
                .columns
                .get(*relation)
                .is_some_and(|columns| columns.iter().any(|column| column.name == name))
        };
        relations.iter().find(has).map(|relation| format!("{relation}.{name}"))
    }

    async fn run(&self, cell: &Cell, output: &Output) -> Result<(), Problem> {
        let bound = self.bound(cell)?;
        for (at, one) in bound.iter().enumerate() {
            let shown = self.statement(&one.statement, &one.text, cell, output).await;
            let Shown { bundle, metadata } = shown.map_err(|problem| one.text.place(problem))?;
            if at + 1 == bound.len() {
                output.result(bundle.into_map(), metadata).await;
            } else {
                output.display(bundle.into_map(), metadata, None).await;
            }
        }
        Ok(())
    }

    /// The statements of a cell, with values in place of `:name`. All are understood before the first one runs.
    fn bound(&self, cell: &Cell) -> Result<Vec<Bound>, Problem> {
        let settings = self.settings();
        let mut own = settings.variables.clone();
        let of_cell = Parameters::from_metadata(&cell.metadata);
        let mut bound = Vec::new();
        for piece in cut(&cell.code)? {
            let values = settings.notebook.clone().under(&own).under(&of_cell);
            let within = |problem: Problem| problem.shifted(piece.span.start);
            let text = values.bind(&piece.text).map_err(within)?.within(piece.span.start);
            let statement = parse_statement(&text.sql).map_err(|problem| text.place(problem))?;
            if let StatementKind::SetVariable { name, value, .. } = &statement.kind {
                own.set(name, value.as_ref());
            }
            bound.push(Bound { statement, text });
        }
        Ok(bound)
    }

    /// What one statement shows; places in its problem are those of its own text.
    async fn statement(
        &self,
        statement: &Statement,
        text: &Edited,
        cell: &Cell,
        output: &Output,
    ) -> Result<Shown, Problem> {
        let (taken, rows) = {
            let mut settings = self.settings();
            (settings.take(&statement.kind), settings.rows)
        };
        match taken {
            Taken::Done(line) => {
                return Ok(Shown {
                    bundle: carrel_cell::bundle::MimeBundle::text(line),
                    metadata: Map::new(),
                });
            }
            Taken::Refused(problem) => return Err(problem),
            Taken::No => {}
        }
        if statement.kind != StatementKind::ShowMore {
            self.more.forget().await;
        }
        let shown = match &statement.kind {
            StatementKind::Visualise { query, clauses } => {
                let query = query.as_ref().map(|query| query.span);
                plot::statement(&self.engine, &text.sql, query, clauses.span, output, &cell.cancel).await
            }
            StatementKind::ShowMore => {
                let rest = self.more.take()?;
                let page = show::next(&self.engine, rest, rows, output, &cell.cancel).await;
                page.map(|page| self.page(page))
            }
            _ => {
                let page = show::statement(&self.engine, &text.sql, rows, output, &cell.cancel).await;
                page.map(|page| self.page(page))
            }
        };
        if changes_names(&statement.kind) {
            self.help.forget();
        }
        shown
    }
}

/// A statement of a cell, ready to run.
struct Bound {
    statement: Statement,
    /// Its text, with the way back to the cell.
    text: Edited,
}

/// Is the word at the cursor (a code point) the name of a function that is called?
fn is_called(code: &str, cursor: usize) -> bool {
    let mut rest = code.chars().skip(cursor).skip_while(|c| c.is_alphanumeric() || *c == '_');
    rest.find(|c| !c.is_whitespace()) == Some('(')
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
        let column = if is_called(&code, cursor) { None } else { self.column(&name, &code, cursor).await };
        let facts = self.help.facts(&column.unwrap_or(name), detail).await?;
        inspection(&facts, detail).map(carrel_cell::bundle::MimeBundle::into_map)
    }

    fn is_complete(&self, code: &str) -> IsComplete {
        match is_complete(code) {
            Completeness::Complete => IsComplete::Complete,
            Completeness::Incomplete { indent } => IsComplete::Incomplete(indent),
            Completeness::Invalid => IsComplete::Invalid,
        }
    }

    /// A front end says what the notebook's metadata holds before it sends a cell: taken, and nothing is left open.
    async fn comm_open(&self, comm_id: String, target: String, data: Value, _output: Output) -> bool {
        if target == PARAMETERS {
            if let Value::Object(metadata) = &data {
                self.settings().notebook = Parameters::from_metadata(metadata);
            }
            return false;
        }
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
