//! Items of FROM that are planned by us: samples of tables, summaries.

use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, TableFactor, TableSampleKind, TableSampleMethod,
    TableSampleUnit,
};

use crate::summary::Kept;
use carrel_query::plan::sample::{Sample, sampled};
use carrel_query::problems::wrap;

/// Plans them.
#[derive(Debug)]
pub struct Relations {
    /// Summaries that were made.
    pub summaries: Arc<Kept>,
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let mut relation = relation;
        let sample = match &mut relation {
            TableFactor::Table { sample, .. } | TableFactor::Derived { sample, .. } => sample.take(),
            _ => None,
        };
        if let Some(sample) = sample {
            let sample = read(sample, context)?;
            let plan = sampled(context.plan(relation)?, &sample)?;
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))));
        }
        match relation {
            TableFactor::Table { ref name, args: Some(ref args), ref alias, .. } => {
                let what = name.to_string();
                if what != "__describe" && what != "__summarize" {
                    return Ok(RelationPlanning::Original(Box::new(relation)));
                }
                let alias = alias.clone();
                let plan = planned(&args.args, context)?;
                let plan = match what.as_str() {
                    "__describe" => described(&plan)?,
                    _ => crate::summary::planned(plan, &self.summaries)?,
                };
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

/// The plan of the one query among the arguments.
fn planned(args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Subquery(query)))] = args else {
        let problem = Problem::new(Ename::SyntaxError, "a name or a query was expected here");
        return Err(wrap(problem));
    };
    context.plan(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None })
}

/// The columns of a plan as a table.
fn described(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let batch = crate::statement::describe_schema(plan.schema()).map_err(wrap)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    LogicalPlanBuilder::scan("describe", provider_as_source(Arc::new(table)), None)?.build()
}

fn read(sample: TableSampleKind, context: &mut dyn RelationPlannerContext) -> Result<Sample> {
    let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample;
    let refused = |what: &str| {
        Err(wrap(
            Problem::new(Ename::Unsupported, format!("{what} in TABLESAMPLE is not supported"))
                .hint("write TABLESAMPLE (10 PERCENT) or TABLESAMPLE (100 ROWS), with REPEATABLE (seed)"),
        ))
    };
    if sample.bucket.is_some() {
        return refused("BUCKET");
    }
    if sample.offset.is_some() {
        return refused("OFFSET");
    }
    let Some(quantity) = sample.quantity else { return refused("no amount") };
    let empty = DFSchema::empty();
    let mut value = |expr: SqlExpr| -> Result<Option<f64>> {
        Ok(match context.sql_to_expr(expr, &empty)? {
            Expr::Literal(value, _) => match value.cast_to(&arrow::datatypes::DataType::Float64) {
                Ok(ScalarValue::Float64(value)) => value,
                _ => None,
            },
            _ => None,
        })
    };
    let Some(amount) = value(quantity.value)? else { return refused("an amount that is no number") };
    let percent = match quantity.unit {
        Some(TableSampleUnit::Percent) => true,
        Some(TableSampleUnit::Rows) => false,
        None => matches!(sample.name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System)),
    };
    let seed = match sample.seed {
        Some(seed) => value(SqlExpr::Value(seed.value))?,
        None => None,
    };
    Ok(Sample { amount, percent, seed })
}
