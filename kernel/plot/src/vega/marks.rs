//! A layer's mark and what its tooltip says.

use carrel_cell::bundle::visible;
use serde_json::{Value as Json, json};

use super::panel_size;
use crate::aesthetic::{Aes, Axis};
use crate::chart::{Chart, Form, MarkLayer};
use crate::scale::{Along, dashes};

pub(super) fn tooltip(chart: &Chart, layer: &MarkLayer) -> Vec<Json> {
    let time = |aes: Aes| match aes.axis() {
        Some(Axis::X) => matches!(chart.x.along, Along::Line { time: true, .. }),
        Some(Axis::Y) => matches!(chart.y.along, Along::Line { time: true, .. }),
        None => false,
    };
    let field = |aes: Aes| match aes {
        Aes::Xmin => "x",
        Aes::Xmax | Aes::Xend => "x2",
        Aes::Ymin => "y",
        Aes::Ymax | Aes::Yend => "y2",
        other => other.name(),
    };
    let stacked = |aes: Aes| {
        let up = if layer.transposed { Aes::X } else { Aes::Y };
        aes == up && matches!(layer.form, Form::Rect | Form::Area)
    };
    let mut tips = Vec::new();
    for (aes, title) in &layer.tips {
        let name = if stacked(*aes) { format!("{}2", aes.name()) } else { field(*aes).to_owned() };
        let there = layer.marks.iter().any(|mark| mark.values.contains_key(aes) || aes.axis().is_some());
        if !there {
            continue;
        }
        let mut tip = json!({ "field": name, "title": visible(title) });
        if time(*aes) {
            tip["type"] = "temporal".into();
            tip["timeUnit"] = "utcyearmonthdatehoursminutes".into();
        }
        tips.push(tip);
    }
    tips
}

/// Pixels that a mark fills of its band.
pub(super) fn band(chart: &Chart, layer: &MarkLayer) -> f64 {
    let (scale, pixels) =
        if layer.transposed { (&chart.y, panel_size(chart)[1]) } else { (&chart.x, panel_size(chart)[0]) };
    let Along::Band { domain } = &scale.along else { return 16.0 };
    f64::from(pixels) / domain.len().max(1) as f64 * (1.0 - scale.gap) / layer.slots as f64
        * layer.width.min(1.0)
}

pub(super) fn mark(chart: &Chart, layer: &MarkLayer) -> Json {
    let style = &layer.style;
    let mut mark = match layer.form {
        Form::Point => {
            json!({ "type": "point", "filled": true, "size": style.size.unwrap_or(40.0), "opacity": 0.8 })
        }
        Form::Line => json!({ "type": "line", "strokeWidth": style.linewidth.unwrap_or(2.0) }),
        Form::Polygon => {
            json!({ "type": "line", "filled": true, "interpolate": "linear-closed", "strokeWidth": 1 })
        }
        Form::Area => {
            json!({ "type": "area", "orient": if layer.transposed { "horizontal" } else { "vertical" } })
        }
        Form::Rect => json!({ "type": "bar" }),
        Form::Rule => json!({ "type": "rule", "strokeWidth": style.linewidth.unwrap_or(1.5) }),
        Form::Tick => json!({
            "type": "tick", "thickness": style.linewidth.unwrap_or(1.5),
            "orient": if layer.transposed { "vertical" } else { "horizontal" },
        }),
        Form::Text => json!({ "type": "text", "fontSize": style.size.unwrap_or(11.0) }),
    };
    if layer.form == Form::Rect {
        let band = json!({ "band": layer.width.min(1.0) });
        mark[if layer.transposed { "height" } else { "width" }] = band;
        let continuous = layer.marks.first().is_some_and(|one| one.x.to.is_some() && one.y.to.is_some());
        let tile = layer.marks.first().is_some_and(|one| one.x.to.is_none() && one.y.to.is_none());
        if continuous || tile {
            mark = json!({ "type": "rect" });
        }
    }
    if layer.form == Form::Tick {
        mark["size"] = json!(style.length.map_or_else(|| band(chart, layer), |length| length * 4.0 / 3.0));
    }
    for (name, text) in [("fill", &style.fill), ("stroke", &style.stroke), ("shape", &style.shape)] {
        if let Some(text) = text {
            mark[name] = text.clone().into();
        }
    }
    if layer.form == Form::Tick
        && let Some(stroke) = &style.stroke
    {
        mark["color"] = stroke.clone().into();
        if let Some(mark) = mark.as_object_mut() {
            mark.remove("stroke");
        }
    }
    if let Some(opacity) = style.opacity {
        mark["opacity"] = json!(opacity);
    }
    if let Some(linetype) = &style.linetype {
        mark["strokeDash"] = json!(dashes(linetype));
    }
    if style.offset != [0.0, 0.0] {
        mark["dx"] = json!(style.offset[0]);
        mark["dy"] = json!(style.offset[1]);
    }
    mark["clip"] = json!(layer.form != Form::Text);
    mark
}
