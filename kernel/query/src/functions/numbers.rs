//! Numbers: division, bits, chance.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int8Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{Result, ScalarValue};

use super::text::{boolean, double, int};
use super::{DEF, Def, Takes};
use crate::problems::wrap;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def { name: "__int_div", takes: &[Takes::Any, Takes::Any], gives: whole, run: int_div, ..DEF },
    Def {
        name: "__bit_xor",
        takes: &[Takes::Int, Takes::Int],
        gives: int,
        run: |args, _| bits(args, |a, b| a ^ b),
        ..DEF
    },
    Def {
        name: "__bit_not",
        takes: &[Takes::Int],
        gives: int,
        run: |args, _| Ok(Arc::new(args[0].as_primitive::<Int64Type>().unary::<_, Int64Type>(|n| !n))),
        ..DEF
    },
    Def {
        name: "__add",
        takes: &[Takes::Any, Takes::Any],
        gives: first,
        run: |args, _| checked(args, arrow::compute::kernels::numeric::add),
        ..DEF
    },
    Def {
        name: "__subtract",
        takes: &[Takes::Any, Takes::Any],
        gives: first,
        run: |args, _| checked(args, arrow::compute::kernels::numeric::sub),
        ..DEF
    },
    Def {
        name: "__multiply",
        takes: &[Takes::Any, Takes::Any],
        gives: first,
        run: |args, _| checked(args, arrow::compute::kernels::numeric::mul),
        ..DEF
    },
    Def { name: "__rounded", takes: &[Takes::Any], gives: first, run: rounded, ..DEF },
    Def {
        name: "bit_count",
        takes: &[Takes::Int],
        gives: |_| Ok(DataType::Int8),
        run: bit_count,
        about: ("bit_count(n)", "How many bits of a number are set."),
        ..DEF
    },
    Def {
        name: "__chance",
        takes: &[Takes::Double],
        more: Some(Takes::Any),
        gives: double,
        run: chance,
        ..DEF
    },
    Def {
        name: "even",
        takes: &[Takes::Double],
        gives: double,
        run: even,
        about: ("even(x)", "The next even number away from zero."),
        ..DEF
    },
    Def {
        name: "gamma",
        takes: &[Takes::Double],
        gives: double,
        run: |args, _| each(args, gamma),
        about: ("gamma(x)", "The gamma function."),
        ..DEF
    },
    Def {
        name: "lgamma",
        takes: &[Takes::Double],
        gives: double,
        run: |args, _| each(args, |x| Ok(ln_gamma(x))),
        about: ("lgamma(x)", "The logarithm of the gamma function."),
        ..DEF
    },
    Def {
        name: "isinf",
        takes: &[Takes::Double],
        gives: boolean,
        run: |args, _| test(args, f64::is_infinite),
        about: ("isinf(x)", "Is it infinite?"),
        ..DEF
    },
    Def {
        name: "isfinite",
        takes: &[Takes::Double],
        gives: boolean,
        run: |args, _| test(args, f64::is_finite),
        about: ("isfinite(x)", "Is it neither infinite nor NaN?"),
        ..DEF
    },
    Def {
        name: "width_bucket",
        takes: &[Takes::Double, Takes::Double, Takes::Double, Takes::Int],
        gives: int,
        run: width_bucket,
        about: (
            "width_bucket(x, low, high, n)",
            "The number of the bucket, of n between low and high, that a value falls into.",
        ),
        ..DEF
    },
    Def {
        name: "hash",
        takes: &[Takes::Any],
        more: Some(Takes::Any),
        gives: |_| Ok(DataType::UInt64),
        run: hash,
        about: ("hash(x, …)", "A number that is the same for the same values."),
        ..DEF
    },
];

fn first(given: &[DataType]) -> Result<DataType> {
    Ok(given.first().cloned().unwrap_or(DataType::Null))
}

/// Arithmetic that says when it overflows.
fn checked(
    args: &[ArrayRef],
    f: fn(&dyn arrow::array::Datum, &dyn arrow::array::Datum) -> std::result::Result<ArrayRef, ArrowError>,
) -> Result<ArrayRef> {
    Ok(f(&args[0], &args[1])?)
}

/// To the nearest whole number: halves away from zero for decimals, to the even one for doubles, as in PostgreSQL and DuckDB.
fn rounded(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    use arrow::datatypes::{Decimal128Type, Float32Type};
    Ok(match args[0].data_type() {
        DataType::Float64 => {
            Arc::new(args[0].as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even))
        }
        DataType::Float32 => {
            Arc::new(args[0].as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even))
        }
        to @ DataType::Decimal128(_, scale) if *scale > 0 => {
            let unit = 10_i128.pow(u32::try_from(*scale).unwrap_or(0));
            let half = unit / 2;
            let rows = args[0].as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(|value| {
                let away = if value < 0 { value.saturating_sub(half) } else { value.saturating_add(half) };
                away / unit * unit
            });
            Arc::new(rows.with_data_type(to.clone()))
        }
        _ => args[0].clone(),
    })
}

fn whole(given: &[DataType]) -> Result<DataType> {
    match given {
        [left, right] if left.is_floating() || right.is_floating() => Ok(DataType::Float64),
        [left, right] if (left.is_numeric() || left.is_null()) && (right.is_numeric() || right.is_null()) => {
            Ok(DataType::Int64)
        }
        _ => Err(wrap(
            Problem::new(Ename::TypeError, "// does not take these types").hint("it divides numbers"),
        )),
    }
}

/// Division without the fraction, towards zero; of doubles, rounded down.
fn int_div(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    let cast = |at: usize, to: &DataType| arrow::compute::cast(&args[at], to);
    if *to == DataType::Float64 {
        let (left, right) = (cast(0, to)?, cast(1, to)?);
        let rows = arrow::compute::try_binary::<_, _, _, Float64Type>(
            left.as_primitive::<Float64Type>(),
            right.as_primitive::<Float64Type>(),
            |a, b| if b == 0.0 { Err(ArrowError::DivideByZero) } else { Ok((a / b).floor()) },
        )?;
        return Ok(Arc::new(rows));
    }
    let decimal = DataType::Decimal128(38, 9);
    if args.iter().any(|arg| arg.data_type().is_decimal()) {
        let (left, right) = (cast(0, &decimal)?, cast(1, &decimal)?);
        use arrow::datatypes::Decimal128Type;
        let rows = arrow::compute::try_binary::<_, _, _, Int64Type>(
            left.as_primitive::<Decimal128Type>(),
            right.as_primitive::<Decimal128Type>(),
            |a, b| {
                if b == 0 {
                    return Err(ArrowError::DivideByZero);
                }
                i64::try_from(a / b).map_err(|_| ArrowError::ArithmeticOverflow(format!("{a} // {b}")))
            },
        )?;
        return Ok(Arc::new(rows));
    }
    let (left, right) = (cast(0, &DataType::Int64)?, cast(1, &DataType::Int64)?);
    let rows = arrow::compute::try_binary::<_, _, _, Int64Type>(
        left.as_primitive::<Int64Type>(),
        right.as_primitive::<Int64Type>(),
        |a, b| {
            if b == 0 {
                return Err(ArrowError::DivideByZero);
            }
            a.checked_div(b).ok_or_else(|| ArrowError::ArithmeticOverflow(format!("{a} // {b}")))
        },
    )?;
    Ok(Arc::new(rows))
}

fn bits(args: &[ArrayRef], f: fn(i64, i64) -> i64) -> Result<ArrayRef> {
    let (left, right) = (args[0].as_primitive::<Int64Type>(), args[1].as_primitive::<Int64Type>());
    Ok(Arc::new(arrow::compute::binary::<_, _, _, Int64Type>(left, right, f)?))
}

fn bit_count(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows =
        args[0].as_primitive::<Int64Type>().iter().map(|n| n.and_then(|n| i8::try_from(n.count_ones()).ok()));
    Ok(Arc::new(rows.collect::<Int8Array>()))
}

fn each(args: &[ArrayRef], f: fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let rows = args[0].as_primitive::<Float64Type>().iter().map(|x| x.map(f).transpose());
    Ok(Arc::new(rows.collect::<Result<Float64Array>>()?))
}

fn test(args: &[ArrayRef], f: fn(f64) -> bool) -> Result<ArrayRef> {
    let rows = args[0].as_primitive::<Float64Type>().iter().map(|x| x.map(f));
    Ok(Arc::new(rows.collect::<arrow::array::BooleanArray>()))
}

fn even(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    each(args, |x| {
        let away = (x.abs() / 2.0).ceil() * 2.0;
        Ok(away.copysign(x))
    })
}

fn gamma(x: f64) -> Result<f64> {
    if x <= 0.0 && x.fract() == 0.0 {
        return Err(wrap(Problem::new(Ename::ValueError, "gamma is not defined for this number")));
    }
    if x < 0.5 {
        return Ok(std::f64::consts::PI / ((std::f64::consts::PI * x).sin() * gamma(1.0 - x)?));
    }
    // small whole numbers are exact
    if x.fract() == 0.0 && x <= 20.0 {
        let mut product = 1.0;
        let mut n = 1.0;
        while n < x {
            product *= n;
            n += 1.0;
        }
        return Ok(product);
    }
    Ok(ln_gamma(x).exp())
}

/// Lanczos' approximation, good to 15 digits.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (std::f64::consts::PI / ((std::f64::consts::PI * x).sin()).abs()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let mut sum = C[0];
    let mut at = 1.0;
    for c in &C[1..] {
        sum += c / (x + at);
        at += 1.0;
    }
    let t = x + G + 0.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

fn width_bucket(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let float = |at: usize| args[at].as_primitive::<Float64Type>();
    let count = args[3].as_primitive::<Int64Type>();
    let (x, low, high) = (float(0), float(1), float(2));
    let rows = (0..x.len()).map(|row| {
        if x.is_null(row) || low.is_null(row) || high.is_null(row) || count.is_null(row) {
            return Ok(None);
        }
        let (x, low, high, n) = (x.value(row), low.value(row), high.value(row), count.value(row));
        if n <= 0 || low == high {
            return Err(wrap(Problem::new(
                Ename::ValueError,
                "width_bucket needs two different bounds and at least one bucket",
            )));
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "buckets are few")]
        let bucket = ((x - low) / (high - low) * n as f64).floor() as i64 + 1;
        Ok(Some(bucket.clamp(0, n + 1)))
    });
    Ok(Arc::new(rows.collect::<Result<Int64Array>>()?))
}

/// A number from 0 to 1 that a seed and a row determine.
fn chance(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let hashes = hashes(args)?;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    let rows = hashes.into_iter().map(|hash| (hash >> 11) as f64 / (1_u64 << 53) as f64);
    Ok(Arc::new(Float64Array::from_iter_values(rows)))
}

fn hash(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    Ok(Arc::new(arrow::array::UInt64Array::from(hashes(args)?)))
}

/// FNV and a finishing mix: the same on every machine and in every run.
#[derive(Clone, Copy)]
struct Stable(u64);

impl Hasher for Stable {
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[derive(Clone, Copy)]
struct Build;

impl BuildHasher for Build {
    type Hasher = Stable;

    fn build_hasher(&self) -> Stable {
        Stable(0xcbf2_9ce4_8422_2325)
    }
}

fn hashes(args: &[ArrayRef]) -> Result<Vec<u64>> {
    let rows = args.first().map_or(0, |array| array.len());
    let mut states = vec![Build.build_hasher(); rows];
    for array in args {
        let text = arrow::compute::cast(array, &DataType::Utf8);
        match text {
            Ok(text) => {
                for (state, value) in states.iter_mut().zip(text.as_string::<i32>().iter()) {
                    value.hash(state);
                }
            }
            Err(_) => {
                for (row, state) in states.iter_mut().enumerate() {
                    ScalarValue::try_from_array(array, row)?.to_string().hash(state);
                }
            }
        }
    }
    Ok(states.iter().map(Hasher::finish).collect())
}
