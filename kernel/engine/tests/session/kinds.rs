//! The table of query kinds in docs/sql.md: what it says is refused is refused at a place, with a hint. (tests/sql runs all of its examples.)
#![expect(clippy::unwrap_used, reason = "a test")]

use crate::common::World;

const DOCS: &str = include_str!("../../../../docs/sql.md");

/// Its rows: kind, example, answer.
pub(crate) fn all() -> impl Iterator<Item = (String, String, String)> {
    let section =
        DOCS.split("\n## Kinds of query\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| kind "));
    rows.map(|line| {
        let (kind, rest) = line.trim_start_matches("| ").split_once(" | `").unwrap();
        let (example, answer) = rest.rsplit_once("` | ").unwrap();
        let answer = answer.trim_end_matches(" |");
        (kind.to_owned(), example.replace("\\|", "|"), answer.to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_refuses_is_refused_at_its_place() {
    let world = World::with_tpch().await;
    let mut refused = 0;
    for (kind, example, answer) in all() {
        let refusal = answer.split_once(": ").filter(|_| !answer.starts_with('→'));
        let Some((ename, words)) = refusal else { continue };
        let problem = world.planned(&example).await.expect_err(&kind);
        assert_eq!(format!("{:?}", problem.ename), ename, "{kind}: {problem:?}");
        let place = problem.span.unwrap_or_else(|| panic!("{kind} has no place: {problem:?}"));
        assert!(!place.of(&example).is_empty(), "{kind}: {problem:?}");
        assert!(problem.hint.as_deref().is_some_and(|hint| hint.contains(words)), "{kind}: {problem:?}");
        refused += 1;
    }
    assert!(refused >= 9, "{refused}");
}
