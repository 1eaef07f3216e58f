//! What DataFusion's planner may ask while it plans one statement: tables that were looked up before, functions, options.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue, TableReference, plan_datafusion_err};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{Query, Statement};

use crate::sql::types::Types;

/// One statement's view of the session.
pub struct Provider<'a> {
    /// DataFusion's state.
    pub state: &'a SessionState,
    tables: HashMap<TableReference, Arc<dyn TableSource>>,
    types: Arc<dyn TypePlanner>,
}

impl<'a> Provider<'a> {
    /// A view that knows no table yet.
    pub fn new(state: &'a SessionState) -> Self {
        let zone = state.config().options().execution.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = if zone == "+00:00" { "UTC".to_owned() } else { zone };
        Self { state, tables: HashMap::new(), types: Arc::new(Types { zone: zone.into() }) }
    }

    /// Makes a table known under the name that the statement uses.
    pub fn add(&mut self, name: TableReference, table: Arc<dyn TableSource>) {
        self.tables.insert(name, table);
    }

    /// Is a table known under this name?
    pub fn has(&self, name: &TableReference) -> bool {
        self.tables.contains_key(name)
    }

    /// The names of all columns of all tables that are known.
    pub fn column_names(&self) -> impl Iterator<Item = String> {
        let schemas = self.tables.values().map(|table| table.schema());
        schemas
            .flat_map(|schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>())
    }

    /// The plan of a query.
    pub fn plan(&self, query: Query) -> Result<LogicalPlan> {
        let options = ParserOptions::from(&self.state.config().options().sql_parser);
        SqlToRel::new_with_options(self, options).sql_statement_to_plan(Statement::Query(Box::new(query)))
    }

    /// The columns that a query gives.
    pub(super) fn columns(&self, query: Query) -> Result<DFSchemaRef> {
        self.plan(query).map(|plan| plan.schema().clone())
    }

    /// Is it the name of a scalar function, and of nothing else?
    pub(super) fn is_scalar(&self, name: &str) -> bool {
        self.get_function_meta(name).is_some() || self.get_higher_order_meta(name).is_some()
    }

    /// Is it the name of an aggregate function?
    pub(super) fn is_aggregate(&self, name: &str) -> bool {
        self.get_aggregate_meta(name).is_some()
    }

    /// Is it the name of any function?
    pub(super) fn is_function(&self, name: &str) -> bool {
        self.is_scalar(name) || self.is_aggregate(name) || self.get_window_meta(name).is_some()
    }
}

/// Times as DataFusion's series take them.
fn in_nanoseconds(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), zone), about) => {
            let finer = match micros.checked_mul(1000) {
                Some(nanos) => ScalarValue::TimestampNanosecond(Some(nanos), zone),
                None => ScalarValue::TimestampMicrosecond(Some(micros), zone),
            };
            Expr::Literal(finer, about)
        }
        other => other,
    }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.tables.get(&name).cloned().ok_or_else(|| plan_datafusion_err!("table '{name}' not found"))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self
            .state
            .table_functions()
            .get(&name.to_lowercase())
            .ok_or_else(|| plan_datafusion_err!("table function '{name}' not found"))?;
        let simplifier = ExprSimplifier::new(
            SimplifyContext::builder()
                .with_config_options(self.state.config_options().clone())
                .with_query_execution_start_time(self.state.execution_props().query_execution_start_time)
                .build(),
        );
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| {
                simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)).map(in_nanoseconds)
            })
            .collect::<Result<Vec<_>>>()?;
        let args = datafusion::catalog::TableFunctionArgs::new(&args, self.state);
        Ok(provider_as_source(function.create_table_provider_with_args(args)?))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.types.clone())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
