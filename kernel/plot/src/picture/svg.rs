//! SVG as text. Everything from the data goes through [`carrel_cell::bundle::escape`].

use std::fmt::Write;

use carrel_cell::bundle::{escape, visible};

/// Where a text stands from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a shape is painted.
#[derive(Clone, Debug, Default)]
pub(super) struct Paint {
    pub(super) fill: Option<String>,
    pub(super) stroke: Option<String>,
    pub(super) width: f64,
    pub(super) opacity: f64,
    pub(super) dashes: Vec<u32>,
}

impl Paint {
    pub(super) fn line(colour: &str, width: f64) -> Self {
        Self { stroke: Some(colour.to_owned()), width, opacity: 1.0, ..Self::default() }
    }

    pub(super) fn inside(colour: &str) -> Self {
        Self { fill: Some(colour.to_owned()), opacity: 1.0, ..Self::default() }
    }

    fn attributes(&self) -> String {
        let mut out = format!(r#"fill="{}""#, self.fill.as_deref().map_or("none".to_owned(), escape));
        if let Some(stroke) = &self.stroke {
            let _ = write!(out, r#" stroke="{}" stroke-width="{}""#, escape(stroke), n(self.width));
        }
        if self.opacity < 1.0 {
            let _ = write!(out, r#" opacity="{}""#, n(self.opacity));
        }
        if !self.dashes.is_empty() {
            let dashes: Vec<String> = self.dashes.iter().map(u32::to_string).collect();
            let _ = write!(out, r#" stroke-dasharray="{}""#, dashes.join(" "));
        }
        out
    }
}

/// A drawing that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Svg {
    body: String,
    clips: usize,
}

/// A number with few digits; nothing that is not finite gets into the text.
fn n(value: f64) -> String {
    if value.is_finite() { format!("{}", (value * 100.0).round() / 100.0) } else { "0".to_owned() }
}

impl Svg {
    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, paint: &Paint) {
        let (w, h) = (n(width.abs().max(0.1)), n(height.abs().max(0.1)));
        let (x, y) = (n(x.min(x + width)), n(y.min(y + height)));
        let _ =
            writeln!(self.body, r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" {}/>"#, paint.attributes());
    }

    pub(super) fn line(&mut self, from: [f64; 2], to: [f64; 2], paint: &Paint) {
        self.path(&[from, to], false, paint);
    }

    pub(super) fn path(&mut self, points: &[[f64; 2]], closed: bool, paint: &Paint) {
        let mut d = String::new();
        for (at, [x, y]) in points.iter().enumerate() {
            let _ = write!(d, "{}{} {}", if at == 0 { "M" } else { "L" }, n(*x), n(*y));
        }
        if closed {
            d.push('Z');
        }
        let _ = writeln!(self.body, r#"<path d="{d}" stroke-linejoin="round" {}/>"#, paint.attributes());
    }

    pub(super) fn circle(&mut self, [x, y]: [f64; 2], radius: f64, paint: &Paint) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{}" cy="{}" r="{}" {}/>"#,
            n(x),
            n(y),
            n(radius),
            paint.attributes()
        );
    }

    pub(super) fn text(&mut self, x: f64, y: f64, text: &str, anchor: Anchor, size: f64, colour: &str) {
        self.write(&format!(r#"x="{}" y="{}""#, n(x), n(y)), text, anchor, size, colour, false);
    }

    pub(super) fn bold(&mut self, x: f64, y: f64, text: &str, size: f64, colour: &str) {
        self.write(&format!(r#"x="{}" y="{}""#, n(x), n(y)), text, Anchor::Start, size, colour, true);
    }

    /// A text that goes upwards.
    pub(super) fn turned(&mut self, x: f64, y: f64, text: &str, size: f64, colour: &str) {
        let place = format!(r#"transform="translate({} {}) rotate(-90)""#, n(x), n(y));
        self.write(&place, text, Anchor::Middle, size, colour, false);
    }

    /// A text that falls to the right, below a place.
    pub(super) fn slanted(&mut self, x: f64, y: f64, text: &str, size: f64, colour: &str) {
        let place = format!(r#"transform="translate({} {}) rotate(-40)""#, n(x), n(y));
        self.write(&place, text, Anchor::End, size, colour, false);
    }

    fn write(&mut self, place: &str, text: &str, anchor: Anchor, size: f64, colour: &str, bold: bool) {
        if text.is_empty() {
            return;
        }
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if bold { r#" font-weight="bold""# } else { "" };
        let _ = writeln!(
            self.body,
            r#"<text {place} text-anchor="{anchor}" font-family="DejaVu Sans" font-size="{}" fill="{}"{weight}>{}</text>"#,
            n(size),
            escape(colour),
            escape(&visible(text))
        );
    }

    /// What follows up to [`Svg::unclip`] is seen inside this rectangle only.
    pub(super) fn clip(&mut self, x: f64, y: f64, width: f64, height: f64) {
        self.clips += 1;
        let id = self.clips;
        let _ = writeln!(
            self.body,
            r#"<clipPath id="c{id}"><rect x="{}" y="{}" width="{}" height="{}"/></clipPath><g clip-path="url(#c{id})">"#,
            n(x),
            n(y),
            n(width),
            n(height)
        );
    }

    pub(super) fn unclip(&mut self) {
        self.body.push_str("</g>\n");
    }

    pub(super) fn finish(self, width: f64, height: f64) -> String {
        let (w, h) = (n(width), n(height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n\
             <rect x=\"0\" y=\"0\" width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// How wide a text is, about.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.6
}
