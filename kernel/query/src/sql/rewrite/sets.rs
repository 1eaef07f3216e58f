//! `INTERSECT ALL` and `EXCEPT ALL`: rows are numbered among their equals, so that the distinct forms count them.

use sqlparser::ast::{
    Expr, Function, SelectItem, SetExpr, SetOperator, SetQuantifier, WindowSpec, WindowType,
};

use super::{Done, Rewriter, alias_of, derived, from, query_of, quoted, select_all};

impl Rewriter<'_> {
    /// Rewrites a set operation that counts rows.
    pub(super) fn multiset(&mut self, body: &mut SetExpr) -> Done {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
        match (*op, *set_quantifier) {
            (SetOperator::Union, _) | (_, SetQuantifier::None | SetQuantifier::Distinct) => return Ok(()),
            (_, SetQuantifier::All) => {}
            (op, quantifier) => {
                let hint = "name the columns on both sides in the same order";
                let text = format!("{op} {quantifier} is not supported");
                return Err(self.unsupported(from::nowhere(), text, hint));
            }
        }
        let names: Vec<String> =
            self.columns_of_body(left.as_ref().clone())?.into_iter().map(|column| column.name).collect();
        let count = self.columns_of_body(right.as_ref().clone())?.len();
        if count != names.len() {
            let text =
                format!("{op} needs as many columns on both sides: here are {} and {count}", names.len());
            return Err(from::wrong(text).into());
        }
        let columns: Vec<String> = (0..names.len()).map(|at| format!("__c{at}")).collect();
        let numbered = |side: &SetExpr| {
            let number = Expr::Function(Function {
                over: Some(WindowType::WindowSpec(WindowSpec {
                    window_name: None,
                    partition_by: columns.iter().map(|column| Expr::Identifier(quoted(column))).collect(),
                    order_by: Vec::new(),
                    window_frame: None,
                })),
                ..match from::call("row_number", Vec::new()) {
                    Expr::Function(function) => function,
                    _ => return side.clone(),
                }
            });
            let relation = derived(query_of(side.clone()), Some(alias_of("__side", columns.clone())));
            let mut select = select_all(relation);
            select.projection.push(SelectItem::ExprWithAlias { expr: number, alias: quoted("__n") });
            SetExpr::Select(Box::new(select))
        };
        let both = SetExpr::SetOperation {
            op: *op,
            set_quantifier: SetQuantifier::None,
            left: Box::new(numbered(left)),
            right: Box::new(numbered(right)),
        };
        let mut outer = select_all(derived(query_of(both), Some(alias_of("__both", []))));
        outer.projection = columns
            .iter()
            .zip(&names)
            .map(|(column, name)| SelectItem::ExprWithAlias {
                expr: Expr::Identifier(quoted(column)),
                alias: quoted(name),
            })
            .collect();
        *body = SetExpr::Select(Box::new(outer));
        Ok(())
    }
}
