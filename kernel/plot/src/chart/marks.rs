//! What each kind of layer looks like: its rows as marks.

use carrel_cell::problem::{Ename, Problem};

use super::place::{dodge, jitter, resolution, stack};
use super::{Chart, Form, Mark, MarkLayer, Style, Value2, fixed_number, fixed_text};
use crate::aesthetic::{Aes, Axis};
use crate::frame::{Kind, Value};
use crate::geom::Geom;
use crate::layer::{Drawn, Position, Row};
use crate::palette::{MARK, PLAIN};
use crate::scale::Along;
use crate::spec::Transform;

/// The marks of a layer, from back to front. `left_out` counts rows without a place.
pub(super) fn of(chart: &Chart, layer: &Drawn, left_out: &mut u64) -> Result<Vec<MarkLayer>, Problem> {
    let mut made = match layer.geom {
        Geom::Point => vec![points(chart, layer)],
        Geom::Line | Geom::Path | Geom::Smooth => {
            vec![marks(layer, Form::Line, |row| xy(row, Aes::X, Aes::Y))]
        }
        Geom::Polygon => vec![marks(layer, Form::Polygon, |row| xy(row, Aes::X, Aes::Y))],
        Geom::Area | Geom::Density => vec![from_zero(chart, layer, Form::Area)?],
        Geom::Ribbon => vec![marks(layer, Form::Area, |row| between(layer, row))],
        Geom::Bar | Geom::Histogram => vec![from_zero(chart, layer, Form::Rect)?],
        Geom::Tile => vec![tiles(layer)],
        Geom::Text => vec![texts(layer)],
        Geom::Rule => vec![marks(layer, Form::Rule, |row| xy(row, Aes::X, Aes::Y))],
        Geom::Segment => vec![marks(layer, Form::Rule, |row| {
            (range(row, Aes::X, Aes::Xend), range(row, Aes::Y, Aes::Yend))
        })],
        Geom::Range => ranges(layer),
        Geom::Boxplot => boxes(chart, layer),
    };
    for made in &mut made {
        let before = made.marks.len();
        made.marks.retain(|mark| has_place(chart, made.form, mark));
        *left_out += (before - made.marks.len()) as u64;
        for mark in &mut made.marks {
            as_category(&chart.x.along, &mut mark.x);
            as_category(&chart.y.along, &mut mark.y);
        }
    }
    Ok(made)
}

fn has_place(chart: &Chart, form: Form, mark: &Mark) -> bool {
    let ok = |along: &Along, place: &Value2| {
        let one = |value: &Value| match along {
            Along::Line { .. } => value.number().is_some(),
            Along::Band { domain } => value.label().is_some_and(|label| domain.contains(&label)),
        };
        one(&place.from) && place.to.as_ref().is_none_or(one)
    };
    let (x, y) = (ok(&chart.x.along, &mark.x), ok(&chart.y.along, &mark.y));
    if form == Form::Rule {
        let anywhere = |place: &Value2| place.from == Value::Null && place.to.is_none();
        return x && (y || anywhere(&mark.y)) || y && anywhere(&mark.x);
    }
    x && y
}

fn as_category(along: &Along, place: &mut Value2) {
    if matches!(along, Along::Band { .. }) {
        for value in std::iter::once(&mut place.from).chain(&mut place.to) {
            if let Some(label) = value.label() {
                *value = Value::Text(label);
            }
        }
    }
}

fn xy(row: &Row, x: Aes, y: Aes) -> (Value2, Value2) {
    (at(row.get(x).clone()), at(row.get(y).clone()))
}

fn at(value: Value) -> Value2 {
    Value2 { from: value, to: None }
}

fn range(row: &Row, from: Aes, to: Aes) -> Value2 {
    Value2 { from: row.get(from).clone(), to: Some(row.get(to).clone()) }
}

/// The range of a ribbon or a range, at a place of the other axis.
fn between(layer: &Drawn, row: &Row) -> (Value2, Value2) {
    if layer.transposed {
        (range(row, Aes::Xmin, Aes::Xmax), at(row.get(Aes::Y).clone()))
    } else {
        (at(row.get(Aes::X).clone()), range(row, Aes::Ymin, Aes::Ymax))
    }
}

fn marks(layer: &Drawn, form: Form, place: impl Fn(&Row) -> (Value2, Value2)) -> MarkLayer {
    let marks = layer.rows.iter().map(|row| {
        let (x, y) = place(row);
        mark(layer, row, x, y)
    });
    MarkLayer {
        form,
        marks: marks.collect(),
        transposed: layer.transposed,
        width: layer.width,
        slots: 1,
        style: style(layer, form),
        tips: tips(layer),
    }
}

fn mark(layer: &Drawn, row: &Row, x: Value2, y: Value2) -> Mark {
    let shown =
        [Aes::Colour, Aes::Fill, Aes::Stroke, Aes::Size, Aes::Opacity, Aes::Shape, Aes::Linetype, Aes::Label];
    let values = row.values.iter().filter(|(aes, _)| shown.contains(aes));
    Mark {
        x,
        y,
        values: values.map(|(aes, value)| (*aes, value.clone())).collect(),
        group: if layer.geom.is_joined() { row.group.clone() } else { String::new() },
        panel: row.panel.clone().map(Option::unwrap_or_default),
        slot: 0,
        jitter: 0.0,
    }
}

fn style(layer: &Drawn, form: Form) -> Style {
    let mapped = |aes| layer.kinds.contains_key(&aes);
    let own = fixed_text(layer, Aes::Colour);
    let base = own.unwrap_or_else(|| {
        if matches!(form, Form::Rule | Form::Tick | Form::Text) { PLAIN.to_owned() } else { MARK.to_owned() }
    });
    let line = matches!(form, Form::Line | Form::Rule | Form::Tick);
    let colour = (!mapped(Aes::Colour)).then_some(base);
    let soft =
        matches!(layer.geom, Geom::Area | Geom::Ribbon | Geom::Density | Geom::Polygon) && form != Form::Line;
    let opacity = fixed_number(layer, Aes::Opacity).or((!mapped(Aes::Opacity) && soft).then_some(0.6));
    Style {
        fill: if line { None } else { colour.clone() },
        stroke: fixed_text(layer, Aes::Stroke).or(if line { colour } else { None }),
        opacity,
        size: fixed_number(layer, Aes::Size),
        linewidth: fixed_number(layer, Aes::Linewidth),
        shape: fixed_text(layer, Aes::Shape),
        linetype: fixed_text(layer, Aes::Linetype),
        length: None,
        offset: layer.offset,
    }
}

/// What the pointer shows: titles of what is mapped.
fn tips(layer: &Drawn) -> Vec<(Aes, String)> {
    let shown = layer.titles.iter().filter(|(_, title)| !title.is_empty());
    shown.map(|(aes, title)| (*aes, title.clone())).collect()
}

fn points(chart: &Chart, layer: &Drawn) -> MarkLayer {
    let one = Value::Text(String::new());
    let mut made = marks(layer, Form::Point, |row| {
        let place =
            |aes: Aes| if layer.kinds.contains_key(&aes) { row.get(aes).clone() } else { one.clone() };
        (at(place(Aes::X)), at(place(Aes::Y)))
    });
    // A missing axis is a line of points.
    for (aes, along) in [(Aes::X, &chart.x.along), (Aes::Y, &chart.y.along)] {
        if !layer.kinds.contains_key(&aes) && matches!(along, Along::Line { .. }) {
            for mark in &mut made.marks {
                let place = if aes == Aes::X { &mut mark.x } else { &mut mark.y };
                *place = at(Value::Number(0.0));
            }
        }
    }
    match layer.position {
        Position::Dodge => dodge(chart, &mut made),
        Position::Jitter => jitter(&mut made),
        Position::Identity | Position::Stack => {}
    }
    made
}

/// Bars, histograms, areas: from zero up, stacked or not.
fn from_zero(chart: &Chart, layer: &Drawn, form: Form) -> Result<MarkLayer, Problem> {
    let (along, up) = if layer.transposed { (Aes::Y, Aes::X) } else { (Aes::X, Aes::Y) };
    let growing = if layer.transposed { &chart.x.along } else { &chart.y.along };
    if let Along::Line { transform: Transform::Log, .. } = growing {
        return Err(Problem::unsupported(
            layer.span,
            format!("{} begins at zero, which has no logarithm", layer.geom.name()),
            "draw points or a line on this scale",
        ));
    }
    if matches!(growing, Along::Band { .. }) {
        let message = format!("{} needs numbers to grow along", layer.geom.name());
        return Err(Problem::new(Ename::TypeError, message)
            .at(layer.span)
            .hint("map a number to one of the axes"));
    }
    let standing = if layer.transposed { &chart.y.along } else { &chart.x.along };
    let (low, high) = if along == Aes::X { (Aes::Xmin, Aes::Xmax) } else { (Aes::Ymin, Aes::Ymax) };
    let wide = resolution(layer, along) * layer.width / 2.0;
    let continuous = matches!(standing, Along::Line { .. });
    let mut made = marks(layer, form, |row| {
        let foot = if row.values.contains_key(&low) {
            range(row, low, high)
        } else if form == Form::Rect && continuous {
            widened(row.get(along), wide)
        } else {
            at(row.get(along).clone())
        };
        let height = Value2 { from: Value::Number(0.0), to: Some(row.get(up).clone()) };
        if layer.transposed { (height, foot) } else { (foot, height) }
    });
    match layer.position {
        Position::Stack => stack(chart, &mut made),
        Position::Dodge => dodge(chart, &mut made),
        Position::Identity | Position::Jitter => {}
    }
    Ok(made)
}

fn widened(value: &Value, wide: f64) -> Value2 {
    let moved = |by: f64| match value {
        Value::Number(n) => Value::Number(n + by),
        Value::Time(n) => Value::Time(n + by),
        other => other.clone(),
    };
    Value2 { from: moved(-wide), to: Some(moved(wide)) }
}

fn tiles(layer: &Drawn) -> MarkLayer {
    let half = |row: &Row, centre: Aes, size: Aes| {
        let one = if layer.kinds.get(&centre) == Some(&Kind::Time) { resolution(layer, centre) } else { 1.0 };
        row.number(size).or(fixed_number(layer, size)).unwrap_or(one) / 2.0
    };
    let place = |row: &Row, centre: Aes, size: Aes| {
        if layer.kinds.get(&centre) == Some(&Kind::Category) {
            at(row.get(centre).clone())
        } else {
            widened(row.get(centre), half(row, centre, size))
        }
    };
    let mut made =
        marks(layer, Form::Rect, |row| (place(row, Aes::X, Aes::Width), place(row, Aes::Y, Aes::Height)));
    made.width = 1.0;
    made
}

fn texts(layer: &Drawn) -> MarkLayer {
    marks(layer, Form::Text, |row| xy(row, Aes::X, Aes::Y))
}

fn ranges(layer: &Drawn) -> Vec<MarkLayer> {
    let line = marks(layer, Form::Rule, |row| between(layer, row));
    if layer.hinge <= 0.0 {
        return vec![line];
    }
    let cap = |aes: Aes| {
        let mut made = marks(layer, Form::Tick, |row| {
            let end = at(row.get(aes).clone());
            if layer.transposed {
                (end, at(row.get(Aes::Y).clone()))
            } else {
                (at(row.get(Aes::X).clone()), end)
            }
        });
        made.style.length = Some(layer.hinge);
        made
    };
    let ends = if layer.transposed { [Aes::Xmin, Aes::Xmax] } else { [Aes::Ymin, Aes::Ymax] };
    vec![line, cap(ends[0]), cap(ends[1])]
}

/// A box, its whiskers, the line in its middle, and what lies outside.
fn boxes(chart: &Chart, layer: &Drawn) -> Vec<MarkLayer> {
    let (along, up, low, high, from, to) = if layer.transposed {
        (Aes::Y, Aes::X, Aes::Xmin, Aes::Xmax, Aes::Xend, Aes::Width)
    } else {
        (Aes::X, Aes::Y, Aes::Ymin, Aes::Ymax, Aes::Yend, Aes::Height)
    };
    let (outside, inside): (Vec<Row>, Vec<Row>) =
        layer.rows.iter().cloned().partition(|row| row.values.contains_key(&Aes::Label));
    let boxes = Drawn { rows: inside, ..layer.clone() };
    let mut points = Drawn { rows: outside, ..layer.clone() };
    let turned = |x: Value2, y: Value2| if layer.transposed { (y, x) } else { (x, y) };
    let place = |row: &Row| at(row.get(along).clone());
    let mut made = vec![
        marks(&boxes, Form::Rule, |row| turned(place(row), range(row, from, low))),
        marks(&boxes, Form::Rule, |row| turned(place(row), range(row, high, to))),
        marks(&boxes, Form::Rect, |row| turned(place(row), range(row, low, high))),
        marks(&boxes, Form::Tick, |row| turned(place(row), at(row.get(up).clone()))),
    ];
    for row in &mut points.rows {
        let value = row.values.remove(&Aes::Label).unwrap_or(Value::Null);
        row.values.insert(up, value);
    }
    if !points.rows.is_empty() {
        made.push(marks(&points, Form::Point, |row| turned(place(row), at(row.get(up).clone()))));
    }
    for layer in &mut made {
        match layer.form {
            // The middle is seen on the box.
            Form::Tick => {
                layer.style.stroke = Some("#ffffff".to_owned());
                layer.marks.iter_mut().for_each(|mark| {
                    mark.values.remove(&Aes::Colour);
                });
            }
            Form::Point => layer.style.size = layer.style.size.or(Some(14.0)),
            _ => {}
        }
    }
    // All parts take the slots of the boxes, so that outliers stay above theirs.
    super::place::dodge_all(chart, &mut made, [Axis::X, Axis::Y][usize::from(layer.transposed)]);
    made
}
