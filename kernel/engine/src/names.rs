//! From names in FROM to tables: session tables and views first, then datasets, then files of the home.
//! DataFusion asks through its catalog traits; the same functions answer here with problems that suggest something.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use carrel_cell::problem::{Ename, Problem};
use carrel_source::Location;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{Result, TableReference};
use datafusion::datasource::{TableType, ViewTable};

use crate::catalog::{Catalog, Dataset, Root, Source};
use crate::files::Home;
use crate::matching::{self, is_pattern};
use crate::place::unreadable;
use crate::run::Run;
use crate::session::{Session, WeakSession};
use crate::table::{FileTable, Files, Reading, called};
use carrel_query::problems;

/// DataFusion's name for the one catalog there is.
pub const CATALOG: &str = "carrel";

/// The schema of session tables, views and files by path.
pub const SESSION: &str = "session";

/// How long a look at a table's files is good for.
const FRESH: Duration = Duration::from_secs(1);

/// Opened tables that are kept.
const MOST_OPENED: usize = 1024;

/// At most this many views that use each other.
const VIEW_DEPTH: usize = 16;

tokio::task_local! {
    static VIEWS: Vec<String>;
}

/// The way from DataFusion's catalog back to the session that owns it.
#[derive(Clone, Default)]
pub struct Link(Arc<OnceLock<WeakSession>>);

impl Link {
    /// Ties the knot once the session is there.
    pub fn tie(&self, session: &Session) {
        let _ = self.0.set(session.weak());
    }

    fn session(&self) -> Result<Session> {
        let session = self.0.get().and_then(WeakSession::upgrade);
        session.ok_or_else(|| problems::wrap(Problem::new(Ename::EngineLost, "the engine is ending")))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// Tables that were opened, by name, as long as their files stay the same.
#[derive(Debug, Default)]
pub struct Opened(Mutex<HashMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    looked: Instant,
    fingerprint: u64,
    table: Arc<FileTable>,
}

impl Opened {
    fn fresh(&self, key: &str) -> Option<Arc<FileTable>> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.get(key).filter(|seen| seen.looked.elapsed() < FRESH).map(|seen| seen.table.clone())
    }

    fn same(&self, key: &str, fingerprint: u64) -> Option<Arc<FileTable>> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = tables.get_mut(key).filter(|seen| seen.fingerprint == fingerprint)?;
        seen.looked = Instant::now();
        Some(seen.table.clone())
    }

    fn put(&self, key: String, fingerprint: u64, table: Arc<FileTable>) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.len() >= MOST_OPENED {
            tables.clear();
        }
        tables.insert(key, Seen { looked: Instant::now(), fingerprint, table });
    }
}

/// The table that a name in FROM means, or what to tell the user.
pub async fn resolve(
    session: &Session,
    name: &TableReference,
) -> std::result::Result<Arc<dyn TableProvider>, Problem> {
    match (name.catalog(), name.schema(), name.table()) {
        (None | Some(CATALOG), Some(SESSION), table) => match own(session, table).await? {
            Some(found) => Ok(found),
            None => Err(unknown(session, table).await),
        },
        (None | Some(CATALOG), Some(schema), table) => match session.catalog().find(schema, table).await {
            Some(dataset) => Ok(open_dataset(session, &dataset).await?),
            None => Err(unknown(session, &format!("{schema}.{table}")).await),
        },
        (None, None, table) => bare(session, table).await,
        (Some(_), _, _) => Err(unknown(session, &name.to_string()).await),
    }
}

/// A dataset, opened.
pub async fn open_dataset(
    session: &Session,
    dataset: &Dataset,
) -> std::result::Result<Arc<FileTable>, Problem> {
    let wanted = Wanted { paths: Vec::new(), reading: Reading::default(), label: dataset.name() };
    open(session, dataset.source.clone(), wanted).await
}

/// Files of the home or of a cluster by their paths and patterns, opened as one table.
pub async fn open_files(
    session: &Session,
    paths: &[String],
    reading: Reading,
) -> std::result::Result<Arc<FileTable>, Problem> {
    let label = paths.join(", ");
    if let [path] = paths
        && (!is_pattern(path) || !elsewhere(path) && session.home().has(path))
    {
        let source = if elsewhere(path) { place(session, path)? } else { session.home().source(path)? };
        return open(session, source, Wanted { paths: Vec::new(), reading, label }).await;
    }
    let mut roots: Vec<Source> = Vec::new();
    let mut below = Vec::new();
    for path in paths {
        let (root, path) = if elsewhere(path) {
            let at = address(path)?;
            (
                Root::cluster(session.broker().cloned(), at.root()),
                at.path().trim_start_matches('/').to_owned(),
            )
        } else {
            (session.home().root().clone(), session.home().pattern(path)?)
        };
        if roots.iter().all(|known| known.root.name() != root.name()) {
            roots.push(Source { root, path: String::new(), format: None });
        }
        below.push(path);
    }
    let mut roots = roots.into_iter();
    match (roots.next(), roots.next()) {
        (Some(source), None) => open(session, source, Wanted { paths: below, reading, label }).await,
        _ => Err(Problem::new(Ename::Unsupported, "these files are not of one place")
            .hint("put the tables together with UNION ALL BY NAME")),
    }
}

/// What of a source is wanted, and how it is read.
struct Wanted {
    /// Paths and patterns beneath the source; none is all.
    paths: Vec<String>,
    reading: Reading,
    label: String,
}

/// A place on the cluster by its address.
fn place(session: &Session, address_: &str) -> std::result::Result<Source, Problem> {
    Ok(Source::on_cluster(session.broker(), &address(address_)?, None))
}

fn address(text: &str) -> std::result::Result<Location, Problem> {
    text.parse().map_err(|error| {
        Problem::new(Ename::FileNotFound, format!("'{text}' is no place that can be read: {error}"))
            .hint("files of your home are named relative to it")
    })
}

async fn open(
    session: &Session,
    source: Source,
    wanted: Wanted,
) -> std::result::Result<Arc<FileTable>, Problem> {
    let Wanted { paths, reading, label } = wanted;
    let mut key = format!("{}/{}", source.root.name(), source.path);
    if !paths.is_empty() || reading != Reading::default() {
        key = format!("{key}\n{paths:?}\n{reading:?}");
    }
    if let Some(table) = session.opened().fresh(&key) {
        return Ok(table);
    }
    let files = if paths.is_empty() {
        Files::find(&source, reading, &label).await?
    } else {
        let opened = source.root.open().map_err(|error| unreadable(&label, &error))?;
        let found = matching::files(&called(opened, &label), &paths, &label).await?;
        Files::of(found, None, reading, &label)?.told_by_agreeing_folders()
    };
    let fingerprint = files.fingerprint();
    if let Some(table) = session.opened().same(&key, fingerprint) {
        return Ok(table);
    }
    let state = session.context().state();
    let table = Arc::new(FileTable::open(&state, source, files, label).await?);
    session.opened().put(key, fingerprint, table.clone());
    Ok(table)
}

/// Is this the address of something that is no file of this machine?
fn elsewhere(name: &str) -> bool {
    name.split_once("://").is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("file"))
}

async fn bare(session: &Session, name: &str) -> std::result::Result<Arc<dyn TableProvider>, Problem> {
    if let Some(found) = own(session, name).await? {
        return Ok(found);
    }
    if let Some(schema) = session.with_settings(|settings| settings.schema().map(str::to_owned))
        && let Some(dataset) = session.catalog().find(&schema, name).await
    {
        return Ok(open_dataset(session, &dataset).await?);
    }
    let found = session.catalog().find_bare(name).await;
    match found.as_slice() {
        [] if elsewhere(name) || Home::looks_like_file(name) => {
            Ok(open_files(session, &[name.to_owned()], Reading::default()).await?)
        }
        [] => Err(unknown(session, name).await),
        [one] => Ok(open_dataset(session, one).await?),
        several => {
            let names: Vec<_> = several.iter().map(Dataset::name).collect();
            Err(Problem::new(Ename::AmbiguousName, format!("'{name}' could be {}", names.join(" or ")))
                .hint("write the schema before it, or USE a schema"))
        }
    }
}

/// A session table or view.
async fn own(session: &Session, name: &str) -> std::result::Result<Option<Arc<dyn TableProvider>>, Problem> {
    let views = VIEWS.try_with(Clone::clone).unwrap_or_default();
    if views.iter().any(|view| view == name) || views.len() >= VIEW_DEPTH {
        return Err(Problem::new(Ename::Unsupported, format!("the view '{name}' would use itself")).hint(
            format!("keep the old contents as a table first: CREATE TABLE … AS SELECT * FROM {name}"),
        ));
    }
    if let Some(table) = session.scratch().table(name)? {
        return Ok(Some(table));
    }
    let Some(sql) = session.scratch().view(name) else { return Ok(None) };
    let run = Run::new("view");
    let planned = inside_view(name, Box::pin(session.plan(&sql, &run))).await;
    let planned = planned.map_err(|problem| Problem {
        message: format!("in the view {name}: {}", problem.message),
        span: None,
        ..problem
    })?;
    Ok(Some(Arc::new(ViewTable::new(planned.plan, Some(sql)))))
}

/// Does something as part of a view, which may not be used in it.
pub async fn inside_view<T>(name: &str, work: impl Future<Output = T>) -> T {
    let mut views = VIEWS.try_with(Clone::clone).unwrap_or_default();
    views.push(name.to_owned());
    VIEWS.scope(views, work).await
}

/// All names that could stand in FROM.
pub async fn all_names(session: &Session) -> Vec<String> {
    let own = session.scratch().entries().into_iter().map(|entry| entry.name);
    own.chain(session.catalog().all().await.iter().map(Dataset::name)).collect()
}

async fn unknown(session: &Session, name: &str) -> Problem {
    let problem = Problem::new(Ename::UnknownDataset, format!("no dataset, table or view '{name}'"))
        .suggest(name, all_names(session).await);
    if problem.hint.is_some() {
        return problem;
    }
    problem.hint("SHOW DATASETS and SHOW TABLES list what there is")
}

/// DataFusion's list of catalogs: one.
#[derive(Debug)]
pub struct Names {
    link: Link,
    catalog: Arc<Catalog>,
}

impl Names {
    /// The names of a session that is tied later.
    pub fn new(link: Link, catalog: Arc<Catalog>) -> Self {
        Self { link, catalog }
    }
}

impl CatalogProviderList for Names {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let schemas = Schemas { link: self.link.clone(), catalog: self.catalog.clone() };
        (name == CATALOG).then(|| Arc::new(schemas) as Arc<dyn CatalogProvider>)
    }
}

#[derive(Debug)]
struct Schemas {
    link: Link,
    catalog: Arc<Catalog>,
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.catalog.schemas();
        names.push(SESSION.to_owned());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let schema = One { link: self.link.clone(), catalog: self.catalog.clone(), schema: name.to_owned() };
        (name == SESSION || self.catalog.schemas().iter().any(|schema| schema == name))
            .then(|| Arc::new(schema) as _)
    }
}

#[derive(Debug)]
struct One {
    link: Link,
    catalog: Arc<Catalog>,
    schema: String,
}

#[async_trait]
impl SchemaProvider for One {
    fn table_names(&self) -> Vec<String> {
        if self.schema == SESSION {
            let Ok(session) = self.link.session() else { return Vec::new() };
            return session.scratch().entries().into_iter().map(|entry| entry.name).collect();
        }
        self.catalog.known(&self.schema)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let session = self.link.session()?;
        let reference = if self.schema == SESSION {
            TableReference::bare(name)
        } else {
            TableReference::partial(self.schema.as_str(), name)
        };
        match resolve(&session, &reference).await {
            Ok(table) => Ok(Some(table)),
            Err(problem) if problem.ename == Ename::UnknownDataset => Ok(None),
            Err(problem) => Err(problems::wrap(problem)),
        }
    }

    /// Without opening anything, so that `information_schema` is quick and no broken dataset spoils it.
    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.schema == SESSION {
            let entry = self.link.session()?.scratch().entry(name);
            return Ok(entry.map(|entry| if entry.view { TableType::View } else { TableType::Base }));
        }
        Ok(self.catalog.find(&self.schema, name).await.map(|_| TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
