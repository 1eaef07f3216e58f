//! The session of one kernel: what it sees (datasets, session tables, models), its settings, its limits.
//! Everything that runs SQL goes through [`Session::plan`] and [`Session::start`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use carrel_cell::problem::Problem;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use crate::catalog::Catalog;
use crate::cluster::Broker;
use crate::config::Config;
use crate::files::Home;
use crate::model;
use crate::names::{Link, Names, Opened};
use crate::output::Output;
use crate::run::Run;
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::summary::Kept;
use crate::{query, runtime};
use carrel_cell::edit::Edited;

/// The session of one kernel. A cheap handle.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

/// A session that may be gone.
#[derive(Clone)]
pub struct WeakSession(Weak<Inner>);

impl WeakSession {
    /// The session, if it is still there.
    pub fn upgrade(&self) -> Option<Session> {
        self.0.upgrade().map(Session)
    }
}

struct Inner {
    context: SessionContext,
    catalog: Arc<Catalog>,
    scratch: Arc<Scratch>,
    home: Arc<Home>,
    opened: Opened,
    summaries: Arc<Kept>,
    config: Config,
    settings: Mutex<Settings>,
}

/// A query that was understood: names are bound, types are known, nothing has run.
pub struct Planned {
    /// The plan.
    pub plan: LogicalPlan,
    /// The text as planned, with the way back to the text as given.
    pub edited: Edited,
}

impl Session {
    /// Opens the session over its scratch folder: tables and settings of an earlier engine are there again.
    /// Datasets of a cluster are reached through the broker at this socket. No dataset is looked at.
    pub fn open(config: Config, scratch: &Path, home: &Path, broker: Option<&Path>) -> Result<Self, Problem> {
        let home = Arc::new(Home::open(home)?);
        let scratch = Arc::new(Scratch::open(scratch, config.engine.tables_limit)?);
        let broker = broker.map(|socket| Broker::at(socket.to_owned()));
        let catalog = Arc::new(Catalog::new(&config, broker.as_ref()));
        catalog.load(&scratch);
        let settings = Settings::load(&scratch)?;
        let link = Link::default();
        let summaries = Arc::new(Kept::default());
        let names = Names::new(link.clone(), catalog.clone());
        let context = runtime::context(&config, &scratch, names, summaries.clone())?;
        settings.apply(&context, &config)?;
        let settings = Mutex::new(settings);
        let opened = Opened::default();
        let inner = Inner { context, catalog, scratch, home, opened, summaries, config, settings };
        let session = Self(Arc::new(inner));
        link.tie(&session);
        Ok(session)
    }

    /// The session without keeping it.
    pub fn weak(&self) -> WeakSession {
        WeakSession(Arc::downgrade(&self.0))
    }

    /// Understands a query: file names and `ML.` calls are resolved, names are bound.
    /// Problems are placed in `sql`.
    pub async fn plan(&self, sql: &str, run: &Arc<Run>) -> Result<Planned, Problem> {
        let edited = model::rewrite(self, sql, run).await?;
        let plan = crate::sql::plan(self, &edited.sql, run).await.map_err(|problem| edited.place(problem))?;
        Ok(Planned { plan, edited })
    }

    /// Starts a planned query. Rows come as they are made; dropping them stops it.
    pub async fn start(&self, planned: Planned, run: &Arc<Run>) -> Result<Output, Problem> {
        query::start(self, planned, run).await
    }

    /// Plans and starts a query.
    pub async fn query(&self, sql: &str, run: &Arc<Run>) -> Result<Output, Problem> {
        let planned = self.plan(sql, run).await?;
        self.start(planned, run).await
    }

    /// All rows of a query, for answers that are known to be small or that are needed whole (training data).
    /// They are not counted by the memory limit while they are held: bound the query, or ask [`Session::query`].
    pub async fn query_batches(
        &self,
        sql: &str,
        run: &Arc<Run>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Problem> {
        self.query(sql, run).await?.collect().await
    }

    /// Writes batches as a session table, as `CREATE OR REPLACE TABLE` does.
    pub fn register_batches(
        &self,
        name: &str,
        schema: SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<(), Problem> {
        let mut writer = self.scratch().writer(name, &schema)?;
        for batch in batches {
            writer.write(batch)?;
        }
        writer.finish()
    }

    /// DataFusion's side of the session: functions are registered here.
    pub fn context(&self) -> &SessionContext {
        &self.0.context
    }

    /// The datasets.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.0.catalog
    }

    /// The way to the cluster, if there is one.
    pub fn broker(&self) -> Option<&Arc<Broker>> {
        self.0.catalog.broker()
    }

    /// Tables over files that were opened before.
    pub fn opened(&self) -> &Opened {
        &self.0.opened
    }

    /// Summaries of files that were not changed since.
    pub fn summaries(&self) -> &Arc<Kept> {
        &self.0.summaries
    }

    /// Session tables and views on disk.
    pub fn scratch(&self) -> &Arc<Scratch> {
        &self.0.scratch
    }

    /// Where models live: `<scratch>/models`, made on first use by who writes there.
    pub fn models_dir(&self) -> PathBuf {
        self.0.scratch.path().join("models")
    }

    /// The user's files.
    pub fn home(&self) -> &Arc<Home> {
        &self.0.home
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The kernel was restarted: forgets tables, views, models and settings, unless `session.persist` is set.
    pub fn reset(&self) -> Result<(), Problem> {
        if self.with_settings(|settings| settings.persists()) {
            return Ok(());
        }
        for entry in self.scratch().entries() {
            self.scratch().remove(&entry)?;
        }
        self.catalog().detach_all();
        self.catalog().save(self.scratch())?;
        crate::model::clear(self)?;
        self.with_settings(|settings| {
            *settings = Settings::default();
            settings.apply(self.context(), self.config())?;
            settings.save(self.scratch())
        })
    }

    /// Reads or changes the settings made with `SET`.
    pub fn with_settings<T>(&self, f: impl FnOnce(&mut Settings) -> T) -> T {
        f(&mut self.0.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
