//! The settings of a layer.

use carrel_cell::problem::{Ename, Problem};

use super::Base;
use crate::geom::Geom;
use crate::layer::Position;
use crate::spec::{Literal, Setting};

impl Base<'_> {
    pub(super) fn position(&self) -> Result<Position, Problem> {
        let Some(setting) = self.setting("position") else {
            return Ok(match self.layer.geom {
                Geom::Bar | Geom::Histogram | Geom::Area => Position::Stack,
                Geom::Boxplot => Position::Dodge,
                _ => Position::Identity,
            });
        };
        match setting.value.text() {
            Some("identity") => Ok(Position::Identity),
            Some("stack") if !matches!(self.layer.geom, Geom::Point) => Ok(Position::Stack),
            Some("dodge") if matches!(self.layer.geom, Geom::Bar | Geom::Boxplot | Geom::Point) => {
                Ok(Position::Dodge)
            }
            Some("jitter") if self.layer.geom == Geom::Point => Ok(Position::Jitter),
            other => {
                let message = format!("{} cannot be placed so", self.layer.geom.name());
                let names: &[&str] = match self.layer.geom {
                    Geom::Point => &["identity", "dodge", "jitter"],
                    Geom::Bar => &["stack", "dodge", "identity"],
                    _ => &["stack", "identity"],
                };
                let problem = Problem::new(Ename::BadOption, message).at(setting.span);
                Err(problem
                    .hint(format!("position is one of {}", names.join(", ")))
                    .suggest(other.unwrap_or(""), names))
            }
        }
    }

    pub(super) fn offset(&self) -> Result<[f64; 2], Problem> {
        let Some(setting) = self.setting("offset") else { return Ok([0.0, 0.0]) };
        let numbers = setting.value.list().iter().map(Literal::number).collect::<Option<Vec<_>>>();
        match numbers.as_deref() {
            Some([both]) => Ok([*both, *both]),
            Some([right, down]) => Ok([*right, *down]),
            _ => {
                Err(Problem::new(Ename::BadOption, "offset takes a number, or two: (4, -4)").at(setting.span))
            }
        }
    }

    pub(in crate::layer) fn setting(&self, name: &str) -> Option<&Setting> {
        self.layer.settings.iter().rev().find(|setting| setting.name == name)
    }

    pub(in crate::layer) fn text(&self, name: &str) -> Option<String> {
        self.setting(name).and_then(|setting| setting.value.text()).map(str::to_owned)
    }

    /// A number of a setting within bounds.
    pub(in crate::layer) fn number(
        &self,
        name: &str,
        default: f64,
        low: f64,
        high: f64,
    ) -> Result<f64, Problem> {
        let Some(setting) = self.setting(name) else { return Ok(default) };
        match setting.value.number() {
            Some(n) if (low..=high).contains(&n) => Ok(n),
            _ => Err(Problem::new(Ename::BadOption, format!("{name} takes a number from {low} to {high}"))
                .at(setting.span)),
        }
    }
}
