//! Functions that DataFusion lacks, under the names that PostgreSQL and DuckDB give them, and those that the rewrites use (their names begin
//! with two underscores). Most are a line in a table: a name, what it takes, what it gives, and the work on arrays.

pub mod aggregates;
pub mod catalog;
mod dates;
mod format;
mod json;
mod lambdas;
mod list_aggregates;
mod lists;
mod numbers;
mod paths;
mod patterns;
mod printf;
mod shapes;
mod text;
mod zones;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{Result, ScalarValue, plan_datafusion_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, DocSection, Documentation, Expr, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::problems::wrap;
use crate::words::type_name;

/// What a function takes at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Text,
    Int,
    Double,
    /// A time, a date or a text that is one; it becomes a timestamp in microseconds.
    Stamp,
    Interval,
    List,
    Any,
}

/// One function.
struct Def {
    name: &'static str,
    /// What it takes: what must be there, and what may follow.
    takes: &'static [Takes],
    optional: &'static [Takes],
    /// Any number of more arguments of this kind.
    more: Option<Takes>,
    gives: fn(&[DataType]) -> Result<DataType>,
    run: fn(&[ArrayRef], &DataType) -> Result<ArrayRef>,
    volatility: Volatility,
    /// How it is called, and what it does.
    about: (&'static str, &'static str),
}

/// The usual case.
const DEF: Def = Def {
    name: "",
    takes: &[],
    optional: &[],
    more: None,
    gives: |_| Ok(DataType::Null),
    run: |_, _| Err(plan_datafusion_err!("it does nothing")),
    volatility: Volatility::Immutable,
    about: ("", ""),
};

impl Def {
    /// Arguments as it wants them.
    fn coerced(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let most = self.takes.len() + self.optional.len();
        if given.len() < self.takes.len() || given.len() > most && self.more.is_none() {
            let problem = Problem::new(
                Ename::TypeError,
                format!("{} does not take {} arguments", self.name, given.len()),
            );
            return Err(wrap(self.hinted(problem)));
        }
        let kinds = self.takes.iter().chain(self.optional).copied();
        let kinds = kinds.map(Some).chain(std::iter::repeat(self.more));
        given.iter().zip(kinds).map(|(given, kind)| self.one(given, kind.unwrap_or(Takes::Any))).collect()
    }

    fn one(&self, given: &DataType, kind: Takes) -> Result<DataType> {
        let text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let null = given.is_null();
        if let DataType::Dictionary(_, value) = given {
            return self.one(value, kind);
        }
        let to = match kind {
            Takes::Any => Some(given.clone()),
            Takes::Text => (text || null).then_some(DataType::Utf8),
            Takes::Int => (given.is_integer() || null).then_some(DataType::Int64),
            Takes::Double => (given.is_numeric() || null).then_some(DataType::Float64),
            Takes::Interval => {
                matches!(given, DataType::Interval(_) | DataType::Null | DataType::Duration(_))
                    .then_some(DataType::Interval(IntervalUnit::MonthDayNano))
            }
            Takes::Stamp => match given {
                DataType::Timestamp(_, zone) => {
                    Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
                }
                DataType::Date32 | DataType::Date64 | DataType::Null => {
                    Some(DataType::Timestamp(TimeUnit::Microsecond, None))
                }
                _ if text => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
                _ => None,
            },
            Takes::List => match given {
                DataType::List(_) | DataType::LargeList(_) | DataType::Null => Some(given.clone()),
                DataType::FixedSizeList(item, _) => Some(DataType::List(item.clone())),
                _ => None,
            },
        };
        to.ok_or_else(|| {
            let text = format!("{} does not take {}", self.name, type_name(given));
            wrap(self.hinted(Problem::new(Ename::TypeError, text)))
        })
    }

    fn hinted(&self, problem: Problem) -> Problem {
        if self.about.0.is_empty() { problem } else { problem.hint(format!("write {}", self.about.0)) }
    }
}

/// A function of the table for DataFusion.
struct Function {
    def: &'static Def,
    signature: Signature,
    documentation: Option<Documentation>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.def.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.def.name == other.def.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.def.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.def.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.def.coerced(given)
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        (self.def.gives)(&self.def.coerced(given)?)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows =
            if constant && self.def.volatility == Volatility::Immutable { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let made = (self.def.run)(&arrays, args.return_field.data_type())?;
        if constant && self.def.volatility == Volatility::Immutable && !arrays.is_empty() {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?));
        }
        Ok(ColumnarValue::Array(made))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.documentation.as_ref()
    }
}

/// The tables.
fn defs() -> impl Iterator<Item = &'static Def> {
    [
        text::DEFS,
        patterns::DEFS,
        printf::DEFS,
        numbers::DEFS,
        dates::DEFS,
        format::DEFS,
        zones::DEFS,
        json::DEFS,
        json::MORE,
        lists::DEFS,
        shapes::DEFS,
        paths::DEFS,
    ]
    .into_iter()
    .flatten()
}

static SCALARS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let section = DocSection::default();
    let made = defs().map(|def| {
        let documentation = (!def.about.0.is_empty())
            .then(|| Documentation::builder(section.clone(), def.about.1, def.about.0).build());
        let signature = Signature::user_defined(def.volatility);
        (def.name.to_owned(), Arc::new(ScalarUDF::new_from_impl(Function { def, signature, documentation })))
    });
    let mut all: HashMap<_, _> = made.collect();
    for function in list_aggregates::all() {
        all.insert(function.name().to_owned(), Arc::new(function));
    }
    all.insert("random".to_owned(), datafusion::functions::math::random());
    all.insert("floor".to_owned(), datafusion::functions::math::floor());
    all
});

/// Times of any kind as text, as a cast writes them.
pub fn time_text(times: &ArrayRef) -> Result<ArrayRef> {
    format::time_text(times)
}

/// The members of a JSON object that is written in a query.
pub(crate) fn json_members(text: &str) -> Option<Vec<(String, String)>> {
    json::members_of(text)
}

/// The elements of a JSON array that is written in a query.
pub(crate) fn json_elements(text: &str) -> Option<Vec<String>> {
    json::elements_of(text)
}

/// A call of one of these functions.
pub fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function = SCALARS.get(name).ok_or_else(|| plan_datafusion_err!("there is no function {name}"))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), args)))
}

/// A call of one of our aggregates.
pub fn aggregate(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function = aggregates::all().into_iter().find(|function| function.name() == name);
    let function = function.ok_or_else(|| plan_datafusion_err!("there is no aggregate {name}"))?;
    Ok(aggregate_call(Arc::new(function), args))
}

fn aggregate_call(function: Arc<AggregateUDF>, args: Vec<Expr>) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(function, args, false, None, Vec::new(), None))
}

/// Makes them known to a session.
pub fn register(state: &mut SessionState) -> Result<()> {
    for function in SCALARS.values() {
        state.register_udf(function.clone())?;
    }
    for function in lambdas::all() {
        state.register_higher_order_function(Arc::new(function))?;
    }
    for function in aggregates::all() {
        state.register_udaf(Arc::new(function))?;
    }
    Ok(())
}
