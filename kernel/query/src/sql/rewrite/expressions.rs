//! Expressions: operators and forms of other dialects as functions and forms that the planner has.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CharacterLength, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Interval, Spanned, Subscript, UnaryOperator, Value, ValueWithSpan,
};

use super::{Done, Rewriter, from};

/// Parts of a date that `date_part` of the planner does not have.
pub(super) const OTHER_PARTS: &[&str] = &[
    "isoyear",
    "century",
    "decade",
    "millennium",
    "era",
    "julian",
    "second",
    "seconds",
    "timezone",
    "yearweek",
];

impl Rewriter<'_> {
    /// Before the parts of an expression are looked at.
    pub(super) fn before(&mut self, expr: &mut Expr) -> Done {
        if let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = expr
            && super::last_name(name) == "array"
        {
            *expr = self.array_of(query)?;
            return Ok(());
        }
        if let Some(made) = self.tuples(expr)? {
            *expr = made;
        }
        Ok(())
    }

    /// After its parts were rewritten.
    pub(super) fn after(&mut self, expr: &mut Expr) -> Done {
        let made = match expr {
            Expr::Function(function) => self.call(function)?,
            Expr::Interval(interval) => interval_of(interval),
            Expr::BinaryOp { left, op, right } => operator(left, op, right),
            Expr::AtTimeZone { timestamp, time_zone } => {
                Some(from::call("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()]))
            }
            Expr::Cast { kind, expr, data_type, format, .. } => {
                match (length_of(data_type), &format, &data_type) {
                    (_, Some(_), _) => None,
                    (Some(length), ..) => {
                        let plain = Expr::Cast {
                            kind: kind.clone(),
                            expr: expr.clone(),
                            data_type: DataType::Varchar(None),
                            array: false,
                            format: None,
                        };
                        Some(from::call("left", vec![plain, from::number(&length.to_string())]))
                    }
                    (_, None, DataType::JSON | DataType::JSONB) => {
                        let check = if *kind == CastKind::TryCast { "__try_json" } else { "json" };
                        Some(from::call(check, vec![expr.as_ref().clone()]))
                    }
                    _ => None,
                }
            }
            Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                let mut args = vec![expr.as_ref().clone(), pattern.as_ref().clone()];
                args.extend(escape_char.as_ref().map(|escape| from::text(&text_of(escape))));
                Some(not(from::call("__similar_to", args), *negated))
            }
            Expr::Like { negated, any, expr, pattern, escape_char } => {
                like(expr, pattern, *any, escape_char.as_ref(), *negated, "like")
            }
            Expr::ILike { negated, any, expr, pattern, escape_char } => {
                like(expr, pattern, *any, escape_char.as_ref(), *negated, "ilike")
            }
            Expr::RLike { negated, expr, pattern, .. } => Some(not(
                from::call("regexp_like", vec![expr.as_ref().clone(), pattern.as_ref().clone()]),
                *negated,
            )),
            Expr::InUnnest { expr, array_expr, negated } => Some(not(
                from::call("array_has", vec![array_expr.as_ref().clone(), expr.as_ref().clone()]),
                *negated,
            )),
            Expr::Extract { field, expr, .. } => {
                let name = field.to_string().to_lowercase();
                let name = name.trim_matches('\'');
                match name {
                    // BigQuery counts days of the week from 1
                    "dayofweek" => Some(part("dow", expr)),
                    "dayofyear" => Some(part("doy", expr)),
                    "isoweek" => Some(part("week", expr)),
                    _ if OTHER_PARTS.contains(&name) => {
                        Some(from::call("__date_part", vec![from::text(name), expr.as_ref().clone()]))
                    }
                    _ => None,
                }
            }
            Expr::Convert { is_try, expr, data_type: Some(data_type), charset: None, styles, .. }
                if styles.is_empty() =>
            {
                Some(Expr::Cast {
                    kind: if *is_try { CastKind::TryCast } else { CastKind::Cast },
                    expr: expr.clone(),
                    data_type: data_type.clone(),
                    array: false,
                    format: None,
                })
            }
            // -2 ^ 2 is (-2) ^ 2, as PostgreSQL and DuckDB have it
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match inner.as_mut() {
                Expr::Function(Function { name, args: FunctionArguments::List(list), .. })
                    if name.to_string() == "power" && name.span() == from::nowhere() =>
                {
                    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(base))) = list.args.first_mut() {
                        let negative = Expr::UnaryOp {
                            op: UnaryOperator::Minus,
                            expr: Box::new(from::nested(base.clone())),
                        };
                        *base = Expr::Nested(Box::new(negative));
                    }
                    Some(inner.as_ref().clone())
                }
                _ => None,
            },
            Expr::Substring { expr, substring_from: Some(start), substring_for, .. }
                if !super::calls::is_positive(start) =>
            {
                let args = [expr.as_ref().clone(), start.as_ref().clone()];
                let length = substring_for.as_ref().map(|length| length.as_ref().clone());
                Some(from::call("__substr", args.into_iter().chain(length).collect()))
            }
            // a number with an exponent is a double, as in PostgreSQL's and DuckDB's arithmetic
            Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. })
                if number.contains(['e', 'E']) && !number.starts_with("0x") =>
            {
                Some(Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(from::text(number)),
                    data_type: DataType::DoublePrecision,
                    array: false,
                    format: None,
                })
            }
            Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => {
                Some(from::call("__bit_not", vec![expr.as_ref().clone()]))
            }
            Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => {
                Some(from::call("abs", vec![expr.as_ref().clone()]))
            }
            Expr::UnaryOp { op: UnaryOperator::PGPostfixFactorial, expr } => {
                Some(from::call("factorial", vec![expr.as_ref().clone()]))
            }
            Expr::CompoundFieldAccess { access_chain, .. } if access_chain.iter().any(is_short) => {
                access_chain.iter_mut().for_each(written_out);
                return self.after(expr);
            }
            Expr::CompoundFieldAccess { root, access_chain }
                if access_chain.iter().any(|access| matches!(access, AccessExpr::Dot(Expr::Function(_)))) =>
            {
                self.chain(root, access_chain)?
            }
            _ => None,
        };
        if let Some(made) = made {
            *expr = made;
        }
        Ok(())
    }

    /// `'text'.upper().left(2)`
    fn chain(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Option<Expr>, super::Stop> {
        let mut expr = root.clone();
        for access in chain {
            expr = match access {
                AccessExpr::Dot(Expr::Function(function)) => {
                    let mut call = function.clone();
                    if let FunctionArguments::List(list) = &mut call.args {
                        list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
                    }
                    match self.call(&mut call)? {
                        Some(made) => made,
                        None => Expr::Function(call),
                    }
                }
                other => {
                    Expr::CompoundFieldAccess { root: Box::new(expr), access_chain: vec![other.clone()] }
                }
            };
        }
        Ok(Some(expr))
    }
}

/// `.field` of a struct, `[a:]`, `[:b]`
fn is_short(access: &AccessExpr) -> bool {
    match access {
        AccessExpr::Dot(Expr::Identifier(_)) => true,
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) => {
            lower_bound.is_none() || upper_bound.is_none()
        }
        _ => false,
    }
}

fn written_out(access: &mut AccessExpr) {
    match access {
        AccessExpr::Dot(field) => {
            if let Expr::Identifier(name) = field {
                *field = from::text(&super::normalized(name));
            }
        }
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) => {
            lower_bound.get_or_insert_with(|| from::number("1"));
            // the last one, counted from the end
            upper_bound.get_or_insert_with(|| from::number("-1"));
        }
        AccessExpr::Subscript(Subscript::Index { .. }) => {}
    }
}

fn part(name: &str, expr: &Expr) -> Expr {
    from::call("date_part", vec![from::text(name), expr.clone()])
}

/// An interval's amount as the planner reads it: text, or an interval times a number.
fn interval_of(interval: &Interval) -> Option<Expr> {
    let with = |value: Expr| Expr::Interval(Interval { value: Box::new(value), ..interval.clone() });
    match interval.value.as_ref() {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => Some(with(from::text(number))),
        Expr::Value(_) => None,
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => {
                Some(with(from::text(&format!("-{number}"))))
            }
            _ => computed(interval),
        },
        _ => computed(interval),
    }
}

fn computed(interval: &Interval) -> Option<Expr> {
    let unit = interval.leading_field.as_ref()?.to_string().to_lowercase();
    Some(from::call("__interval_of", vec![from::text(&unit), interval.value.as_ref().clone()]))
}

fn operator(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let function = match op {
        BinaryOperator::BitwiseXor | BinaryOperator::PGExp => "power",
        BinaryOperator::PGBitwiseXor => "__bit_xor",
        BinaryOperator::DuckIntegerDivide | BinaryOperator::MyIntegerDivide => "__int_div",
        BinaryOperator::Arrow => "__json_get",
        BinaryOperator::LongArrow => "__json_get_text",
        BinaryOperator::HashArrow => "__json_path",
        BinaryOperator::HashLongArrow => "__json_path_text",
        BinaryOperator::AtAt => "__at_at",
        BinaryOperator::PGOverlap => "array_has_any",
        BinaryOperator::PGStartsWith => "starts_with",
        BinaryOperator::Custom(name) if name == "GLOB" => "__glob",
        BinaryOperator::DoubleHash => return None,
        BinaryOperator::Xor => {
            let both = from::binary(
                Expr::IsTrue(Box::new(from::nested(left.clone()))),
                BinaryOperator::NotEq,
                from::nested(right.clone()),
            );
            return Some(Expr::Nested(Box::new(both)));
        }
        _ => return None,
    };
    let bare = |expr: &Expr| match expr {
        Expr::Nested(inner) => inner.as_ref().clone(),
        other => other.clone(),
    };
    Some(from::call(function, vec![bare(left), bare(right)]))
}

/// LIKE ANY, and LIKE with an escape that the planner does not know.
fn like(
    expr: &Expr,
    pattern: &Expr,
    any: bool,
    escape: Option<&ValueWithSpan>,
    negated: bool,
    kind: &str,
) -> Option<Expr> {
    let one = |pattern: &Expr| match kind {
        "like" => Expr::Like {
            negated: false,
            any: false,
            expr: Box::new(expr.clone()),
            pattern: Box::new(pattern.clone()),
            escape_char: None,
        },
        _ => Expr::ILike {
            negated: false,
            any: false,
            expr: Box::new(expr.clone()),
            pattern: Box::new(pattern.clone()),
            escape_char: None,
        },
    };
    if any {
        let patterns: Vec<&Expr> = match pattern {
            Expr::Tuple(all) => all.iter().collect(),
            Expr::Array(all) => all.elem.iter().collect(),
            Expr::Nested(one) => vec![one],
            _ => return None,
        };
        let all =
            patterns.into_iter().map(one).reduce(|all, next| from::binary(all, BinaryOperator::Or, next))?;
        return Some(not(Expr::Nested(Box::new(all)), negated));
    }
    let escape = text_of(escape?);
    if escape == "\\" {
        return None;
    }
    let args = vec![expr.clone(), pattern.clone(), from::text(&escape), from::text(kind)];
    Some(not(from::call("__like", args), negated))
}

fn not(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(from::nested(expr)) } } else { expr }
}

fn text_of(value: &ValueWithSpan) -> String {
    match &value.value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The length of `VARCHAR(n)`.
fn length_of(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::CharacterVarying(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::CharVarying(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::Nvarchar(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::Char(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::Character(Some(CharacterLength::IntegerLength { length, .. })) => Some(*length),
        _ => None,
    }
}
