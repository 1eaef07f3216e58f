//! One layer on its way from text to rows: a machine that says what to ask the engine next. Statistics are SQL of the engine's;
//! what comes back is bounded.

mod base;
mod bins;
mod boxes;
mod curves;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use carrel_cell::problem::{Ename, Problem, Span};

use crate::aesthetic::Aes;
use crate::frame::{Column, Frame, Kind, Value};
use crate::geom::Geom;
use crate::palette;
use crate::query::{Query, Source};
use crate::spec::{Layer, Literal, Spec};
use base::Base;

/// Rows of a layer that are drawn at most.
pub const MOST: usize = 10_000;

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send this and give its rows to the next step; at most so many rows are wanted.
    Ask(Query, usize),
    /// The layer has its rows.
    Done(Drawn),
}

/// A layer with its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The kind.
    pub geom: Geom,
    /// Its place in the statement.
    pub span: Span,
    /// The rows.
    pub rows: Vec<Row>,
    /// What is mapped, and what its values are.
    pub kinds: BTreeMap<Aes, Kind>,
    /// What a mapped aesthetic is called, if it comes from data.
    pub titles: BTreeMap<Aes, String>,
    /// Aesthetics that were set to a literal.
    pub fixed: BTreeMap<Aes, Literal>,
    /// Does it grow sideways?
    pub transposed: bool,
    /// `stack`, `dodge`, `jitter` or `identity`
    pub position: Position,
    /// The part of a band that a bar or a box fills.
    pub width: f64,
    /// The caps of a range, in points.
    pub hinge: f64,
    /// Pixels that texts are moved, right and down.
    pub offset: [f64; 2],
    /// What has to be said about the rows.
    pub note: Option<String>,
}

/// One row of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Values by aesthetic.
    pub values: BTreeMap<Aes, Value>,
    /// Rows of the same group are joined.
    pub group: String,
    /// The panel by row and column of the facets; `None` is in all of them.
    pub panel: [Option<String>; 2],
}

impl Row {
    /// A value.
    #[must_use]
    pub fn get(&self, aes: Aes) -> &Value {
        self.values.get(&aes).unwrap_or(&Value::Null)
    }

    /// A number.
    #[must_use]
    pub fn number(&self, aes: Aes) -> Option<f64> {
        self.get(aes).number()
    }
}

/// What happens to marks at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nothing.
    Identity,
    /// On top of each other.
    Stack,
    /// Side by side.
    Dodge,
    /// Moved a little, always by the same.
    Jitter,
}

/// The machine of one layer.
#[derive(Debug)]
pub struct Job<'a> {
    source: Source<'a>,
    base: Base<'a>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Asked for the types.
    Kinds,
    /// Asked for the rows as they are.
    Rows,
    /// Asked how many rows there are.
    Count,
    /// Asked for every n-th row.
    Thinned { every: u64, of: u64 },
    /// Asked for counts of categories.
    Counts,
    /// Asked for the extent of what is binned.
    Extent,
    /// Asked for counts by bin.
    Bins(bins::Bins),
    /// Asked for the groups of a curve.
    Groups,
    /// Asked for what is smoothed.
    Curve(curves::Curves),
    /// Asked for straight lines.
    Straight,
    /// Asked for quartiles and whiskers.
    Boxes,
    /// Asked for what lies outside.
    Outliers(Vec<Row>),
}

impl<'a> Job<'a> {
    /// Begins a layer. `columns` are those of its source, `facet` the names that it is cut by.
    ///
    /// # Errors
    /// Mappings that do not fit the layer or its source.
    pub fn start(
        source: Source<'a>,
        spec: &'a Spec,
        layer: &'a Layer,
        columns: &[Column],
    ) -> Result<(Self, Step), Problem> {
        let base = Base::new(source, spec, layer, columns)?;
        let mut job = Self { source, base, state: State::Kinds };
        if layer.placed {
            let drawn = job.base.placed()?;
            return Ok((job, Step::Done(drawn)));
        }
        let query = job.base.select(|query, base| {
            query.push("SELECT * FROM ");
            base.rows(query);
            query.push(" AS r LIMIT 0");
        });
        job.state = State::Kinds;
        Ok((job, Step::Ask(query, 0)))
    }

    /// Takes the answer to what was asked.
    ///
    /// # Errors
    /// Data that cannot be drawn so.
    pub fn step(&mut self, frame: &Frame) -> Result<Step, Problem> {
        match &self.state {
            State::Kinds => {
                self.base.learn(frame)?;
                self.begin()
            }
            State::Rows if frame.rows.len() > MOST => self.too_many(),
            State::Rows => self.drawn(frame, None),
            State::Count => self.thin(frame),
            State::Thinned { every, of } => {
                let note =
                    format!("drew every {} row of {}", ordinal(*every), carrel_cell::caption::grouped(*of));
                self.drawn(frame, Some(note))
            }
            State::Counts => self.counted(frame),
            State::Extent => self.bin(frame),
            State::Bins(bins) => bins::draw(&self.base, bins, frame),
            State::Groups => self.smooth(frame),
            State::Curve(curves) => curves::draw(&self.base, curves, frame),
            State::Straight => curves::straight(&self.base, frame),
            State::Boxes => self.boxed(frame),
            State::Outliers(rows) => boxes::with_outliers(&self.base, rows.clone(), frame),
        }
    }

    /// Has the source been asked for its columns with this layer's name for it?
    #[must_use]
    pub fn source(&self) -> Source<'a> {
        self.source
    }

    fn begin(&mut self) -> Result<Step, Problem> {
        match self.base.layer.geom {
            Geom::Histogram => self.ask_extent(),
            Geom::Bar if !self.base.has(self.base.secondary()) => self.ask_counts(),
            Geom::Density => self.ask_groups(),
            Geom::Smooth => self.ask_smooth(),
            Geom::Boxplot => self.ask_boxes(),
            _ => self.ask_rows(),
        }
    }

    fn ask(&mut self, state: State, query: Query) -> Result<Step, Problem> {
        self.state = state;
        Ok(Step::Ask(query, MOST + 1))
    }
}

/// `13` as `13th`.
fn ordinal(n: u64) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{}{ending}", carrel_cell::caption::grouped(n))
}

/// A literal that was set for an aesthetic, checked.
fn check_fixed(aes: Aes, value: &Literal, span: Span) -> Result<Literal, Problem> {
    let wrong = |message: String| Problem::new(Ename::BadOption, message).at(span);
    if aes.is_colour() {
        let Some(text) = value.text() else {
            return Err(wrong("a colour is a text such as 'red'".to_owned()));
        };
        return match palette::colour(text) {
            Some(hex) => Ok(Literal::Text(hex)),
            None => Err(wrong(format!("there is no colour {text}"))
                .hint("use a name of CSS or '#rrggbb'")
                .suggest(text, palette::colour_names())),
        };
    }
    let among = |names: &[&str]| match value.text() {
        Some(text) if names.contains(&text) => Ok(value.clone()),
        other => Err(wrong(format!("{} cannot be this", aes.name()))
            .hint(format!("it is one of {}", names.join(", ")))
            .suggest(other.unwrap_or(""), names)),
    };
    let number = |low: f64, high: f64| match value.number() {
        Some(n) if (low..=high).contains(&n) => Ok(value.clone()),
        _ => Err(wrong(format!("{} takes a number from {low} to {high}", aes.name()))),
    };
    match aes {
        Aes::Opacity => number(0.0, 1.0),
        Aes::Size => number(0.0, 100.0),
        Aes::Linewidth => number(0.0, 50.0),
        Aes::Shape => among(crate::scale::SHAPES),
        Aes::Linetype => among(crate::scale::LINETYPES),
        _ => Ok(value.clone()),
    }
}
