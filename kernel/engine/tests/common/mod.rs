//! A small world: two catalogs' worth of files in a temporary folder, a session over them, answers as text.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::parse_statement;
use kernel_engine::config::Config;
use kernel_engine::demo::Demo;
use kernel_engine::lanes::Lanes;
use kernel_engine::run::Run;
use kernel_engine::session::Session;
use kernel_engine::statement::{execute, prepare};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

pub(crate) struct World {
    dir: tempfile::TempDir,
    config: String,
    session: Session,
    lanes: Arc<Lanes>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With this in the configuration.
    pub(crate) fn with(engine: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_data(&dir.path().join("data/shop"));
        std::fs::create_dir_all(dir.path().join("home/files")).unwrap();
        std::fs::write(dir.path().join("home/files/x.csv"), "a\nhello\nyou\n").unwrap();
        std::fs::write(dir.path().join("up.csv"), "secret\n1\n").unwrap();
        let config =
            format!("{engine}\n[[catalog]]\nname = 'shop'\npath = '{}/data/shop'\n", dir.path().display());
        let session = open(dir.path(), &config);
        let lanes = Lanes::new(2, 1, |_| panic!("stuck"));
        Self { dir, config, session, lanes }
    }

    /// With a little of TPC-H's data as the catalog `tpch`.
    pub(crate) async fn with_tpch() -> Self {
        let mut world = Self::new();
        let out = world.dir.path().join("demo");
        let demo = Demo { out: out.clone(), scale: 0.001, clicks: 1000, seed: 1 };
        kernel_engine::demo::make(&demo, &mut std::io::sink()).unwrap();
        world.config.push_str(&format!("[[catalog]]\nname = 'tpch'\npath = '{}/tpch'\n", out.display()));
        world.restart();
        world
    }

    /// As when the engine ended and was started again.
    pub(crate) fn restart(&mut self) {
        self.session = open(self.dir.path(), &self.config);
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.path().join("scratch")
    }

    pub(crate) fn config(&self) -> Config {
        Config::parse(&self.config).unwrap()
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// A statement's rows as text.
    pub(crate) async fn text(&self, sql: &str) -> Vec<Vec<String>> {
        self.with_stats(sql).await.0
    }

    /// The one value of a statement.
    pub(crate) async fn one(&self, sql: &str) -> String {
        let rows = self.text(sql).await;
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}: {rows:?}");
        rows[0][0].clone()
    }

    /// Rows and figures, computed in a lane as the service does.
    pub(crate) async fn with_stats(&self, sql: &str) -> (Vec<Vec<String>>, serde_json::Value) {
        let run = Run::new("test");
        let batches = self.batches(sql, &run).await.unwrap_or_else(|problem| panic!("{sql}: {problem:?}"));
        run.finish(true);
        (batches.iter().flat_map(rows).collect(), serde_json::to_value(run.stats()).unwrap())
    }

    /// A statement's problem.
    pub(crate) async fn fails(&self, sql: &str) -> Problem {
        match self.batches(sql, &Run::new("test")).await {
            Ok(batches) => panic!("{sql} did not fail: {batches:?}"),
            Err(problem) => problem,
        }
    }

    /// A statement's problem is of this kind, at this place, and says this.
    pub(crate) async fn denied(&self, sql: &str, ename: Ename, place: &str, says: &str) {
        let problem = self.fails(sql).await;
        assert_eq!(problem.ename, ename, "{sql}: {problem:?}");
        if !place.is_empty() {
            let span = problem.span.unwrap_or_else(|| panic!("{sql}: no place: {problem:?}"));
            assert_eq!(span.of(sql), place, "{sql}: {problem:?}");
        }
        let all = format!("{} {}", problem.message, problem.hint.as_deref().unwrap_or(""));
        assert!(all.contains(says), "{sql}: {all}");
        for leak in ["DataFusion", "datafusion", "Arrow error", "planning:", "/tmp/"] {
            assert!(!all.contains(leak), "{sql}: {all}");
        }
    }

    /// Is it understood? Looked at in a lane, as the service does, but not run.
    pub(crate) async fn planned(&self, sql: &str) -> Result<(), Problem> {
        let run = Run::new("test");
        let lease = self.lanes.lease(&run).await?;
        let (session, sql) = (self.session.clone(), sql.to_owned());
        lease.run(async move { session.plan(&sql, &run).await.map(|_| ()) }).await
    }

    async fn batches(&self, sql: &str, run: &Arc<Run>) -> Result<Vec<RecordBatch>, Problem> {
        let lease = self.lanes.lease(run).await?;
        let statement = parse_statement(sql)?;
        let (session, own) = (self.session.clone(), run.clone());
        lease
            .run(async move {
                let ready = prepare(&session, statement, &own).await?;
                Ok(execute(&session, ready, &own).await?.plain().collect().await?.1)
            })
            .await
    }
}

fn open(dir: &Path, config: &str) -> Session {
    let config = Config::parse(config).unwrap();
    Session::open(config, &dir.join("scratch"), &dir.join("home"), None)
        .unwrap_or_else(|problem| panic!("{problem}"))
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect())
        .collect()
}

/// `orders`: 1,000 rows in two Parquet files of two row groups; `events`: NDJSON; `days`: CSV in folders by day.
fn make_data(shop: &Path) {
    std::fs::create_dir_all(shop.join("orders")).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("country", DataType::Utf8, true),
    ]));
    for part in 0..2_i64 {
        let ids: Vec<i64> = (part * 500..part * 500 + 500).collect();
        let at: Vec<i64> = ids.iter().map(|id| 1_767_225_600_000_000 + id * 1_000_000).collect();
        let country: StringArray = ids
            .iter()
            .map(|id| if id % 10 == 0 { None } else { Some(["de", "us"][(id % 2) as usize]) })
            .collect();
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(Int64Array::from(ids)),
                Arc::new(TimestampMicrosecondArray::from(at)),
                Arc::new(country),
            ],
        )
        .unwrap();
        let file = std::fs::File::create(shop.join(format!("orders/part-{part}.parquet"))).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(250)).build();
        let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    std::fs::write(shop.join("events.ndjson"), "{\"v\":1}\n{\"v\":2}\n{\"v\":3}\n").unwrap();
    for (day, rows) in [("2026-11-01", "x\n1\n"), ("2026-11-02", "x\n2\n3\n")] {
        let folder = shop.join(format!("days/day={day}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.csv"), rows).unwrap();
    }
    std::fs::write(
        shop.join("_catalog.toml"),
        "[table.orders]\ndescription = 'who bought what'\n[table.orders.columns]\nid = \"the order's number\"\n",
    )
    .unwrap();
}
