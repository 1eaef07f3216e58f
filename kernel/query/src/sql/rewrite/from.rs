//! Items of FROM: joins by their other names, functions that give rows, files by function, lists with positions.

mod lists;

use carrel_cell::problem::{Ename, Problem};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, JoinConstraint, JoinOperator, ObjectName, SetExpr, Spanned, TableAlias, TableFactor,
    TableFunctionArgs, TableWithJoins, Value, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use super::{Done, Rewriter, Stop, alias_of, derived, last_name, normalized, query_of, select_all};
use lists::{column_alias, json_rows, unnest};

/// Names in FROM that are called and rewritten away.
pub(super) const CALLS: &[&str] = &[
    "__pivot",
    "__unpivot",
    "__summarize",
    "__describe",
    "generate_series",
    "range",
    "unnest",
    "json_each",
    "json_tree",
];

impl Rewriter<'_> {
    /// One item of FROM with its joins.
    pub(super) fn table_with_joins(&mut self, table: &mut TableWithJoins) -> Done {
        self.factor(&mut table.relation)?;
        for join in &mut table.joins {
            self.factor(&mut join.relation)?;
            self.expressions(&mut join.join_operator)?;
            if let JoinOperator::Join(JoinConstraint::On(Expr::Function(call))) = &join.join_operator
                && last_name(&call.name) == "__positional"
            {
                let hint = "rows have no position; number both sides with row_number() OVER (ORDER BY …) and join on that";
                return Err(self.unsupported(call.name.span(), "POSITIONAL JOIN is not supported", hint));
            }
            let operator = std::mem::replace(&mut join.join_operator, JoinOperator::CrossApply);
            join.join_operator = match operator {
                JoinOperator::Semi(on) => JoinOperator::LeftSemi(on),
                JoinOperator::Anti(on) => JoinOperator::LeftAnti(on),
                JoinOperator::AsOf { match_condition, constraint } => {
                    let keys = match constraint {
                        JoinConstraint::On(keys) => Some(keys),
                        JoinConstraint::None => None,
                        JoinConstraint::Using(_) | JoinConstraint::Natural => {
                            let span = join.relation.span();
                            let hint = "write ON a.key = b.key";
                            return Err(self.unsupported(
                                span,
                                "USING beside MATCH_CONDITION is not supported",
                                hint,
                            ));
                        }
                    };
                    let condition = match keys {
                        Some(keys) => binary(keys, BinaryOperator::And, match_condition),
                        None => match_condition,
                    };
                    JoinOperator::Left(JoinConstraint::On(call("__asof", vec![condition])))
                }
                other => other,
            };
            let asof = match &mut join.join_operator {
                JoinOperator::Join(JoinConstraint::Using(columns))
                | JoinOperator::Inner(JoinConstraint::Using(columns))
                | JoinOperator::Left(JoinConstraint::Using(columns))
                | JoinOperator::LeftOuter(JoinConstraint::Using(columns))
                    if columns.first().is_some_and(|first| last_name(first) == "__asof") =>
                {
                    columns.remove(0);
                    true
                }
                _ => false,
            };
            if asof {
                mark_asof(&mut join.relation);
            }
        }
        Ok(())
    }

    /// One item of FROM.
    pub(super) fn factor(&mut self, factor: &mut TableFactor) -> Done {
        match factor {
            TableFactor::Derived { subquery, .. } => self.query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.table_with_joins(table_with_joins),
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, sample: None, .. } => {
                let (name, alias, args) = (name.clone(), alias.take(), args.args.clone());
                *factor = self.function(name, args, alias, *with_ordinality)?;
                Ok(())
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                let (name, alias, args) = (name.clone(), alias.take(), std::mem::take(args));
                *factor = self.function(name, args, alias, *with_ordinality)?;
                Ok(())
            }
            TableFactor::Table { with_ordinality: true, name, .. } => {
                let hint = "number rows with row_number() OVER (ORDER BY …)";
                Err(self.unsupported(name.span(), "WITH ORDINALITY of a table is not supported", hint))
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality } => {
                let position = match (*with_ordinality, *with_offset) {
                    (true, _) => Some(("1", "ordinality".to_owned())),
                    (false, true) => {
                        let name = with_offset_alias.as_ref().map_or("offset".to_owned(), normalized);
                        Some(("0", name))
                    }
                    (false, false) => None,
                };
                let (alias, mut lists) = (alias.take(), std::mem::take(array_exprs));
                for list in &mut lists {
                    self.expressions(list)?;
                }
                *factor = unnest(lists, alias, position);
                Ok(())
            }
            TableFactor::Pivot { .. } => self.pivot_factor(factor),
            TableFactor::Unpivot { .. } => self.unpivot_factor(factor),
            _ => Ok(()),
        }
    }

    /// A function in FROM.
    fn function(
        &mut self,
        name: ObjectName,
        args: Vec<FunctionArg>,
        alias: Option<TableAlias>,
        ordinality: bool,
    ) -> Result<TableFactor, Stop> {
        let function = last_name(&name);
        match function.as_str() {
            "__pivot" => return self.pivot_call(name.span(), args, alias),
            "__unpivot" => return self.unpivot_call(name.span(), args, alias),
            "__summarize" | "__describe" => {
                let mut args = args;
                self.expressions(&mut args)?;
                return Ok(function_table(name, args, alias));
            }
            _ => {}
        }
        let mut args = args;
        self.expressions(&mut args)?;
        let own = args.iter().all(is_constant) && !ordinality;
        match function.as_str() {
            // it streams its rows; its column is called as people expect
            "generate_series" | "range" if own => {
                let alias = column_alias(alias, &function);
                Ok(function_table(name, args, Some(alias)))
            }
            "generate_series" | "range" => {
                let alias = column_alias(alias, &function);
                let list = function_call(name, args);
                Ok(unnest(vec![list], Some(alias), ordinality.then(|| ("1", "ordinality".to_owned()))))
            }
            "json_each" | "json_tree" => {
                let args: Vec<Expr> = args.into_iter().filter_map(plain_argument).collect();
                json_rows(&function, args, alias).ok_or_else(|| {
                    let problem =
                        wrong(format!("{function} takes JSON, and a path if only a part of it is wanted"));
                    self.problem(name.span(), problem)
                })
            }
            "unnest" => {
                let lists = args.into_iter().filter_map(plain_argument).collect();
                Ok(unnest(lists, alias, ordinality.then(|| ("1", "ordinality".to_owned()))))
            }
            _ if ordinality => {
                let hint = "it goes with unnest and generate_series";
                Err(self.unsupported(name.span(), "WITH ORDINALITY is not supported here", hint))
            }
            _ => Ok(function_table(name, args, alias)),
        }
    }

    /// The names of relations that have but one column, made by a function: the name of the relation means the column too.
    pub(super) fn one_column_relations(&self, from: &[TableWithJoins]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let factors = from.iter().flat_map(|table| {
            std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
        });
        for factor in factors {
            let alias = match factor {
                TableFactor::UNNEST { alias, .. } | TableFactor::Table { alias, args: Some(_), .. } => alias,
                _ => continue,
            };
            if let Some(alias) = alias
                && let [column] = alias.columns.as_slice()
            {
                found.push((normalized(&alias.name), normalized(&column.name)));
            }
        }
        found
    }
}

/// Marks the right side of an ASOF join with USING: [`crate::plan`] finds the mark.
fn mark_asof(factor: &mut TableFactor) {
    let inner = std::mem::replace(factor, plain_table(ObjectName(Vec::new())));
    let alias = match &inner {
        TableFactor::Table { alias: None, name, .. } => Some(alias_of(&last_name(name), [])),
        other => alias_in(other).cloned(),
    };
    let mut select = select_all(inner);
    select.selection = Some(call("__asof_using", Vec::new()));
    *factor = derived(query_of(SetExpr::Select(Box::new(select))), alias);
}

/// Has a relation that mark?
pub(super) fn is_asof_using(factor: &TableFactor) -> bool {
    let TableFactor::Derived { subquery, .. } = factor else { return false };
    let SetExpr::Select(select) = subquery.body.as_ref() else { return false };
    matches!(&select.selection, Some(Expr::Function(call)) if last_name(&call.name) == "__asof_using")
}

fn alias_in(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. }
        | TableFactor::Function { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

/// Does an argument stand for itself, without columns, parameters or queries?
fn is_constant(arg: &FunctionArg) -> bool {
    struct Names;
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
            let varies = matches!(
                expr,
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) | Expr::Exists { .. }
            );
            if varies { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
        }
    }
    arg.visit(&mut Names).is_continue()
}

pub(super) fn plain_argument(arg: FunctionArg) -> Option<Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

pub(super) fn plain_table(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn function_table(name: ObjectName, args: Vec<FunctionArg>, to: Option<TableAlias>) -> TableFactor {
    let mut factor = plain_table(name);
    if let TableFactor::Table { args: slot, alias, .. } = &mut factor {
        *slot = Some(TableFunctionArgs { args, settings: None });
        *alias = to;
    }
    factor
}

/// A call of a function of ours.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    function_call(ObjectName::from(vec![Ident::new(name)]), args)
}

/// A call with arguments as they were written.
pub(super) fn function_call(name: ObjectName, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

pub(super) fn number(text: &str) -> Expr {
    Expr::Value(Value::Number(text.to_owned(), false).with_empty_span())
}

pub(super) fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).with_empty_span())
}

pub(super) fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Nested(_) => expr,
        other => Expr::Nested(Box::new(other)),
    }
}

/// A refusal that is no matter of support.
pub(super) fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Ename::SyntaxError, message)
}

/// No place.
pub(super) fn nowhere() -> Span {
    Span::empty()
}
