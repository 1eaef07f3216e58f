//! What a specification says of a whole chart: titles, scales, legends, new names of categories, panels.

use carrel_cell::problem::{Ename, Problem};

use super::Panels;
use crate::aesthetic::{Aes, Axis};
use crate::frame::{Kind, Value};
use crate::layer::Drawn;
use crate::scale::{Legend, categories};
use crate::spec::{ScaleSpec, Scaled, Spec};

/// Panels at most.
const PANELS: usize = 48;

pub(super) fn label(spec: &Spec, name: &str) -> Option<String> {
    spec.labels.iter().rev().find(|(known, _)| known == name).map(|(_, text)| text.clone())
}

pub(super) fn scale_of(spec: &Spec, of: Scaled) -> Option<&ScaleSpec> {
    // PROJECT y, x: what is called y lies across.
    let of = match of {
        Scaled::Axis(Axis::X) if spec.flipped => Scaled::Axis(Axis::Y),
        Scaled::Axis(Axis::Y) if spec.flipped => Scaled::Axis(Axis::X),
        Scaled::Aes(aes) if aes.is_colour() => Scaled::Aes(Aes::Colour),
        other => other,
    };
    spec.scales.iter().rev().find(|scale| scale.of == of)
}

pub(super) fn legends(spec: &Spec, drawn: &[Drawn]) -> Result<Vec<(Aes, Legend, String)>, Problem> {
    let mut legends = Vec::new();
    for aes in [Aes::Colour, Aes::Fill, Aes::Stroke, Aes::Size, Aes::Opacity, Aes::Shape, Aes::Linetype] {
        let used: Vec<&Drawn> = drawn.iter().filter(|layer| layer.kinds.contains_key(&aes)).collect();
        let Some(first) = used.first() else { continue };
        let category = used.iter().any(|layer| layer.kinds.get(&aes) == Some(&Kind::Category));
        let kind = if category { Kind::Category } else { first.kinds[&aes] };
        let values: Vec<&Value> =
            used.iter().flat_map(|layer| layer.rows.iter().map(|row| row.get(aes))).collect();
        let legend = Legend::new(aes, kind, &values, scale_of(spec, Scaled::Aes(aes)))
            .map_err(|problem| problem.or_at(first.span))?;
        let names: &[&str] =
            if aes.is_colour() { &["colour", "color", "fill", "stroke"] } else { &[aes.name()] };
        let title = names
            .iter()
            .find_map(|name| label(spec, name))
            .or_else(|| used.iter().find_map(|layer| layer.titles.get(&aes).cloned()))
            .unwrap_or_else(|| aes.name().to_owned());
        legends.push((aes, legend, title));
    }
    Ok(legends)
}

pub(super) fn renaming(spec: &Spec) -> Vec<(Scaled, String, String)> {
    let one = |scale: &ScaleSpec| {
        let of = match (scale.of, spec.flipped) {
            (Scaled::Axis(Axis::X), true) => Scaled::Axis(Axis::Y),
            (Scaled::Axis(Axis::Y), true) => Scaled::Axis(Axis::X),
            (of, _) => of,
        };
        scale
            .renaming
            .iter()
            .map(move |(from, to)| (of, from.clone(), to.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    spec.scales.iter().flat_map(one).collect()
}

pub(super) fn panels(spec: &Spec, drawn: &[Drawn]) -> Result<Panels, Problem> {
    let Some(facet) = &spec.facet else { return Ok(Panels::One) };
    let names = |side: usize| {
        let values: Vec<Value> = drawn
            .iter()
            .flat_map(|layer| layer.rows.iter())
            .filter_map(|row| row.panel[side].clone().map(Value::Text))
            .collect();
        let values: Vec<&Value> = values.iter().collect();
        let from = scale_of(spec, Scaled::Panel).filter(|_| facet.columns.is_none());
        categories(&values, from)
    };
    let (rows, columns) = (names(0), names(1));
    let found = rows.len() * columns.len().max(1);
    let wrong = |message: String| Problem::new(Ename::ValueError, message).at(facet.by.1);
    if rows.is_empty() || facet.columns.is_some() && columns.is_empty() {
        let name = if rows.is_empty() {
            &facet.by.0
        } else {
            facet.columns.as_ref().map_or(&facet.by.0, |(name, _)| name)
        };
        return Err(
            Problem::new(Ename::UnknownColumn, format!("no layer has the column {name}")).at(facet.by.1)
        );
    }
    if found > PANELS {
        let hint = format!("a plot has at most {PANELS}; group the rare values in the query");
        return Err(wrong(format!("there would be {found} panels")).hint(hint));
    }
    if facet.columns.is_some() {
        return Ok(Panels::Grid { rows, columns });
    }
    let default = match rows.len() {
        n @ 0..=3 => n.max(1),
        4 => 2,
        5..=6 => 3,
        7..=12 => 4,
        _ => 5,
    };
    Ok(Panels::Wrap { columns: facet.wrap.unwrap_or(default).min(rows.len().max(1)), names: rows })
}
