//! Queries that nobody would write: token soup, and good queries with something wrong in them. Whatever is given, there is a plan or a problem
//! in words for people, placed inside the text; never a panic, never a fault of Carrel's own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::LazyLock;

use carrel_cell::problem::{Ename, Problem};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::common::World;

/// Words that begin, end or join something, and values of every kind.
const SOUP: &str = "SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET WITH RECURSIVE AS UNION ALL INTERSECT EXCEPT BY NAME JOIN LEFT RIGHT \
    FULL SEMI ANTI ASOF POSITIONAL LATERAL CROSS NATURAL USING ON PIVOT UNPIVOT INTO VALUE FOR IN NOT NULL IS DISTINCT LIKE ILIKE \
    SIMILAR TO GLOB BETWEEN SYMMETRIC AND OR CASE WHEN THEN ELSE END EXISTS ANY OVER PARTITION ROWS RANGE GROUPS UNBOUNDED PRECEDING \
    FOLLOWING CURRENT ROW EXCLUDE TIES FILTER WITHIN QUALIFY WINDOW ROLLUP CUBE GROUPING SETS TABLESAMPLE SAMPLE PERCENT REPEATABLE \
    VALUES TABLE SUMMARIZE DESCRIBE UNNEST ORDINALITY ARRAY MAP STRUCT INTERVAL DATE TIMESTAMP EXTRACT CAST TRY_CAST COLUMNS REPLACE \
    RENAME lambda if MATERIALIZED FETCH FIRST NEXT ONLY TIES DESC NULLS LAST OVERLAPS \
    orders shop.orders id country at x t u w count sum list range string_agg first date_trunc list_transform quantile_cont \
    ( ) [ ] { } , . ; : := => -> ->> :: || | & + - * ** / // % ^ ! = <> < > <= >= ~ @ # $1 ? '' 'a' 'é' \"q\" `b` 0 1 -1 1.5 1e3 9223372036854775807 \
    1_000 0xff E'\\n' $$x$$ -- /* */ \u{1f} \u{1F600} é";

static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| SOUP.split_whitespace().collect());

/// Good queries: every example of the documentation, and TPC-H's.
static GOOD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tpch = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/sql/queries");
    let files = std::fs::read_dir(tpch).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.map(|path| std::fs::read_to_string(path).unwrap().replace("{fraction}", "0.1"));
    let mut all: Vec<String> = texts.chain(crate::kinds::all().map(|(_, example, _)| example)).collect();
    all.sort();
    all
});

#[derive(Clone, Debug)]
enum Change {
    Drop(Index),
    Twice(Index),
    Swap(Index, Index),
    Insert(Index, &'static str),
    Instead(Index, &'static str),
    Cut(Index),
    Splice(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let word = || select(WORDS.as_slice());
    prop_oneof![
        at().prop_map(Change::Drop),
        at().prop_map(Change::Twice),
        (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
        (at(), word()).prop_map(|(at, word)| Change::Insert(at, word)),
        (at(), word()).prop_map(|(at, word)| Change::Instead(at, word)),
        at().prop_map(Change::Cut),
        (at(), at()).prop_map(|(a, b)| Change::Splice(a, b)),
    ]
}

/// A text in pieces that mostly are tokens.
fn pieces(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    for c in text.chars() {
        match out.last_mut() {
            Some(last) if word(c) && last.chars().all(word) => last.push(c),
            _ => out.push(c.to_string()),
        }
    }
    out
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut all = pieces(text);
    for change in changes {
        if all.is_empty() {
            break;
        }
        match change {
            Change::Drop(at) => drop(all.remove(at.index(all.len()))),
            Change::Twice(at) => {
                let at = at.index(all.len());
                all.insert(at, all[at].clone());
            }
            Change::Swap(a, b) => {
                let (a, b) = (a.index(all.len()), b.index(all.len()));
                all.swap(a, b);
            }
            Change::Insert(at, word) => {
                let at = at.index(all.len());
                all.insert(at, format!(" {word} "));
            }
            Change::Instead(at, word) => {
                let at = at.index(all.len());
                all[at] = format!(" {word} ");
            }
            Change::Cut(at) => all.truncate(at.index(all.len())),
            Change::Splice(query, at) => {
                let other = pieces(&GOOD[query.index(GOOD.len())]);
                let at = at.index(other.len());
                all.extend(other.into_iter().skip(at));
            }
        }
    }
    all.concat()
}

/// A plan, or a problem that a person can use.
fn looked_at(sql: &str, outcome: Result<(), Problem>) -> Result<(), TestCaseError> {
    let Err(problem) = outcome else { return Ok(()) };
    prop_assert!(problem.ename != Ename::Internal, "{sql}: {problem:?}");
    if let Some(span) = problem.span {
        prop_assert!(sql.get(span.start..span.end).is_some(), "{sql}: {problem:?}");
    }
    let all = format!("{} {}", problem.message, problem.hint.as_deref().unwrap_or(""));
    for leak in
        ["DataFusion", "Arrow error", "Schema error", "Ident {", "Span(", "Some(", "Column {", "Expr::", "__"]
    {
        // what the user wrote may be said back
        prop_assert!(!all.contains(leak) || sql.contains(leak), "{sql}: {all}");
    }
    prop_assert!(all.lines().count() <= 4, "{sql}: {all}");
    Ok(())
}

fn run(cases: u32, queries: &impl Strategy<Value = String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::with_tpch());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(queries, |sql| looked_at(&sql, runtime.block_on(world.planned(&sql))));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn token_soup() {
    let soup = prop::collection::vec(select(WORDS.as_slice()), 1..24).prop_map(|words| words.join(" "));
    let selects = soup.clone().prop_map(|soup| format!("SELECT {soup}"));
    let froms = soup.clone().prop_map(|soup| format!("SELECT id FROM shop.orders {soup}"));
    run(1500, &prop_oneof![soup, selects, froms]);
}

#[test]
fn good_queries_with_something_wrong() {
    let query = (any::<Index>(), prop::collection::vec(change(), 1..4));
    run(1500, &query.prop_map(|(at, changes)| changed(&GOOD[at.index(GOOD.len())], &changes)));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = |open: &str, close: &str| format!("SELECT {}1{}", open.repeat(3000), close.repeat(3000));
    let all = [
        deep("(", ")"),
        deep("[", "]"),
        deep("abs(", ")"),
        deep("- ", ""),
        deep("CASE WHEN true THEN ", " END"),
        deep("(SELECT ", ")"),
    ];
    run(u32::try_from(all.len()).unwrap() * 4, &select(all.to_vec()));
}
