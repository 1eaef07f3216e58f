//! A column of `VALUES` that holds a float holds floats only, as in DuckDB: the planner would make decimals of all, and 1e20 an error.

use sqlparser::ast::{DataType, Expr, Value, Values};

/// Decimals beside floats become floats, in each column.
pub(super) fn floats(values: &mut Values) {
    let columns = values.rows.iter().map(|row| row.len()).max().unwrap_or(0);
    for column in 0..columns {
        if values.rows.iter().any(|row| row.get(column).is_some_and(is_float)) {
            values.rows.iter_mut().filter_map(|row| row.get_mut(column)).for_each(to_float);
        }
    }
}

fn is_float(expr: &Expr) -> bool {
    match expr {
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_float(expr),
        Expr::Value(value) => matches!(&value.value, Value::Number(text, _) if text.contains(['e', 'E'])),
        Expr::Cast { data_type, .. } => matches!(
            data_type,
            DataType::Double(_)
                | DataType::DoublePrecision
                | DataType::Float(_)
                | DataType::Real
                | DataType::Float8
        ),
        _ => false,
    }
}

fn to_float(expr: &mut Expr) {
    match expr {
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => to_float(expr),
        Expr::Value(value) => {
            if let Value::Number(text, _) = &mut value.value
                && text.contains('.')
                && !text.contains(['e', 'E'])
            {
                text.push_str("e0");
            }
        }
        _ => {}
    }
}
