//! The names that data is mapped to.

/// What a column or a constant decides about a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the grammar")]
pub enum Aes {
    X,
    Y,
    Xmin,
    Xmax,
    Ymin,
    Ymax,
    Xend,
    Yend,
    Colour,
    Fill,
    Stroke,
    Opacity,
    Size,
    Shape,
    Linetype,
    Linewidth,
    Label,
    Weight,
    Width,
    Height,
}

/// Every name with its aesthetic; the first spelling of one is what messages say.
const NAMES: &[(&str, Aes)] = &[
    ("x", Aes::X),
    ("y", Aes::Y),
    ("xmin", Aes::Xmin),
    ("xmax", Aes::Xmax),
    ("ymin", Aes::Ymin),
    ("ymax", Aes::Ymax),
    ("xend", Aes::Xend),
    ("yend", Aes::Yend),
    ("colour", Aes::Colour),
    ("color", Aes::Colour),
    ("fill", Aes::Fill),
    ("stroke", Aes::Stroke),
    ("opacity", Aes::Opacity),
    ("size", Aes::Size),
    ("shape", Aes::Shape),
    ("linetype", Aes::Linetype),
    ("linewidth", Aes::Linewidth),
    ("label", Aes::Label),
    ("weight", Aes::Weight),
    ("width", Aes::Width),
    ("height", Aes::Height),
];

impl Aes {
    /// The aesthetic of a name in lower case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, aes)| *aes)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, aes)| *aes == self).map_or("", |(name, _)| name)
    }

    /// All names, for "did you mean".
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The axis that it is a place on.
    #[must_use]
    pub fn axis(self) -> Option<Axis> {
        match self {
            Self::X | Self::Xmin | Self::Xmax | Self::Xend => Some(Axis::X),
            Self::Y | Self::Ymin | Self::Ymax | Self::Yend => Some(Axis::Y),
            _ => None,
        }
    }

    /// The same on the other axis.
    #[must_use]
    pub fn transposed(self) -> Self {
        match self {
            Self::X => Self::Y,
            Self::Y => Self::X,
            Self::Xmin => Self::Ymin,
            Self::Xmax => Self::Ymax,
            Self::Ymin => Self::Xmin,
            Self::Ymax => Self::Xmax,
            Self::Xend => Self::Yend,
            Self::Yend => Self::Xend,
            Self::Width => Self::Height,
            Self::Height => Self::Width,
            other => other,
        }
    }

    /// Is it a colour?
    #[must_use]
    pub fn is_colour(self) -> bool {
        matches!(self, Self::Colour | Self::Fill | Self::Stroke)
    }
}

/// A position axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Across.
    X,
    /// Up.
    Y,
}

/// Aggregates of the `aggregate` setting and what they are in SQL; `{}` is the column.
pub(crate) const AGGREGATES: &[(&str, &str)] = &[
    ("count", "count({})"),
    ("sum", "sum({})"),
    ("min", "min({})"),
    ("max", "max({})"),
    ("range", "(max({}) - min({}))"),
    ("mid", "((max({}) + min({})) / 2)"),
    ("mean", "avg({})"),
    ("median", "median({})"),
    ("geomean", "exp(avg(ln({})))"),
    ("harmean", "(count({}) / sum(1e0 / {}))"),
    ("rms", "sqrt(avg({} * {}))"),
    ("sdev", "stddev({})"),
    ("var", "var_samp({})"),
    ("se", "(stddev({}) / sqrt(count({})))"),
    ("iqr", "(quantile_cont({}, 0.75) - quantile_cont({}, 0.25))"),
    ("p05", "quantile_cont({}, 0.05)"),
    ("p10", "quantile_cont({}, 0.10)"),
    ("p25", "quantile_cont({}, 0.25)"),
    ("p50", "quantile_cont({}, 0.50)"),
    ("p75", "quantile_cont({}, 0.75)"),
    ("p90", "quantile_cont({}, 0.90)"),
    ("p95", "quantile_cont({}, 0.95)"),
];

/// The SQL of an aggregate such as `mean` or `mean-1.96sdev`, over a column's SQL.
pub(crate) fn aggregate_sql(name: &str, column: &str) -> Option<String> {
    let simple = |name: &str| {
        AGGREGATES.iter().find(|(known, _)| *known == name).map(|(_, sql)| sql.replace("{}", column))
    };
    if let Some(sql) = simple(name) {
        return Some(sql);
    }
    let at = name.find(['+', '-'])?;
    let (offset, rest) = name.split_at(at);
    let (sign, rest) = rest.split_at(1);
    let unit = rest.find(|c: char| c.is_ascii_alphabetic())?;
    let (times, spread) = rest.split_at(unit);
    let times: f64 = if times.is_empty() { 1.0 } else { times.parse().ok()? };
    if !matches!(spread, "sdev" | "se" | "var" | "iqr" | "range") {
        return None;
    }
    Some(format!("({} {sign} {times:?} * {})", simple(offset)?, simple(spread)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_an_offset_and_a_spread() {
        assert_eq!(aggregate_sql("mean", "x").unwrap(), "avg(x)");
        assert_eq!(aggregate_sql("mean-1.96sdev", "x").unwrap(), "(avg(x) - 1.96 * stddev(x))");
        assert_eq!(aggregate_sql("median+iqr", "x").unwrap().matches("quantile_cont").count(), 2);
        for wrong in ["", "meen", "mean-", "mean-2", "mean-2mean", "-sdev"] {
            assert_eq!(aggregate_sql(wrong, "x"), None, "{wrong}");
        }
    }

    #[test]
    fn every_name_is_read_back() {
        for name in Aes::names().filter(|name| *name != "color") {
            assert_eq!(Aes::parse(name).unwrap().name(), name);
            let aes = Aes::parse(name).unwrap();
            assert_eq!(aes.transposed().transposed(), aes);
        }
    }
}
