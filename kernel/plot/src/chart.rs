//! Layers, positions and scales put together: what both writers draw. Every mark has its final place here, so that they agree.

mod marks;
mod place;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;

use carrel_cell::problem::{Ename, Problem};

use crate::aesthetic::{Aes, Axis};
use crate::frame::{Kind, Value};
use crate::geom::Geom;
use crate::layer::Drawn;
use crate::scale::{Along, Legend, bounded, categories, extent};
use crate::spec::{Literal, Scaled, Spec, Transform};
use told::{label, legends, panels, renaming, scale_of};

/// Categories of an axis at most.
const BANDS: usize = 400;
/// Marks of a plot at most, those repeated in panels counted.
const MARKS: usize = 40_000;

/// A plot, ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Titles: the plot's, below it, and at the foot.
    pub titles: [Option<String>; 3],
    /// Across.
    pub x: Scale,
    /// Up.
    pub y: Scale,
    /// Scales with legends, and their titles.
    pub legends: Vec<(Aes, Legend, String)>,
    /// Names for values in legends, axes and panels; an empty one hides it.
    pub renaming: Vec<(Scaled, String, String)>,
    /// How the panels are laid out.
    pub panels: Panels,
    /// From back to front.
    pub layers: Vec<MarkLayer>,
    /// What has to be said beside the plot.
    pub notes: Vec<String>,
}

/// A position scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// What lies along it.
    pub along: Along,
    /// Its title, if it has one.
    pub title: String,
    /// From high to low?
    pub reverse: bool,
    /// Has each panel its own?
    pub free: bool,
    /// The part of a band that is left empty.
    pub gap: f64,
}

/// How panels are laid out.
#[derive(Clone, Debug, PartialEq)]
pub enum Panels {
    /// There is one.
    One,
    /// One after the other.
    Wrap {
        /// Their names.
        names: Vec<String>,
        /// So many side by side.
        columns: usize,
    },
    /// In rows and columns.
    Grid {
        /// Names of the rows.
        rows: Vec<String>,
        /// Names of the columns.
        columns: Vec<String>,
    },
}

/// The form of a layer's marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Points.
    Point,
    /// Rows of a group joined.
    Line,
    /// A closed shape of a group's rows.
    Polygon,
    /// Between two lines.
    Area,
    /// Rectangles: bars, tiles, boxes.
    Rect,
    /// Straight lines between two places, or across the whole panel.
    Rule,
    /// Short lines across a place.
    Tick,
    /// Texts.
    Text,
}

/// Marks of one form.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkLayer {
    /// The form.
    pub form: Form,
    /// The marks.
    pub marks: Vec<Mark>,
    /// Do they grow sideways?
    pub transposed: bool,
    /// The part of a band that they fill.
    pub width: f64,
    /// So many stand side by side in a band; 1 if none.
    pub slots: usize,
    /// What was set for all of them.
    pub style: Style,
    /// What is shown when the pointer is over one: field and title.
    pub tips: Vec<(Aes, String)>,
}

/// What all marks of a layer have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Style {
    /// The inside, if nothing is mapped to it.
    pub fill: Option<String>,
    /// The outline or the line, if nothing is mapped to it.
    pub stroke: Option<String>,
    /// 0 to 1, if nothing is mapped to it.
    pub opacity: Option<f64>,
    /// Points: square pixels of a point, pixels of a text.
    pub size: Option<f64>,
    /// Pixels of a line.
    pub linewidth: Option<f64>,
    /// The shape of points.
    pub shape: Option<String>,
    /// The dashes of lines.
    pub linetype: Option<String>,
    /// The length of a tick in pixels, if it does not fill its band.
    pub length: Option<f64>,
    /// Pixels that a text is moved, right and down.
    pub offset: [f64; 2],
}

/// One mark.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    /// Its places; `Null` is nowhere, for rules everywhere.
    pub x: Value2,
    /// The places on the other axis.
    pub y: Value2,
    /// Values of aesthetics with a legend, and the label.
    pub values: BTreeMap<Aes, Value>,
    /// Marks of the same group are joined.
    pub group: String,
    /// The panel by row and column.
    pub panel: [String; 2],
    /// Which of the slots side by side.
    pub slot: usize,
    /// Moved within its band: -0.5 to 0.5.
    pub jitter: f64,
}

/// A place or a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Value2 {
    /// The place, or where it begins.
    pub from: Value,
    /// Where it ends, if it is a range.
    pub to: Option<Value>,
}

impl Default for Value2 {
    fn default() -> Self {
        Self { from: Value::Null, to: None }
    }
}

impl Chart {
    /// Puts a plot together.
    ///
    /// # Errors
    /// Scales that do not fit the data, or more marks than a page can show.
    pub fn new(spec: &Spec, drawn: &[Drawn]) -> Result<Self, Problem> {
        let notes = drawn.iter().filter_map(|layer| layer.note.clone()).collect();
        let mut chart = Self {
            titles: ["title", "subtitle", "caption"].map(|name| label(spec, name)),
            x: Self::empty(spec, drawn, Axis::X)?,
            y: Self::empty(spec, drawn, Axis::Y)?,
            legends: legends(spec, drawn)?,
            renaming: renaming(spec),
            panels: panels(spec, drawn)?,
            layers: Vec::new(),
            notes,
        };
        let mut left_out = 0;
        for layer in drawn {
            chart.layers.extend(marks::of(&chart, layer, &mut left_out)?);
        }
        chart.repeat()?;
        if left_out > 0 {
            let noun = if left_out == 1 { "row has no place and was" } else { "rows have no place and were" };
            chart.notes.push(format!("{} {noun} left out", carrel_cell::caption::grouped(left_out)));
        }
        for axis in [Axis::X, Axis::Y] {
            let domain = chart.domain(spec, axis, None)?;
            let scale = if axis == Axis::X { &mut chart.x } else { &mut chart.y };
            if let (Along::Line { domain: ends, .. }, Some(domain)) = (&mut scale.along, domain) {
                *ends = domain;
            }
        }
        Ok(chart)
    }

    /// A scale without its ends, which marks decide.
    fn empty(spec: &Spec, drawn: &[Drawn], axis: Axis) -> Result<Scale, Problem> {
        let own = scale_of(spec, Scaled::Axis(axis));
        let used = || {
            drawn.iter().flat_map(move |layer| {
                layer
                    .kinds
                    .iter()
                    .filter(move |(aes, _)| aes.axis() == Some(axis))
                    .map(move |(aes, kind)| (layer, *aes, *kind))
            })
        };
        let kinds = |wanted: Kind| used().find(|(_, _, kind)| *kind == wanted);
        let title = label(spec, if (axis == Axis::X) == spec.flipped { "y" } else { "x" })
            .or_else(|| {
                used().find_map(|(layer, aes, _)| {
                    layer.titles.get(&aes).filter(|title| !title.is_empty()).cloned()
                })
            })
            .unwrap_or_default();
        let along = if kinds(Kind::Category).is_some() {
            let values: Vec<&Value> =
                used().flat_map(|(layer, aes, _)| layer.rows.iter().map(move |row| row.get(aes))).collect();
            let domain = categories(&values, own);
            if domain.len() > BANDS {
                let message = format!(
                    "an axis would have {} categories",
                    carrel_cell::caption::grouped(domain.len() as u64)
                );
                let at = kinds(Kind::Category).map_or(spec.span, |(layer, _, _)| layer.span);
                return Err(Problem::new(Ename::ValueError, message)
                    .at(at)
                    .hint(format!("it shows {BANDS}; group the rare ones in the query")));
            }
            Along::Band { domain }
        } else {
            if let (Some(_), Some((layer, _, _))) = (kinds(Kind::Number), kinds(Kind::Time)) {
                let message = "numbers and times cannot share an axis";
                return Err(Problem::new(Ename::TypeError, message).at(layer.span).hint("draw two plots"));
            }
            let transform = own.map_or(Transform::Linear, |own| own.via);
            Along::Line { domain: [0.0, 1.0], time: kinds(Kind::Time).is_some(), transform }
        };
        let tiles = drawn.iter().any(|layer| layer.geom == Geom::Tile);
        let free = spec
            .facet
            .as_ref()
            .is_some_and(|facet| if axis == Axis::X { facet.free_x } else { facet.free_y });
        Ok(Scale {
            along,
            title,
            reverse: own.is_some_and(|own| own.reverse),
            free,
            gap: if tiles { 0.0 } else { 0.1 },
        })
    }

    /// The ends of an axis over the marks of a panel, or of all; `None` for categories.
    pub(crate) fn domain(
        &self,
        spec: &Spec,
        axis: Axis,
        panel: Option<&[String; 2]>,
    ) -> Result<Option<[f64; 2]>, Problem> {
        let scale = if axis == Axis::X { &self.x } else { &self.y };
        let Along::Line { time, transform, .. } = scale.along else { return Ok(None) };
        let own = scale_of(spec, Scaled::Axis(axis));
        let mut anchored = false;
        let mut numbers = Vec::new();
        for layer in &self.layers {
            let grows = (axis == Axis::Y) != layer.transposed;
            anchored |= matches!(layer.form, Form::Rect | Form::Area) && grows;
            for mark in layer.marks.iter().filter(|mark| panel.is_none_or(|panel| mark.panel == *panel)) {
                let place = if axis == Axis::X { &mark.x } else { &mark.y };
                numbers.extend(place.from.number());
                numbers.extend(place.to.as_ref().and_then(Value::number));
            }
        }
        if transform == Transform::Log && numbers.iter().any(|n| *n <= 0.0) {
            let at = own.map_or(spec.span, |own| own.span);
            let message = "a logarithm needs values above 0, and here are others";
            return Err(Problem::new(Ename::ValueError, message)
                .at(at)
                .hint("FILTER them, or draw points in place of bars"));
        }
        let Some([low, high]) = extent(numbers.into_iter()) else { return Ok(Some([0.0, 1.0])) };
        let mut domain = [low, high];
        let unit = if time { 86_400_000.0 } else { 1.0 };
        if transform == Transform::Log {
            let room = 10_f64.powf(((high / low).log10() * 0.04).max(0.02));
            domain = [low / room, high * room];
        } else if low == high {
            domain = [low - unit / 2.0, high + unit / 2.0];
        } else {
            let room = (high - low) * 0.04;
            domain[0] -= if anchored && low == 0.0 { 0.0 } else { room };
            domain[1] += if anchored && high == 0.0 { 0.0 } else { room };
        }
        if transform == Transform::Sqrt {
            domain[0] = domain[0].max(0.0);
        }
        bounded(&mut domain, own);
        let empty = domain[0].partial_cmp(&domain[1]) != Some(std::cmp::Ordering::Less);
        if empty || transform == Transform::Log && domain[0] <= 0.0 {
            let at = own.map_or(spec.span, |own| own.span);
            return Err(Problem::new(Ename::ValueError, "the range of the axis is empty")
                .at(at)
                .hint("FROM (low, high), low first"));
        }
        Ok(Some(domain))
    }

    /// Marks that belong to no panel stand in all of them.
    fn repeat(&mut self) -> Result<(), Problem> {
        let names: [Vec<String>; 2] = match &self.panels {
            Panels::One => return Ok(()),
            Panels::Wrap { names, .. } => [names.clone(), vec![String::new()]],
            Panels::Grid { rows, columns } => [rows.clone(), columns.clone()],
        };
        let mut count = 0;
        for layer in &mut self.layers {
            for (side, names) in names.iter().enumerate() {
                let marks = std::mem::take(&mut layer.marks);
                for mark in marks {
                    let anywhere = mark.panel[side].is_empty() && !names.iter().any(String::is_empty);
                    if anywhere {
                        layer.marks.extend(names.iter().map(|name| {
                            let mut copy = mark.clone();
                            copy.panel[side].clone_from(name);
                            copy
                        }));
                    } else if names.contains(&mark.panel[side]) {
                        layer.marks.push(mark);
                    }
                    if count + layer.marks.len() > MARKS {
                        let message = format!(
                            "the panels would hold more than {} marks",
                            carrel_cell::caption::grouped(MARKS as u64)
                        );
                        return Err(Problem::new(Ename::ValueError, message)
                            .hint("aggregate in the query, or use fewer panels"));
                    }
                }
            }
            count += layer.marks.len();
        }
        Ok(())
    }

    /// How a value is called in an axis, a legend or a panel.
    #[must_use]
    pub fn called(&self, of: Scaled, value: &str) -> String {
        let found = self.renaming.iter().find(|(scaled, from, _)| *scaled == of && from == value);
        found.map_or_else(|| value.to_owned(), |(_, _, to)| to.clone())
    }

    /// How many marks it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.layers.iter().map(|layer| layer.marks.len()).sum()
    }
}

/// A number that was set.
fn fixed_number(layer: &Drawn, aes: Aes) -> Option<f64> {
    layer.fixed.get(&aes).and_then(Literal::number)
}

/// A text that was set.
fn fixed_text(layer: &Drawn, aes: Aes) -> Option<String> {
    layer.fixed.get(&aes).and_then(Literal::text).map(str::to_owned)
}
