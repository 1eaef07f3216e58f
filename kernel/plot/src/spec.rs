//! What a plot's text asks for.

use carrel_cell::problem::Span;

use crate::aesthetic::{Aes, Axis};
use crate::geom::Geom;

/// A plot as written. Places are bytes of the text that was parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Where `VISUALISE` stands.
    pub span: Span,
    /// Mappings for all layers.
    pub mappings: Vec<Mapping>,
    /// `VISUALISE … FROM`
    pub source: Option<SourceName>,
    /// `DRAW` and `PLACE`, from back to front.
    pub layers: Vec<Layer>,
    /// `SCALE`
    pub scales: Vec<ScaleSpec>,
    /// `FACET`
    pub facet: Option<Facet>,
    /// `LABEL`: names in lower case; an empty text for `null`.
    pub labels: Vec<(String, String)>,
    /// `PROJECT y, x TO cartesian`
    pub flipped: bool,
}

/// `data AS aesthetic`
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// What is mapped.
    pub data: Data,
    /// To what; `None` for `*`.
    pub aes: Option<Aes>,
    /// Its place.
    pub span: Span,
}

/// What is mapped.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A column by name, without quotes.
    Column(String),
    /// A constant or an expression, as it stands in the text.
    Sql(Span),
    /// `*`
    All,
    /// `null`: not inherited.
    Nothing,
}

/// Where rows come from, if not from the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceName {
    /// Its SQL as it stands in the text: a name or a `'file'`.
    pub span: Span,
}

/// `DRAW geom …` or `PLACE geom …`
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The kind.
    pub geom: Geom,
    /// The kind's place.
    pub span: Span,
    /// Is it made of literal values only?
    pub placed: bool,
    /// `MAPPING`
    pub mappings: Vec<Mapping>,
    /// `MAPPING … FROM`
    pub source: Option<SourceName>,
    /// `REMAPPING statistic AS aesthetic`
    pub remapping: Option<Remapping>,
    /// `SETTING name => value`
    pub settings: Vec<Setting>,
    /// `FILTER`
    pub filter: Option<Span>,
    /// `PARTITION BY`: column names.
    pub partition: Vec<(String, Span)>,
    /// `ORDER BY`, as it stands.
    pub order: Option<Span>,
}

/// `REMAPPING`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remapping {
    /// The statistic.
    pub statistic: String,
    /// Its place.
    pub span: Span,
}

/// `name => value`
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// In lower case.
    pub name: String,
    /// The value.
    pub value: Literal,
    /// Both.
    pub span: Span,
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A string or a bare word.
    Text(String),
    /// A number.
    Number(f64),
    /// `true`, `false`
    Bool(bool),
    /// `null`
    Null,
    /// `(1, 2)` or `[1, 2]`
    List(Vec<Literal>),
}

impl Literal {
    /// The number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a list, or the one value.
    #[must_use]
    pub fn list(&self) -> Vec<Self> {
        match self {
            Self::List(values) => values.clone(),
            other => vec![other.clone()],
        }
    }

    /// As a category is written.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(n) => Some(crate::frame::plain(*n)),
            Self::Bool(value) => Some(value.to_string()),
            Self::Null | Self::List(_) => None,
        }
    }
}

/// How a scale treats its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleType {
    /// Along a range.
    Continuous,
    /// One by one.
    Discrete,
}

/// What a scale is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// A position axis.
    Axis(Axis),
    /// Any other aesthetic.
    Aes(Aes),
    /// The panels of `FACET`.
    Panel,
}

/// How values are spread along a continuous scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transform {
    /// As they are.
    #[default]
    Linear,
    /// By their logarithm to base 10.
    Log,
    /// By their square root.
    Sqrt,
}

/// `SCALE [type] aesthetic …`
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleSpec {
    /// What it scales.
    pub of: Scaled,
    /// The kind, if it is given.
    pub kind: Option<ScaleType>,
    /// `FROM`
    pub from: Option<Vec<Literal>>,
    /// `TO`: a list, or a palette's name.
    pub to: Option<Literal>,
    /// `VIA`
    pub via: Transform,
    /// `SETTING reverse => true`
    pub reverse: bool,
    /// `RENAMING 'a' => 'b'`; `None` hides the label.
    pub renaming: Vec<(String, Option<String>)>,
    /// Its place.
    pub span: Span,
}

/// `FACET column [BY column]`
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    /// Panels, or rows when there are columns.
    pub by: (String, Span),
    /// Columns.
    pub columns: Option<(String, Span)>,
    /// Panels side by side.
    pub wrap: Option<usize>,
    /// Has every panel its own range of x?
    pub free_x: bool,
    /// Has every panel its own range of y?
    pub free_y: bool,
}
