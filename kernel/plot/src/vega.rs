//! The plot as a Vega-Lite v5 document, its data inside. Nothing in it names an address but the schema, which nobody fetches.
//! Colours of the background, the axes and the texts are left to the front end's theme.

mod marks;

use carrel_cell::bundle::visible;
use serde_json::{Map, Value as Json, json};

use crate::aesthetic::{Aes, Axis};
use crate::chart::{Chart, Form, MarkLayer, Panels, Scale, Value2};
use crate::frame::Value;
use crate::scale::{Along, Legend, dashes};
use crate::spec::{Scaled, Transform};
use marks::{mark, tooltip};

const SCHEMA: &str = "https://vega.github.io/schema/vega-lite/v5.json";
/// Pixels of a plot without panels.
const SIZE: [u32; 2] = [560, 320];

/// The document.
#[must_use]
pub fn document(chart: &Chart) -> Json {
    let rows: Vec<Json> = chart
        .layers
        .iter()
        .enumerate()
        .flat_map(|(layer, marks)| marks.marks.iter().map(move |mark| row(layer, marks, mark)))
        .collect();
    let layers: Vec<Json> =
        chart.layers.iter().enumerate().map(|(at, layer)| self::layer(chart, at, layer)).collect();
    let mut document = Map::new();
    document.insert("$schema".into(), SCHEMA.into());
    if let Some(title) = title(chart) {
        document.insert("title".into(), title);
    }
    document.insert("data".into(), json!({ "values": rows }));
    let [width, height] = panel_size(chart);
    let inner = json!({ "width": width, "height": height, "layer": layers });
    match facet(chart) {
        None => document.extend(inner.as_object().cloned().unwrap_or_default()),
        Some((facet, columns)) => {
            document.insert("facet".into(), facet);
            if let Some(columns) = columns {
                document.insert("columns".into(), columns.into());
            }
            document.insert("spec".into(), inner);
            let mut free = Map::new();
            for (name, scale) in [("x", &chart.x), ("y", &chart.y)] {
                if scale.free {
                    free.insert(name.into(), "independent".into());
                }
            }
            document.insert("resolve".into(), json!({ "scale": free }));
        }
    }
    Json::Object(document)
}

fn title(chart: &Chart) -> Option<Json> {
    let text = |at: usize| chart.titles[at].as_deref().filter(|text| !text.is_empty());
    let under: Vec<&str> = [text(1), text(2)].into_iter().flatten().collect();
    match (text(0), under.is_empty()) {
        (None, true) => None,
        (title, true) => Some(json!({ "text": title.unwrap_or(" "), "anchor": "start" })),
        (title, false) => Some(json!({ "text": title.unwrap_or(" "), "subtitle": under, "anchor": "start" })),
    }
}

fn facet(chart: &Chart) -> Option<(Json, Option<usize>)> {
    let one = |field: &str, names: &[String]| {
        let mut header = json!({ "title": null });
        let renamed = label_expression(chart, Scaled::Panel, names);
        if let Some(expression) = renamed {
            header["labelExpr"] = expression.into();
        }
        json!({ "field": field, "type": "nominal", "sort": names, "header": header })
    };
    match &chart.panels {
        Panels::One => None,
        Panels::Wrap { names, columns } => Some((one("panel", names), Some(*columns))),
        Panels::Grid { rows, columns } => {
            Some((json!({ "row": one("panel", rows), "column": one("column", columns) }), None))
        }
    }
}

/// Pixels of a panel.
pub(crate) fn panel_size(chart: &Chart) -> [u32; 2] {
    let columns = match &chart.panels {
        Panels::One => return SIZE,
        Panels::Wrap { columns, .. } => *columns,
        Panels::Grid { columns, .. } => columns.len(),
    };
    match columns {
        1 => [420, 200],
        2 => [270, 190],
        3 => [190, 160],
        _ => [150, 130],
    }
}

fn row(layer: usize, marks: &MarkLayer, mark: &crate::chart::Mark) -> Json {
    let mut row = Map::new();
    row.insert("layer".into(), layer.into());
    for (name, place) in [("x", &mark.x), ("y", &mark.y)] {
        if place.from != Value::Null {
            row.insert(name.into(), value(&place.from));
        }
        if let Some(to) = &place.to {
            row.insert(format!("{name}2"), value(to));
        }
    }
    for (aes, one) in &mark.values {
        row.insert(aes.name().into(), value(one));
    }
    if !mark.group.is_empty() {
        row.insert("group".into(), visible(&mark.group).into());
    }
    if !mark.panel[0].is_empty() {
        row.insert("panel".into(), mark.panel[0].clone().into());
    }
    if !mark.panel[1].is_empty() {
        row.insert("column".into(), mark.panel[1].clone().into());
    }
    if marks.slots > 1 {
        row.insert("slot".into(), mark.slot.into());
    }
    if mark.jitter != 0.0 {
        row.insert("slot".into(), json!(mark.jitter));
    }
    Json::Object(row)
}

fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Number(n) | Value::Time(n) => json!(n),
        Value::Text(text) => visible(text).into(),
    }
}

fn layer(chart: &Chart, at: usize, layer: &MarkLayer) -> Json {
    let mut encoding = Map::new();
    position(chart, layer, Axis::X, &mut encoding);
    position(chart, layer, Axis::Y, &mut encoding);
    slots(chart, layer, &mut encoding);
    for (aes, legend, title) in &chart.legends {
        let mapped = layer.marks.iter().any(|mark| mark.values.contains_key(aes));
        if mapped && channel(*aes, layer.form).is_some() {
            let name = channel(*aes, layer.form).unwrap_or("color");
            encoding.insert(name.into(), scaled(chart, *aes, legend, title));
        }
    }
    if layer.form == Form::Text {
        encoding.insert("text".into(), json!({ "field": "label" }));
    }
    if layer.marks.iter().any(|mark| !mark.group.is_empty()) {
        encoding.insert("detail".into(), json!({ "field": "group", "type": "nominal" }));
    }
    if matches!(layer.form, Form::Line | Form::Polygon) {
        // Rows are joined in their own order.
        encoding.insert("order".into(), Json::Null);
    }
    let tips = tooltip(chart, layer);
    if !tips.is_empty() {
        encoding.insert("tooltip".into(), tips.into());
    }
    json!({
        "transform": [{ "filter": format!("datum.layer === {at}") }],
        "mark": mark(chart, layer),
        "encoding": encoding,
    })
}

fn channel(aes: Aes, form: Form) -> Option<&'static str> {
    match aes {
        Aes::Colour => Some("color"),
        Aes::Fill => Some("fill"),
        Aes::Stroke => Some("stroke"),
        Aes::Size if matches!(form, Form::Point | Form::Text) => Some("size"),
        Aes::Opacity => Some("opacity"),
        Aes::Shape if form == Form::Point => Some("shape"),
        Aes::Linetype if matches!(form, Form::Line | Form::Rule) => Some("strokeDash"),
        _ => None,
    }
}

fn position(chart: &Chart, layer: &MarkLayer, axis: Axis, encoding: &mut Map<String, Json>) {
    let (name, scale) = if axis == Axis::X { ("x", &chart.x) } else { ("y", &chart.y) };
    let place = |mark: &crate::chart::Mark| -> Value2 {
        if axis == Axis::X { mark.x.clone() } else { mark.y.clone() }
    };
    let has = layer.marks.iter().any(|mark| place(mark).from != Value::Null);
    if !has && layer.form == Form::Rule {
        return;
    }
    let mut field = json!({
        "field": name,
        "title": if scale.title.is_empty() { Json::Null } else { visible(&scale.title).into() },
        "scale": scale_json(chart, scale),
    });
    let of = Scaled::Axis(axis);
    match &scale.along {
        Along::Band { domain } => {
            field["type"] = "nominal".into();
            field["sort"] = domain.clone().into();
            let mut ticks = Map::new();
            if let Some(expression) = label_expression(chart, of, domain) {
                ticks.insert("labelExpr".into(), expression.into());
            }
            if axis == Axis::X && domain.iter().map(|one| one.chars().count() + 2).sum::<usize>() <= 80 {
                ticks.insert("labelAngle".into(), 0.into());
            }
            if domain.iter().all(String::is_empty) {
                field["axis"] = Json::Null;
            } else {
                field["axis"] = Json::Object(ticks);
            }
        }
        Along::Line { time, .. } => {
            field["type"] = if *time { "temporal" } else { "quantitative" }.into();
            field["stack"] = Json::Null;
        }
    }
    encoding.insert(name.into(), field);
    if layer.marks.iter().any(|mark| place(mark).to.is_some()) {
        encoding.insert(format!("{name}2"), json!({ "field": format!("{name}2") }));
    }
}

fn scale_json(chart: &Chart, scale: &Scale) -> Json {
    let mut json = match &scale.along {
        Along::Band { domain } => json!({
            "type": "band",
            "domain": domain,
            "paddingInner": scale.gap,
            "paddingOuter": scale.gap / 2.0,
        }),
        Along::Line { domain, time, transform } => {
            let kind = match (time, transform) {
                (true, _) => "utc",
                (false, Transform::Log) => "log",
                (false, Transform::Sqrt) => "sqrt",
                (false, Transform::Linear) => "linear",
            };
            let mut json = json!({ "type": kind, "nice": false });
            if *transform != Transform::Log && !time {
                json["zero"] = false.into();
            }
            let free = scale.free && chart.panels != Panels::One;
            if !free {
                json["domain"] = json!(domain);
            }
            json
        }
    };
    if scale.reverse {
        json["reverse"] = true.into();
    }
    json
}

/// Places within a band.
fn slots(chart: &Chart, layer: &MarkLayer, encoding: &mut Map<String, Json>) {
    let across =
        matches!(chart.x.along, Along::Band { .. }) && (!layer.transposed || layer.form == Form::Point);
    let name = if across { "xOffset" } else { "yOffset" };
    let band = matches!(chart.x.along, Along::Band { .. }) || matches!(chart.y.along, Along::Band { .. });
    if !band {
        return;
    }
    if layer.slots > 1 {
        let domain: Vec<usize> = (0..layer.slots).collect();
        encoding.insert(
            name.into(),
            json!({ "field": "slot", "type": "nominal", "scale": { "domain": domain } }),
        );
    } else if layer.marks.iter().any(|mark| mark.jitter != 0.0) {
        let scale = json!({ "domain": [-0.5, 0.5] });
        encoding.insert(name.into(), json!({ "field": "slot", "type": "quantitative", "scale": scale }));
    }
}

fn scaled(chart: &Chart, aes: Aes, legend: &Legend, title: &str) -> Json {
    let title = if title.is_empty() { Json::Null } else { visible(title).into() };
    match legend {
        Legend::Discrete { domain, range } => {
            let range: Vec<Json> = match aes {
                Aes::Linetype => range.iter().map(|name| json!(dashes(name))).collect(),
                Aes::Size | Aes::Opacity => {
                    range.iter().map(|n| json!(n.parse::<f64>().unwrap_or(1.0))).collect()
                }
                _ => range.iter().map(|one| json!(one)).collect(),
            };
            let range: Vec<Json> = range
                .into_iter()
                .map(|one| if one.as_array().is_some_and(Vec::is_empty) { json!([1, 0]) } else { one })
                .collect();
            let mut found = json!({
                "field": aes.name(), "type": "nominal", "title": title, "sort": domain,
                "scale": { "domain": domain, "range": range },
            });
            if let Some(expression) = label_expression(chart, Scaled::Aes(colour_of(aes)), domain) {
                found["legend"] = json!({ "labelExpr": expression });
            }
            found
        }
        Legend::Gradient { domain, time, stops } => json!({
            "field": aes.name(), "type": if *time { "temporal" } else { "quantitative" }, "title": title,
            "scale": { "type": if *time { "utc" } else { "linear" }, "domain": domain, "range": stops, "clamp": true },
        }),
        Legend::Amount { domain, range } => json!({
            "field": aes.name(), "type": "quantitative", "title": title,
            "scale": { "domain": domain, "range": range, "zero": false, "clamp": true },
        }),
    }
}

fn colour_of(aes: Aes) -> Aes {
    if aes.is_colour() { Aes::Colour } else { aes }
}

/// Names in the place of values, as an expression of Vega.
fn label_expression(chart: &Chart, of: Scaled, domain: &[String]) -> Option<String> {
    let renamed: Map<String, Json> = domain
        .iter()
        .filter(|value| chart.called(of, value) != **value)
        .map(|value| (value.clone(), chart.called(of, value).into()))
        .collect();
    if renamed.is_empty() {
        return None;
    }
    let names = Json::Object(renamed);
    Some(format!("isDefined({names}[datum.label]) ? {names}[datum.label] : datum.label"))
}

/// Says something under the plot's title.
pub fn remark(document: &mut Json, notes: &[String]) {
    let Some(document) = document.as_object_mut() else { return };
    let title = document.entry("title").or_insert_with(|| json!({ "text": " ", "anchor": "start" }));
    let lines = title["subtitle"].as_array().cloned().unwrap_or_default();
    title["subtitle"] = lines.into_iter().chain(notes.iter().map(|note| json!(note))).collect();
}
