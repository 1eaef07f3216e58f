//! Named windows, written out where they are used. (The planner takes a name's definition only where it stands alone.)

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use carrel_cell::problem::{Ename, Problem};
use sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderBy, Query, Select, VisitMut, VisitorMut,
    WindowSpec, WindowType,
};

use super::{Done, Rewriter, Stop, normalized};

impl Rewriter<'_> {
    /// Writes out the windows of a SELECT and its ORDER BY.
    pub(super) fn windows(&mut self, select: &mut Select, order_by: &mut Option<OrderBy>) -> Done {
        let mut known: BTreeMap<String, WindowSpec> = BTreeMap::new();
        for NamedWindowDefinition(name, meaning) in std::mem::take(&mut select.named_window) {
            let spec = match meaning {
                NamedWindowExpr::NamedWindow(other) => self.named(&known, &other)?,
                NamedWindowExpr::WindowSpec(spec) => self.resolved(&known, spec)?,
            };
            if known.insert(normalized(&name), spec).is_some() {
                let problem = Problem::new(Ename::AmbiguousName, format!("two windows are called {name}"));
                return Err(self.problem(name.span, problem));
            }
        }
        let mut walk = Walk { rewriter: self, known: &known, depth: 0 };
        if let ControlFlow::Break(stop) = select.visit(&mut walk) {
            return Err(*stop);
        }
        if let Some(order) = order_by
            && let ControlFlow::Break(stop) = order.visit(&mut walk)
        {
            return Err(*stop);
        }
        Ok(())
    }

    fn named(&self, known: &BTreeMap<String, WindowSpec>, name: &Ident) -> Result<WindowSpec, Stop> {
        known.get(&normalized(name)).cloned().ok_or_else(|| {
            let problem = Problem::new(Ename::UnknownColumn, format!("no window {name}"))
                .hint("name it after FROM: WINDOW w AS (PARTITION BY … ORDER BY …)")
                .suggest(&name.value, known.keys());
            self.problem(name.span, problem)
        })
    }

    /// A window that may begin with another one's name.
    fn resolved(
        &self,
        known: &BTreeMap<String, WindowSpec>,
        mut spec: WindowSpec,
    ) -> Result<WindowSpec, Stop> {
        let Some(name) = spec.window_name.take() else { return Ok(spec) };
        let base = self.named(known, &name)?;
        let wrong = |what: &str| {
            let problem = Problem::new(Ename::SyntaxError, format!("the window {name} has {what} already"));
            self.problem(name.span, problem.hint("say it in one of the two places"))
        };
        // the mark of EXCLUDE may stand there by itself
        let own: Vec<Expr> = std::mem::take(&mut spec.partition_by);
        let marks_only = own.iter().all(|key| key.to_string().starts_with("__exclude"));
        if !marks_only {
            return Err(wrong("PARTITION BY"));
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return Err(wrong("ORDER BY"));
        }
        if base.window_frame.is_some() {
            return Err(wrong("a frame"));
        }
        Ok(WindowSpec {
            window_name: None,
            partition_by: own.into_iter().chain(base.partition_by).collect(),
            order_by: if spec.order_by.is_empty() { base.order_by } else { spec.order_by },
            window_frame: spec.window_frame,
        })
    }
}

struct Walk<'r, 'a> {
    rewriter: &'r Rewriter<'a>,
    known: &'r BTreeMap<String, WindowSpec>,
    depth: usize,
}

impl VisitorMut for Walk<'_, '_> {
    type Break = Box<Stop>;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Box<Stop>> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Box<Stop>> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Stop>> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let made = match function.over.take() {
            None => return ControlFlow::Continue(()),
            Some(WindowType::NamedWindow(name)) => self.rewriter.named(self.known, &name),
            Some(WindowType::WindowSpec(spec)) => self.rewriter.resolved(self.known, spec),
        };
        match made {
            Ok(spec) => {
                function.over = Some(WindowType::WindowSpec(spec));
                ControlFlow::Continue(())
            }
            Err(stop) => ControlFlow::Break(Box::new(stop)),
        }
    }
}
