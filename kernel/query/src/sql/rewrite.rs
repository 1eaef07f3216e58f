//! Rewrites of the syntax tree, from the inside out: what the planner lacks, said with what it has. Where a rewrite must know the columns
//! of a FROM clause it has that clause planned by itself; where it must know data it asks ([`Stop::Asks`]) and is run again.

mod alias;
mod arrays;
mod calls;
mod columns;
mod expressions;
mod from;
mod macros;
mod pivot;
mod select;
mod sets;
mod tuples;
mod values;
mod windows;

use std::collections::HashMap;
use std::ops::ControlFlow;

use carrel_cell::problem::{Ename, Problem};
use datafusion::common::ScalarValue;
use sqlparser::ast::{
    Cte, Expr, Fetch, Ident, LimitClause, ObjectName, ObjectNamePart, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut, With,
};
use sqlparser::tokenizer::Span;

use super::provider::Provider;
use crate::problems;

pub use calls::DATE_PARTS;
pub(crate) use macros::{MACROS, REWRITTEN};
pub use select::TWIN;

/// What was found in the data, by the text of the question.
pub type Answers = HashMap<String, Vec<Vec<ScalarValue>>>;

/// Why a rewrite does not go on.
pub enum Stop {
    /// The user has to change something.
    Problem(Box<Problem>),
    /// The rows of this query must be known first.
    Asks(Box<Query>),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

type Done = Result<(), Stop>;

/// Rewrites a query in place.
pub fn rewrite(query: &mut Query, sql: &str, provider: &Provider<'_>, answers: &Answers) -> Done {
    Rewriter { sql, provider, answers, scope: Vec::new(), recursive: false, count: 0 }.query(query)
}

/// Is it the name of something in FROM that is rewritten away, and so no table?
pub fn is_call(name: &str) -> bool {
    from::CALLS.contains(&name.to_lowercase().as_str())
}

struct Rewriter<'a> {
    sql: &'a str,
    provider: &'a Provider<'a>,
    answers: &'a Answers,
    /// Common table expressions that can be seen, rewritten already.
    scope: Vec<Cte>,
    recursive: bool,
    count: usize,
}

/// One column of a FROM clause.
struct Column {
    relation: Option<String>,
    name: String,
    data_type: arrow::datatypes::DataType,
}

impl Rewriter<'_> {
    fn query(&mut self, query: &mut Query) -> Done {
        let (outside, was_recursive) = (self.scope.len(), self.recursive);
        if let Some(with) = &mut query.with {
            self.recursive |= with.recursive;
            for cte in &mut with.cte_tables {
                if with.recursive {
                    self.recursive_cte(cte)?
                } else {
                    self.query(&mut cte.query)?
                }
                self.scope.push(cte.clone());
            }
        }
        let done = self.body(query);
        self.scope.truncate(outside);
        self.recursive = was_recursive;
        done
    }

    /// The recursive part sees the expression itself, with the columns of the part it begins with.
    fn recursive_cte(&mut self, cte: &mut Cte) -> Done {
        if cte.query.with.is_some() || !matches!(cte.query.body.as_ref(), SetExpr::SetOperation { .. }) {
            return self.query(&mut cte.query);
        }
        let own = cte.clone();
        if let SetExpr::SetOperation { left, right, .. } = cte.query.body.as_mut() {
            self.set_expr(left)?;
            let begin = Cte { query: Box::new(query_of(left.as_ref().clone())), ..own };
            self.scope.push(begin);
            let done = self.set_expr(right);
            self.scope.pop();
            done?;
        }
        if let Some(order) = &mut cte.query.order_by {
            self.expressions(order)?;
        }
        self.limits(&mut cte.query)
    }

    fn body(&mut self, query: &mut Query) -> Done {
        match query.body.as_mut() {
            SetExpr::Select(select) => self.select(select, &mut query.order_by)?,
            body => {
                self.set_expr(body)?;
                if let Some(order) = &mut query.order_by {
                    self.expressions(order)?;
                }
            }
        }
        if query.order_by.as_ref().is_some_and(|order| matches!(order.kind, OrderByKind::All(_))) {
            self.order_by_all(query)?;
        }
        self.limits(query)
    }

    fn set_expr(&mut self, body: &mut SetExpr) -> Done {
        match body {
            SetExpr::Select(select) => self.select(select, &mut None),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left)?;
                self.set_expr(right)?;
                self.multiset(body)
            }
            SetExpr::Values(values) => {
                values::floats(values);
                self.expressions(values)
            }
            _ => Ok(()),
        }
    }

    /// FETCH becomes LIMIT; a limit that is no plain number is marked for the plan's rewrite.
    fn limits(&mut self, query: &mut Query) -> Done {
        if let Some(Fetch { with_ties, percent, quantity }) = query.fetch.take() {
            let one = || from::number("1");
            let mut limit = quantity.unwrap_or_else(one);
            if percent {
                limit = from::call("__percent", vec![limit]);
            } else if with_ties {
                limit = from::call("__with_ties", vec![limit]);
            }
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
                None => None,
                Some(_) => {
                    return Err(
                        Problem::new(Ename::SyntaxError, "LIMIT and FETCH say the same: keep one").into()
                    );
                }
            };
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(limit), offset, limit_by: Vec::new() });
        }
        match &mut query.limit_clause {
            Some(clause) => self.expressions(clause),
            None => Ok(()),
        }
    }

    /// Rewrites the expressions of a node and the queries in them.
    fn expressions(&mut self, node: &mut impl VisitMut) -> Done {
        struct Walk<'r, 'a> {
            rewriter: &'r mut Rewriter<'a>,
            depth: usize,
        }
        impl VisitorMut for Walk<'_, '_> {
            type Break = Box<Stop>;

            fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Stop>> {
                let done = if self.depth == 0 { self.rewriter.query(query) } else { Ok(()) };
                self.depth += 1;
                flow(done)
            }

            fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Box<Stop>> {
                self.depth -= 1;
                ControlFlow::Continue(())
            }

            fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Stop>> {
                flow(if self.depth == 0 { self.rewriter.before(expr) } else { Ok(()) })
            }

            fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Stop>> {
                flow(if self.depth == 0 { self.rewriter.after(expr) } else { Ok(()) })
            }
        }
        match node.visit(&mut Walk { rewriter: self, depth: 0 }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(stop) => Err(*stop),
        }
    }

    /// The columns of a FROM clause.
    fn columns_of(&self, from: &[TableWithJoins]) -> Result<Vec<Column>, Stop> {
        if from.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = select_all(from::plain_table(ObjectName(Vec::new())));
        select.from = from.to_vec();
        self.columns_of_body(SetExpr::Select(Box::new(select)))
    }

    /// The columns that a query's body gives.
    fn columns_of_body(&self, body: SetExpr) -> Result<Vec<Column>, Stop> {
        let query = self.in_scope(body);
        let schema = self.provider.columns(query).map_err(|error| problems::of(&error, self.sql))?;
        let column = |(relation, field): (
            Option<&datafusion::common::TableReference>,
            &arrow::datatypes::FieldRef,
        )| Column {
            relation: relation.map(|relation| relation.table().to_owned()),
            name: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        Ok(schema.iter().map(column).collect())
    }

    /// A query of its own with the common table expressions that can be seen here.
    fn in_scope(&self, body: SetExpr) -> Query {
        let with = (!self.scope.is_empty()).then(|| With {
            with_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            recursive: self.recursive,
            cte_tables: visible(&self.scope),
        });
        Query { with, ..query_of(body) }
    }

    /// A name that nothing else has.
    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("__{what}_{}", self.count)
    }

    fn place(&self, span: Span) -> Option<carrel_cell::problem::Span> {
        super::place(self.sql, span)
    }

    fn problem(&self, span: Span, problem: Problem) -> Stop {
        match self.place(span) {
            Some(span) => problem.at(span).into(),
            None => problem.into(),
        }
    }

    fn unsupported(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) -> Stop {
        self.problem(span, Problem::new(Ename::Unsupported, message).hint(hint))
    }
}

/// The innermost of common table expressions that share a name.
fn visible(scope: &[Cte]) -> Vec<Cte> {
    let name = |cte: &Cte| normalized(&cte.alias.name);
    let hidden = |at: usize, cte: &Cte| {
        scope.get(at + 1..).is_some_and(|rest| rest.iter().any(|later| name(later) == name(cte)))
    };
    scope.iter().enumerate().filter(|(at, cte)| !hidden(*at, cte)).map(|(_, cte)| cte.clone()).collect()
}

fn flow(done: Done) -> ControlFlow<Box<Stop>> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(stop) => ControlFlow::Break(Box::new(stop)),
    }
}

/// A name as the planner sees it: folded unless quoted.
fn normalized(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The last part of a name, normalized.
fn last_name(name: &ObjectName) -> String {
    name.0.last().and_then(ObjectNamePart::as_ident).map(normalized).unwrap_or_default()
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn query_of(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// `SELECT * FROM factor`
fn select_all(factor: TableFactor) -> Select {
    Select {
        select_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(Default::default())],
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation: factor, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: sqlparser::ast::SelectFlavor::Standard,
    }
}

/// A query as an item of FROM.
fn derived(query: Query, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }
}

fn alias_of(name: &str, columns: impl IntoIterator<Item = String>) -> TableAlias {
    let columns = columns
        .into_iter()
        .map(|column| sqlparser::ast::TableAliasColumnDef { name: quoted(&column), data_type: None });
    TableAlias { explicit: true, name: quoted(name), columns: columns.collect(), at: None }
}
