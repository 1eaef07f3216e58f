//! Every statement on small files, through the session as a client would use it.

mod common;
#[path = "session/kinds.rs"]
mod kinds;
#[path = "session/odd.rs"]
mod odd;

use carrel_cell::problem::Ename;
use common::World;

#[tokio::test(flavor = "multi_thread")]
async fn datasets_are_listed_and_described() {
    let world = World::new();
    let rows = world.text("SHOW DATASETS").await;
    let names: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["shop.days", "shop.events", "shop.orders"]);
    let orders = &rows[2];
    assert_eq!(
        (orders[2].as_str(), orders[5].as_str(), orders[6].as_str()),
        ("1,000", "full", "who bought what")
    );
    assert_eq!(rows[1][2], "~3");
    assert_eq!(world.text("SHOW DATASETS LIKE 'ord%'").await.len(), 1);
    let columns = world.text("DESCRIBE shop.orders").await;
    assert_eq!(columns[0], ["id", "BIGINT", "NO", "", "the order's number"]);
    assert_eq!(columns[2][..2], ["country".to_owned(), "VARCHAR".to_owned()]);
    let days = world.text("DESCRIBE days").await;
    assert_eq!((days[1][0].as_str(), days[1][1].as_str(), days[1][3].as_str()), ("day", "DATE", "partition"));
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_every_format() {
    let world = World::new();
    assert_eq!(world.one("SELECT count(*) FROM shop.orders").await, "1000");
    assert_eq!(world.one("SELECT count(*) FROM orders WHERE id < 10").await, "10");
    assert_eq!(world.one("SELECT sum(v) FROM shop.events").await, "6");
    assert_eq!(world.one("SELECT count(*) FROM shop.days WHERE day = '2026-11-02'").await, "2");
    assert_eq!(world.one("SELECT max(length(a)) FROM 'files/x.csv'").await, "5");
    world.denied("USE shop; SELECT 1", Ename::SyntaxError, "SELECT 1", "one statement").await;
    world.text("USE shop").await;
    assert_eq!(world.one("SHOW schema").await, "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn summaries_have_the_known_figures() {
    let world = World::new();
    let rows = world.text("SUMMARIZE shop.orders").await;
    let id = &rows[0];
    assert_eq!(id[0..4], ["id", "BIGINT", "0", "999"].map(str::to_owned));
    assert_eq!((id[5].as_str(), id[10].as_str(), id[11].as_str()), ("499.5", "1000", "0.0"));
    let country = rows.iter().find(|row| row[0] == "country").unwrap();
    assert_eq!((country[2].as_str(), country[4].as_str(), country[11].as_str()), ("de", "2", "10.0"));
    let at = rows.iter().find(|row| row[0] == "at").unwrap();
    assert!(at[8].starts_with("2026-"), "{at:?}");
    assert_eq!(world.text("SUMMARIZE SELECT true b, [1] l, NULL n, 1.5::decimal(4,2) d").await.len(), 4);
    assert_eq!(world.text("SUMMARIZE SELECT id FROM orders WHERE false").await[0][10], "0");
    assert_eq!(world.text("SUMMARIZE 'files/x.csv'").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_views_live_on_disk() {
    let mut world = World::new();
    let said = world.one("CREATE TABLE t AS SELECT id, country FROM orders WHERE id < 100").await;
    assert_eq!(said, "table t created, 100 rows");
    world.one("CREATE VIEW v AS SELECT country, count(*) n FROM t GROUP BY 1").await;
    world.one("CREATE OR REPLACE TABLE t AS SELECT * FROM t WHERE id < 50").await;
    world.text("SET batch_size = 100").await;
    world.restart();
    assert_eq!(world.one("SELECT sum(n) FROM v").await, "50");
    assert_eq!(world.one("SHOW batch_size").await, "100");
    let tables = world.text("SHOW TABLES").await;
    assert_eq!(tables[0][..3], ["t", "table", "50"].map(str::to_owned));
    assert_eq!(tables[1][..2], ["v", "view"].map(str::to_owned));
    world.denied("CREATE TABLE t AS SELECT 1", Ename::AlreadyExists, "t", "OR REPLACE").await;
    world.denied("CREATE TABLE shop.x AS SELECT 1", Ename::PolicyDenied, "shop.x", "read-only").await;
    world.denied("CREATE OR REPLACE VIEW v AS SELECT * FROM v", Ename::Unsupported, "v", "itself").await;
    world.denied("CREATE OR REPLACE VIEW t AS SELECT * FROM t", Ename::Unsupported, "t", "itself").await;
    world.denied("CREATE TABLE u AS SELECT 1 a, 2 a", Ename::AmbiguousName, "a", "two columns").await;
    world.denied("DROP TABLE v", Ename::TypeError, "v", "DROP VIEW").await;
    world.denied("DROP TABLE tt", Ename::UnknownDataset, "tt", "no table").await;
    world.one("DROP VIEW v").await;
    world.one("DROP TABLE IF EXISTS nothing").await;
    world.one("DROP TABLE t").await;
    assert!(world.text("SHOW TABLES").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_written_and_read_in_the_home_only() {
    let world = World::new();
    for name in ["o.parquet", "o.csv", "o.json", "o.arrow"] {
        let said = world.one(&format!("COPY (SELECT id, country FROM orders) TO 'files/{name}'")).await;
        assert!(said.starts_with("1,000 rows written"), "{said}");
        assert_eq!(world.one(&format!("SELECT count(country) FROM 'files/{name}'")).await, "900", "{name}");
    }
    world.one("COPY orders TO 'files/p' (FORMAT csv, HEADER false, DELIMITER ';')").await;
    for path in ["/etc/passwd", "../up.csv", "files/../../up.csv", "file:///etc/passwd"] {
        let place = format!("'{path}'");
        world
            .denied(&format!("SELECT * FROM '{path}'"), Ename::PolicyDenied, &place, "outside your home")
            .await;
        world
            .denied(&format!("COPY orders TO '{path}' (FORMAT csv)"), Ename::PolicyDenied, &place, "outside")
            .await;
    }
    world.denied("SELECT * FROM 'files/y.csv'", Ename::FileNotFound, "'files/y.csv'", "did you mean").await;
    world.denied("COPY orders TO 'o.xls'", Ename::BadOption, "'o.xls'", "format").await;
    world.denied("COPY orders TO 'o.csv' (HEDER true)", Ename::BadOption, "HEDER true", "header").await;
    world
        .denied("COPY (SELECT nope FROM orders) TO 'bad.csv'", Ename::UnknownColumn, "nope", "no column")
        .await;
    assert!(!world.home().join("bad.csv").exists());
    assert_eq!(std::fs::read_dir(world.home()).unwrap().count(), 1, "nothing half written is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_placed_and_explained() {
    let world = World::new();
    world.denied("SELECT contry FROM orders", Ename::UnknownColumn, "contry", "did you mean country?").await;
    world.denied("SELECT o.contry\nFROM orders o", Ename::UnknownColumn, "o.contry", "country").await;
    world.denied("SELECT *\nFROM shop.ordres", Ename::UnknownDataset, "shop.ordres", "shop.orders").await;
    world.denied("SELECT orderz FROM orderz", Ename::UnknownDataset, "orderz", "orders").await;
    world.denied("SELECT summ(id) FROM orders", Ename::UnknownFunction, "summ", "sum").await;
    world.denied("SELECT sum(country) FROM orders", Ename::TypeError, "sum", "VARCHAR").await;
    world.denied("SELECT id, count(*) FROM orders", Ename::SyntaxError, "id", "GROUP BY").await;
    world.denied("SELECT id FROM orders a, orders b", Ename::AmbiguousName, "id", "more than one").await;
    world.denied("SELECT id FROM orders WEHRE id > 1", Ename::SyntaxError, "id", "expected").await;
    world.denied("SELECT id FROM orders WHERE", Ename::SyntaxError, "", "the statement ends").await;
    world.denied("EXPLAIN SELECT x FROM orders", Ename::UnknownColumn, "x", "no column x").await;
    world.denied("CREATE TABLE t AS\nSELECT x FROM orders", Ename::UnknownColumn, "x", "no column x").await;
    world.denied("SUMMARIZE ordrs", Ename::UnknownDataset, "ordrs", "orders").await;
    assert_eq!(world.one("SELECT 1 / 0").await, "inf", "division is of doubles");
    world.denied("SELECT CAST(country AS INT) FROM orders", Ename::ValueError, "", "TRY_CAST").await;
    world.denied("SET bach_size = 1", Ename::BadOption, "bach_size = 1", "batch_size").await;
    world.denied("SELECT * FROM information_schema.nope", Ename::UnknownDataset, "", "nope").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_refused_not_ignored() {
    let world = World::new();
    world.denied("INSERT INTO orders VALUES (1)", Ename::Unsupported, "INSERT", "read-only").await;
    world
        .denied(
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            Ename::Unsupported,
            "EXTERNAL",
            "TABLE",
        )
        .await;
    world.denied("SELECT * INTO x FROM orders", Ename::Unsupported, "", "").await;
    world.denied("SELECT * FROM read_csv('/etc/passwd')", Ename::PolicyDenied, "'/etc/passwd'", "home").await;
    world
        .denied(
            "SELECT * FROM read_csv('a.csv', delim := ';;')",
            Ename::BadOption,
            "delim := ';;'",
            "one ASCII",
        )
        .await;
    world.denied("WITH x AS (DELETE FROM orders) SELECT 1", Ename::Unsupported, "", "read-only").await;
    for (sql, place, says) in [
        ("SELECT * FROM orders FOR UPDATE", "FOR", "FOR UPDATE"),
        ("SELECT TOP 5 * FROM orders", "TOP", "LIMIT"),
        ("SELECT * FROM orders LIMIT 5 BY country", "country", "QUALIFY"),
        ("SELECT upper(country) FILTER (WHERE id > 1) FROM orders", "upper", "FILTER"),
        ("SELECT upper(DISTINCT country) FROM orders", "upper", "DISTINCT"),
        ("SELECT upper(country) OVER () FROM orders", "upper", "OVER"),
        ("SELECT country FROM orders GROUP BY country WITH TOTALS", "WITH", "ROLLUP"),
        ("SELECT a.id FROM orders a POSITIONAL JOIN orders b", "POSITIONAL", "row_number"),
        ("SELECT country COLLATE \"C\" FROM orders", "", "COLLATE"),
        ("SELECT * FROM orders MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS true)", "", "MATCH_RECOGNIZE"),
    ] {
        world.denied(sql, Ename::Unsupported, place, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_are_named_and_others_go_on() {
    let world = World::new();
    let cut = world.data().join("shop/cut");
    std::fs::create_dir(&cut).unwrap();
    let whole = std::fs::read(world.data().join("shop/orders/part-0.parquet")).unwrap();
    std::fs::write(cut.join("part-7.parquet"), &whole[..whole.len() / 2]).unwrap();
    let problem = world.fails("SELECT * FROM shop.cut").await;
    assert_eq!(problem.ename, Ename::CorruptFile);
    assert!(problem.message.contains("part-7.parquet of shop.cut"), "{problem}");
    // pages broken, footer whole: found out while reading
    let mut torn = whole;
    torn[4..240].fill(0xff);
    std::fs::write(cut.join("part-7.parquet"), &torn).unwrap();
    std::fs::File::open(cut.join("part-7.parquet"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let problem = world.fails("SELECT id, at, country FROM shop.cut ORDER BY id").await;
    assert_eq!(problem.ename, Ename::CorruptFile, "{problem}");
    assert!(problem.message.contains("part-7.parquet"), "{problem}");
    let rows = world.text("SHOW DATASETS").await;
    assert_eq!(rows.len(), 4);
    assert_eq!(world.one("SELECT count(*) FROM shop.orders").await, "1000");
    let host = world.data().display().to_string();
    assert!(!problem.to_string().contains(&host));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_runs_out_and_tables_stay() {
    let world = World::with("[engine]\nmemory_limit = \"16MiB\"\nspill_limit = \"32MiB\"\n");
    world.one("CREATE TABLE keep AS SELECT * FROM orders").await;
    let problem = world
        .fails(
            "SELECT max(x) FROM (SELECT array_agg(a.id * 1000 + b.id) x FROM orders a, orders b, orders c)",
        )
        .await;
    assert_eq!(problem.ename, Ename::MemoryLimit, "{problem}");
    assert!(problem.message.contains("16.0 MB") && problem.hint.is_some(), "{problem}");
    assert_eq!(world.one("SELECT count(*) FROM keep").await, "1000");
    // what spills is bounded too, and the space is given back
    let problem = world
        .fails("CREATE TABLE big AS SELECT repeat(a.country, 40) x, a.id, b.id j FROM orders a, orders b ORDER BY x, j, a.id")
        .await;
    assert!(matches!(problem.ename, Ename::DiskLimit | Ename::MemoryLimit), "{problem}");
    assert_eq!(world.text("SHOW TABLES").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_what_was_read() {
    let world = World::new();
    let (rows, stats) = world.with_stats("SELECT sum(id) FROM orders WHERE id >= 900").await;
    assert_eq!(rows[0][0], "94950");
    assert_eq!((stats["files_total"].as_u64(), stats["files"].as_u64()), (Some(2), Some(1)));
    assert_eq!(
        (stats["row_groups"].as_u64(), stats["row_groups_total"].as_u64()),
        (Some(1), Some(2)),
        "the other file was left out whole"
    );
    assert!(stats["bytes_total"].as_u64() > Some(0));
    assert!(stats["bytes_scanned"].as_u64() > Some(0));
}
