//! What is the same in all layers: mappings resolved, the select that everything is computed from, rows made of frames.

mod placed;
mod settings;

use std::collections::BTreeMap;

use carrel_cell::problem::{Ename, Problem, Span};

use super::{Drawn, Row, check_fixed};
use crate::aesthetic::Aes;
use crate::frame::{Column, Frame, Kind, Value};
use crate::geom::Geom;
use crate::query::{Query, Source, column, is_constant};
use crate::spec::{Data, Layer, Literal, Mapping, Setting, Spec};

/// One aesthetic and what is mapped to it.
#[derive(Clone, Debug)]
struct Mapped {
    aes: Aes,
    data: Data,
    span: Span,
}

/// The resolved layer.
#[derive(Debug)]
pub(super) struct Base<'a> {
    pub(super) layer: &'a Layer,
    spec: &'a Spec,
    source: Source<'a>,
    mapped: Vec<Mapped>,
    /// Facet columns that the source has, by row and column.
    facets: [Option<String>; 2],
    fixed: BTreeMap<Aes, Literal>,
    pub(super) kinds: BTreeMap<Aes, Kind>,
}

impl<'a> Base<'a> {
    pub(super) fn new(
        source: Source<'a>,
        spec: &'a Spec,
        layer: &'a Layer,
        columns: &[Column],
    ) -> Result<Self, Problem> {
        let mut mapped = Vec::new();
        if !layer.placed {
            // What is named goes before what `*` finds.
            let all = || layer.mappings.iter().chain(&spec.mappings);
            for mapping in all().filter(|one| one.aes.is_some()).chain(all().filter(|one| one.aes.is_none()))
            {
                take(layer.geom, mapping, columns, &mut mapped);
            }
        }
        mapped.retain(|one: &Mapped| one.data != Data::Nothing);
        for one in &mapped {
            if let Data::Column(name) = &one.data {
                known(name, first_word(source.text(), one.span), columns)?;
            }
        }
        for (name, span) in &layer.partition {
            known(name, *span, columns)?;
        }
        let mut fixed = BTreeMap::new();
        for Setting { name, value, span } in &layer.settings {
            if let Some(aes) = Aes::parse(name)
                && !layer.geom.settings().contains(&name.as_str())
                && !layer.placed
            {
                fixed.insert(unified(layer.geom, aes), check_fixed(aes, value, *span)?);
            }
        }
        mapped.retain(|one| !fixed.contains_key(&one.aes));
        if spec.flipped {
            mapped.iter_mut().for_each(|one| one.aes = one.aes.transposed());
        }
        let has = |name: &String| columns.iter().any(|column| column.name == *name);
        let facets = match &spec.facet {
            Some(facet) => {
                let by = Some(facet.by.0.clone()).filter(has);
                [by, facet.columns.as_ref().map(|(name, _)| name.clone()).filter(has)]
            }
            None => [None, None],
        };
        let base = Self { layer, spec, source, mapped, facets, fixed, kinds: BTreeMap::new() };
        base.complete()?;
        Ok(base)
    }

    fn complete(&self) -> Result<(), Problem> {
        let geom = self.layer.geom;
        if self.layer.placed {
            return Ok(());
        }
        let lacks = |what: &str| {
            let hint = format!("map it, as in DRAW {} MAPPING column AS {what}", geom.name());
            Err(Problem::new(Ename::BadOption, format!("{} needs {what}", geom.name()))
                .at(self.layer.span)
                .hint(hint))
        };
        for aes in geom.needs() {
            if !self.has(if self.spec.flipped { aes.transposed() } else { *aes }) {
                return lacks(aes.name());
            }
        }
        let pair = |low, high| self.has(low) && self.has(high);
        match geom {
            Geom::Ribbon | Geom::Range if !pair(Aes::Ymin, Aes::Ymax) && !pair(Aes::Xmin, Aes::Xmax) => {
                lacks("ymin")
            }
            Geom::Histogram | Geom::Density | Geom::Rule | Geom::Point
                if !self.has(Aes::X) && !self.has(Aes::Y) =>
            {
                lacks("x")
            }
            Geom::Boxplot if !self.has(Aes::X) && !self.has(Aes::Y) => lacks("y"),
            _ => Ok(()),
        }
    }

    /// Is it mapped?
    pub(super) fn has(&self, aes: Aes) -> bool {
        self.mapped.iter().any(|one| one.aes == aes)
    }

    /// What is mapped, in the order of the select.
    pub(super) fn aesthetics(&self) -> impl Iterator<Item = Aes> {
        self.mapped.iter().map(|one| one.aes)
    }

    pub(super) fn kind(&self, aes: Aes) -> Kind {
        self.kinds.get(&aes).copied().unwrap_or(Kind::Category)
    }

    /// Does the layer grow sideways?
    pub(super) fn transposed(&self) -> bool {
        let (x, y) = (self.has(Aes::X), self.has(Aes::Y));
        let category = |aes| self.has(aes) && self.kind(aes) == Kind::Category;
        match self.layer.geom {
            Geom::Histogram | Geom::Density => y && !x,
            Geom::Bar => y && (!x || category(Aes::Y) && !category(Aes::X)),
            Geom::Boxplot => x && (!y || category(Aes::Y) && !category(Aes::X)),
            Geom::Range | Geom::Ribbon => self.has(Aes::Xmin),
            Geom::Line | Geom::Area => self.text("orientation").as_deref() == Some("transposed"),
            _ => false,
        }
    }

    /// The axis that marks stand along.
    pub(super) fn primary(&self) -> Aes {
        if self.transposed() { Aes::Y } else { Aes::X }
    }

    /// The axis that marks grow along.
    pub(super) fn secondary(&self) -> Aes {
        self.primary().transposed()
    }

    /// Learns the types from the answer without rows.
    pub(super) fn learn(&mut self, frame: &Frame) -> Result<(), Problem> {
        for (at, one) in self.mapped.iter().enumerate() {
            let kind = frame.columns.get(at).map_or(Kind::Category, |column| column.kind);
            self.kinds.insert(one.aes, kind);
        }
        for (mine, scale) in self.spec.scales.iter().filter_map(|scale| Some((scale.of, scale.kind?))) {
            for one in &self.mapped {
                let same = match mine {
                    crate::spec::Scaled::Axis(axis) => one.aes.axis() == Some(axis),
                    crate::spec::Scaled::Aes(aes) => one.aes == aes || aes.is_colour() && one.aes.is_colour(),
                    crate::spec::Scaled::Panel => false,
                };
                if same && scale == crate::spec::ScaleType::Discrete {
                    self.kinds.insert(one.aes, Kind::Category);
                }
            }
        }
        Ok(())
    }

    /// A select with `WITH …` in front where the source needs it.
    pub(super) fn select(&self, write: impl FnOnce(&mut Query, &Self)) -> Query {
        let mut query = Query::new(self.layer.span);
        self.source.open(self.source_name(), &mut query);
        write(&mut query, self);
        query
    }

    fn source_name(&self) -> Option<&'a crate::spec::SourceName> {
        self.layer.source.as_ref().or(self.spec.source.as_ref())
    }

    /// `(SELECT … FROM source WHERE …)`: one column for each mapping, called after its aesthetic, then groups and facets.
    pub(super) fn rows(&self, query: &mut Query) {
        let src = self.source.text();
        query.push("(SELECT ");
        for (at, one) in self.mapped.iter().enumerate() {
            query.push(if at > 0 { ", " } else { "" });
            match &one.data {
                Data::Column(name) => query.push(&format!("plot_data.{}", column(name))),
                Data::Sql(span) => query.splice(src, *span),
                Data::All | Data::Nothing => query.push("NULL"),
            };
            query.push(" AS ").push(&name(one.aes));
        }
        for (at, group) in self.layer.partition.iter().map(|(name, _)| name).enumerate() {
            query.push(&format!(", plot_data.{} AS plot_group_{at}", column(group)));
        }
        for (at, facet) in self.facets.iter().enumerate() {
            if let Some(facet) = facet {
                query.push(&format!(", plot_data.{} AS plot_facet_{at}", column(facet)));
            }
        }
        if self.mapped.is_empty() {
            query.push(if query.sql.ends_with("SELECT ") { "1 AS plot_one" } else { ", 1 AS plot_one" });
        }
        self.source.from(self.source_name(), query);
        if let Some(filter) = self.layer.filter {
            query.push(" WHERE (").splice(src, filter).push(")");
        }
        if let Some(order) = self.layer.order {
            query.push(" ORDER BY ").splice(src, order);
        }
        query.push(")");
    }

    /// Columns that rows are grouped by: all that are not in `without`.
    pub(super) fn keys(&self, without: &[Aes]) -> Vec<String> {
        let aes = self.mapped.iter().map(|one| one.aes).filter(|aes| !without.contains(aes)).map(name);
        let groups = (0..self.layer.partition.len()).map(|at| format!("plot_group_{at}"));
        let facets = self.facets.iter().enumerate().filter(|(_, facet)| facet.is_some());
        aes.chain(groups).chain(facets.map(|(at, _)| format!("plot_facet_{at}"))).collect()
    }

    /// The place of an aesthetic as a number: times as milliseconds.
    pub(super) fn as_number(&self, aes: Aes) -> String {
        match self.kind(aes) {
            Kind::Time => format!("CAST(epoch_ms(CAST({} AS TIMESTAMP)) AS DOUBLE)", name(aes)),
            _ => format!("CAST({} AS DOUBLE)", name(aes)),
        }
    }

    /// A number of an aesthetic as what its column holds.
    pub(super) fn back(&self, aes: Aes, n: f64) -> Value {
        if self.kind(aes) == Kind::Time { Value::Time(n) } else { Value::Number(n) }
    }

    /// Refuses categories where numbers are needed.
    pub(super) fn must_be_numeric(&self, aes: Aes) -> Result<(), Problem> {
        if self.kind(aes) != Kind::Category {
            return Ok(());
        }
        let at = self.mapped.iter().find(|one| one.aes == aes).map_or(self.layer.span, |one| one.span);
        let message = format!("{} needs numbers or times for {}", self.layer.geom.name(), aes.name());
        Err(Problem::new(Ename::TypeError, message).at(at).hint("DRAW bar counts categories"))
    }

    /// A row's keys: everything of it that is not in `without`.
    pub(super) fn row(&self, frame: &Frame, at: usize, without: &[Aes]) -> Row {
        let mut row = Row::default();
        let mut group = Vec::new();
        for one in &self.mapped {
            if without.contains(&one.aes) {
                continue;
            }
            let value = frame.value(at, &name(one.aes));
            let value = match (self.kind(one.aes), value) {
                (Kind::Category, value) => {
                    let text = value.label().unwrap_or_else(|| "NULL".to_owned());
                    if one.aes.axis().is_none() && one.aes != Aes::Label {
                        group.push(text.clone());
                    }
                    Value::Text(text)
                }
                (_, value) => value,
            };
            row.values.insert(one.aes, value);
        }
        for at_group in 0..self.layer.partition.len() {
            let value = frame.value(at, &format!("plot_group_{at_group}"));
            group.push(value.label().unwrap_or_default());
        }
        row.group = group.join(" · ");
        for (facet, name) in self.facets.iter().enumerate() {
            if name.is_some() {
                let value = frame.value(at, &format!("plot_facet_{facet}"));
                row.panel[facet] = Some(value.label().unwrap_or_else(|| "NULL".to_owned()));
            }
        }
        row
    }

    /// The layer with these rows; `computed` are aesthetics that a statistic made.
    pub(super) fn drawn(&self, rows: Vec<Row>, computed: &[(Aes, Kind, &str)]) -> Result<Drawn, Problem> {
        let mut kinds = self.kinds.clone();
        let mut titles = BTreeMap::new();
        for one in &self.mapped {
            if let Some(title) = self.title(one) {
                titles.insert(one.aes, title);
            }
        }
        for (aes, kind, title) in computed {
            kinds.insert(*aes, *kind);
            titles.entry(*aes).or_insert_with(|| (*title).to_owned());
        }
        let hinge = match self.setting("hinge").map(|setting| &setting.value) {
            Some(Literal::Null) => 0.0,
            _ => self.number("hinge", 10.0, 0.0, 200.0)?,
        };
        let mut fixed = self.fixed.clone();
        if self.setting("fontsize").is_some() {
            fixed.insert(Aes::Size, Literal::Number(self.number("fontsize", 11.0, 1.0, 100.0)?));
        }
        Ok(Drawn {
            geom: self.layer.geom,
            span: self.layer.span,
            rows,
            kinds,
            titles,
            fixed,
            transposed: self.transposed(),
            position: self.position()?,
            width: self.number("width", 0.9, 0.0, 1.0)?,
            hinge,
            offset: self.offset()?,
            note: None,
        })
    }

    fn title(&self, one: &Mapped) -> Option<String> {
        match &one.data {
            Data::Column(name) => Some(name.clone()),
            Data::Sql(span) => {
                let text = span.of(self.source.text());
                (!is_constant(text)).then(|| text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            Data::All | Data::Nothing => None,
        }
    }
}

/// Fill and stroke are one colour where a layer has only one of them.
fn unified(geom: Geom, aes: Aes) -> Aes {
    match aes {
        Aes::Stroke if geom.is_line() => Aes::Colour,
        Aes::Fill if !geom.is_line() => Aes::Colour,
        other => other,
    }
}

fn take(geom: Geom, mapping: &Mapping, columns: &[Column], mapped: &mut Vec<Mapped>) {
    let mut add = |aes: Aes, data: Data| {
        let aes = unified(geom, aes);
        if geom.takes(aes) && !mapped.iter().any(|one| one.aes == aes) {
            mapped.push(Mapped { aes, data, span: mapping.span });
        }
    };
    match mapping.aes {
        Some(aes) if geom.takes(aes) => add(aes, mapping.data.clone()),
        Some(_) => {}
        None => {
            for column in columns {
                if let Some(aes) = Aes::parse(&column.name) {
                    add(aes, Data::Column(column.name.clone()));
                }
            }
        }
    }
}

pub(crate) fn known(name: &str, span: Span, columns: &[Column]) -> Result<(), Problem> {
    if columns.iter().any(|column| column.name == name) {
        return Ok(());
    }
    let names = columns.iter().map(|column| column.name.as_str());
    let shown: Vec<_> = names.clone().take(12).collect();
    Err(Problem::new(Ename::UnknownColumn, format!("the query has no column {name}"))
        .at(span)
        .hint(format!("it has {}", shown.join(", ")))
        .suggest(name, names))
}

/// The first word of a place: the column of a mapping.
fn first_word(src: &str, span: Span) -> Span {
    let tokens = carrel_cell::token::tokenize(span.of(src)).unwrap_or_default();
    tokens.first().map_or(span, |token| token.span.shifted(span.start))
}

/// The column of an aesthetic in the select.
pub(super) fn name(aes: Aes) -> String {
    format!("plot_{}", aes.name())
}
