//! Rows of values: `(a, b) = (1, 2)`, `(a, b) IN (…)`. Written out by column, so that NULLs count as the standard says.

use sqlparser::ast::{BinaryOperator, Expr, Query, SelectItem, SetExpr, Spanned, UnaryOperator};

use super::{Rewriter, Stop, alias_of, derived, from, query_of, quoted, select_all};

type Made = Result<Option<Expr>, Stop>;

impl Rewriter<'_> {
    /// What a comparison of rows means; `None` if the expression is none.
    pub(super) fn tuples(&mut self, expr: &Expr) -> Made {
        match expr {
            Expr::BinaryOp { left, op, right } => {
                let (Some(left), Some(right)) = (row(left), row(right)) else { return Ok(None) };
                self.compare(expr, left, op, right)
            }
            Expr::InList { expr: left, list, negated } => {
                let Some(left) = row(left) else { return Ok(None) };
                let mut any: Option<Expr> = None;
                for value in list {
                    let Some(right) = row(value) else { return Ok(None) };
                    let Some(same) = self.compare(expr, left, &BinaryOperator::Eq, right)? else {
                        return Ok(None);
                    };
                    any = Some(match any {
                        Some(any) => from::binary(any, BinaryOperator::Or, same),
                        None => same,
                    });
                }
                Ok(any.map(|any| not(Expr::Nested(Box::new(any)), *negated)))
            }
            Expr::InSubquery { expr: left, subquery, negated } => {
                let Some(left) = row(left) else { return Ok(None) };
                Ok(Some(self.in_subquery(left, subquery, *negated)))
            }
            _ => Ok(None),
        }
    }

    fn compare(&self, whole: &Expr, left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Made {
        use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
        if let (BinaryOperator::Overlaps, [a, b], [c, d]) = (op, left, right) {
            return Ok(Some(overlap([a, b], [c, d])));
        }
        if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            return Ok(None);
        }
        if left.len() != right.len() {
            let text = format!("a row of {} values is compared with one of {}", left.len(), right.len());
            return Err(self.problem(whole.span(), from::wrong(text)));
        }
        let pairs = || left.iter().zip(right);
        let each = |op: BinaryOperator| {
            pairs()
                .map(move |(a, b)| from::binary(from::nested(a.clone()), op.clone(), from::nested(b.clone())))
        };
        let joined = |all: Vec<Expr>, op: BinaryOperator| {
            all.into_iter()
                .reduce(|all, next| from::binary(all, op.clone(), next))
                .map(|all| Expr::Nested(Box::new(all)))
        };
        let strict = match op {
            Eq => return Ok(joined(each(Eq).collect(), And)),
            NotEq => return Ok(joined(each(NotEq).collect(), Or)),
            Lt | LtEq => Lt,
            _ => Gt,
        };
        // the first pair that differs decides
        let mut pairs: Vec<_> =
            pairs().map(|(a, b)| (from::nested(a.clone()), from::nested(b.clone()))).collect();
        let Some((a, b)) = pairs.pop() else { return Ok(None) };
        let mut decided = from::binary(a, op.clone(), b);
        while let Some((a, b)) = pairs.pop() {
            let same = from::binary(a.clone(), Eq, b.clone());
            let later = Expr::Nested(Box::new(from::binary(same, And, Expr::Nested(Box::new(decided)))));
            decided = from::binary(from::binary(a, strict.clone(), b), Or, later);
        }
        Ok(Some(Expr::Nested(Box::new(decided))))
    }

    /// `(a, b) IN (SELECT …)`: true if a row is equal, NULL if one may be, else false.
    fn in_subquery(&mut self, left: &[Expr], subquery: &Query, negated: bool) -> Expr {
        let name = self.fresh("in");
        let columns: Vec<String> = (0..left.len()).map(|at| format!("{name}_{at}")).collect();
        let exists = |condition: Expr| {
            let alias = alias_of(&name, columns.clone());
            let mut select = select_all(derived(subquery.clone(), Some(alias)));
            select.projection = vec![SelectItem::UnnamedExpr(from::number("1"))];
            select.selection = Some(condition);
            let subquery = Box::new(query_of(SetExpr::Select(Box::new(select))));
            Expr::Exists { subquery, negated: false }
        };
        let same = |at: usize, value: &Expr| {
            let column = Expr::CompoundIdentifier(vec![quoted(&name), quoted(&columns[at])]);
            from::binary(from::nested(value.clone()), BinaryOperator::Eq, column)
        };
        let all = |conditions: Vec<Expr>| {
            conditions
                .into_iter()
                .reduce(|all, next| from::binary(all, BinaryOperator::And, next))
                .unwrap_or(Expr::Value(sqlparser::ast::Value::Boolean(true).with_empty_span()))
        };
        let equal = all(left.iter().enumerate().map(|(at, value)| same(at, value)).collect());
        let maybe = left
            .iter()
            .enumerate()
            .map(|(at, value)| Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(same(at, value))))));
        let maybe = all(maybe.collect());
        let case = Expr::Case {
            case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![
                sqlparser::ast::CaseWhen { condition: exists(equal), result: boolean(true) },
                sqlparser::ast::CaseWhen {
                    condition: exists(maybe),
                    result: Expr::Value(sqlparser::ast::Value::Null.with_empty_span()),
                },
            ],
            else_result: Some(Box::new(boolean(false))),
        };
        not(case, negated)
    }
}

/// Do two stretches of time have a moment in common? Each holds its beginning and not its end, and may be given backwards.
fn overlap([a, b]: [&Expr; 2], [c, d]: [&Expr; 2]) -> Expr {
    let of = |name: &str, a: &Expr, b: &Expr| from::call(name, vec![a.clone(), b.clone()]);
    let (first, second) = (of("least", a, b), of("least", c, d));
    let before_end = from::binary(first.clone(), BinaryOperator::Lt, of("greatest", c, d));
    let after_begin = from::binary(second.clone(), BinaryOperator::Lt, of("greatest", a, b));
    let both = from::binary(before_end, BinaryOperator::And, after_begin);
    let same = from::binary(first, BinaryOperator::Eq, second);
    Expr::Nested(Box::new(from::binary(Expr::Nested(Box::new(both)), BinaryOperator::Or, same)))
}

fn boolean(value: bool) -> Expr {
    Expr::Value(sqlparser::ast::Value::Boolean(value).with_empty_span())
}

fn not(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(from::nested(expr)) } } else { expr }
}

/// The values of a row of several.
fn row(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Tuple(values) if values.len() > 1 => Some(values),
        Expr::Nested(inner) => row(inner),
        _ => None,
    }
}
