//! Sentences in, sentences out.

use super::*;
use datafusion::common::plan_datafusion_err;

fn says(error: DataFusionError, sql: &str, ename: Ename, message: &str, place: Option<&str>) {
    let problem = of(&error, sql);
    assert_eq!((problem.ename, problem.message.as_str()), (ename, message));
    assert_eq!(problem.span.map(|span| span.of(sql)), place);
}

#[test]
fn parser_errors_point_at_the_token() {
    let error = ParserError::ParserError("Expected: an expression, found: FROM at Line: 2, Column: 1".into());
    let error = DataFusionError::SQL(Box::new(error), None);
    says(
        error,
        "SELECT\nFROM t",
        Ename::SyntaxError,
        "an expression was expected here, found FROM",
        Some("FROM"),
    );
    let error = ParserError::ParserError("Expected: an expression, found: EOF".into());
    let error = DataFusionError::SQL(Box::new(error), None);
    says(
        error,
        "SELECT",
        Ename::SyntaxError,
        "an expression was expected here, the statement ends",
        Some(""),
    );
    let problem = of(
        &DataFusionError::SQL(
            Box::new(ParserError::ParserError(
                "Expected: end of statement, found: WEHRE at Line: 1, Column: 17".into(),
            )),
            None,
        ),
        "SELECT a FROM t WEHRE a",
    );
    assert_eq!(problem.hint.as_deref(), Some("did you mean WHERE?"));
}

#[test]
fn sentences_lose_what_is_not_the_users() {
    let error = DataFusionError::Context(
        "type_coercion".into(),
        Box::new(plan_datafusion_err!("Cannot coerce arithmetic expression Utf8 + Int64 to valid types")),
    );
    says(error, "", Ename::TypeError, "Utf8 + Int64 cannot be computed", None);
    let error = DataFusionError::Plan("Invalid function 'summ'.\nDid you mean 'sum'?".into());
    says(error, "SELECT summ(1)", Ename::UnknownFunction, "no function summ", Some("summ"));
    let error =
        DataFusionError::Execution("failed at /var/lib/carrel/datasets/x/part.parquet in DataFusion.".into());
    says(error, "", Ename::ValueError, "failed at part.parquet in the engine", None);
}

#[test]
fn memory_names_the_operator_and_the_limit() {
    let text = "Additional allocation failed for ExternalSorter[0] with top memory consumers (across reservations) as:\n  x\n\
                Error: Failed to allocate additional 2.0 MB for ExternalSorter[0] with 1.0 MB already allocated for this \
                reservation - 0.0 B remain available for the total memory pool: fair(pool_size: 64.0 MB)";
    let problem = of(&DataFusionError::ResourcesExhausted(text.into()), "");
    assert_eq!(problem.ename, Ename::MemoryLimit);
    assert_eq!(
        problem.message,
        "the sort needs more memory than this session has: it held 1.0 MB and asked for 2.0 MB more, the limit is 64.0 MB"
    );
}

#[test]
fn what_ours_said_comes_back() {
    let problem = Problem::new(Ename::PolicyDenied, "no").hint("yes");
    let error = DataFusionError::Context("x".into(), Box::new(wrap(problem.clone())));
    assert_eq!(of(&error, "SELECT 1"), problem);
    let error = DataFusionError::ArrowError(
        Box::new(ArrowError::ExternalError(Box::new(wrap(problem.clone())))),
        None,
    );
    assert_eq!(of(&error, ""), problem);
}

#[test]
fn faults_are_references() {
    let problem = of(&DataFusionError::Substrait("secret".into()), "");
    assert_eq!(problem.ename, Ename::Internal);
    assert!(!problem.message.contains("secret"));
}

#[test]
fn lines_and_columns_are_bytes() {
    assert_eq!(location("é\nab", 2, 2), Some(4));
    assert_eq!(location("éx", 1, 2), Some(2));
    assert_eq!(location("a", 3, 1), None);
    assert_eq!(token("SELECT a", 7).of("SELECT a"), "a");
}

#[test]
fn types_that_do_not_meet_are_told_without_how_they_were_tried() {
    for (message, says) in [
        (
            "Function 'sum' user-defined coercion failed with: External error: TypeError: sum does not take VARCHAR",
            "sum does not take VARCHAR",
        ),
        (
            "Function 'make_array' user-defined coercion failed with: Error during planning: Failed to unify argument types of make_array: [Int64, Utf8, Date32]",
            "the values of a list have one type, these have Int64, Utf8, Date32",
        ),
        (
            "Failed to coerce arguments to satisfy a call to 'corr' function: coercion from Utf8, Int64 to the signature Exact(Float64, Float64) failed",
            "corr does not take Utf8, Int64",
        ),
        (
            "Function 'coalesce' user-defined coercion failed with: Execution error: Fail to find the coerced type, errors: x",
            "the arguments of coalesce have types that do not go together",
        ),
        (
            "Cannot create filter with non-boolean predicate 'tpch.nation.n_nationkey' returning Int64",
            "a condition is true or false, n_nationkey is Int64",
        ),
    ] {
        says_type(DataFusionError::Plan(message.into()), says);
    }
    let error = DataFusionError::NotImplemented(
        "Physical plan does not support logical expression WindowFunction(WindowFunction { fun: X })".into(),
    );
    let problem = of(&error, "");
    assert_eq!(problem.message, "a window function cannot stand here");
    assert!(problem.hint.is_some_and(|hint| hint.contains("QUALIFY")));
}

fn says_type(error: DataFusionError, message: &str) {
    let problem = of(&error, "");
    assert_eq!((problem.ename, problem.message.as_str()), (Ename::TypeError, message));
}
