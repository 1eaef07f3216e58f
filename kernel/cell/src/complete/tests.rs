//! Completion at a cursor written as `|`.

use super::*;

fn names() -> Names {
    let relation =
        |name: &str, kind: &str| Relation { name: name.to_owned(), kind: kind.to_owned(), description: None };
    let columns = |list: &[(&str, &str)]| {
        list.iter()
            .map(|(name, type_name)| ColumnName {
                name: (*name).to_owned(),
                type_name: (*type_name).to_owned(),
            })
            .collect()
    };
    Names {
        relations: vec![
            relation("ads.clicks", "dataset"),
            relation("tpch.orders", "dataset"),
            relation("adults", "table"),
            relation("Odd Name", "view"),
        ],
        functions: vec![Function { name: "count".to_owned(), signature: Some("count(x)".to_owned()) }],
        columns: [
            (
                "ads.clicks".to_owned(),
                columns(&[("country", "text"), ("clicked", "boolean"), ("day", "date")]),
            ),
            ("tpch.orders".to_owned(), columns(&[("o_orderkey", "bigint")])),
        ]
        .into(),
    }
}

fn at(marked: &str) -> (String, usize) {
    let byte = marked.find('|').unwrap();
    (marked.replace('|', ""), marked[..byte].chars().count())
}

fn check(marked: &str, expected: &[&str]) {
    let (code, cursor) = at(marked);
    let completion = complete(&code, cursor, &names());
    let texts: Vec<&str> = completion.matches.iter().map(|found| found.text.as_str()).collect();
    assert_eq!(texts, expected, "{marked}");
    assert_eq!(completion.end, cursor);
}

#[test]
fn datasets_follow_from() {
    check("SELECT * FROM ad|", &["ads.clicks", "adults"]);
    check("SELECT * FROM cl|", &["ads.clicks"]);
    check("SELECT * FROM ads.|", &["clicks"]);
    check("SELECT * FROM ads.cl|", &["clicks"]);
    check("SELECT * FROM adults, or|", &["tpch.orders"]);
    check("DESCRIBE or|", &["tpch.orders"]);
    check("SELECT 1; SUMMARIZE clic|", &["ads.clicks"]);
    check("SELECT * FROM odd|", &["\"Odd Name\""]);
    check("SELECT * FROM \"Odd|", &["\"Odd Name\""]);
}

#[test]
fn columns_come_from_the_statements_own_tables() {
    check(
        "SELECT c| FROM ads.clicks",
        &["country", "clicked", "clicks", "count", "cross join", "case", "cast"],
    );
    check("SELECT coun|", &["count"]);
    check("SELECT x.c| FROM ads.clicks AS x", &["country", "clicked"]);
    check("SELECT x.| FROM tpch.orders o JOIN ads.clicks x ON 1 = 1", &["country", "clicked", "day"]);
    check("SELECT clicks.d| FROM ads.clicks", &["day"]);
    check("SELECT o_| FROM ads.clicks; SELECT 1 FROM tpch.orders", &[]);
    check("SELECT 1 FROM ads.clicks WHERE coun|", &["country", "count"]);
}

#[test]
fn keywords_follow_the_context_and_the_case() {
    check("sh|", &["show"]);
    check("SHOW |", &["DATASETS", "TABLES", "MODELS", "FUNCTIONS", "ALL"]);
    check("SELECT 1; DR|", &["DROP"]);
    check("DROP m|", &["model"]);
    check("SELECT a FROM t gr|", &["group by"]);
}

#[test]
fn nothing_inside_strings_comments_and_numbers() {
    check("SELECT 'sel|", &[]);
    check("SELECT /* sel|", &[]);
    check("SELECT 12|", &[]);
}

#[test]
fn places_are_code_points() {
    let (code, cursor) = at("SELECT '😀', coun| FROM ads.clicks");
    let completion = complete(&code, cursor, &names());
    assert_eq!((completion.start, completion.end), (12, 16));
    assert_eq!(completion.matches[0].text, "country");
    assert_eq!(completion.matches[0].signature.as_deref(), Some("text"));
}

#[test]
fn finds_relations_and_names() {
    let (code, cursor) =
        at("SELECT x.cou|ntry, count(1) FROM ads.clicks x, \"T\".u WHERE 1 IN (SELECT 2 FROM b)");
    assert_eq!(relations_in(&code, cursor), ["ads.clicks", "T.u", "b"]);
    assert_eq!(name_at(&code, cursor).as_deref(), Some("ads.clicks.country"));
    let (code, cursor) = at("SELECT cou|nt(1) FROM ads.clicks");
    assert_eq!(name_at(&code, cursor).as_deref(), Some("count"));
    assert_eq!(name_at("SELECT 1 + ", 11), None);
    assert_eq!(name_at("", 0), None);
}
