//! One panel: axes, grid and marks.

use std::collections::BTreeMap;

use crate::aesthetic::{Aes, Axis};
use crate::chart::{Chart, Form, Mark, MarkLayer, Scale};
use crate::frame::Value;
use crate::palette::MARK;
use crate::picture::svg::{Anchor, Paint, Svg, width};
use crate::scale::{Along, dashes, ticks};
use crate::spec::{Scaled, Spec, Transform};

/// The rectangle of a panel.
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) labels_x: bool,
    pub(super) labels_y: bool,
}

/// An axis as pixels.
struct Pixels<'a> {
    scale: &'a Scale,
    domain: [f64; 2],
    from: f64,
    to: f64,
}

impl Pixels<'_> {
    fn transformed(&self, n: f64) -> f64 {
        match self.scale.along {
            Along::Line { transform: Transform::Log, .. } => n.max(f64::MIN_POSITIVE).log10(),
            Along::Line { transform: Transform::Sqrt, .. } => n.max(0.0).sqrt(),
            _ => n,
        }
    }

    fn number(&self, n: f64) -> f64 {
        let [low, high] = self.domain.map(|end| self.transformed(end));
        let part = (self.transformed(n) - low) / (high - low);
        let part = if self.scale.reverse { 1.0 - part } else { part };
        self.from + part.clamp(-2.0, 3.0) * (self.to - self.from)
    }

    /// Where a category's band begins, and how wide it is; both signed along the axis.
    fn band(&self, name: &str) -> Option<(f64, f64)> {
        let Along::Band { domain } = &self.scale.along else { return None };
        let at = domain.iter().position(|one| one == name)?;
        let at = if self.scale.reverse { domain.len() - 1 - at } else { at };
        let step = (self.to - self.from) / domain.len() as f64;
        let wide = step * (1.0 - self.scale.gap);
        Some((self.from + step * at as f64 + (step - wide) / 2.0, wide))
    }

    /// The middle of a value's place.
    fn middle(&self, value: &Value, slot: usize, slots: usize, jitter: f64) -> Option<f64> {
        if let Along::Band { .. } = self.scale.along {
            let (start, wide) = self.band(&value.label()?)?;
            let part = (slot as f64 + 0.5) / slots.max(1) as f64 + jitter;
            return Some(start + wide * part);
        }
        Some(self.number(value.number()?))
    }

    /// Both ends of a place: a range, or the part of a band.
    fn ends(&self, place: &crate::chart::Value2, slot: usize, slots: usize, part: f64) -> Option<(f64, f64)> {
        if let Some(to) = &place.to {
            return Some((self.middle(&place.from, 0, 1, 0.0)?, self.middle(to, 0, 1, 0.0)?));
        }
        let Along::Band { .. } = self.scale.along else {
            let at = self.number(place.from.number()?);
            return Some((at - 4.0, at + 4.0));
        };
        let (start, wide) = self.band(&place.from.label()?)?;
        let each = wide / slots.max(1) as f64;
        let inner = each * part.clamp(0.0, 1.0);
        let begin = start + each * slot as f64 + (each - inner) / 2.0;
        Some((begin, begin + inner))
    }
}

/// Draws a panel; `panel` names it, if there are several.
pub(super) fn draw(svg: &mut Svg, chart: &Chart, spec: &Spec, frame: &Frame, panel: Option<&[String; 2]>) {
    let domain = |axis: Axis, scale: &Scale| match &scale.along {
        Along::Line { domain, .. } if scale.free => {
            chart.domain(spec, axis, panel).ok().flatten().unwrap_or(*domain)
        }
        Along::Line { domain, .. } => *domain,
        Along::Band { .. } => [0.0, 1.0],
    };
    let x = Pixels {
        scale: &chart.x,
        domain: domain(Axis::X, &chart.x),
        from: frame.left,
        to: frame.left + frame.width,
    };
    // Categories go down, numbers go up.
    let downwards = matches!(chart.y.along, Along::Band { .. });
    let (top, bottom) = (frame.top, frame.top + frame.height);
    let (from, to) = if downwards { (top, bottom) } else { (bottom, top) };
    let y = Pixels { scale: &chart.y, domain: domain(Axis::Y, &chart.y), from, to };
    axis_x(svg, chart, &x, frame);
    axis_y(svg, chart, &y, frame);
    svg.rect(frame.left, frame.top, frame.width, frame.height, &Paint::line("#cccccc", 1.0));
    svg.clip(frame.left - 1.0, frame.top - 1.0, frame.width + 2.0, frame.height + 2.0);
    for layer in &chart.layers {
        let marks: Vec<&Mark> =
            layer.marks.iter().filter(|mark| panel.is_none_or(|panel| mark.panel == *panel)).collect();
        Painter { svg, chart, layer, x: &x, y: &y, frame }.layer(&marks);
    }
    svg.unclip();
}

fn axis_x(svg: &mut Svg, chart: &Chart, x: &Pixels<'_>, frame: &Frame) {
    let bottom = frame.top + frame.height;
    match &chart.x.along {
        Along::Line { time, transform, .. } => {
            let wanted = (frame.width / 80.0) as usize;
            for (n, label) in ticks(x.domain, *time, *transform, wanted) {
                let at = x.number(n);
                svg.line([at, frame.top], [at, bottom], &Paint::line("#e8e8e8", 1.0));
                svg.line([at, bottom], [at, bottom + 4.0], &Paint::line("#888888", 1.0));
                if frame.labels_x {
                    let label = chart.called(Scaled::Axis(Axis::X), &label);
                    svg.text(at, bottom + 17.0, &label, Anchor::Middle, 10.0, "#333333");
                }
            }
        }
        Along::Band { domain } if frame.labels_x => {
            let room = frame.width / domain.len().max(1) as f64;
            let names: Vec<String> =
                domain.iter().map(|one| chart.called(Scaled::Axis(Axis::X), one)).collect();
            let slanted = names.iter().any(|name| width(name, 10.0) > room);
            // Names that would cover each other are left out.
            let every = (9.0 / room).ceil().max(1.0) as usize;
            for (at, (one, name)) in domain.iter().zip(&names).enumerate() {
                let Some(place) = x.middle(&Value::Text(one.clone()), 0, 1, 0.0) else { continue };
                if slanted && at % every == 0 {
                    let short: String = name.chars().take(9).collect();
                    let short = if short.len() < name.len() { format!("{short}…") } else { short };
                    svg.slanted(place + 4.0, bottom + 12.0, &short, 9.0, "#333333");
                } else if !slanted {
                    svg.text(place, bottom + 17.0, name, Anchor::Middle, 10.0, "#333333");
                }
            }
        }
        Along::Band { .. } => {}
    }
}

fn axis_y(svg: &mut Svg, chart: &Chart, y: &Pixels<'_>, frame: &Frame) {
    let right = frame.left + frame.width;
    match &chart.y.along {
        Along::Line { time, transform, .. } => {
            let wanted = (frame.height / 45.0) as usize;
            for (n, label) in ticks(y.domain, *time, *transform, wanted) {
                let at = y.number(n);
                svg.line([frame.left, at], [right, at], &Paint::line("#e8e8e8", 1.0));
                svg.line([frame.left - 4.0, at], [frame.left, at], &Paint::line("#888888", 1.0));
                if frame.labels_y {
                    let label = chart.called(Scaled::Axis(Axis::Y), &label);
                    svg.text(frame.left - 7.0, at + 3.5, &label, Anchor::End, 10.0, "#333333");
                }
            }
        }
        Along::Band { domain } if frame.labels_y => {
            for one in domain {
                let Some(place) = y.middle(&Value::Text(one.clone()), 0, 1, 0.0) else { continue };
                let name = chart.called(Scaled::Axis(Axis::Y), one);
                let short: String = name.chars().take(8).collect();
                let short = if short.len() < name.len() { format!("{short}…") } else { short };
                svg.text(frame.left - 7.0, place + 3.5, &short, Anchor::End, 9.0, "#333333");
            }
        }
        Along::Band { .. } => {}
    }
}

struct Painter<'a> {
    svg: &'a mut Svg,
    chart: &'a Chart,
    layer: &'a MarkLayer,
    x: &'a Pixels<'a>,
    y: &'a Pixels<'a>,
    frame: &'a Frame,
}

impl Painter<'_> {
    fn layer(&mut self, marks: &[&Mark]) {
        match self.layer.form {
            Form::Line | Form::Polygon | Form::Area => self.joined(marks),
            _ => marks.iter().for_each(|mark| self.single(mark)),
        }
    }

    fn slots(&self, mark: &Mark, axis: Axis) -> (usize, usize, f64) {
        let mine = (axis == Axis::Y) == self.layer.transposed;
        if mine { (mark.slot, self.layer.slots, mark.jitter) } else { (0, 1, 0.0) }
    }

    fn point(&self, mark: &Mark) -> Option<[f64; 2]> {
        let place = |axis: Axis, pixels: &Pixels<'_>, value: &Value| {
            let (slot, slots, jitter) = self.slots(mark, axis);
            pixels.middle(value, slot, slots, jitter)
        };
        Some([place(Axis::X, self.x, &mark.x.from)?, place(Axis::Y, self.y, &mark.y.from)?])
    }

    fn single(&mut self, mark: &Mark) {
        let paint = self.paint(mark);
        match self.layer.form {
            Form::Point => {
                let Some(at) = self.point(mark) else { return };
                let size = self.number(mark, Aes::Size).or(self.layer.style.size).unwrap_or(40.0);
                let shape = self.becomes(mark, Aes::Shape).or_else(|| self.layer.style.shape.clone());
                symbol(self.svg, at, size, shape.as_deref().unwrap_or("circle"), &paint);
            }
            Form::Rect => {
                let (slot, slots, _) = self.slots(mark, Axis::X);
                let x = self.x.ends(&mark.x, slot, slots, self.layer.width);
                let (slot, slots, _) = self.slots(mark, Axis::Y);
                let y = self.y.ends(&mark.y, slot, slots, self.layer.width);
                if let (Some((left, right)), Some((top, bottom))) = (x, y) {
                    self.svg.rect(left, top, right - left, bottom - top, &paint);
                }
            }
            Form::Rule => self.rule(mark, &paint),
            Form::Tick => self.tick(mark, &paint),
            Form::Text => {
                let Some([x, y]) = self.point(mark) else { return };
                let text = mark.values.get(&Aes::Label).and_then(Value::label).unwrap_or_default();
                let size = self.layer.style.size.unwrap_or(11.0);
                let [right, down] = self.layer.style.offset;
                let colour = paint.fill.unwrap_or_default();
                self.svg.text(x + right, y + down + size / 3.0, &text, Anchor::Middle, size, &colour);
            }
            Form::Line | Form::Polygon | Form::Area => {}
        }
    }

    fn rule(&mut self, mark: &Mark, paint: &Paint) {
        let ends = |axis: Axis, pixels: &Pixels<'_>, place: &crate::chart::Value2, all: (f64, f64)| {
            if place.from == Value::Null && place.to.is_none() {
                return Some(all);
            }
            let (slot, slots, jitter) = self.slots(mark, axis);
            let from = pixels.middle(&place.from, slot, slots, jitter)?;
            let to = match &place.to {
                Some(to) => pixels.middle(to, slot, slots, jitter)?,
                None => from,
            };
            Some((from, to))
        };
        let whole_x = (self.frame.left, self.frame.left + self.frame.width);
        let whole_y = (self.frame.top, self.frame.top + self.frame.height);
        let (x, y) = (ends(Axis::X, self.x, &mark.x, whole_x), ends(Axis::Y, self.y, &mark.y, whole_y));
        if let (Some((left, right)), Some((top, bottom))) = (x, y) {
            self.svg.line([left, top], [right, bottom], paint);
        }
    }

    /// A short line across: the middle of a box, the end of a range.
    fn tick(&mut self, mark: &Mark, paint: &Paint) {
        let Some([x, y]) = self.point(mark) else { return };
        let (axis, pixels, place) =
            if self.layer.transposed { (Axis::Y, self.y, &mark.y) } else { (Axis::X, self.x, &mark.x) };
        let (slot, slots, _) = self.slots(mark, axis);
        let half = match self.layer.style.length {
            Some(length) => length * 2.0 / 3.0,
            None => pixels
                .ends(place, slot, slots, self.layer.width)
                .map_or(4.0, |(from, to)| (to - from).abs() / 2.0),
        };
        if self.layer.transposed {
            self.svg.line([x, y - half], [x, y + half], paint);
        } else {
            self.svg.line([x - half, y], [x + half, y], paint);
        }
    }

    fn joined(&mut self, marks: &[&Mark]) {
        let mut groups: BTreeMap<&str, Vec<&Mark>> = BTreeMap::new();
        for mark in marks {
            groups.entry(&mark.group).or_default().push(mark);
        }
        for group in groups.values() {
            let Some(first) = group.first() else { continue };
            let mut paint = self.paint(first);
            let points: Vec<[f64; 2]> = group.iter().filter_map(|mark| self.point(mark)).collect();
            if self.layer.form == Form::Line {
                paint.fill = None;
                self.svg.path(&points, false, &paint);
                continue;
            }
            let mut outline = points;
            if self.layer.form == Form::Area {
                let back = group.iter().rev().filter_map(|mark| {
                    let (x, y) = (
                        mark.x.to.as_ref().unwrap_or(&mark.x.from),
                        mark.y.to.as_ref().unwrap_or(&mark.y.from),
                    );
                    Some([self.x.middle(x, 0, 1, 0.0)?, self.y.middle(y, 0, 1, 0.0)?])
                });
                outline.extend(back);
            }
            self.svg.path(&outline, true, &paint);
        }
    }

    fn becomes(&self, mark: &Mark, aes: Aes) -> Option<String> {
        let value = mark.values.get(&aes)?;
        let (_, legend, _) = self.chart.legends.iter().find(|(known, _, _)| *known == aes)?;
        legend.of(value)
    }

    fn number(&self, mark: &Mark, aes: Aes) -> Option<f64> {
        self.becomes(mark, aes)?.parse().ok()
    }

    fn paint(&self, mark: &Mark) -> Paint {
        let style = &self.layer.style;
        let colour = self.becomes(mark, Aes::Colour);
        let opacity = self.number(mark, Aes::Opacity).or(style.opacity);
        let dashed = self.becomes(mark, Aes::Linetype).or_else(|| style.linetype.clone());
        let stroke = self.becomes(mark, Aes::Stroke).or_else(|| style.stroke.clone());
        if matches!(self.layer.form, Form::Line | Form::Rule | Form::Tick) {
            let default = if self.layer.form == Form::Line { 2.0 } else { 1.5 };
            return Paint {
                fill: None,
                stroke: colour.or(stroke).or_else(|| Some(MARK.to_owned())),
                width: style.linewidth.unwrap_or(default),
                opacity: opacity.unwrap_or(1.0),
                dashes: dashed.map(|name| dashes(&name).to_vec()).unwrap_or_default(),
            };
        }
        let fill = self.becomes(mark, Aes::Fill).or(colour).or_else(|| style.fill.clone());
        let default = if self.layer.form == Form::Point { 0.8 } else { 1.0 };
        Paint { fill, stroke, width: 1.0, opacity: opacity.unwrap_or(default), dashes: Vec::new() }
    }
}

/// A point's symbol of this area in square pixels.
pub(super) fn symbol(svg: &mut Svg, [x, y]: [f64; 2], size: f64, shape: &str, paint: &Paint) {
    let half = size.max(0.0).sqrt() / 2.0;
    let closed = |svg: &mut Svg, points: &[[f64; 2]]| svg.path(points, true, paint);
    match shape {
        "square" => svg.rect(x - half, y - half, 2.0 * half, 2.0 * half, paint),
        "triangle-up" => closed(svg, &[[x, y - half], [x + half, y + half], [x - half, y + half]]),
        "triangle-down" => closed(svg, &[[x, y + half], [x + half, y - half], [x - half, y - half]]),
        "diamond" => closed(svg, &[[x, y - half * 1.3], [x + half, y], [x, y + half * 1.3], [x - half, y]]),
        "cross" => {
            let thin = half / 2.5;
            svg.rect(x - half, y - thin, 2.0 * half, 2.0 * thin, paint);
            svg.rect(x - thin, y - half, 2.0 * thin, 2.0 * half, paint);
        }
        _ => svg.circle([x, y], size.max(0.0).sqrt() / 1.772, paint),
    }
}
