//! DataFusion's context for a session: limits, caches, options, names.

use std::num::NonZeroUsize;
use std::sync::Arc;

use carrel_cell::problem::Problem;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::config::Config;
use crate::names::{CATALOG, Names, SESSION};
use crate::problems;
use crate::scratch::Scratch;

/// How many threads a query gets.
pub fn threads(config: &Config) -> usize {
    match config.engine.threads {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads,
    }
}

/// The context. Nothing is read.
pub fn context(config: &Config, scratch: &Scratch, names: Names) -> Result<SessionContext, Problem> {
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
    let state = SessionStateBuilder::new()
        .with_config(session_config(config)?)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_catalog_list(Arc::new(names))
        .build();
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
