//! Aggregates over the powers of numbers: skewness, kurtosis, product.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Skewness,
    /// Of a sample, with its bias taken out.
    Kurtosis,
    KurtosisPop,
    Product,
}

pub(super) fn all() -> Vec<AggregateUDF> {
    [
        ("skewness", Kind::Skewness),
        ("kurtosis", Kind::Kurtosis),
        ("kurtosis_pop", Kind::KurtosisPop),
        ("product", Kind::Product),
    ]
    .into_iter()
    .map(|(name, kind)| {
        AggregateUDF::new_from_impl(Moment {
            name,
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
    .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Moment {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Moment {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [number] if number.is_numeric() || number.is_null() => Ok(vec![DataType::Float64]),
            _ => plan_err!("Function '{}' received {given:?}, it takes one number", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Moments { kind: self.kind, n: 0.0, mean: 0.0, m2: 0.0, m3: 0.0, m4: 0.0, product: 1.0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field =
            |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Float64, true));
        Ok(["n", "mean", "m2", "m3", "m4", "product"].into_iter().map(field).collect())
    }
}

/// Sums of powers of the distance from the mean, by Pébay's formulas.
#[derive(Debug)]
struct Moments {
    kind: Kind,
    n: f64,
    mean: f64,
    m2: f64,
    m3: f64,
    m4: f64,
    product: f64,
}

impl Moments {
    fn add(&mut self, n: f64, mean: f64, m2: f64, m3: f64, m4: f64) {
        let total = self.n + n;
        if n == 0.0 || total == 0.0 {
            return;
        }
        let (a, b, d) = (self.n, n, mean - self.mean);
        self.m4 += m4
            + d.powi(4) * a * b * (a * a - a * b + b * b) / total.powi(3)
            + 6.0 * d * d * (a * a * m2 + b * b * self.m2) / (total * total)
            + 4.0 * d * (a * m3 - b * self.m3) / total;
        self.m3 +=
            m3 + d.powi(3) * a * b * (a - b) / (total * total) + 3.0 * d * (a * m2 - b * self.m2) / total;
        self.m2 += m2 + d * d * a * b / total;
        self.mean += d * b / total;
        self.n = total;
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.add(1.0, value, 0.0, 0.0, 0.0);
            self.product *= value;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let column = |at: usize| states[at].as_primitive::<Float64Type>();
        for row in 0..states[0].len() {
            let part = |at: usize| column(at).value(row);
            self.add(part(0), part(1), part(2), part(3), part(4));
            self.product *= part(5);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts = [self.n, self.mean, self.m2, self.m3, self.m4, self.product];
        Ok(parts.into_iter().map(|part| ScalarValue::Float64(Some(part))).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let n = self.n;
        let value = match self.kind {
            Kind::Product => (n > 0.0).then_some(self.product),
            Kind::Skewness if n < 3.0 || self.m2 == 0.0 => None,
            Kind::Skewness => {
                let plain = n.sqrt() * self.m3 / self.m2.powf(1.5);
                Some(plain * (n * (n - 1.0)).sqrt() / (n - 2.0))
            }
            Kind::KurtosisPop if n < 2.0 || self.m2 == 0.0 => None,
            Kind::KurtosisPop => Some(n * self.m4 / (self.m2 * self.m2) - 3.0),
            Kind::Kurtosis if n < 4.0 || self.m2 == 0.0 => None,
            Kind::Kurtosis => {
                let plain = n * self.m4 / (self.m2 * self.m2) - 3.0;
                Some((n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * plain + 6.0))
            }
        };
        Ok(ScalarValue::Float64(value))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
