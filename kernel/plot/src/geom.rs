//! The kinds of layer: which aesthetics each takes and needs, and its settings.

use crate::aesthetic::Aes;

/// A kind of layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the grammar")]
pub enum Geom {
    Point,
    Line,
    Path,
    Area,
    Ribbon,
    Bar,
    Histogram,
    Density,
    Boxplot,
    Smooth,
    Tile,
    Text,
    Rule,
    Segment,
    Range,
    Polygon,
}

/// Names of the layers.
const GEOMS: &[(&str, Geom)] = &[
    ("point", Geom::Point),
    ("line", Geom::Line),
    ("path", Geom::Path),
    ("area", Geom::Area),
    ("ribbon", Geom::Ribbon),
    ("bar", Geom::Bar),
    ("histogram", Geom::Histogram),
    ("density", Geom::Density),
    ("boxplot", Geom::Boxplot),
    ("smooth", Geom::Smooth),
    ("tile", Geom::Tile),
    ("text", Geom::Text),
    ("rule", Geom::Rule),
    ("segment", Geom::Segment),
    ("range", Geom::Range),
    ("polygon", Geom::Polygon),
];

/// Layers of the grammar that are not drawn, with what to draw instead.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("violin", "draw a boxplot, or a density with FACET"),
    ("spatial", "draw points at longitude and latitude"),
];

impl Geom {
    /// The kind of a name in lower case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        GEOMS.iter().find(|(known, _)| *known == name).map(|(_, geom)| *geom)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        GEOMS.iter().find(|(_, geom)| *geom == self).map_or("", |(name, _)| name)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        GEOMS.iter().map(|(name, _)| *name)
    }

    /// Is it a line without an inside, so that its colour is that of its stroke?
    #[must_use]
    pub fn is_line(self) -> bool {
        matches!(self, Self::Line | Self::Path | Self::Smooth | Self::Rule | Self::Segment | Self::Range)
    }

    /// Are its rows joined to shapes, so that categories make groups?
    #[must_use]
    pub fn is_joined(self) -> bool {
        matches!(
            self,
            Self::Line
                | Self::Path
                | Self::Area
                | Self::Ribbon
                | Self::Density
                | Self::Smooth
                | Self::Polygon
        )
    }

    /// Aesthetics that must be mapped.
    #[must_use]
    pub fn needs(self) -> &'static [Aes] {
        match self {
            Self::Line | Self::Path | Self::Area | Self::Smooth | Self::Tile | Self::Polygon => {
                &[Aes::X, Aes::Y]
            }
            Self::Text => &[Aes::X, Aes::Y, Aes::Label],
            Self::Segment => &[Aes::X, Aes::Y, Aes::Xend, Aes::Yend],
            _ => &[],
        }
    }

    /// Does it take this aesthetic?
    #[must_use]
    pub fn takes(self, aes: Aes) -> bool {
        match aes {
            Aes::Colour | Aes::Opacity | Aes::Stroke => true,
            Aes::X | Aes::Y => true,
            Aes::Fill => !self.is_line(),
            Aes::Xmin | Aes::Xmax | Aes::Ymin | Aes::Ymax => {
                matches!(self, Self::Ribbon | Self::Range)
            }
            Aes::Xend | Aes::Yend => self == Self::Segment,
            Aes::Size => matches!(self, Self::Point | Self::Text),
            Aes::Shape => self == Self::Point,
            Aes::Linetype => self.is_line(),
            Aes::Linewidth => self.is_line(),
            Aes::Label => self == Self::Text,
            Aes::Weight => matches!(self, Self::Bar | Self::Histogram | Self::Density),
            Aes::Width | Aes::Height => self == Self::Tile,
        }
    }

    /// Settings beside literal aesthetics.
    #[must_use]
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Point => &["position", "aggregate"],
            Self::Bar => &["position", "width", "aggregate"],
            Self::Histogram => &["position", "bins", "binwidth", "closed"],
            Self::Density => &["position", "bandwidth", "adjust", "kernel"],
            Self::Smooth => &["method", "bandwidth", "adjust", "kernel"],
            Self::Boxplot => &["outliers", "coef", "width"],
            Self::Area => &["position", "orientation", "aggregate"],
            Self::Line => &["orientation", "aggregate"],
            Self::Range => &["hinge", "aggregate"],
            Self::Ribbon | Self::Tile | Self::Segment | Self::Rule => &["aggregate"],
            Self::Text => &["aggregate", "offset"],
            Self::Path | Self::Polygon => &[],
        }
    }

    /// Calculated statistics that `REMAPPING` can use; the first is the default.
    #[must_use]
    pub fn statistics(self) -> &'static [&'static str] {
        match self {
            Self::Bar => &["count", "proportion"],
            Self::Histogram => &["count", "density"],
            Self::Density => &["density", "intensity"],
            _ => &[],
        }
    }
}
