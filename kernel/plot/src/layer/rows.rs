//! Layers that draw their rows as they are, or by aggregates of them, and bars that count.

use carrel_cell::caption::grouped;
use carrel_cell::problem::{Ename, Problem};

use super::base::name;
use super::{Job, MOST, State, Step};
use crate::aesthetic::{AGGREGATES, Aes, aggregate_sql};
use crate::frame::{Frame, Kind, Value};
use crate::geom::Geom;
use crate::spec::Literal;

impl Job<'_> {
    pub(super) fn ask_rows(&mut self) -> Result<Step, Problem> {
        let aggregates = self.aggregates()?;
        let query = self.base.select(|query, base| {
            match &aggregates {
                None => {
                    query.push("SELECT * FROM ");
                    base.rows(query);
                    query.push(" AS r");
                }
                Some(columns) => {
                    query.push("SELECT ").push(&columns.join(", ")).push(" FROM ");
                    base.rows(query);
                    query.push(" AS r GROUP BY ALL");
                }
            }
            query.push(&format!(" LIMIT {}", MOST + 1));
        });
        self.ask(State::Rows, query)
    }

    /// The select of `SETTING aggregate`: categories (and the axis that marks stand along) are kept, numbers are aggregated.
    fn aggregates(&self) -> Result<Option<Vec<String>>, Problem> {
        let Some(setting) = self.base.setting("aggregate") else { return Ok(None) };
        if setting.value == Literal::Null {
            return Ok(None);
        }
        let wrong = |message: String| Problem::new(Ename::BadOption, message).at(setting.span);
        let mut general = Vec::new();
        let mut targeted = Vec::new();
        for one in setting.value.list() {
            let Some(text) = one.text() else {
                return Err(wrong("aggregate takes texts such as 'mean'".to_owned()));
            };
            let (aes, function) = match text.split_once(':') {
                Some((aes, function)) => (Some(aes.trim()), function.trim()),
                None => (None, text),
            };
            if aggregate_sql(function, "x").is_none() {
                let names = AGGREGATES.iter().map(|(name, _)| *name);
                let all: Vec<_> = names.clone().collect();
                return Err(wrong(format!("there is no aggregate {function}"))
                    .hint(format!("aggregates are {}, and bands such as mean-1.96sdev", all.join(", ")))
                    .suggest(function, names));
            }
            match aes.map(|aes| (aes, Aes::parse(aes))) {
                None => general.push(function.to_owned()),
                Some((_, Some(aes))) if targeted.iter().any(|(other, _)| *other == aes) => {
                    return Err(wrong(format!("{} is aggregated twice", aes.name()))
                        .hint("draw a layer for each, as in DRAW line … DRAW line …"));
                }
                Some((_, Some(aes))) => targeted.push((aes, function.to_owned())),
                Some((text, None)) => {
                    return Err(wrong(format!("there is no aesthetic {text}")).suggest(text, Aes::names()));
                }
            }
        }
        if general.len() > 2 {
            return Err(wrong("aggregate takes at most two functions without a target".to_owned()));
        }
        let along = matches!(
            self.base.layer.geom,
            Geom::Line | Geom::Area | Geom::Ribbon | Geom::Range | Geom::Bar | Geom::Tile
        );
        let mut columns = Vec::new();
        for aes in self.base.aesthetics() {
            let upper = matches!(aes, Aes::Xmax | Aes::Ymax | Aes::Xend | Aes::Yend);
            let function = targeted
                .iter()
                .find(|(target, _)| *target == aes)
                .map(|(_, function)| function)
                .or(if upper { general.last() } else { general.first() });
            let kept = self.base.kind(aes) == Kind::Category
                || along && aes == self.base.primary()
                || self.base.layer.geom == Geom::Tile && aes.axis().is_some();
            match function {
                Some(function) if !kept => {
                    let sql = aggregate_sql(function, &self.base.as_number(aes)).unwrap_or_default();
                    columns.push(format!("{sql} AS {}", name(aes)));
                }
                _ => columns.push(name(aes)),
            }
        }
        let mapped: Vec<Aes> = self.base.aesthetics().collect();
        columns.extend(self.base.keys(&mapped));
        Ok(Some(columns))
    }

    /// More rows than are drawn: marks that stand for themselves are thinned, sums and areas would lie.
    pub(super) fn too_many(&mut self) -> Result<Step, Problem> {
        let geom = self.base.layer.geom;
        let thinnable = matches!(geom, Geom::Point | Geom::Line | Geom::Text | Geom::Segment | Geom::Rule)
            && self.base.layer.order.is_none()
            && self.base.setting("aggregate").is_none();
        if !thinnable {
            return Err(self.refused());
        }
        let query = self.base.select(|query, base| {
            query.push("SELECT count(*) AS plot_rows FROM ");
            base.rows(query);
            query.push(" AS r");
        });
        self.ask(State::Count, query)
    }

    fn refused(&self) -> Problem {
        let geom = self.base.layer.geom;
        let message = format!("{} would draw more than {} marks", geom.name(), grouped(MOST as u64));
        let hint = match geom {
            Geom::Bar | Geom::Tile => "group in the query, or let DRAW histogram make bins",
            _ => "aggregate in the query, FILTER, or add LIMIT",
        };
        Problem::new(Ename::ValueError, message).at(self.base.layer.span).hint(hint)
    }

    pub(super) fn thin(&mut self, frame: &Frame) -> Result<Step, Problem> {
        let of = frame.number(0, "plot_rows").unwrap_or(0.0).max(1.0);
        let every = (of / MOST as f64).ceil().max(1.0) as u64;
        let joined = self.base.layer.geom == Geom::Line;
        let along = self.base.primary();
        let query = self.base.select(|query, base| {
            let mut window = String::new();
            if joined {
                let groups = base.keys(&[Aes::X, Aes::Y]);
                if !groups.is_empty() {
                    window = format!("PARTITION BY {} ", groups.join(", "));
                }
                window.push_str(&format!("ORDER BY {}", name(along)));
            }
            query.push(&format!("SELECT * FROM (SELECT *, row_number() OVER ({window}) AS plot_row FROM "));
            base.rows(query);
            query.push(&format!(" AS r) AS s WHERE (plot_row - 1) % {every} = 0"));
        });
        self.state = State::Thinned { every, of: of as u64 };
        // Every group keeps its first row, so there may be a few more.
        Ok(Step::Ask(query, MOST + MOST / 10))
    }

    pub(super) fn drawn(&mut self, frame: &Frame, note: Option<String>) -> Result<Step, Problem> {
        if note.is_some() && !frame.complete {
            return Err(self.refused());
        }
        let mut rows: Vec<_> = (0..frame.rows.len()).map(|at| self.base.row(frame, at, &[])).collect();
        if matches!(self.base.layer.geom, Geom::Line | Geom::Area | Geom::Ribbon)
            && self.base.layer.order.is_none()
        {
            let along = self.base.primary();
            rows.sort_by(|a, b| compare(a.get(along), b.get(along)));
        }
        let mut drawn = self.base.drawn(rows, &[])?;
        drawn.note = note;
        Ok(Step::Done(drawn))
    }

    /// Bars without a height count their rows, or sum a weight.
    pub(super) fn ask_counts(&mut self) -> Result<Step, Problem> {
        let query = self.base.select(|query, base| {
            let keys = base.keys(&[Aes::Weight]);
            let what = if base.has(Aes::Weight) {
                format!("sum({})", name(Aes::Weight))
            } else {
                "count(*)".to_owned()
            };
            let list = keys.iter().map(|key| format!("{key}, ")).collect::<String>();
            query.push(&format!("SELECT {list}CAST({what} AS DOUBLE) AS plot_stat FROM "));
            base.rows(query);
            query.push(" AS r");
            if !keys.is_empty() {
                query.push(" GROUP BY ").push(&keys.join(", "));
            }
            query.push(&format!(" LIMIT {}", MOST + 1));
        });
        self.ask(State::Counts, query)
    }

    pub(super) fn counted(&mut self, frame: &Frame) -> Result<Step, Problem> {
        if frame.rows.len() > MOST {
            return Err(self.refused());
        }
        let (along, up) = (self.base.primary(), self.base.secondary());
        let mut rows = Vec::new();
        for at in 0..frame.rows.len() {
            let mut row = self.base.row(frame, at, &[Aes::Weight]);
            if !self.base.has(along) {
                row.values.insert(along, Value::Text(String::new()));
            }
            row.values.insert(up, frame.value(at, "plot_stat"));
            rows.push(row);
        }
        let statistic = self.base.layer.remapping.as_ref().map_or("count", |one| one.statistic.as_str());
        if statistic == "proportion" {
            super::bins::share(&mut rows, up, 1.0);
        }
        let weighted = self.base.has(Aes::Weight) && statistic == "count";
        let title = if weighted { "sum" } else { statistic };
        let mut made = vec![(up, Kind::Number, title)];
        if !self.base.has(along) {
            made.push((along, Kind::Category, ""));
        }
        Ok(Step::Done(self.base.drawn(rows, &made)?))
    }
}

/// The order along an axis; NULL comes last.
pub(super) fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.number(), b.number()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.label().cmp(&b.label()),
    }
}
