//! Every statement, read; every mistake, placed.

use super::*;

fn one(src: &str) -> StatementKind {
    parse_statement(src).unwrap_or_else(|problem| panic!("{src}: {problem}")).kind
}

#[track_caller]
fn fails(src: &str, ename: Ename, place: &str, says: &str) -> Problem {
    let problem = parse_cell(src).unwrap_err();
    assert_eq!(problem.ename, ename, "{problem}");
    assert_eq!(problem.span.unwrap().of(src), place, "{problem}");
    let all = format!("{} {}", problem.message, problem.hint.as_deref().unwrap_or(""));
    assert!(all.contains(says), "{all}");
    problem
}

#[test]
fn a_cell_is_cut_at_semicolons_outside_strings_and_comments() {
    let src = "-- first ;\nSELECT ';' ; /* ; */ SHOW TABLES;;\n SELECT $x$;$x$, \";\" -- end ;";
    let cell = parse_cell(src).unwrap();
    let texts: Vec<_> = cell.iter().map(|statement| statement.text.as_str()).collect();
    assert_eq!(texts, ["SELECT ';'", "SHOW TABLES", "SELECT $x$;$x$, \";\""]);
    for statement in &cell {
        assert_eq!(statement.span.of(src), statement.text);
    }
    assert_eq!(parse_cell(" -- nothing\n").unwrap(), []);
}

#[test]
fn shows() {
    assert_eq!(one("show datasets"), StatementKind::ShowDatasets { like: None });
    assert_eq!(
        one("SHOW DATASETS LIKE 'click%'"),
        StatementKind::ShowDatasets { like: Some("click%".into()) }
    );
    assert_eq!(one("SHOW TABLES"), StatementKind::ShowTables { like: None });
    assert_eq!(one("SHOW MODELS LIKE 'm_'"), StatementKind::ShowModels { like: Some("m_".into()) });
    assert_eq!(one("SHOW ALL"), StatementKind::ShowSetting { key: None });
    assert_eq!(one("SHOW TimeZone"), StatementKind::ShowSetting { key: Some("timezone".into()) });
    assert!(
        matches!(one("SHOW FUNCTIONS LIKE 'to%'"), StatementKind::ShowFunctions { like: Some(like) } if like == "to%")
    );
    fails("SHOW DATASET", Ename::SyntaxError, "DATASET", "did you mean SHOW DATASETS?");
    fails("SHOW COLUMNS FROM x", Ename::Unsupported, "COLUMNS", "DESCRIBE");
    fails("SHOW DATASETS LIKE x", Ename::SyntaxError, "x", "single quotes");
}

#[test]
fn targets() {
    let StatementKind::Describe { target: Target::Name(name) } = one("DESCRIBE Ads.\"Clicks X\"") else {
        panic!("not a name")
    };
    assert_eq!(name.parts, ["ads", "Clicks X"]);
    assert_eq!(name.to_sql(), "ads.\"Clicks X\"");
    let file = one("SUMMARIZE 'a/b.parquet'");
    assert!(
        matches!(file, StatementKind::Summarize { target: Target::File { path, .. } } if path == "a/b.parquet")
    );
    let query = one("summarize (SELECT 1)");
    assert!(matches!(query, StatementKind::Summarize { target: Target::Query(q) } if q.text == "(SELECT 1)"));
    let table = one("DESCRIBE TABLE t");
    assert!(matches!(table, StatementKind::Describe { target: Target::Name(name) } if name.last() == "t"));
    fails("DESCRIBE", Ename::SyntaxError, "", "the statement ends");
    fails("SUMMARIZE read_csv('a')", Ename::Unsupported, "(", "a function is not supported here");
    fails("SUMMARIZE a b", Ename::SyntaxError, "b", "the end of the statement");
}

#[test]
fn models() {
    let src = "CREATE OR REPLACE MODEL m.ctr OPTIONS(MODEL_TYPE='LOGISTIC_REG', l2_reg = -1e-3, \
               input_label_cols=['clicked'], early=TRUE, x = null,) AS SELECT a, clicked FROM t";
    let StatementKind::CreateModel(create) = one(src) else { panic!("not a model") };
    assert!(create.replace && !create.if_not_exists);
    assert_eq!(create.name.parts, ["m", "ctr"]);
    let options: Vec<_> = create.options.iter().map(|o| format!("{}={}", o.name, o.value)).collect();
    assert_eq!(
        options,
        ["model_type=LOGISTIC_REG", "l2_reg=-0.001", "input_label_cols=[clicked]", "early=true", "x=NULL"]
    );
    assert_eq!(create.options[1].span.of(src), "l2_reg = -1e-3");
    assert_eq!(create.query.text, "SELECT a, clicked FROM t");
    assert_eq!(create.query.span.of(src), create.query.text);
    assert!(matches!(one("DROP MODEL IF EXISTS m"), StatementKind::DropModel { if_exists: true, .. }));
    fails("CREATE MODEL m OPTIONS(a=1 b=2) AS SELECT 1", Ename::SyntaxError, "b", ", or )");
    fails("CREATE MODEL m OPTIONS(a=1)", Ename::SyntaxError, "", "AS was expected");
    fails("CREATE MODEL m TRANSFORM(a) AS SELECT 1", Ename::Unsupported, "TRANSFORM", "after AS");
}

#[test]
fn tables_and_views() {
    let StatementKind::CreateTable(create) =
        one("create or replace temp table T as with a as (select 1) select * from a")
    else {
        panic!("not a table")
    };
    assert!(create.replace && create.temp);
    assert_eq!(
        (create.name.last(), create.query.text.as_str()),
        ("t", "with a as (select 1) select * from a")
    );
    assert!(
        matches!(one("CREATE VIEW IF NOT EXISTS v AS VALUES (1)"), StatementKind::CreateView(v) if v.if_not_exists)
    );
    assert!(matches!(one("DROP VIEW v"), StatementKind::Drop { object: Object::View, if_exists: false, .. }));
    fails("CREATE TABLE t (a int)", Ename::Unsupported, "(", "AS SELECT");
    fails("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc'", Ename::Unsupported, "EXTERNAL", "TABLE");
    fails("DROP SCHEMA s", Ename::Unsupported, "SCHEMA", "TABLE");
    fails("CREATE TABLE t AS DELETE FROM x", Ename::SyntaxError, "DELETE", "a query after AS");
}

#[test]
fn settings() {
    let set = one("SET result.max_rows = 500");
    assert!(
        matches!(set, StatementKind::Set { key, value: Some(OptionValue::Number(500.0)), .. } if key == "result.max_rows")
    );
    assert!(
        matches!(one("SET a TO on"), StatementKind::Set { value: Some(v), .. } if v.as_bool() == Some(true))
    );
    assert!(
        matches!(one("SET memory = 512MB"), StatementKind::Set { value: Some(v), .. } if v.as_text() == Some("512mb") || v.as_text() == Some("512MB"))
    );
    assert!(matches!(one("RESET a"), StatementKind::Set { value: None, .. }));
    assert!(matches!(one("USE ads"), StatementKind::Set { key, .. } if key == "schema"));
    fails("SET a 5", Ename::SyntaxError, "5", "= and a value");
}

#[test]
fn copies() {
    let src = "COPY (SELECT ')' FROM (SELECT 1)) TO 'out/a.csv' (FORMAT csv, header true)";
    let StatementKind::Copy(copy) = one(src) else { panic!("not a copy") };
    assert_eq!((copy.query.text.as_str(), copy.file.as_str()), ("SELECT ')' FROM (SELECT 1)", "out/a.csv"));
    assert_eq!(copy.file_span.of(src), "'out/a.csv'");
    assert_eq!(copy.options[0].value, OptionValue::Text("csv".into()));
    assert_eq!(copy.options[1].value, OptionValue::Bool(true));
    let StatementKind::Copy(copy) = one("COPY ads.clicks TO 'x' STORED AS PARQUET") else {
        panic!("not a copy")
    };
    assert_eq!(copy.query.text, "SELECT * FROM ads.clicks");
    assert_eq!(copy.options[0].value.as_text(), Some("parquet"));
    fails("COPY t FROM 'x'", Ename::Unsupported, "FROM", "SELECT * FROM 'file.csv'");
    fails("COPY (SELECT 1 TO 'x'", Ename::SyntaxError, "(", "not closed");
}

#[test]
fn explains_and_queries() {
    assert!(
        matches!(one("EXPLAIN ANALYZE SELECT 1"), StatementKind::Explain { analyze: true, query, .. } if query.text == "SELECT 1")
    );
    for query in ["SELECT 1", "(SELECT 1)", "VALUES (1)", "FROM t", "WITH a AS (SELECT 1) SELECT * FROM a"] {
        assert!(matches!(one(query), StatementKind::Query(q) if q.text == query), "{query}");
    }
    fails("EXPLAIN SHOW TABLES", Ename::SyntaxError, "SHOW", "takes a query");
    fails("SELECT (1", Ename::SyntaxError, "(", "not closed");
    fails("SELECT 1)", Ename::SyntaxError, ")", "closes nothing");
}

#[test]
fn what_is_refused_says_where_and_what_instead() {
    fails("SELECT 1; INSERT INTO t VALUES (1)", Ename::Unsupported, "INSERT", "CREATE OR REPLACE TABLE");
    fails("BEGIN", Ename::Unsupported, "BEGIN", "no transactions");
    fails("SELEKT 1", Ename::SyntaxError, "SELEKT", "did you mean SELECT?");
    fails("%%sql\nSELECT 1", Ename::SyntaxError, "%", "magics");
    fails(
        "CREATE TABLE t AS SELECT 1 VISUALISE a AS x DRAW line",
        Ename::Unsupported,
        "VISUALISE",
        "of its own",
    );
    fails("SELECT 'abc", Ename::SyntaxError, "'", "not closed");
}

#[test]
fn names_are_quoted_only_where_needed() {
    for (name, sql) in
        [("abc_1", "abc_1"), ("Abc", "\"Abc\""), ("order", "\"order\""), ("a\"b", "\"a\"\"b\"")]
    {
        assert_eq!(quote_name(name), sql);
    }
    assert_eq!(quote_string("it's"), "'it''s'");
}

mod properties {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_panics_and_spans_fit(src in "[ -~\n'\"$;(){}é%]{0,80}") {
            match super::parse_cell(&src) {
                Ok(cell) => for statement in cell {
                    prop_assert_eq!(statement.span.of(&src), statement.text.as_str());
                },
                Err(problem) => if let Some(span) = problem.span {
                    prop_assert!(src.get(span.start..span.end).is_some(), "{:?} {}", span, problem);
                },
            }
        }
    }
}

#[test]
fn places_are_attached_and_detached() {
    let StatementKind::Attach { place, name, .. } = one("ATTACH 'hdfs:///data/x' AS \"My\"") else {
        panic!("not an attach")
    };
    assert_eq!((place.as_str(), name.parts.as_slice()), ("hdfs:///data/x", &["My".to_owned()][..]));
    let StatementKind::Detach { name, if_exists } = one("detach if exists x") else { panic!("not a detach") };
    assert_eq!((name.last(), if_exists), ("x", true));
    for wrong in ["ATTACH x AS y", "ATTACH 'hdfs:///x'", "ATTACH 'hdfs:///x' AS", "DETACH"] {
        assert_eq!(parse_cell(wrong).unwrap_err().ename, Ename::SyntaxError, "{wrong}");
    }
}
