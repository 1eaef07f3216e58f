//! DataFusion's context for a session: limits, caches, options, names.

use std::num::NonZeroUsize;
use std::sync::Arc;

use carrel_cell::problem::Problem;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::config::Config;
use crate::names::{CATALOG, Names, SESSION};
use crate::scratch::Scratch;
use crate::sql::Relations;
use crate::summary::Kept;
use carrel_query::plan::dates::Dates;
use carrel_query::plan::values::Values;
use carrel_query::sql::Operators;
use carrel_query::{functions, problems};

/// How many threads a query gets.
pub fn threads(config: &Config) -> usize {
    match config.engine.threads {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads,
    }
}

/// The context. Nothing is read.
pub fn context(
    config: &Config,
    scratch: &Scratch,
    names: Names,
    summaries: Arc<Kept>,
) -> Result<SessionContext, Problem> {
    let limit = usize::try_from(config.engine.memory_limit).unwrap_or(usize::MAX);
    let pool = TrackConsumersPool::new(FairSpillPool::new(limit), NonZeroUsize::MIN);
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![scratch.spill()]))
        .with_max_temp_directory_size(config.engine.spill_limit);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        // listings are checked by us, before every query
        .with_object_list_cache_limit(0)
        .build_arc()
        .map_err(|error| problems::of(&error, ""))?;
    let mut state = SessionStateBuilder::new()
        .with_config(session_config(config)?)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_catalog_list(Arc::new(names))
        .with_relation_planners(vec![Arc::new(Relations { summaries })])
        .with_analyzer_rule(Arc::new(Values))
        .with_optimizer_rule(Arc::new(Dates))
        .build();
    functions::register(&mut state).map_err(|error| problems::of(&error, ""))?;
    // ours come first: they know what the types mean
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Operators)];
    planners.extend(state.expr_planners().iter().cloned());
    let state = SessionStateBuilder::new_from_existing(state).with_expr_planners(planners).build();
    Ok(SessionContext::new_with_state(state))
}

fn session_config(config: &Config) -> Result<SessionConfig, Problem> {
    let mut session = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SESSION)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_batch_size(config.engine.batch_size)
        .with_target_partitions(threads(config));
    let options = session.options_mut();
    options.sql_parser.collect_spans = true;
    // 0.1 + 0.2 is 0.3, and a decimal compared with it stays exact
    options.sql_parser.parse_float_as_decimal = true;
    // as in DuckDB: NULLs come last, whichever way it is sorted
    options.sql_parser.default_null_ordering = "nulls_last".to_owned();
    options.execution.listing_table_ignore_subdirectory = false;
    options.execution.parquet.pushdown_filters = false;
    // enough for most footers; more would be read of every file that is only looked at
    options.execution.parquet.metadata_size_hint = Some(64 << 10);
    // a sort keeps this much for its merge in every partition; the default is too much for a small session
    let share = config.engine.memory_limit / (64 * threads(config) as u64);
    options.execution.sort_spill_reservation_bytes =
        usize::try_from(share.clamp(256 << 10, 10 << 20)).unwrap_or(1 << 20);
    Ok(session)
}
