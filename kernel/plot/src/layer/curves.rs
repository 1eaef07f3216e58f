//! Densities and smooth lines. The engine counts (and sums) in fine bins; the kernel function runs over the bins.
//! Source of the bandwidth: Silverman, Density Estimation (1986), 0.9 min(s, IQR/1.34) n^(-1/5).

use std::collections::BTreeMap;

use carrel_cell::problem::{Ename, Problem};

use super::base::{Base, name};
use super::{Job, MOST, Row, State, Step};
use crate::aesthetic::Aes;
use crate::frame::{Frame, Kind, Value};
use crate::geom::Geom;

/// Bins that the engine counts in.
const FINE: u64 = 512;
/// Points of a curve.
const GRID: usize = 160;
/// Curves of a layer at most.
const CURVES: usize = 64;

/// What is smoothed.
#[derive(Clone, Debug)]
pub(super) struct Curves {
    low: f64,
    width: f64,
    groups: BTreeMap<Key, Group>,
}

type Key = (String, [Option<String>; 2]);

#[derive(Clone, Debug)]
struct Group {
    row: Row,
    bandwidth: f64,
    low: f64,
    high: f64,
    total: f64,
}

impl Job<'_> {
    pub(super) fn ask_smooth(&mut self) -> Result<Step, Problem> {
        self.base.must_be_numeric(Aes::X)?;
        self.base.must_be_numeric(Aes::Y)?;
        let method = self.base.text("method").unwrap_or_else(|| "nw".to_owned());
        let slope = match method.as_str() {
            "nw" | "nadaraya-watson" => return self.ask_groups(),
            "ols" => "regr_slope(y, x)",
            "tls" => {
                "(var_pop(y) - var_pop(x) + sqrt(power(var_pop(y) - var_pop(x), 2) + 4 * power(covar_pop(y, x), 2))) \
                 / (2 * covar_pop(y, x))"
            }
            other => {
                let at = self.base.setting("method").map_or(self.base.layer.span, |setting| setting.span);
                let problem = Problem::new(Ename::BadOption, format!("there is no method {other}")).at(at);
                return Err(problem.hint("methods are nw, ols and tls").suggest(other, ["nw", "ols", "tls"]));
            }
        };
        let query = self.base.select(|query, base| {
            let keys = base.keys(&[Aes::X, Aes::Y]);
            let list: String = keys.iter().map(|key| format!("{key}, ")).collect();
            let (x, y) = (base.as_number(Aes::X), base.as_number(Aes::Y));
            query.push(&format!(
                "SELECT {list}{slope} AS plot_slope, avg(x) AS plot_mx, avg(y) AS plot_my, \
                 min(x) AS plot_low, max(x) AS plot_high FROM (SELECT {list}{x} AS x, {y} AS y FROM "
            ));
            base.rows(query);
            query.push(&format!(
                " AS r WHERE {} IS NOT NULL AND {} IS NOT NULL) AS d",
                name(Aes::X),
                name(Aes::Y)
            ));
            if !keys.is_empty() {
                query.push(" GROUP BY ").push(&keys.join(", "));
            }
            query.push(&format!(" LIMIT {}", CURVES + 1));
        });
        self.ask(State::Straight, query)
    }

    pub(super) fn ask_groups(&mut self) -> Result<Step, Problem> {
        let along = self.base.primary();
        self.base.must_be_numeric(along)?;
        self.kernel()?;
        let query = self.base.select(|query, base| {
            let keys = base.keys(&without(base));
            let list: String = keys.iter().map(|key| format!("{key}, ")).collect();
            let n = base.as_number(along);
            query.push(&format!(
                "SELECT {list}min({n}) AS plot_low, max({n}) AS plot_high, count({n}) AS plot_count, \
                 stddev({n}) AS plot_sd, quantile_cont({n}, 0.75) - quantile_cont({n}, 0.25) AS plot_iqr FROM "
            ));
            base.rows(query);
            query.push(" AS r");
            if !keys.is_empty() {
                query.push(" GROUP BY ").push(&keys.join(", "));
            }
            query.push(&format!(" LIMIT {}", CURVES + 1));
        });
        self.ask(State::Groups, query)
    }

    pub(super) fn smooth(&mut self, frame: &Frame) -> Result<Step, Problem> {
        few(&self.base, frame)?;
        let along = self.base.primary();
        let fixed = self.base.number("bandwidth", 0.0, f64::MIN_POSITIVE, f64::MAX)?;
        let adjust = self.base.number("adjust", 1.0, f64::MIN_POSITIVE, 1e6)?;
        let mut groups = BTreeMap::new();
        for at in 0..frame.rows.len() {
            let row = self.base.row(frame, at, &without(&self.base));
            let get = |name| frame.number(at, name);
            let (Some(low), Some(high), Some(count)) = (get("plot_low"), get("plot_high"), get("plot_count"))
            else {
                continue;
            };
            let sd = get("plot_sd").unwrap_or(0.0);
            let spread =
                get("plot_iqr").map(|iqr| iqr / 1.34).filter(|iqr| *iqr > 0.0).map_or(sd, |iqr| iqr.min(sd));
            let silverman = 0.9 * spread * count.max(1.0).powf(-0.2);
            let bandwidth = if fixed > 0.0 { fixed } else { silverman } * adjust;
            let bandwidth = if bandwidth > 0.0 { bandwidth } else { ((high - low) / 10.0).max(1.0) };
            groups.insert(
                (row.group.clone(), row.panel.clone()),
                Group { row, bandwidth, low, high, total: 0.0 },
            );
        }
        let low = groups.values().map(|group| group.low).fold(f64::INFINITY, f64::min);
        let high = groups.values().map(|group| group.high).fold(f64::NEG_INFINITY, f64::max);
        if !(low.is_finite() && high.is_finite()) {
            return super::bins::no_values(&self.base, frame).map(Step::Done);
        }
        let width = ((high - low) / FINE as f64).max(f64::MIN_POSITIVE.max((low.abs() + 1.0) * 1e-12));
        let (geom, weighted) = (self.base.layer.geom, self.base.has(Aes::Weight));
        let query = self.base.select(|query, base| {
            let list: String = base.keys(&without(base)).iter().map(|key| format!("{key}, ")).collect();
            let n = base.as_number(along);
            let weight = if weighted { format!("sum({})", name(Aes::Weight)) } else { "count(*)".to_owned() };
            let sum = if geom == Geom::Smooth {
                format!(", sum({}) AS plot_sum", base.as_number(Aes::Y))
            } else {
                String::new()
            };
            query.push(&format!(
                "SELECT {list}least(CAST(floor(({n} - {low:?}) / {width:?}) AS BIGINT), {}) AS plot_bin, \
                 CAST({weight} AS DOUBLE) AS plot_stat{sum} FROM ",
                FINE - 1
            ));
            base.rows(query);
            query.push(&format!(" AS r WHERE {n} IS NOT NULL"));
            if geom == Geom::Smooth {
                query.push(&format!(" AND {} IS NOT NULL", name(Aes::Y)));
            }
            query.push(" GROUP BY ALL");
        });
        self.state = State::Curve(Curves { low, width, groups });
        Ok(Step::Ask(query, CURVES * FINE as usize + 1))
    }

    fn kernel(&self) -> Result<(), Problem> {
        let Some(setting) = self.base.setting("kernel") else { return Ok(()) };
        match setting.value.text() {
            Some("gaussian") => Ok(()),
            other => Err(Problem::unsupported(
                setting.span,
                "only the kernel 'gaussian' is supported",
                "leave it out, or set adjust",
            )
            .suggest(other.unwrap_or(""), ["gaussian"])),
        }
    }
}

fn without(base: &Base<'_>) -> Vec<Aes> {
    if base.layer.geom == Geom::Smooth { vec![Aes::X, Aes::Y] } else { vec![base.primary(), Aes::Weight] }
}

fn few(base: &Base<'_>, frame: &Frame) -> Result<(), Problem> {
    if frame.rows.len() <= CURVES {
        return Ok(());
    }
    Err(Problem::new(Ename::ValueError, format!("there are more than {CURVES} curves to draw"))
        .at(base.layer.span)
        .hint("map a column with fewer values"))
}

pub(super) fn draw(base: &Base<'_>, curves: &Curves, frame: &Frame) -> Result<Step, Problem> {
    let (along, up) = (base.primary(), base.secondary());
    let smooth = base.layer.geom == Geom::Smooth;
    let mut groups = curves.groups.clone();
    let mut bins: BTreeMap<Key, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for at in 0..frame.rows.len() {
        let row = base.row(frame, at, &without(base));
        let key = (row.group, row.panel);
        let (Some(bin), Some(n)) = (frame.number(at, "plot_bin"), frame.number(at, "plot_stat")) else {
            continue;
        };
        let place = curves.low + (bin + 0.5) * curves.width;
        let sum = frame.number(at, "plot_sum").unwrap_or(0.0);
        if let Some(group) = groups.get_mut(&key) {
            group.total += n;
        }
        bins.entry(key).or_default().push((place, n, sum));
    }
    let intensity = base.layer.remapping.as_ref().is_some_and(|one| one.statistic == "intensity");
    let mut rows = Vec::new();
    for (key, group) in &groups {
        let Some(bins) = bins.get(key) else { continue };
        for step in 0..GRID {
            let x = group.low + (group.high - group.low) * step as f64 / (GRID - 1) as f64;
            let (mut mass, mut weighted) = (0.0, 0.0);
            for (place, n, sum) in bins {
                let z = (x - place) / group.bandwidth;
                let kernel = (-0.5 * z * z).exp();
                mass += n * kernel;
                weighted += sum * kernel;
            }
            let value = if smooth {
                weighted / mass
            } else {
                let density = mass / (group.bandwidth * (2.0 * std::f64::consts::PI).sqrt());
                if intensity { density } else { density / group.total }
            };
            if !value.is_finite() {
                continue;
            }
            let mut row = group.row.clone();
            row.values.insert(along, base.back(along, x));
            row.values.insert(up, if smooth { base.back(up, value) } else { Value::Number(value) });
            rows.push(row);
        }
    }
    let statistic = base.layer.remapping.as_ref().map_or("density", |one| one.statistic.as_str());
    let made = [(up, Kind::Number, statistic)];
    Ok(Step::Done(base.drawn(rows, if smooth { &[] } else { &made })?))
}

/// Lines of which the engine computed the slope.
pub(super) fn straight(base: &Base<'_>, frame: &Frame) -> Result<Step, Problem> {
    few(base, frame)?;
    let mut rows = Vec::new();
    for at in 0..frame.rows.len() {
        let get = |name| frame.number(at, name);
        let (Some(slope), Some(mx), Some(my)) = (get("plot_slope"), get("plot_mx"), get("plot_my")) else {
            continue;
        };
        for end in ["plot_low", "plot_high"] {
            let Some(x) = get(end) else { continue };
            let mut row = base.row(frame, at, &[Aes::X, Aes::Y]);
            row.values.insert(Aes::X, base.back(Aes::X, x));
            row.values.insert(Aes::Y, base.back(Aes::Y, my + slope * (x - mx)));
            rows.push(row);
        }
    }
    if rows.len() > MOST || rows.is_empty() {
        return super::bins::no_values(base, frame).map(Step::Done);
    }
    Ok(Step::Done(base.drawn(rows, &[])?))
}
