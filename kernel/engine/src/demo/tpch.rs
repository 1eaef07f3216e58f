//! TPC-H tables, from the generator crates (dbgen's rows, bit for bit), each as a folder of Parquet files.

use std::path::{Path, PathBuf};

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RecordBatchIterator,
    RegionArrow, SupplierArrow,
};

use super::{DemoError, Task, files};

/// Line items of scale factor 1.
const LINE_ITEMS: f64 = 6_000_000.0;
/// About how many line items go into one file.
const PER_FILE: f64 = 150_000.0;

/// Adds one task for each file of the eight tables.
pub(super) fn tasks(scale: f64, out: &Path, tasks: &mut Vec<Task<'_>>) {
    let big = (LINE_ITEMS * scale / PER_FILE).ceil().clamp(1.0, 10_000.0) as i32;
    let middle = (big / 4).max(1);
    each(tasks, out, "lineitem", big, move |p, n| LineItemArrow::new(LineItemGenerator::new(scale, p, n)));
    each(tasks, out, "orders", middle, move |p, n| OrderArrow::new(OrderGenerator::new(scale, p, n)));
    each(tasks, out, "partsupp", middle, move |p, n| PartSuppArrow::new(PartSuppGenerator::new(scale, p, n)));
    each(tasks, out, "part", 1, move |p, n| PartArrow::new(PartGenerator::new(scale, p, n)));
    each(tasks, out, "customer", 1, move |p, n| CustomerArrow::new(CustomerGenerator::new(scale, p, n)));
    each(tasks, out, "supplier", 1, move |p, n| SupplierArrow::new(SupplierGenerator::new(scale, p, n)));
    each(tasks, out, "nation", 1, move |p, n| NationArrow::new(NationGenerator::new(scale, p, n)));
    each(tasks, out, "region", 1, move |p, n| RegionArrow::new(RegionGenerator::new(scale, p, n)));
}

fn each<T: RecordBatchIterator>(
    tasks: &mut Vec<Task<'_>>,
    out: &Path,
    table: &str,
    parts: i32,
    make: impl Fn(i32, i32) -> T + Copy + Send + 'static,
) {
    for part in 1..=parts {
        let path: PathBuf = out.join(table).join(files::part(part as usize - 1));
        tasks.push(Box::new(move || -> Result<(), DemoError> {
            let batches = make(part, parts);
            let schema = batches.schema().clone();
            files::write(&path, &schema, batches.map(Ok))
        }));
    }
}
