//! Words of the language by where they can stand.

/// Words that begin a statement.
pub(super) const FIRST: &[&str] = &[
    "SELECT",
    "SHOW",
    "DESCRIBE",
    "SUMMARIZE",
    "WITH",
    "CREATE",
    "DROP",
    "EXPLAIN",
    "COPY",
    "SET",
    "RESET",
    "USE",
    "VALUES",
    "FROM",
    "TABLE",
];

/// Words after SHOW.
pub(super) const SHOW: &[&str] = &["DATASETS", "TABLES", "MODELS", "FUNCTIONS", "ALL"];

/// Words after CREATE.
pub(super) const CREATE: &[&str] = &["TABLE", "VIEW", "MODEL", "OR REPLACE", "TEMP"];

/// Words after DRAW and PLACE.
pub(super) const LAYERS: &[&str] = &[
    "point",
    "line",
    "path",
    "area",
    "ribbon",
    "bar",
    "histogram",
    "density",
    "boxplot",
    "smooth",
    "tile",
    "text",
    "rule",
    "segment",
    "range",
    "polygon",
];

/// Words after SCALE.
pub(super) const SCALES: &[&str] = &[
    "x",
    "y",
    "colour",
    "fill",
    "stroke",
    "size",
    "opacity",
    "shape",
    "linetype",
    "panel",
    "CONTINUOUS",
    "DISCRETE",
    "ORDINAL",
];

/// Words inside a query.
pub(super) const INSIDE: &[&str] = &[
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "INNER JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "LIKE",
    "ILIKE",
    "BETWEEN",
    "EXISTS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "DISTINCT",
    "UNION",
    "UNION ALL",
    "INTERSECT",
    "EXCEPT",
    "OVER",
    "PARTITION BY",
    "ROWS",
    "RANGE",
    "QUALIFY",
    "WINDOW",
    "FILTER",
    "INTERVAL",
    "NULL",
    "TRUE",
    "FALSE",
    "ASC",
    "DESC",
    "NULLS FIRST",
    "NULLS LAST",
    "OPTIONS",
    "SELECT",
    "TO",
    "VISUALISE",
    "DRAW",
    "PLACE",
    "MAPPING",
    "REMAPPING",
    "SETTING",
    "SCALE",
    "FACET",
    "LABEL",
    "PROJECT",
    "RENAMING",
];

/// Words that a relation's name follows.
pub(super) const BEFORE_RELATION: &[&str] =
    &["FROM", "JOIN", "DESCRIBE", "DESC", "SUMMARIZE", "SUMMARISE", "TABLE", "MODEL", "INTO"];

/// Can the word not be an alias or a relation's name?
pub(super) fn is_reserved(word: &str) -> bool {
    const MORE: &[&str] = &[
        "LEFT", "RIGHT", "FULL", "CROSS", "INNER", "OUTER", "NATURAL", "GROUP", "ORDER", "SET", "VALUES",
        "WITH", "LATERAL", "UNNEST",
    ];
    let is = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(word));
    is(INSIDE) || is(MORE)
}
