//! `list_sum`, `list_median`, …: aggregates over the values of each list.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate as df;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use crate::problems::wrap;
use crate::words::type_name;

/// All of them: by the aggregate's name, `list_` before it.
pub(super) fn all() -> Vec<ScalarUDF> {
    let mut aggregates: Vec<(&str, Arc<AggregateUDF>)> = vec![
        ("min", df::min_max::min_udaf()),
        ("max", df::min_max::max_udaf()),
        ("count", df::count::count_udaf()),
        ("median", df::median::median_udaf()),
        ("stddev_samp", df::stddev::stddev_udaf()),
        ("stddev_pop", df::stddev::stddev_pop_udaf()),
        ("var_samp", df::variance::var_samp_udaf()),
        ("var_pop", df::variance::var_pop_udaf()),
        ("bool_and", df::bool_and_or::bool_and_udaf()),
        ("bool_or", df::bool_and_or::bool_or_udaf()),
        ("bit_and", df::bit_and_or_xor::bit_and_udaf()),
        ("bit_or", df::bit_and_or_xor::bit_or_udaf()),
        ("bit_xor", df::bit_and_or_xor::bit_xor_udaf()),
        ("approx_count_distinct", df::approx_distinct::approx_distinct_udaf()),
    ];
    for ours in super::aggregates::all() {
        let name = match ours.name() {
            "sum" => "sum",
            "avg" => "avg",
            "mode" => "mode",
            "mad" => "mad",
            "entropy" => "entropy",
            "histogram" => "histogram",
            "skewness" => "skewness",
            "kurtosis" => "kurtosis",
            "kurtosis_pop" => "kurtosis_pop",
            "product" => "product",
            _ => continue,
        };
        aggregates.push((name, Arc::new(ours)));
    }
    let function = |(name, aggregate): (&str, Arc<AggregateUDF>)| {
        let (list, array) = (format!("list_{name}"), format!("array_{name}"));
        let about = format!("{name} of the values of a list.");
        ScalarUDF::new_from_impl(OfList {
            documentation: Documentation::builder(Default::default(), about, format!("{list}(list)")).build(),
            name: list,
            aliases: vec![array],
            aggregate,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    };
    aggregates.into_iter().map(function).collect()
}

#[derive(Debug)]
struct OfList {
    name: String,
    aliases: Vec<String>,
    aggregate: Arc<AggregateUDF>,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for OfList {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for OfList {}

impl Hash for OfList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl OfList {
    /// The value's field as the aggregate takes it, and what comes out.
    fn fields(&self, list: &DataType) -> Result<(Vec<FieldRef>, FieldRef)> {
        let DataType::List(item) = list else {
            let text = format!("{} does not take {}", self.name, type_name(list));
            return Err(wrap(
                Problem::new(Ename::TypeError, text).hint(format!("write {}([1, 2, 3])", self.name)),
            ));
        };
        let item: FieldRef = Arc::new(Field::new("value", item.data_type().clone(), true));
        let fields = fields_with_udf(&[item], self.aggregate.as_ref())?;
        let made = self.aggregate.return_field(&fields)?;
        Ok((fields, made))
    }
}

impl ScalarUDFImpl for OfList {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [DataType::LargeList(item) | DataType::FixedSizeList(item, _)] => {
                Ok(vec![DataType::List(item.clone())])
            }
            [DataType::Null] => Ok(vec![DataType::new_list(DataType::Int64, true)]),
            [one] => Ok(vec![one.clone()]),
            _ => {
                let text = format!("{} does not take {} arguments", self.name, given.len());
                Err(wrap(Problem::new(Ename::TypeError, text)))
            }
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let given = self.coerce_types(given)?;
        let list = given.first().cloned().unwrap_or(DataType::Null);
        Ok(self.fields(&list)?.1.data_type().clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists: ArrayRef = match args.args.first() {
            Some(lists) => lists.to_array(args.number_rows)?,
            None => return Ok(ColumnarValue::Scalar(ScalarValue::Null)),
        };
        let (fields, return_field) = self.fields(lists.data_type())?;
        let schema = Schema::new(fields.clone());
        let exprs: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("value", 0))];
        let to = fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let mut rows = Vec::with_capacity(lists.len());
        for list in lists.as_list::<i32>().iter() {
            let Some(list) = list else {
                rows.push(ScalarValue::try_from(return_field.data_type())?);
                continue;
            };
            let mut accumulator = self.aggregate.accumulator(AccumulatorArgs {
                return_field: return_field.clone(),
                schema: &schema,
                ignore_nulls: false,
                order_bys: &[],
                is_reversed: false,
                name: &self.name,
                is_distinct: false,
                exprs: &exprs,
                expr_fields: &fields,
            })?;
            accumulator.update_batch(&[cast(&list, &to)?])?;
            rows.push(accumulator.evaluate()?);
        }
        if rows.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(return_field.data_type())));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(rows)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
