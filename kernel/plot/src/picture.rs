//! The plot as a picture: written as SVG, drawn by `resvg` with a font of its own, so that it looks the same on every machine.
//! On white, for papers, e-mails and front ends that draw no Vega-Lite.

mod legend;
mod panel;
mod svg;

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::chart::{Chart, Panels};
use crate::spec::{Scaled, Spec};
use crate::vega::panel_size;
use panel::Frame;
use svg::{Anchor, Svg};

/// Pixels of the picture for each of the drawing.
const ZOOM: f32 = 2.0;
/// Space for the labels of the axis that goes up, and for its title.
const LEFT: f64 = 74.0;
/// Space for the labels of the axis that goes across, and for its title.
const BELOW: f64 = 58.0;
/// Space between panels.
const GAP: f64 = 18.0;
/// Space for a panel's name.
const HEADER: f64 = 20.0;

/// The picture could not be made: a fault of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

/// The plot as the bytes of a PNG file.
///
/// # Errors
/// A drawing that `resvg` does not take.
pub fn png(chart: &Chart, spec: &Spec) -> Result<Vec<u8>, Fault> {
    let text = drawing(chart, spec);
    let options = Options { fontdb: fonts(), font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    let tree = Tree::from_str(&text, &options).map_err(|error| Fault(error.to_string()))?;
    let size = tree.size();
    let (width, height) = ((size.width() * ZOOM).ceil() as u32, (size.height() * ZOOM).ceil() as u32);
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| Fault(format!("{width} x {height} pixels")))?;
    resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| Fault(error.to_string()))
}

fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(load))
}

/// The plot as SVG.
#[must_use]
pub fn drawing(chart: &Chart, spec: &Spec) -> String {
    let [width, height] = panel_size(chart).map(f64::from);
    let cells = cells(chart);
    let columns = cells.iter().map(|cell| cell.column + 1).max().unwrap_or(1);
    let rows = cells.iter().map(|cell| cell.row + 1).max().unwrap_or(1);
    let faceted = chart.panels != Panels::One;
    let header = if faceted { HEADER } else { 0.0 };
    let mut svg = Svg::default();
    let top = titles(chart, &mut svg);
    let between = if chart.y.free { LEFT } else { GAP };
    let under = if chart.x.free { BELOW - 14.0 } else { GAP };
    let across = columns as f64 * width + (columns - 1) as f64 * between;
    let down = rows as f64 * (height + header) + (rows - 1) as f64 * under;
    for cell in &cells {
        let last_below = !cells.iter().any(|other| other.column == cell.column && other.row == cell.row + 1);
        let frame = Frame {
            left: LEFT + cell.column as f64 * (width + between),
            top: top + cell.row as f64 * (height + header + under) + header,
            width,
            height,
            labels_x: chart.x.free || last_below,
            labels_y: chart.y.free || cell.column == 0,
        };
        if faceted {
            let middle = frame.left + width / 2.0;
            svg.text(middle, frame.top - 6.0, &cell.name, Anchor::Middle, 11.0, "#333333");
        }
        panel::draw(&mut svg, chart, spec, &frame, cell.panel.as_ref());
    }
    let bottom = top + down;
    svg.text(LEFT + across / 2.0, bottom + 48.0, &chart.x.title, Anchor::Middle, 12.0, "#333333");
    svg.turned(18.0, top + down / 2.0, &chart.y.title, 12.0, "#333333");
    let (legend_width, legend_height) = legend::draw(&mut svg, chart, LEFT + across + 18.0, top);
    let foot = chart.titles[2].as_deref().filter(|text| !text.is_empty());
    let mut total = (bottom + BELOW).max(top + legend_height + 8.0);
    if let Some(text) = foot {
        svg.text(LEFT, total + 8.0, text, Anchor::Start, 10.0, "#666666");
        total += 20.0;
    }
    svg.finish(LEFT + across + 18.0 + legend_width, total)
}

fn titles(chart: &Chart, svg: &mut Svg) -> f64 {
    let mut top = 14.0;
    if let Some(text) = chart.titles[0].as_deref().filter(|text| !text.is_empty()) {
        svg.bold(LEFT, top + 8.0, text, 15.0, "#111111");
        top += 22.0;
    }
    if let Some(text) = chart.titles[1].as_deref().filter(|text| !text.is_empty()) {
        svg.text(LEFT, top + 6.0, text, Anchor::Start, 12.0, "#555555");
        top += 20.0;
    }
    top
}

struct Cell {
    row: usize,
    column: usize,
    name: String,
    panel: Option<[String; 2]>,
}

fn cells(chart: &Chart) -> Vec<Cell> {
    let called = |name: &str| chart.called(Scaled::Panel, name);
    match &chart.panels {
        Panels::One => vec![Cell { row: 0, column: 0, name: String::new(), panel: None }],
        Panels::Wrap { names, columns } => names
            .iter()
            .enumerate()
            .map(|(at, name)| Cell {
                row: at / columns,
                column: at % columns,
                name: called(name),
                panel: Some([name.clone(), String::new()]),
            })
            .collect(),
        Panels::Grid { rows, columns } => {
            let cell = |(row, name): (usize, &String), (column, other): (usize, &String)| Cell {
                row,
                column,
                name: format!("{} · {}", called(name), called(other)),
                panel: Some([name.clone(), other.clone()]),
            };
            let mut cells = Vec::new();
            for row in rows.iter().enumerate() {
                cells.extend(columns.iter().enumerate().map(|column| cell(row, column)));
            }
            cells
        }
    }
}
