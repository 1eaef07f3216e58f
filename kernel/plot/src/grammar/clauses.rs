//! `SCALE`, `FACET`, `PROJECT`, `LABEL`.

use carrel_cell::problem::{Ename, Problem, Span};

use super::{Parsed, Parser};
use crate::aesthetic::{Aes, Axis};
use crate::palette;
use crate::spec::{Facet, Literal, ScaleSpec, ScaleType, Scaled, Transform};

/// What `LABEL` can name beside aesthetics.
const TITLES: &[&str] = &["title", "subtitle", "caption"];

impl Parser<'_> {
    pub(super) fn scale(&mut self, start: Span) -> Parsed<ScaleSpec> {
        let kind = self.scale_type()?;
        let (name, at) = self.name("an aesthetic such as x, y or colour")?;
        let of = match (name.as_str(), Aes::parse(&name)) {
            ("panel" | "row" | "column", _) => Scaled::Panel,
            (_, Some(Aes::X)) => Scaled::Axis(Axis::X),
            (_, Some(Aes::Y)) => Scaled::Axis(Axis::Y),
            (_, Some(aes)) if aes.is_colour() => Scaled::Aes(Aes::Colour),
            (_, Some(aes @ (Aes::Size | Aes::Opacity | Aes::Shape | Aes::Linetype))) => Scaled::Aes(aes),
            _ => {
                let known = [
                    "x", "y", "colour", "color", "fill", "stroke", "size", "opacity", "shape", "linetype",
                    "panel",
                ];
                let problem = Problem::new(Ename::BadOption, format!("there is no scale for {name}")).at(at);
                return Err(problem
                    .hint(format!("scales are for {}", known.join(", ")))
                    .suggest(&name, known));
            }
        };
        let mut scale = ScaleSpec {
            of,
            kind,
            from: None,
            to: None,
            via: Transform::Linear,
            reverse: false,
            renaming: Vec::new(),
            span: start.to(at),
        };
        loop {
            if self.word("FROM") {
                let here = self.here();
                match self.literal()? {
                    Literal::List(values) => scale.from = Some(values),
                    _ => return Err(Problem::syntax(here, "FROM takes a list, as in FROM (0, 100)")),
                }
            } else if self.word("TO") {
                scale.to = Some(self.output_range()?);
            } else if self.word("VIA") {
                scale.via = self.transform()?;
            } else if self.word("SETTING") {
                self.scale_settings(&mut scale)?;
            } else if self.word("RENAMING") {
                self.renaming(&mut scale)?;
            } else {
                return Ok(scale);
            }
        }
    }

    fn scale_type(&mut self) -> Parsed<Option<ScaleType>> {
        let here = self.here();
        if self.word("CONTINUOUS") {
            return Ok(Some(ScaleType::Continuous));
        }
        if self.word("DISCRETE") || self.word("ORDINAL") {
            return Ok(Some(ScaleType::Discrete));
        }
        if self.word("BINNED") {
            let hint = "DRAW histogram bins an axis; for colours bin in the query, as in floor(v / 10) * 10";
            return Err(Problem::unsupported(here, "BINNED scales are not supported", hint));
        }
        if self.word("IDENTITY") {
            let hint = "name the values with SCALE … FROM ('a', 'b') TO ('red', 'blue')";
            return Err(Problem::unsupported(here, "IDENTITY scales are not supported", hint));
        }
        Ok(None)
    }

    fn output_range(&mut self) -> Parsed<Literal> {
        let here = self.here();
        let bare = self.peek().is_some_and(|token| token.kind == carrel_cell::token::TokenKind::Word);
        let range = if bare { Literal::Text(self.name("a palette")?.0) } else { self.literal()? };
        match &range {
            Literal::Text(name) if palette::exists(name) => Ok(range),
            Literal::Text(name) => {
                let problem = Problem::new(Ename::BadOption, format!("there is no palette {name}")).at(here);
                let all: Vec<_> = palette::names().collect();
                Err(problem.hint(format!("palettes are {}", all.join(", "))).suggest(name, palette::names()))
            }
            Literal::List(values) if !values.is_empty() => Ok(range),
            _ => Err(Problem::syntax(here, "TO takes a palette's name or a list, as in TO ('red', 'blue')")),
        }
    }

    fn transform(&mut self) -> Parsed<Transform> {
        let (name, span) = self.name("a transform such as log10")?;
        match name.as_str() {
            "identity" | "linear" | "integer" | "date" | "datetime" => Ok(Transform::Linear),
            "log10" | "log" => Ok(Transform::Log),
            "sqrt" => Ok(Transform::Sqrt),
            _ => {
                let known = ["log10", "sqrt", "identity"];
                let problem =
                    Problem::new(Ename::BadOption, format!("there is no transform {name}")).at(span);
                Err(problem.hint("transforms are log10, sqrt and identity").suggest(&name, known))
            }
        }
    }

    fn scale_settings(&mut self, scale: &mut ScaleSpec) -> Parsed<()> {
        loop {
            let (name, span) = self.name("a setting")?;
            self.arrow()?;
            let value = self.literal()?;
            match (name.as_str(), value) {
                ("reverse", Literal::Bool(reverse)) => scale.reverse = reverse,
                ("reverse", _) => return Err(Problem::syntax(span, "reverse takes true or false")),
                _ => {
                    let problem = Problem::new(Ename::BadOption, format!("a scale has no setting {name}"));
                    return Err(problem.at(span).hint("reverse => true is the one that there is"));
                }
            }
            if !self.symbol(',') {
                return Ok(());
            }
        }
    }

    fn renaming(&mut self, scale: &mut ScaleSpec) -> Parsed<()> {
        loop {
            let here = self.here();
            if self.symbol('*') {
                let hint = "format the values in the query, or name them one by one";
                return Err(Problem::unsupported(here, "RENAMING * is not supported", hint));
            }
            let from = self.literal()?.label();
            let Some(from) = from else {
                return Err(Problem::syntax(here, "RENAMING takes 'value' => 'name'"));
            };
            self.arrow()?;
            let to = match self.literal()? {
                Literal::Null => None,
                other => other.label(),
            };
            scale.renaming.push((from, to));
            if !self.symbol(',') {
                return Ok(());
            }
        }
    }

    pub(super) fn facet(&mut self) -> Parsed<Facet> {
        let by = self.name("a column")?;
        let columns = if self.word("BY") { Some(self.name("a column")?) } else { None };
        let mut facet = Facet { by, columns, wrap: None, free_x: false, free_y: false };
        if !self.word("SETTING") {
            return Ok(facet);
        }
        loop {
            let (name, span) = self.name("a setting")?;
            self.arrow()?;
            let value = self.literal()?;
            let wrong = |message: &str| Err(Problem::new(Ename::BadOption, message).at(span));
            match name.as_str() {
                "ncol" => match value.number().filter(|n| n.fract() == 0.0 && (1.0..=20.0).contains(n)) {
                    Some(_) if facet.columns.is_some() => return wrong("ncol does not go with FACET … BY"),
                    Some(n) => facet.wrap = Some(n as usize),
                    None => return wrong("ncol takes a whole number from 1 to 20"),
                },
                "free" => {
                    for one in value.list() {
                        match one.text() {
                            Some("x") => facet.free_x = true,
                            Some("y") => facet.free_y = true,
                            _ if one == Literal::Null => {}
                            _ => return wrong("free takes 'x', 'y' or ('x', 'y')"),
                        }
                    }
                }
                "missing" if value.text() == Some("repeat") => {}
                _ => {
                    let problem = Problem::new(Ename::BadOption, format!("FACET cannot do this with {name}"));
                    let hint = "FACET takes ncol => 2, free => 'y' and missing => 'repeat'";
                    return Err(problem.at(span).hint(hint).suggest(&name, ["ncol", "free", "missing"]));
                }
            }
            if !self.symbol(',') {
                return Ok(facet);
            }
        }
    }

    /// Are the axes exchanged?
    pub(super) fn project(&mut self) -> Parsed<bool> {
        let mut names = Vec::new();
        while !self.word("TO") {
            names.push(self.name("an axis, or TO")?);
            let _ = self.symbol(',');
        }
        let (system, span) = self.name("a coordinate system")?;
        if system != "cartesian" {
            let hint = "draw it on straight axes: PROJECT TO cartesian, or no PROJECT";
            return Err(Problem::unsupported(
                span,
                format!("the projection {system} is not supported"),
                hint,
            ));
        }
        if self.peek_word("SETTING") {
            let hint = "SCALE sets ranges and transforms";
            return Err(Problem::unsupported(self.here(), "SETTING of a projection is not supported", hint));
        }
        let axes: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        match axes.as_slice() {
            [] | ["x", "y"] => Ok(false),
            ["y", "x"] => Ok(true),
            _ => {
                let at = names.first().map_or(span, |(_, at)| *at);
                Err(Problem::unsupported(at, "axes are called x and y", "write PROJECT y, x TO cartesian"))
            }
        }
    }

    pub(super) fn labels(&mut self) -> Parsed<Vec<(String, String)>> {
        let mut labels = Vec::new();
        loop {
            let (name, span) = self.name("title, or an aesthetic")?;
            let known = TITLES.contains(&name.as_str()) || Aes::parse(&name).is_some();
            if !known {
                let problem =
                    Problem::new(Ename::BadOption, format!("nothing here is called {name}")).at(span);
                let all = TITLES.iter().copied().chain(Aes::names());
                return Err(problem
                    .hint("LABEL names title, subtitle, caption or an aesthetic")
                    .suggest(&name, all));
            }
            self.arrow()?;
            let here = self.here();
            let text = match self.literal()? {
                Literal::Null => String::new(),
                Literal::Text(text) => text,
                _ => return Err(Problem::syntax(here, "a label is a text in single quotes")),
            };
            labels.push((name, text));
            if !self.symbol(',') {
                return Ok(labels);
            }
        }
    }
}
