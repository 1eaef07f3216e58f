//! Names as people expect them of files. `Country` means `"Country"` where a table of the query has that column and none has `country`:
//! bare names fold to small letters, but files are full of capitals. And `'data/sales.csv'` without an alias is called `sales`.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use carrel_query::sql::{DATE_PARTS, Provider};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint, JoinOperator,
    ObjectNamePart, Query, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

use crate::catalog::data_file;

/// Gives files their names, where nothing else in the query is called so.
pub(super) fn files(query: &mut Query) {
    let mut own = Own::default();
    let _ = VisitMut::visit(query, &mut own);
    let mut given = Files { taken: own.names };
    let _ = VisitMut::visit(query, &mut given);
}

struct Files {
    taken: HashSet<String>,
}

impl VisitorMut for Files {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && let [ObjectNamePart::Identifier(path)] = name.0.as_slice()
            && path.quote_style == Some('\'')
            && let Some((stem, _)) = data_file(path.value.rsplit('/').next().unwrap_or_default())
            && !stem.contains(['*', '?', '[', '.'])
            && self.taken.insert(stem.to_lowercase())
        {
            let name = Ident { value: stem.to_lowercase(), quote_style: Some('"'), span: path.span };
            *alias = Some(TableAlias { explicit: false, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// Quotes such names, unless the query gives a name of its own that differs by capitals only.
pub(super) fn found(query: &mut Query, provider: &Provider<'_>) {
    let mut spelt: HashMap<String, HashSet<String>> = HashMap::new();
    for name in provider.column_names() {
        spelt.entry(name.to_lowercase()).or_default().insert(name);
    }
    let mut names: HashMap<String, String> = HashMap::new();
    for (lower, all) in spelt {
        if let Some(one) = all.into_iter().next().filter(|one| *one != lower) {
            names.insert(lower, one);
        }
    }
    // several spellings are several columns
    names.retain(|lower, one| {
        provider.column_names().all(|name| name.to_lowercase() != *lower || name == *one)
    });
    if names.is_empty() {
        return;
    }
    let mut own = Own::default();
    let _ = VisitMut::visit(query, &mut own);
    names.retain(|lower, _| !own.names.contains(lower));
    let _ = VisitMut::visit(query, &mut Quote { names, words: own.words });
}

/// Names that the query itself gives, and words that stand where a column could but mean something else.
#[derive(Default)]
struct Own {
    names: HashSet<String>,
    words: HashSet<Span>,
}

impl Own {
    fn alias(&mut self, alias: Option<&TableAlias>) {
        let Some(alias) = alias else { return };
        self.names.insert(alias.name.value.to_lowercase());
        self.names.extend(alias.columns.iter().map(|column| column.name.value.to_lowercase()));
    }
}

impl VisitorMut for Own {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.alias(Some(&cte.alias));
        }
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_ref(), right.as_ref()]),
                SetExpr::Select(select) => {
                    for item in &select.projection {
                        if let SelectItem::ExprWithAlias { alias, .. } = item {
                            self.names.insert(alias.value.to_lowercase());
                        }
                    }
                    self.names.extend(select.named_window.iter().map(|window| window.0.value.to_lowercase()));
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                if let (None, Some(last)) = (&alias, name.0.last().and_then(ObjectNamePart::as_ident)) {
                    self.names.insert(last.value.to_lowercase());
                }
                self.alias(alias.as_ref());
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => self.alias(alias.as_ref()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call) => {
                let FunctionArguments::List(list) = &call.args else { return ControlFlow::Continue(()) };
                for arg in &list.args {
                    match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(word)))
                            if DATE_PARTS.contains(&word.value.to_lowercase().trim_end_matches('s')) =>
                        {
                            self.words.insert(word.span);
                        }
                        FunctionArg::Named { name, .. } => {
                            self.names.insert(name.value.to_lowercase());
                        }
                        FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
                            self.names.insert(name.value.to_lowercase());
                        }
                        _ => {}
                    }
                }
            }
            Expr::Lambda(lambda) => {
                let params: Vec<String> =
                    lambda.params.iter().map(|param| param.name.value.to_lowercase()).collect();
                self.names.extend(params);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct Quote {
    names: HashMap<String, String>,
    words: HashSet<Span>,
}

impl Quote {
    fn quote(&self, ident: &mut Ident) {
        if ident.quote_style.is_none()
            && !self.words.contains(&ident.span)
            && let Some(name) = self.names.get(&ident.value.to_lowercase())
        {
            ident.value.clone_from(name);
            ident.quote_style = Some('"');
        }
    }

    fn using(&self, table: &mut TableWithJoins) {
        for join in &mut table.joins {
            let (JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::Semi(constraint)
            | JoinOperator::Anti(constraint)) = &mut join.join_operator
            else {
                continue;
            };
            let JoinConstraint::Using(columns) = constraint else { continue };
            for part in columns.iter_mut().flat_map(|column| &mut column.0) {
                if let ObjectNamePart::Identifier(ident) = part {
                    self.quote(ident);
                }
            }
        }
    }
}

impl VisitorMut for Quote {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.from.iter_mut().for_each(|table| self.using(table));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.quote(ident),
            Expr::CompoundIdentifier(parts) => {
                if let Some(last) = parts.last_mut() {
                    self.quote(last);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
