//! `DRAW`, `PLACE` and their parts.

use carrel_cell::problem::{Ename, Problem, Span};
use carrel_cell::token::TokenKind;

use super::{Parsed, Parser};
use crate::aesthetic::Aes;
use crate::geom::{Geom, REFUSED};
use crate::spec::{Data, Layer, Literal, Mapping, Remapping, Setting};

impl Parser<'_> {
    pub(super) fn layer(&mut self, placed: bool) -> Parsed<Layer> {
        let (name, span) = self.name("a layer such as point, line or bar")?;
        if let Some((_, hint)) = REFUSED.iter().find(|(known, _)| *known == name) {
            return Err(Problem::unsupported(span, format!("the layer {name} is not supported"), *hint));
        }
        let Some(geom) = Geom::parse(&name) else {
            let problem = Problem::syntax(span, format!("there is no layer {name}"));
            let known: Vec<_> = Geom::names().collect();
            let hint = format!("layers are {}", known.join(", "));
            return Err(problem.hint(hint).suggest(&name, Geom::names()));
        };
        let mut layer = Layer {
            geom,
            span,
            placed,
            mappings: Vec::new(),
            source: None,
            remapping: None,
            settings: Vec::new(),
            filter: None,
            partition: Vec::new(),
            order: None,
        };
        self.parts(&mut layer)?;
        for mapping in &layer.mappings {
            if let Some(aes) = mapping.aes
                && !geom.takes(aes)
            {
                return Err(Problem::new(Ename::BadOption, format!("{} has no {}", geom.name(), aes.name()))
                    .at(mapping.span)
                    .hint(format!("{} takes {}", geom.name(), taken(geom))));
            }
        }
        Ok(layer)
    }

    fn parts(&mut self, layer: &mut Layer) -> Parsed<()> {
        loop {
            let here = self.here();
            let only_drawn = |what: &str| {
                let message = format!("{what} does not go with PLACE, which has no data");
                Problem::syntax(here, message).hint("use DRAW, or SETTING x => 1")
            };
            if self.word("MAPPING") {
                if layer.placed {
                    return Err(only_drawn("MAPPING"));
                }
                if !self.peek_word("FROM") {
                    layer.mappings = self.mappings()?;
                }
                if self.word("FROM") {
                    layer.source = Some(self.source()?);
                }
            } else if self.word("REMAPPING") {
                layer.remapping = Some(self.remapping(layer.geom)?);
            } else if self.word("SETTING") {
                let settings = self.settings(layer.geom, layer.placed)?;
                layer.settings.extend(settings);
            } else if self.word("FILTER") {
                if layer.placed {
                    return Err(only_drawn("FILTER"));
                }
                layer.filter = Some(self.raw("a condition")?);
            } else if self.word("PARTITION") {
                self.by()?;
                loop {
                    layer.partition.push(self.name("a column")?);
                    if !self.symbol(',') {
                        break;
                    }
                }
            } else if self.word("ORDER") {
                self.by()?;
                layer.order = Some(self.raw("a column")?);
            } else {
                return Ok(());
            }
        }
    }

    fn by(&mut self) -> Parsed<()> {
        if self.word("BY") { Ok(()) } else { Err(self.unexpected("BY")) }
    }

    /// `data AS aesthetic, …`
    pub(super) fn mappings(&mut self) -> Parsed<Vec<Mapping>> {
        let mut mappings: Vec<Mapping> = Vec::new();
        loop {
            let mapping = self.mapping()?;
            if mapping.aes.is_some() && mappings.iter().any(|other| other.aes == mapping.aes) {
                let name = mapping.aes.map_or("", Aes::name);
                return Err(Problem::syntax(mapping.span, format!("{name} is mapped twice")));
            }
            mappings.push(mapping);
            if !self.symbol(',') {
                return Ok(mappings);
            }
        }
    }

    fn mapping(&mut self) -> Parsed<Mapping> {
        let start = self.here();
        if self.symbol('*') {
            return Ok(Mapping { data: Data::All, aes: None, span: start });
        }
        let data = self.data()?;
        if self.word("AS") {
            let (name, span) = self.name("an aesthetic such as x, y or fill")?;
            let aes = self.aesthetic(&name, span)?;
            return Ok(Mapping { data, aes: Some(aes), span: start.to(span) });
        }
        match &data {
            Data::Column(name) => match Aes::parse(name) {
                Some(aes) => Ok(Mapping { data: data.clone(), aes: Some(aes), span: start }),
                None => Err(Problem::syntax(start.to(self.before()), format!("{name} is mapped to nothing"))
                    .hint(format!("write {name} AS x, or another aesthetic"))),
            },
            _ => Err(self.unexpected("AS and an aesthetic")),
        }
    }

    fn aesthetic(&self, name: &str, span: Span) -> Parsed<Aes> {
        Aes::parse(name).ok_or_else(|| {
            let problem = Problem::new(Ename::BadOption, format!("there is no aesthetic {name}")).at(span);
            let known: Vec<_> = Aes::names().collect();
            problem.hint(format!("aesthetics are {}", known.join(", "))).suggest(name, Aes::names())
        })
    }

    /// A column, a constant or an expression, up to `AS`, a comma or the next part.
    fn data(&mut self) -> Parsed<Data> {
        let start = self.here();
        let from = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            let ends = self.peek_word("AS")
                || token.is_symbol(self.src, ',')
                || self.at_clause()
                || self.peek_word("FROM")
                || self.peek_word("SETTING")
                || self.peek_word("MAPPING")
                || self.peek_word("REMAPPING")
                || self.peek_word("FILTER")
                || (self.peek_word("PARTITION") || self.peek_word("ORDER"));
            if depth == 0 && ends {
                break;
            }
            if token.is_symbol(self.src, '(') || token.is_symbol(self.src, '[') {
                depth += 1;
            } else if token.is_symbol(self.src, ')') || token.is_symbol(self.src, ']') {
                match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return Err(Problem::syntax(token.span, "this closes nothing")),
                }
            }
            self.at += 1;
        }
        match &self.tokens[from..self.at] {
            [] => Err(self.unexpected("a column")),
            [one] if one.kind == TokenKind::Word && one.value(self.src) == "null" => Ok(Data::Nothing),
            [one] if one.kind == TokenKind::QuotedName => Ok(Data::Column(one.value(self.src))),
            [one] if one.kind == TokenKind::Word => match one.value(self.src).as_str() {
                "true" | "false" => Ok(Data::Sql(one.span)),
                name => Ok(Data::Column(name.to_owned())),
            },
            _ => Ok(Data::Sql(start.to(self.before()))),
        }
    }

    fn remapping(&mut self, geom: Geom) -> Parsed<Remapping> {
        let (statistic, span) = self.name("a statistic")?;
        if !geom.statistics().contains(&statistic.as_str()) {
            let problem =
                Problem::new(Ename::BadOption, format!("{} has no statistic {statistic}", geom.name()))
                    .at(span);
            let known = geom.statistics().join(", ");
            let hint = if known.is_empty() { "only bar, histogram and density have some" } else { &known };
            return Err(problem
                .hint(format!("statistics are {hint}"))
                .suggest(&statistic, geom.statistics()));
        }
        if !self.word("AS") {
            return Err(self.unexpected("AS and an axis"));
        }
        let (name, at) = self.name("an axis")?;
        match self.aesthetic(&name, at)? {
            Aes::X | Aes::Y => Ok(Remapping { statistic, span }),
            other => Err(Problem::unsupported(
                at,
                format!("a statistic cannot be mapped to {}", other.name()),
                "map it to the axis that is free, as in REMAPPING density AS y",
            )),
        }
    }

    fn settings(&mut self, geom: Geom, placed: bool) -> Parsed<Vec<Setting>> {
        let mut settings = Vec::new();
        loop {
            let (name, span) = self.name("a setting")?;
            self.arrow()?;
            let value = self.literal()?;
            let aes = Aes::parse(&name);
            let known = geom.settings().contains(&name.as_str())
                || aes.is_some_and(|aes| geom.takes(aes) && (placed || aes.axis().is_none()))
                || geom == Geom::Text && name == "fontsize";
            if !known {
                let message = format!("{} has no setting {name}", geom.name());
                let problem = Problem::new(Ename::BadOption, message).at(span);
                let names = geom.settings().iter().copied().chain(Aes::names().filter(|name| {
                    Aes::parse(name).is_some_and(|aes| geom.takes(aes) && aes.axis().is_none())
                }));
                let all: Vec<_> = names.clone().collect();
                let hint = format!("{} takes {}", geom.name(), all.join(", "));
                return Err(problem.hint(hint).suggest(&name, names));
            }
            let several = matches!(value, Literal::List(_));
            if several && !placed && !matches!(name.as_str(), "aggregate" | "offset") {
                return Err(Problem::syntax(span.to(self.before()), format!("{name} takes one value")));
            }
            settings.push(Setting { name, value, span: span.to(self.before()) });
            if !self.symbol(',') {
                return Ok(settings);
            }
        }
    }
}

fn taken(geom: Geom) -> String {
    let all: Vec<_> = Aes::names()
        .filter(|name| *name != "color" && Aes::parse(name).is_some_and(|aes| geom.takes(aes)))
        .collect();
    all.join(", ")
}
