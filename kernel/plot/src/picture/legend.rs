//! Legends, below each other at the right.

use crate::aesthetic::Aes;
use crate::chart::{Chart, Form};
use crate::palette::{MARK, PLAIN};
use crate::picture::panel::symbol;
use crate::picture::svg::{Anchor, Paint, Svg, width};
use crate::scale::{Legend, dashes, ticks};
use crate::spec::{Scaled, Transform};

/// Draws all of them and says how wide and how high they are.
pub(super) fn draw(svg: &mut Svg, chart: &Chart, left: f64, top: f64) -> (f64, f64) {
    let (mut wide, mut y) = (0.0_f64, top);
    for (aes, legend, title) in &chart.legends {
        let used =
            chart.layers.iter().any(|layer| layer.marks.iter().any(|mark| mark.values.contains_key(aes)));
        if !used {
            continue;
        }
        svg.bold(left, y + 10.0, title, 11.0, "#333333");
        wide = wide.max(width(title, 11.0) * 1.1);
        y += 18.0;
        let lines =
            chart.layers.iter().all(|layer| matches!(layer.form, Form::Line | Form::Rule | Form::Tick));
        match legend {
            Legend::Discrete { domain, range } => {
                for (value, becomes) in domain.iter().zip(range) {
                    key(svg, *aes, becomes, left, y + 6.0, lines);
                    let of = Scaled::Aes(if aes.is_colour() { Aes::Colour } else { *aes });
                    let name = chart.called(of, value);
                    svg.text(left + 24.0, y + 10.0, &name, Anchor::Start, 11.0, "#333333");
                    wide = wide.max(24.0 + width(&name, 11.0));
                    y += 17.0;
                }
            }
            Legend::Gradient { domain, time, stops } => {
                let height = 110.0;
                for step in 0..55 {
                    let colour = crate::palette::between(stops, 1.0 - f64::from(step) / 54.0);
                    svg.rect(left, y + f64::from(step) * 2.0, 14.0, 2.2, &Paint::inside(&colour));
                }
                for (n, label) in ticks(*domain, *time, Transform::Linear, 4) {
                    let part = (n - domain[0]) / (domain[1] - domain[0]);
                    let at = y + height * (1.0 - part);
                    svg.text(left + 20.0, at + 4.0, &label, Anchor::Start, 10.0, "#333333");
                    wide = wide.max(20.0 + width(&label, 10.0));
                }
                y += height + 8.0;
            }
            Legend::Amount { domain, .. } => {
                for (n, label) in ticks(*domain, false, Transform::Linear, 3) {
                    let becomes = legend.of(&crate::frame::Value::Number(n)).unwrap_or_default();
                    key(svg, *aes, &becomes, left, y + 6.0, lines);
                    svg.text(left + 24.0, y + 10.0, &label, Anchor::Start, 11.0, "#333333");
                    wide = wide.max(24.0 + width(&label, 11.0));
                    y += 19.0;
                }
            }
        }
        y += 10.0;
    }
    (if wide > 0.0 { wide + 12.0 } else { 6.0 }, y - top)
}

fn key(svg: &mut Svg, aes: Aes, becomes: &str, left: f64, y: f64, lines: bool) {
    let number = becomes.parse::<f64>().unwrap_or(1.0);
    let middle = [left + 9.0, y];
    match aes {
        Aes::Linetype => {
            let mut paint = Paint::line(PLAIN, 2.0);
            paint.dashes = dashes(becomes).to_vec();
            svg.line([left, y], [left + 18.0, y], &paint);
        }
        Aes::Shape => symbol(svg, middle, 40.0, becomes, &Paint::inside(MARK)),
        Aes::Size => symbol(svg, middle, number, "circle", &Paint::inside(MARK)),
        Aes::Opacity => {
            let paint = Paint { opacity: number, ..Paint::inside(MARK) };
            svg.rect(left + 3.0, y - 6.0, 12.0, 12.0, &paint);
        }
        Aes::Stroke => svg.rect(left + 3.0, y - 6.0, 12.0, 12.0, &Paint::line(becomes, 2.0)),
        _ if lines => svg.line([left, y], [left + 18.0, y], &Paint::line(becomes, 2.5)),
        _ => svg.rect(left + 3.0, y - 6.0, 12.0, 12.0, &Paint::inside(becomes)),
    }
}
