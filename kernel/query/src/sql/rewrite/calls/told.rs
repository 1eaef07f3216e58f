//! Functions whose result has a shape that an argument tells: names of groups, parts of a date, a structure of JSON, fields by name.

use carrel_cell::problem::{Ename, Problem};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, visit_expressions_mut,
};

use super::super::{Rewriter, columns, from};
use super::{Made, arguments, parse_at};
use crate::functions::{json_elements, json_members};

/// Stands for the JSON value in a text that is parsed.
const VALUE: &str = "__value";

/// How deeply a structure may be nested.
const DEPTH: usize = 16;

impl Rewriter<'_> {
    /// What such a call means.
    pub(super) fn told(&mut self, name: &str, function: &Function) -> Made {
        let args = arguments(function);
        Ok(match (name, args.as_slice()) {
            ("regexp_extract", [text, pattern, Expr::Array(names)]) => {
                let Some(names) = texts(&names.elem) else { return Ok(None) };
                let group = |(at, name): (usize, String)| {
                    let group = from::number(&(at + 1).to_string());
                    [
                        from::text(&name),
                        from::call("regexp_extract", vec![text.clone(), pattern.clone(), group]),
                    ]
                };
                Some(from::call("named_struct", names.into_iter().enumerate().flat_map(group).collect()))
            }
            ("date_part" | "datepart", [Expr::Array(parts), time]) => {
                let Some(parts) = texts(&parts.elem) else { return Ok(None) };
                let part = |part: String| [from::text(&part), part_of(&part, time)];
                Some(from::call("named_struct", parts.into_iter().flat_map(part).collect()))
            }
            ("date_part" | "datepart", [part, time]) => match columns::string_of(part) {
                Some(part)
                    if super::super::expressions::OTHER_PARTS.contains(&part.to_lowercase().as_str()) =>
                {
                    Some(part_of(&part, time))
                }
                _ => None,
            },
            (
                "json_transform" | "from_json" | "json_transform_strict" | "from_json_strict",
                [json, structure],
            ) => {
                let strict = name.ends_with("strict");
                let made = columns::string_of(structure)
                    .and_then(|structure| typed(VALUE, &structure, strict, 0))
                    .and_then(|text| parse_at(&text, function.name.span()).ok());
                let Some(mut made) = made else {
                    let text = format!(
                        "{name} takes a structure such as '{{\"a\": \"BIGINT\", \"b\": [\"VARCHAR\"]}}'"
                    );
                    let problem = Problem::new(Ename::TypeError, text).hint("json_structure(json) tells one");
                    return Err(self.problem(structure.span(), problem));
                };
                put(&mut made, json);
                // what it is made of means something too
                self.expressions(&mut made)?;
                Some(made)
            }
            ("date_trunc" | "datetrunc", [part, time]) => {
                let years = match columns::string_of(part).unwrap_or_default().to_lowercase().as_str() {
                    "decade" | "decades" => "10",
                    "century" | "centuries" => "100",
                    "millennium" | "millennia" => "1000",
                    _ => return Ok(None),
                };
                let text = format!(
                    "make_timestamp((date_part('year', {VALUE}) // {years}) * {years}, 1, 1, 0, 0, 0)"
                );
                let Ok(mut made) = parse_at(&text, function.name.span()) else { return Ok(None) };
                put(&mut made, time);
                self.expressions(&mut made)?;
                Some(made)
            }
            ("list_pack" | "list_value" | "array_value", [_, ..]) => {
                Some(Expr::Array(sqlparser::ast::Array { elem: args, named: false }))
            }
            ("unnest", _) => return self.deep_unnest(function),
            _ => None,
        })
    }

    /// `unnest(list, max_depth := 2)`
    fn deep_unnest(&self, function: &Function) -> Made {
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value)), more] = list.args.as_slice() else {
            return Ok(None);
        };
        let (FunctionArg::Named { name, arg: FunctionArgExpr::Expr(told), .. }
        | FunctionArg::ExprNamed {
            name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(told), ..
        }) = more
        else {
            return Ok(None);
        };
        let depth = told.to_string().parse::<usize>().ok().filter(|depth| (1..=DEPTH).contains(depth));
        match (name.value.to_lowercase().as_str(), depth) {
            ("max_depth", Some(depth)) => {
                let flat = (1..depth).fold(value.clone(), |list, _| from::call("flatten", vec![list]));
                Ok(Some(from::call("unnest", vec![flat])))
            }
            _ => {
                let hint = "write unnest(list, max_depth := 2) for lists of lists, unnest(struct) for fields";
                Err(self.unsupported(name.span, format!("{} of unnest is not supported", name.value), hint))
            }
        }
    }
}

/// Puts a value where its name stands.
fn put(into: &mut Expr, value: &Expr) {
    let _ = visit_expressions_mut(into, |expr| {
        if matches!(expr, Expr::Identifier(ident) if ident.value == VALUE) {
            *expr = from::nested(value.clone());
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
}

fn texts(list: &[Expr]) -> Option<Vec<String>> {
    list.iter().map(columns::string_of).collect()
}

fn part_of(part: &str, time: &Expr) -> Expr {
    let part = part.to_lowercase();
    let function = if super::super::expressions::OTHER_PARTS.contains(&part.as_str()) {
        "__date_part"
    } else {
        "date_part"
    };
    from::call(function, vec![from::text(&part), time.clone()])
}

/// SQL that takes a JSON value apart as a structure says.
fn typed(value: &str, structure: &str, strict: bool, depth: usize) -> Option<String> {
    if depth > DEPTH {
        return None;
    }
    if let Some(members) = json_members(structure) {
        let each = members.iter().map(|(key, inner)| {
            let path = format!("$.\"{key}\"").replace('\'', "''");
            let part = typed(&format!("__json_path({value}, '{path}')"), inner, strict, depth + 1)?;
            Some(format!("'{}', {part}", key.replace('\'', "''")))
        });
        let each = each.collect::<Option<Vec<_>>>().filter(|each| !each.is_empty())?.join(", ");
        return Some(format!("CASE WHEN {value} IS NOT NULL THEN named_struct({each}) END"));
    }
    if let Some(elements) = json_elements(structure) {
        let [inner] = elements.as_slice() else { return None };
        let item = format!("__e{depth}");
        let each = typed(&item, inner, strict, depth + 1)?;
        return Some(format!("list_transform(__json_elements({value}), __lambda ({item}) {each})"));
    }
    let kind: String = serde_json::from_str(structure.trim()).ok()?;
    let cast = if strict { "CAST" } else { "TRY_CAST" };
    Some(match kind.to_uppercase().as_str() {
        "JSON" => value.to_owned(),
        "VARCHAR" | "TEXT" | "STRING" => format!("__json_path_text({value}, '$')"),
        kind => format!("{cast}(__json_path_text({value}, '$') AS {kind})"),
    })
}
