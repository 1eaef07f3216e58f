//! Joins inside a query that is computed for its domain.

use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, Join, LogicalPlanBuilder, Operator, binary_expr, when};

use super::super::{Domain, Unnest, columns_of, null_safe};
use super::{Pushed, bind, uses};

impl Unnest {
    pub(super) fn join(&mut self, join: Join, domain: &Domain) -> Pushed {
        use JoinType::{
            Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        let out = columns_of(&join.schema);
        let (uses_left, uses_right) = (uses(&join.left, domain)?, uses(&join.right, domain)?);
        let (left, right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
        // the side whose rows are kept carries the domain, the other too where it depends on it
        let (push_left, push_right) = match join.join_type {
            Inner => (uses_left || !uses_right, uses_right),
            Left | LeftSemi | LeftAnti | LeftMark => (true, uses_right),
            Right | RightSemi | RightAnti | RightMark => (uses_left, true),
            Full => (true, true),
        };
        let (left, left_keys) = if push_left { self.push(left, domain)? } else { (left, Vec::new()) };
        let (right, right_keys) = if push_right { self.push(right, domain)? } else { (right, Vec::new()) };
        let keys = match join.join_type {
            Right | RightSemi | RightAnti | RightMark => right_keys.clone(),
            _ if push_left => left_keys.clone(),
            _ => right_keys.clone(),
        };
        let mut conditions = Vec::new();
        let mut same = Vec::new();
        for (left, right) in join.on {
            conditions.push(bind(left, domain, &keys)?.eq(bind(right, domain, &keys)?));
        }
        if join.null_equality == datafusion::common::NullEquality::NullEqualsNull {
            conditions = conditions
                .into_iter()
                .map(|condition| match condition {
                    Expr::BinaryExpr(both) => {
                        binary_expr(*both.left, Operator::IsNotDistinctFrom, *both.right)
                    }
                    other => other,
                })
                .collect();
        }
        if let Some(filter) = join.filter {
            conditions.push(bind(filter, domain, &keys)?);
        }
        if push_left && push_right {
            same = left_keys.iter().cloned().zip(right_keys.iter().cloned()).collect();
        }
        let made = if same.is_empty() {
            LogicalPlanBuilder::from(left).join_on(right, join.join_type, conditions)?.build()?
        } else {
            let (left_same, right_same): (Vec<Column>, Vec<Column>) = same.into_iter().unzip();
            null_safe(
                left,
                right,
                join.join_type,
                &left_same,
                &right_same,
                conditions.into_iter().reduce(Expr::and),
            )?
        };
        if join.join_type == Full {
            let names: Vec<String> = keys.iter().map(|_| self.fresh("f")).collect();
            let mut all = out;
            for ((left, right), name) in left_keys.iter().zip(&right_keys).zip(&names) {
                let (left, right) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
                all.push(when(left.clone().is_not_null(), left).otherwise(right)?.alias(name));
            }
            let made = LogicalPlanBuilder::from(made).project(all)?.build()?;
            return Ok((made, names.into_iter().map(Column::from_name).collect()));
        }
        let out = out.into_iter().chain(keys.iter().cloned().map(Expr::Column));
        Ok((LogicalPlanBuilder::from(made).project(out)?.build()?, keys))
    }
}
