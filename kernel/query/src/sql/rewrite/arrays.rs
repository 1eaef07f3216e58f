//! `ARRAY(SELECT …)`: the rows of a query as a list, in the order that the query sets.

use sqlparser::ast::{
    Expr, Function, FunctionArgumentClause, FunctionArguments, Ident, OrderByExpr, OrderByKind, Query,
    SelectItem, SetExpr, Spanned, WindowSpec, WindowType,
};

use super::{Rewriter, Stop, alias_of, derived, from, normalized, query_of, quoted, select_all};

/// The columns of the query that is gathered.
const VALUE: &str = "__v";
const PLACE: &str = "__n";

impl Rewriter<'_> {
    /// The query that gathers another one's rows.
    pub(super) fn array_of(&mut self, query: &Query) -> Result<Expr, Stop> {
        let mut rows = query.clone();
        let order = match rows.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(keys)) => keys.clone(),
            Some(OrderByKind::All(options)) => {
                vec![OrderByExpr { expr: from::number("1"), options: *options, with_fill: None }]
            }
            None => Vec::new(),
        };
        let ordered = !order.is_empty();
        if ordered {
            let SetExpr::Select(select) = rows.body.as_mut() else { return Err(self.unordered(query)) };
            let item = match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(expr)] => (None, expr.clone()),
                [SelectItem::ExprWithAlias { expr, alias }] => (Some(normalized(alias)), expr.clone()),
                _ => return Err(self.unordered(query)),
            };
            if select.distinct.is_some() {
                return Err(self.unordered(query));
            }
            let place = numbered(order, &item);
            select.projection.push(SelectItem::ExprWithAlias { expr: place, alias: quoted(PLACE) });
        }
        let columns = if ordered { vec![VALUE.to_owned(), PLACE.to_owned()] } else { vec![VALUE.to_owned()] };
        let mut gathered = select_all(derived(rows, Some(alias_of(&self.fresh("rows"), columns))));
        let mut list = from::call("array_agg", vec![Expr::Identifier(quoted(VALUE))]);
        if let (true, Expr::Function(Function { args: FunctionArguments::List(args), .. })) =
            (ordered, &mut list)
        {
            let expr = Expr::Identifier(quoted(PLACE));
            let key = OrderByExpr { expr, options: Default::default(), with_fill: None };
            args.clauses.push(FunctionArgumentClause::OrderBy(vec![key]));
        }
        gathered.projection = vec![SelectItem::UnnamedExpr(list)];
        let query = Expr::Subquery(Box::new(query_of(SetExpr::Select(Box::new(gathered)))));
        Ok(from::call("__or_empty", vec![query]))
    }

    fn unordered(&self, query: &Query) -> Stop {
        let hint = "select one plain value in it, or write list(x ORDER BY y)";
        self.unsupported(query.span(), "ORDER BY in this ARRAY(SELECT …) is not supported", hint)
    }
}

/// Each row's place. A number or an alias among the keys means the one item.
fn numbered(order: Vec<OrderByExpr>, (alias, item): &(Option<String>, Expr)) -> Expr {
    let meant = |expr: Expr| match &expr {
        Expr::Value(_) => item.clone(),
        Expr::Identifier(Ident { .. })
            if alias.is_some() && alias.as_deref() == name_of(&expr).as_deref() =>
        {
            item.clone()
        }
        _ => expr,
    };
    let order_by = order.into_iter().map(|key| OrderByExpr { expr: meant(key.expr), ..key }).collect();
    let spec = WindowSpec { window_name: None, partition_by: Vec::new(), order_by, window_frame: None };
    match from::call("row_number", Vec::new()) {
        Expr::Function(call) => Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), ..call }),
        other => other,
    }
}

fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(normalized(name)),
        _ => None,
    }
}
