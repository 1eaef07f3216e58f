//! Aggregate functions that DataFusion lacks, and two that it has otherwise: `sum` of whole numbers fails where it would overflow, and `avg` of
//! decimals is a double, as in DuckDB.

mod collect;
mod moments;
mod sums;

use datafusion::logical_expr::AggregateUDF;

/// All of them.
pub(super) fn all() -> Vec<AggregateUDF> {
    let mut all = vec![
        AggregateUDF::new_from_impl(sums::Sum::new()),
        AggregateUDF::new_from_impl(sums::Average::new()),
    ];
    all.extend(collect::all());
    all.extend(moments::all());
    all
}
