//! Colours: the palettes by name, and colours as people write them.

/// Categories, one by one. The first is Tableau's ten, the others ColorBrewer's.
const DISCRETE: &[(&str, &[&str])] = &[
    (
        "tableau10",
        &[
            "#4c78a8", "#f58518", "#e45756", "#72b7b2", "#54a24b", "#eeca3b", "#b279a2", "#ff9da6",
            "#9d755d", "#bab0ac",
        ],
    ),
    (
        "category10",
        &[
            "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
            "#bcbd22", "#17becf",
        ],
    ),
    (
        "set1",
        &["#e41a1c", "#377eb8", "#4daf4a", "#984ea3", "#ff7f00", "#ffff33", "#a65628", "#f781bf", "#999999"],
    ),
    ("set2", &["#66c2a5", "#fc8d62", "#8da0cb", "#e78ac3", "#a6d854", "#ffd92f", "#e5c494", "#b3b3b3"]),
    ("dark2", &["#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#666666"]),
    (
        "paired",
        &[
            "#a6cee3", "#1f78b4", "#b2df8a", "#33a02c", "#fb9a99", "#e31a1c", "#fdbf6f", "#ff7f00",
            "#cab2d6", "#6a3d9a",
        ],
    ),
];

/// Numbers, from low to high.
const CONTINUOUS: &[(&str, &[&str])] = &[
    ("viridis", &["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"]),
    ("magma", &["#000004", "#221150", "#5f187f", "#982d80", "#d3436e", "#f8765c", "#febb81", "#fcfdbf"]),
    ("inferno", &["#000004", "#280b53", "#65156e", "#9f2a63", "#d44842", "#f57d15", "#fac228", "#fcffa4"]),
    ("plasma", &["#0d0887", "#5402a3", "#8b0aa5", "#b93289", "#db5c68", "#f48849", "#febd2a", "#f0f921"]),
    ("cividis", &["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#a59c74", "#d2c060", "#fee838"]),
    ("blues", &["#deebf7", "#9ecae1", "#4292c6", "#08519c", "#08306b"]),
    ("greens", &["#e5f5e0", "#a1d99b", "#41ab5d", "#006d2c", "#00441b"]),
    ("reds", &["#fee0d2", "#fc9272", "#ef3b2c", "#a50f15", "#67000d"]),
    ("oranges", &["#fee6ce", "#fdae6b", "#f16913", "#a63603", "#7f2704"]),
    ("greys", &["#f0f0f0", "#bdbdbd", "#737373", "#252525", "#000000"]),
    ("rdbu", &["#b2182b", "#ef8a62", "#fddbc7", "#f7f7f7", "#d1e5f0", "#67a9cf", "#2166ac"]),
    ("spectral", &["#d53e4f", "#fc8d59", "#fee08b", "#ffffbf", "#e6f598", "#99d594", "#3288bd"]),
];

/// The colour of marks that nothing is mapped to.
pub(crate) const MARK: &str = "#4c78a8";
/// Lines and texts that stand for themselves: seen on white and on black.
pub(crate) const PLAIN: &str = "#7a7a7a";

/// Is there a palette of this name?
#[must_use]
pub fn exists(name: &str) -> bool {
    names().any(|known| known == name)
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    DISCRETE.iter().chain(CONTINUOUS).map(|(name, _)| *name)
}

fn find(name: &str) -> Option<&'static [&'static str]> {
    DISCRETE.iter().chain(CONTINUOUS).find(|(known, _)| *known == name).map(|(_, colours)| *colours)
}

/// Colours for so many categories: a continuous palette is cut evenly, a discrete one begins again.
pub(crate) fn discrete(name: Option<&str>, count: usize) -> Vec<String> {
    let name = name.unwrap_or("tableau10");
    let colours = find(name).unwrap_or(DISCRETE[0].1);
    if CONTINUOUS.iter().any(|(known, _)| *known == name) {
        let last = count.saturating_sub(1).max(1) as f64;
        let owned: Vec<String> = colours.iter().map(|colour| (*colour).to_owned()).collect();
        return (0..count).map(|at| between(&owned, at as f64 / last)).collect();
    }
    (0..count).map(|at| colours[at % colours.len()].to_owned()).collect()
}

/// The stops of a continuous palette.
pub(crate) fn continuous(name: Option<&str>) -> Vec<String> {
    let colours = name.and_then(find).unwrap_or(CONTINUOUS[0].1);
    colours.iter().map(|colour| (*colour).to_owned()).collect()
}

/// The colour at a part (0 to 1) of the way along the stops.
pub(crate) fn between(stops: &[String], part: f64) -> String {
    let Some(last) = stops.len().checked_sub(1) else { return MARK.to_owned() };
    let place = part.clamp(0.0, 1.0) * last as f64;
    let low = (place.floor() as usize).min(last);
    let high = (low + 1).min(last);
    let (Some(a), Some(b)) = (rgb(&stops[low]), rgb(&stops[high])) else { return stops[low].clone() };
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * place.fract()).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(a[0], b[0]), mix(a[1], b[1]), mix(a[2], b[2]))
}

/// Names of CSS that people use.
const NAMED: &[(&str, &str)] = &[
    ("black", "#000000"),
    ("white", "#ffffff"),
    ("red", "#ff0000"),
    ("green", "#008000"),
    ("blue", "#0000ff"),
    ("yellow", "#ffff00"),
    ("orange", "#ffa500"),
    ("purple", "#800080"),
    ("pink", "#ffc0cb"),
    ("brown", "#a52a2a"),
    ("grey", "#808080"),
    ("gray", "#808080"),
    ("cyan", "#00ffff"),
    ("magenta", "#ff00ff"),
    ("lime", "#00ff00"),
    ("navy", "#000080"),
    ("teal", "#008080"),
    ("maroon", "#800000"),
    ("olive", "#808000"),
    ("silver", "#c0c0c0"),
    ("gold", "#ffd700"),
    ("indigo", "#4b0082"),
    ("violet", "#ee82ee"),
    ("crimson", "#dc143c"),
    ("coral", "#ff7f50"),
    ("salmon", "#fa8072"),
    ("tomato", "#ff6347"),
    ("steelblue", "#4682b4"),
    ("skyblue", "#87ceeb"),
    ("royalblue", "#4169e1"),
    ("firebrick", "#b22222"),
    ("forestgreen", "#228b22"),
    ("seagreen", "#2e8b57"),
    ("darkred", "#8b0000"),
    ("darkgreen", "#006400"),
    ("darkblue", "#00008b"),
    ("lightgrey", "#d3d3d3"),
    ("lightgray", "#d3d3d3"),
    ("darkgrey", "#a9a9a9"),
    ("darkgray", "#a9a9a9"),
    ("turquoise", "#40e0d0"),
];

/// A colour as `#rrggbb`: names of CSS, `#rgb` and `#rrggbb` are read.
#[must_use]
pub fn colour(text: &str) -> Option<String> {
    let lower = text.trim().to_lowercase();
    if let Some((_, hex)) = NAMED.iter().find(|(name, _)| *name == lower) {
        return Some((*hex).to_owned());
    }
    let digits = lower.strip_prefix('#')?;
    if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        6 => Some(lower),
        3 => Some(digits.chars().fold("#".to_owned(), |mut out, c| {
            out.push(c);
            out.push(c);
            out
        })),
        _ => None,
    }
}

fn rgb(hex: &str) -> Option<[u8; 3]> {
    let digits = hex.strip_prefix('#')?;
    let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    Some([part(0)?, part(2)?, part(4)?])
}

/// `red` near `#ff0000`, for "did you mean".
pub(crate) fn colour_names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_mixed() {
        assert_eq!(colour("Red").as_deref(), Some("#ff0000"));
        assert_eq!(colour("#aBc").as_deref(), Some("#aabbcc"));
        assert_eq!(colour("reddish"), None);
        assert_eq!(colour("#12"), None);
        let stops = vec!["#000000".to_owned(), "#ffffff".to_owned()];
        assert_eq!(between(&stops, 0.5), "#808080");
        assert_eq!(between(&stops, 7.0), "#ffffff");
        for (name, colours) in DISCRETE.iter().chain(CONTINUOUS) {
            assert!(colours.iter().all(|one| rgb(one).is_some()), "{name}");
        }
        assert_eq!(discrete(None, 12).len(), 12);
        assert_eq!(discrete(Some("viridis"), 2), ["#440154", "#fde725"]);
    }
}
