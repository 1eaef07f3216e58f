//! Boxplots: quartiles, whiskers and what lies outside, all by the engine.

use carrel_cell::problem::{Ename, Problem};

use super::base::{Base, name};
use super::{Job, MOST, Row, State, Step};
use crate::aesthetic::Aes;
use crate::frame::{Frame, Kind, Value};
use crate::query::Query;
use crate::spec::Literal;

/// Outliers that are drawn at most.
const OUTLIERS: usize = 2000;

impl Job<'_> {
    pub(super) fn ask_boxes(&mut self) -> Result<Step, Problem> {
        let up = self.base.secondary();
        self.base.must_be_numeric(up)?;
        let coef = self.base.number("coef", 1.5, 0.0, 100.0)?;
        let query = self.base.select(|query, base| {
            let keys = base.keys(&[up]);
            let list: String = keys.iter().map(|key| format!("s.{key}, ")).collect();
            query.push(&format!(
                "SELECT {list}s.plot_q1, s.plot_q2, s.plot_q3, \
                 min(d.plot_value) FILTER (WHERE d.plot_value >= s.plot_low) AS plot_from, \
                 max(d.plot_value) FILTER (WHERE d.plot_value <= s.plot_high) AS plot_to FROM "
            ));
            joined(query, base, up, coef);
            query.push(&format!(" GROUP BY {list}s.plot_q1, s.plot_q2, s.plot_q3 LIMIT {}", MOST + 1));
        });
        self.ask(State::Boxes, query)
    }

    pub(super) fn boxed(&mut self, frame: &Frame) -> Result<Step, Problem> {
        let (along, up) = (self.base.primary(), self.base.secondary());
        if frame.rows.len() > 500 {
            return Err(Problem::new(Ename::ValueError, "there are more than 500 boxes to draw")
                .at(self.base.layer.span)
                .hint("map a column with fewer values"));
        }
        let (low, high) = super::bins::ends(up);
        let (from, to) = if up == Aes::Y { (Aes::Yend, Aes::Height) } else { (Aes::Xend, Aes::Width) };
        let mut rows = Vec::new();
        for at in 0..frame.rows.len() {
            if frame.number(at, "plot_q2").is_none() {
                continue;
            }
            let mut row = self.base.row(frame, at, &[up]);
            if !self.base.has(along) {
                row.values.insert(along, Value::Text(String::new()));
            }
            for (aes, column) in
                [(up, "plot_q2"), (low, "plot_q1"), (high, "plot_q3"), (from, "plot_from"), (to, "plot_to")]
            {
                let value = frame.number(at, column).map_or(Value::Null, |n| self.base.back(up, n));
                row.values.insert(aes, value);
            }
            rows.push(row);
        }
        if self.base.setting("outliers").is_some_and(|setting| setting.value == Literal::Bool(false)) {
            return finish(&self.base, rows, None);
        }
        let coef = self.base.number("coef", 1.5, 0.0, 100.0)?;
        let query = self.base.select(|query, base| {
            let list: String = base.keys(&[up]).iter().map(|key| format!("s.{key}, ")).collect();
            query.push(&format!("SELECT {list}d.plot_value AS plot_outlier FROM "));
            joined(query, base, up, coef);
            query.push(&format!(
                " WHERE d.plot_value < s.plot_low OR d.plot_value > s.plot_high LIMIT {}",
                OUTLIERS + 1
            ));
        });
        self.state = State::Outliers(rows);
        Ok(Step::Ask(query, OUTLIERS + 1))
    }
}

/// Every row `d` beside the quartiles `s` of its group.
fn joined(query: &mut Query, base: &Base<'_>, up: Aes, coef: f64) {
    let keys = base.keys(&[up]);
    let value = base.as_number(up);
    let list: String = keys.iter().map(|key| format!("{key}, ")).collect();
    query.push(&format!("(SELECT {list}{value} AS plot_value FROM "));
    base.rows(query);
    query.push(&format!(" AS r WHERE {} IS NOT NULL) AS d ", name(up)));
    query.push(if keys.is_empty() { "CROSS JOIN " } else { "JOIN " });
    query.push(&format!(
        "(SELECT *, plot_q1 - {coef:?} * (plot_q3 - plot_q1) AS plot_low, \
         plot_q3 + {coef:?} * (plot_q3 - plot_q1) AS plot_high FROM \
         (SELECT {list}quantile_cont({value}, 0.25) AS plot_q1, quantile_cont({value}, 0.5) AS plot_q2, \
         quantile_cont({value}, 0.75) AS plot_q3 FROM "
    ));
    base.rows(query);
    query.push(&format!(" AS r WHERE {} IS NOT NULL", name(up)));
    if !keys.is_empty() {
        query.push(" GROUP BY ").push(&keys.join(", "));
    }
    query.push(") AS q) AS s");
    let on: Vec<_> = keys.iter().map(|key| format!("d.{key} IS NOT DISTINCT FROM s.{key}")).collect();
    if !on.is_empty() {
        query.push(" ON ").push(&on.join(" AND "));
    }
}

pub(super) fn with_outliers(base: &Base<'_>, mut rows: Vec<Row>, frame: &Frame) -> Result<Step, Problem> {
    let (along, up) = (base.primary(), base.secondary());
    let shown = frame.rows.len().min(OUTLIERS);
    for at in 0..shown {
        let mut row = base.row(frame, at, &[up]);
        if !base.has(along) {
            row.values.insert(along, Value::Text(String::new()));
        }
        let n = frame.number(at, "plot_outlier");
        row.values.insert(Aes::Label, n.map_or(Value::Null, |n| base.back(up, n)));
        rows.push(row);
    }
    let note = (frame.rows.len() > OUTLIERS)
        .then(|| format!("drew {} of the outliers", carrel_cell::caption::grouped(OUTLIERS as u64)));
    finish(base, rows, note)
}

fn finish(base: &Base<'_>, rows: Vec<Row>, note: Option<String>) -> Result<Step, Problem> {
    let (along, up) = (base.primary(), base.secondary());
    let (low, high) = super::bins::ends(up);
    let kind = base.kind(up);
    let mut made = vec![(low, kind, ""), (high, kind, "")];
    if !base.has(along) {
        made.push((along, Kind::Category, ""));
    }
    if rows.is_empty() {
        return super::bins::no_values(base, &Frame::default()).map(Step::Done);
    }
    let mut drawn = base.drawn(rows, &made)?;
    drawn.note = note;
    Ok(Step::Done(drawn))
}
