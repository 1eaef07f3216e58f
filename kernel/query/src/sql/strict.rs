//! What the parser understands and the planner would pass over in silence, or answer with words of its own, is refused here, with its
//! place and what to write instead.

use std::ops::ControlFlow;

use carrel_cell::problem::{Ename, Problem, Span};
use sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, GroupByWithModifier, Join, JoinConstraint, JoinOperator,
    LimitClause, OrderBy, OrderByKind, Query, Select, SetExpr, Spanned, TableFactor, Visit, Visitor,
};

use super::provider::Provider;

/// Refuses clauses.
pub fn check(query: &Query, sql: &str) -> Result<(), Problem> {
    match query.visit(&mut Clauses { sql }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

/// Refuses parts of function calls that would have no effect. To be called when names are final.
pub fn check_functions(query: &Query, sql: &str, provider: &Provider<'_>) -> Result<(), Problem> {
    match query.visit(&mut Calls { sql, provider }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

type Answer = ControlFlow<Box<Problem>>;

fn refuse(place: Option<Span>, message: &str, hint: &str) -> Answer {
    let problem = Problem::new(Ename::Unsupported, format!("{message} is not supported")).hint(hint);
    ControlFlow::Break(Box::new(match place {
        Some(span) => problem.at(span),
        None => problem,
    }))
}

struct Clauses<'a> {
    sql: &'a str,
}

impl Clauses<'_> {
    fn place(&self, node: &impl Spanned) -> Option<Span> {
        super::place(self.sql, node.span())
    }

    /// The place of a keyword that the syntax tree does not keep; the first one after where its statement begins.
    fn keyword(&self, after: Option<Span>, word: &str) -> Option<Span> {
        let from = after.map_or(0, |span| span.start);
        let tokens = carrel_cell::token::tokenize(self.sql).ok()?;
        tokens
            .iter()
            .find(|token| token.span.start >= from && token.is_word(self.sql, word))
            .map(|token| token.span)
    }

    fn select(&self, select: &Select) -> Answer {
        let begin = super::place(self.sql, select.select_token.0.span);
        let checks: [(bool, &str, &str, &str); 11] = [
            (select.top.is_some(), "TOP", "TOP", "write LIMIT n at the end of the query"),
            (select.into.is_some(), "INTO", "SELECT … INTO", "write CREATE TABLE name AS SELECT …"),
            (
                !select.lateral_views.is_empty(),
                "VIEW",
                "LATERAL VIEW",
                "write FROM t, UNNEST(t.list) AS u(x)",
            ),
            (!select.connect_by.is_empty(), "CONNECT", "CONNECT BY", "write a WITH RECURSIVE query"),
            (
                !select.cluster_by.is_empty(),
                "CLUSTER",
                "CLUSTER BY",
                "leave it out: it does not change the answer",
            ),
            (
                !select.distribute_by.is_empty(),
                "DISTRIBUTE",
                "DISTRIBUTE BY",
                "leave it out: it does not change the answer",
            ),
            (!select.sort_by.is_empty(), "SORT", "SORT BY", "write ORDER BY"),
            (select.select_modifiers.is_some(), "SELECT", "this modifier of SELECT", "leave it out"),
            (
                select.value_table_mode.is_some(),
                "AS",
                "SELECT AS STRUCT or VALUE",
                "write SELECT {'a': a, 'b': b} AS s",
            ),
            (
                select.exclude.is_some(),
                "EXCLUDE",
                "EXCLUDE at the end of the select list",
                "write SELECT * EXCLUDE (a, b)",
            ),
            (
                select.prewhere.as_ref().is_some_and(|expr| !is_sample(expr)),
                "PREWHERE",
                "PREWHERE",
                "write WHERE",
            ),
        ];
        for (found, word, what, hint) in checks {
            if found {
                return refuse(self.keyword(begin, word), what, hint);
            }
        }
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
        };
        for modifier in modifiers {
            let fits = matches!(modifier, GroupByWithModifier::Rollup | GroupByWithModifier::Cube)
                && matches!(select.group_by, GroupByExpr::Expressions(..))
                || matches!(modifier, GroupByWithModifier::GroupingSets(_));
            if !fits {
                return refuse(
                    self.keyword(begin, "WITH"),
                    &format!("GROUP BY … {modifier}"),
                    "write GROUP BY ROLLUP (a, b), CUBE (a, b) or GROUPING SETS ((a), (b))",
                );
            }
        }
        for table in &select.from {
            for join in &table.joins {
                self.join(join)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn join(&self, join: &Join) -> Answer {
        let place = self.place(&join.relation);
        let hint_lateral = "write CROSS JOIN LATERAL (…) or LEFT JOIN LATERAL (…) ON true";
        match &join.join_operator {
            JoinOperator::CrossApply => refuse(place, "CROSS APPLY", hint_lateral),
            JoinOperator::OuterApply => refuse(place, "OUTER APPLY", hint_lateral),
            JoinOperator::StraightJoin(_) => refuse(place, "STRAIGHT_JOIN", "write JOIN"),
            JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin => {
                refuse(place, "ARRAY JOIN", "write FROM t, UNNEST(t.list) AS u(x)")
            }
            JoinOperator::CrossJoin(JoinConstraint::On(_) | JoinConstraint::Using(_)) => {
                refuse(place, "a condition on CROSS JOIN", "write JOIN … ON …")
            }
            _ if join.global => refuse(place, "GLOBAL JOIN", "leave GLOBAL out"),
            _ => ControlFlow::Continue(()),
        }
    }

    fn order_by(&self, order: &OrderBy) -> Answer {
        if order.interpolate.is_some() {
            return refuse(
                self.keyword(None, "INTERPOLATE"),
                "INTERPOLATE",
                "join with generate_series to fill gaps",
            );
        }
        let OrderByKind::Expressions(exprs) = &order.kind else { return ControlFlow::Continue(()) };
        match exprs.iter().find(|expr| expr.with_fill.is_some()) {
            Some(expr) => refuse(self.place(expr), "WITH FILL", "join with generate_series to fill gaps"),
            None => ControlFlow::Continue(()),
        }
    }
}

fn is_sample(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if function.name.to_string() == "__sample")
}

impl Visitor for Clauses<'_> {
    type Break = Box<Problem>;

    fn pre_visit_query(&mut self, query: &Query) -> Answer {
        let begin = self.place(query);
        if let Some(lock) = query.locks.first() {
            let what = format!("FOR {}", lock.lock_type);
            return refuse(self.keyword(begin, "FOR"), &what, "datasets are read-only: leave it out");
        }
        if query.for_clause.is_some() {
            return refuse(
                self.keyword(begin, "FOR"),
                "this FOR clause",
                "COPY (query) TO 'file.json' writes JSON",
            );
        }
        if query.settings.is_some() {
            return refuse(self.keyword(begin, "SETTINGS"), "SETTINGS", "use SET key = value");
        }
        if query.format_clause.is_some() {
            return refuse(self.keyword(begin, "FORMAT"), "FORMAT", "use COPY (query) TO 'file.csv'");
        }
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
            && let Some(by) = limit_by.first()
        {
            return refuse(
                self.place(by),
                "LIMIT … BY",
                "write QUALIFY row_number() OVER (PARTITION BY key ORDER BY …) <= n",
            );
        }
        if matches!(
            query.body.as_ref(),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        ) {
            return refuse(
                begin,
                "changing data in a query",
                "datasets are read-only; CREATE TABLE name AS SELECT … keeps a result",
            );
        }
        match &query.order_by {
            Some(order) => self.order_by(order),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> Answer {
        self.select(select)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Answer {
        let place = self.place(factor);
        match factor {
            TableFactor::Table { with_hints, version, partitions, json_path, index_hints, .. } => {
                if !with_hints.is_empty() || !index_hints.is_empty() {
                    return refuse(place, "a hint on a table", "leave it out");
                }
                if version.is_some() {
                    return refuse(
                        place,
                        "reading an earlier version of a table",
                        "name the files of that time by their path",
                    );
                }
                if !partitions.is_empty() {
                    return refuse(
                        place,
                        "PARTITION (…) behind a table",
                        "filter by the partition's column in WHERE",
                    );
                }
                if json_path.is_some() {
                    return refuse(place, "a JSON path in FROM", "write FROM t, UNNEST(t.list) AS u(x)");
                }
                ControlFlow::Continue(())
            }
            TableFactor::TableFunction { .. } => {
                refuse(place, "TABLE(…) in FROM", "call the function itself: FROM generate_series(1, 10)")
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. } => {
                refuse(place, "this table function", "take values out with json_extract, lists with UNNEST")
            }
            TableFactor::MatchRecognize { .. } => {
                refuse(place, "MATCH_RECOGNIZE", "compare rows with lag() and lead() over a window")
            }
            TableFactor::SemanticView { .. } => refuse(place, "SEMANTIC_VIEW", "query the tables themselves"),
            TableFactor::Pivot { default_on_null: Some(expr), .. } => refuse(
                self.place(expr),
                "DEFAULT ON NULL",
                "select coalesce(column, value) from the pivoted table",
            ),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Answer {
        let place = self.place(expr);
        match expr {
            Expr::Collate { .. } => refuse(place, "COLLATE", "compare lower(a) with lower(b) to ignore case"),
            Expr::OuterJoin(_) => refuse(place, "(+)", "write LEFT JOIN … ON …"),
            Expr::Prior(_) => refuse(place, "CONNECT BY", "write a WITH RECURSIVE query"),
            Expr::MatchAgainst { .. } => refuse(place, "MATCH … AGAINST", "write text ILIKE '%word%'"),
            Expr::MemberOf(_) => refuse(place, "MEMBER OF", "write list_contains(list, value)"),
            Expr::IsNormalized { .. } | Expr::JsonAccess { .. } => refuse(
                place,
                "this expression",
                "json->'key' takes a part out of JSON, list[1] out of a list",
            ),
            Expr::Prefixed { .. } => refuse(place, "a prefixed string", "write CAST('…' AS type)"),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct Calls<'a> {
    sql: &'a str,
    provider: &'a Provider<'a>,
}

impl Visitor for Calls<'_> {
    type Break = Box<Problem>;

    fn pre_visit_expr(&mut self, expr: &Expr) -> Answer {
        match expr {
            Expr::Function(function) => self.function(function),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Calls<'_> {
    fn function(&self, function: &Function) -> Answer {
        let place = super::place(self.sql, function.name.span());
        let name = function.name.to_string().to_lowercase();
        if function.uses_odbc_syntax {
            return refuse(place, "{fn …}", "call the function itself");
        }
        if function.parameters != FunctionArguments::None {
            return refuse(place, "a second list of arguments", "give all arguments in one list");
        }
        let scalar = self.provider.is_scalar(&name);
        let distinct = match &function.args {
            FunctionArguments::List(list) if scalar => {
                list.duplicate_treatment.is_some() || !list.clauses.is_empty()
            }
            _ => false,
        };
        if scalar && (distinct || function.filter.is_some() || !function.within_group.is_empty()) {
            let text = format!("DISTINCT, ORDER BY, FILTER or WITHIN GROUP in {name}");
            return refuse(
                place,
                &text,
                &format!("{name} is no aggregate function: it has one value for each row"),
            );
        }
        if scalar && function.over.is_some() {
            return refuse(
                place,
                &format!("OVER behind {name}"),
                &format!("{name} is neither an aggregate nor a window function"),
            );
        }
        let fills = ["lag", "lead", "first_value", "last_value", "nth_value", "array_agg", "any_value"];
        if function.over.is_some() && function.null_treatment.is_some() && !fills.contains(&name.as_str()) {
            return refuse(place, &format!("IGNORE NULLS or RESPECT NULLS in {name}"), "leave it out");
        }
        if !function.within_group.is_empty() && function.over.is_some() {
            return refuse(place, "WITHIN GROUP together with OVER", "use quantile_cont(x, 0.5) OVER (…)");
        }
        ControlFlow::Continue(())
    }
}
