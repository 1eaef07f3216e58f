//! Histograms: the extent is asked first, then the count of every bin.

use std::collections::BTreeMap;

use carrel_cell::problem::{Ename, Problem};

use super::base::Base;
use super::{Job, MOST, Row, State, Step};
use crate::aesthetic::Aes;
use crate::frame::{Frame, Kind, Value};
use crate::scale::nice_step;

/// Bins that a histogram has at most.
const BINS: f64 = 1000.0;

/// Bins of the same width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bins {
    /// Where the first begins.
    pub(super) low: f64,
    /// The width of each.
    pub(super) width: f64,
    /// How many.
    pub(super) count: u64,
}

impl Job<'_> {
    pub(super) fn ask_extent(&mut self) -> Result<Step, Problem> {
        let along = self.base.primary();
        self.base.must_be_numeric(along)?;
        let query = self.base.select(|query, base| {
            let n = base.as_number(along);
            query.push(&format!("SELECT min({n}) AS plot_low, max({n}) AS plot_high FROM "));
            base.rows(query);
            query.push(" AS r");
        });
        self.ask(State::Extent, query)
    }

    pub(super) fn bin(&mut self, frame: &Frame) -> Result<Step, Problem> {
        let along = self.base.primary();
        let (Some(least), Some(most)) = (frame.number(0, "plot_low"), frame.number(0, "plot_high")) else {
            return no_values(&self.base, frame).map(Step::Done);
        };
        let bins = self.bins(least, most)?;
        let closed = self.base.text("closed").unwrap_or_else(|| "right".to_owned());
        let Bins { low, width, count } = bins;
        let query = self.base.select(|query, base| {
            let n = base.as_number(along);
            let place = format!("({n} - {low:?}) / {width:?}");
            let bin = if closed == "left" {
                format!("least(greatest(CAST(floor({place}) AS BIGINT), 0), {})", count - 1)
            } else {
                format!("least(greatest(CAST(ceil({place}) AS BIGINT) - 1, 0), {})", count - 1)
            };
            let keys = base.keys(&[along, Aes::Weight]);
            let what = if base.has(Aes::Weight) {
                format!("sum({})", super::base::name(Aes::Weight))
            } else {
                "count(*)".to_owned()
            };
            let list = keys.iter().map(|key| format!("{key}, ")).collect::<String>();
            query.push(&format!("SELECT {list}{bin} AS plot_bin, CAST({what} AS DOUBLE) AS plot_stat FROM "));
            base.rows(query);
            query.push(&format!(" AS r WHERE {n} IS NOT NULL GROUP BY ALL LIMIT {}", MOST + 1));
        });
        self.ask(State::Bins(bins), query)
    }

    fn bins(&self, low: f64, high: f64) -> Result<Bins, Problem> {
        let closed = self.base.setting("closed");
        if let Some(setting) = closed
            && !matches!(setting.value.text(), Some("left" | "right"))
        {
            return Err(Problem::new(Ename::BadOption, "closed is 'left' or 'right'").at(setting.span));
        }
        let wanted = self.base.number("bins", 30.0, 1.0, BINS)?;
        let span = high - low;
        let width = match self.base.setting("binwidth") {
            Some(_) => self.base.number("binwidth", 1.0, f64::MIN_POSITIVE, f64::MAX)?,
            None if span == 0.0 => 1.0,
            None if self.base.setting("bins").is_some() => {
                return Ok(Bins { low, width: span / wanted.floor(), count: wanted.floor() as u64 });
            }
            None => nice_step(span / wanted, self.base.kind(self.base.primary())),
        };
        let low = (low / width).floor() * width;
        let count = ((high - low) / width).ceil().max(1.0);
        if count > BINS {
            let at = self.base.setting("binwidth").map_or(self.base.layer.span, |setting| setting.span);
            let message =
                format!("bins of this width would be {}", carrel_cell::caption::grouped(count as u64));
            return Err(Problem::new(Ename::ValueError, message)
                .at(at)
                .hint(format!("a histogram has at most {BINS} bins")));
        }
        Ok(Bins { low, width, count: count as u64 })
    }
}

/// A statistic over rows that hold no number.
pub(super) fn no_values(base: &Base<'_>, _frame: &Frame) -> Result<super::Drawn, Problem> {
    let along = base.primary();
    Err(Problem::new(Ename::ValueError, format!("{} holds no number to draw", along.name()))
        .at(base.layer.span)
        .hint("the query has no rows, or all its values are NULL or infinite"))
}

pub(super) fn draw(base: &Base<'_>, bins: &Bins, frame: &Frame) -> Result<Step, Problem> {
    let (along, up) = (base.primary(), base.secondary());
    if frame.rows.len() > MOST {
        return Err(Problem::new(Ename::ValueError, "the histogram has too many groups to draw")
            .at(base.layer.span)
            .hint("map a column with fewer values"));
    }
    let (from, to) = ends(along);
    let mut rows = Vec::new();
    for at in 0..frame.rows.len() {
        let mut row = base.row(frame, at, &[along, Aes::Weight]);
        let Some(bin) = frame.number(at, "plot_bin") else { continue };
        let start = bins.low + bin * bins.width;
        row.values.insert(from, base.back(along, start));
        row.values.insert(to, base.back(along, start + bins.width));
        row.values.insert(up, frame.value(at, "plot_stat"));
        rows.push(row);
    }
    rows.sort_by(|a, b| super::rows::compare(a.get(from), b.get(from)).then_with(|| a.group.cmp(&b.group)));
    let statistic = base.layer.remapping.as_ref().map_or("count", |one| one.statistic.as_str());
    if statistic == "density" {
        share(&mut rows, up, bins.width);
    }
    let kind = base.kind(along);
    let title = if base.has(Aes::Weight) && statistic == "count" { "sum" } else { statistic };
    let drawn = base.drawn(rows, &[(up, Kind::Number, title), (from, kind, ""), (to, kind, "")])?;
    Ok(Step::Done(drawn))
}

/// The two ends of a place along an axis.
pub(super) fn ends(along: Aes) -> (Aes, Aes) {
    if along == Aes::X { (Aes::Xmin, Aes::Xmax) } else { (Aes::Ymin, Aes::Ymax) }
}

/// Divides by the sum of the group (and the width of a bin).
pub(super) fn share(rows: &mut [Row], up: Aes, width: f64) {
    let key = |row: &Row| (row.group.clone(), row.panel.clone());
    let mut sums: BTreeMap<_, f64> = BTreeMap::new();
    for row in rows.iter() {
        *sums.entry(key(row)).or_default() += row.number(up).unwrap_or(0.0);
    }
    for row in rows {
        let sum = sums.get(&key(row)).copied().unwrap_or(0.0);
        if let (Some(n), true) = (row.number(up), sum > 0.0) {
            row.values.insert(up, Value::Number(n / sum / width));
        }
    }
}
