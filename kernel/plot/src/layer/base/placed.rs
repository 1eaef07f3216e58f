//! Layers of `PLACE`, whose rows are written in the cell.

use carrel_cell::problem::{Ename, Problem, Span};

use super::{Base, unified};
use crate::aesthetic::Aes;
use crate::frame::{Kind, Value};
use crate::layer::{Drawn, Row, check_fixed};
use crate::spec::{Literal, Setting};

impl Base<'_> {
    /// The rows of `PLACE`: literals, lists side by side.
    pub(in crate::layer) fn placed(&mut self) -> Result<Drawn, Problem> {
        let mut count = 1;
        let mut lists: Vec<(Aes, Vec<Literal>, Span)> = Vec::new();
        for Setting { name, value, span } in &self.layer.settings {
            let Some(aes) = Aes::parse(name) else { continue };
            let place = aes.axis().is_some() || matches!(aes, Aes::Label | Aes::Width | Aes::Height);
            if !place {
                self.fixed.insert(unified(self.layer.geom, aes), check_fixed(aes, value, *span)?);
                continue;
            }
            let values = value.list();
            count = count.max(values.len());
            let aes = if self.spec.flipped { aes.transposed() } else { aes };
            lists.push((aes, values, *span));
        }
        let mut rows = vec![Row::default(); count];
        for (aes, values, span) in lists {
            if values.len() != 1 && values.len() != count {
                let message = format!("{} has {} values, others have {count}", aes.name(), values.len());
                return Err(Problem::new(Ename::ValueError, message).at(span));
            }
            let mut kind = Kind::Category;
            for (at, row) in rows.iter_mut().enumerate() {
                let value = match &values[at % values.len()] {
                    Literal::Number(n) => Value::Number(*n),
                    Literal::Text(text) => match crate::scale::parse_time(text) {
                        Some(ms) if aes.axis().is_some() => Value::Time(ms),
                        _ => Value::Text(text.clone()),
                    },
                    other => other.label().map_or(Value::Null, Value::Text),
                };
                kind = match value {
                    Value::Number(_) => Kind::Number,
                    Value::Time(_) => Kind::Time,
                    _ => kind,
                };
                row.values.insert(aes, value);
            }
            self.kinds.insert(aes, kind);
        }
        for aes in self.layer.geom.needs() {
            if !self.kinds.contains_key(aes) {
                let hint = format!("as in PLACE {} SETTING {} => 1", self.layer.geom.name(), aes.name());
                let message = format!("{} needs {}", self.layer.geom.name(), aes.name());
                return Err(Problem::new(Ename::BadOption, message).at(self.layer.span).hint(hint));
            }
        }
        self.drawn(rows, &[])
    }
}
