//! TPC-DS data for tests and measurements, one Parquet file a table: `cargo run -p kernel-engine --example tpcds -- <folder> <scale>`.
//! The same scale gives the same files. A folder that is complete is left as it is.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use tpcdsgen::config::SessionBuilder;
use tpcdsgen_arrow as tables;

/// Says that all tables are there.
const WHOLE: &str = ".whole";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(scale)) = (arguments.next(), arguments.next()) else {
        return Err("give a folder and a scale such as 0.01".into());
    };
    let (folder, scale) = (Path::new(&folder), scale.parse::<f64>()?);
    if folder.join(WHOLE).exists() {
        return Ok(());
    }
    let session = || SessionBuilder::new().with_scale_factor(scale).build();
    macro_rules! write {
        ($($name:literal $table:ident)*) => {
            $(write_table(&folder.join($name), tables::$table::new(session()?))?;)*
        };
    }
    write! {
        "call_center" CallCenterArrow
        "catalog_page" CatalogPageArrow
        "catalog_returns" CatalogReturnsArrow
        "catalog_sales" CatalogSalesArrow
        "customer" CustomerArrow
        "customer_address" CustomerAddressArrow
        "customer_demographics" CustomerDemographicsArrow
        "date_dim" DateDimArrow
        "household_demographics" HouseholdDemographicsArrow
        "income_band" IncomeBandArrow
        "inventory" InventoryArrow
        "item" ItemArrow
        "promotion" PromotionArrow
        "reason" ReasonArrow
        "ship_mode" ShipModeArrow
        "store" StoreArrow
        "store_returns" StoreReturnsArrow
        "store_sales" StoreSalesArrow
        "time_dim" TimeDimArrow
        "warehouse" WarehouseArrow
        "web_page" WebPageArrow
        "web_returns" WebReturnsArrow
        "web_sales" WebSalesArrow
        "web_site" WebSiteArrow
    }
    fs::write(folder.join(WHOLE), "")?;
    Ok(())
}

fn write_table(
    folder: &Path,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let path = folder.join("part-0.parquet");
    let mut writer = None;
    for batch in batches {
        let batch = batch?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(ArrowWriter::try_new(File::create(&path)?, batch.schema(), None)?),
        };
        writer.write(&batch)?;
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}
