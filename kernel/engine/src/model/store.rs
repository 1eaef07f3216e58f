//! Where models are kept: one JSON file each in the session's scratch folder, replaced whole or not at all.
//! They outlive the engine and end with the kernel.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::Name;
use serde::{Deserialize, Serialize};

use super::encode::Feature;
use super::internal;
use super::label::Classes;
use super::options::ModelType;

/// The format of the files.
const VERSION: u32 = 1;
/// The longest name.
const NAME_LIMIT: usize = 64;

/// A model as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The file's format.
    pub(super) version: u32,
    /// Its name.
    pub(super) name: String,
    /// Milliseconds since 1970.
    pub(super) created_ms: u64,
    /// Its kind.
    pub(super) model_type: ModelType,
    /// The label's column.
    pub(super) label: String,
    /// A classifier's classes.
    pub(super) classes: Option<Classes>,
    /// The inputs, in the order of their columns in the design.
    pub(super) features: Vec<Feature>,
    /// On the link scale, at the encoded features' zero.
    pub(super) intercept: f64,
    /// One per column of the design, on encoded features.
    pub(super) coefficients: Vec<f64>,
    /// Their standard errors, where known.
    pub(super) standard_errors: Option<Vec<f64>>,
    /// How it came about.
    pub(super) training: Training,
}

/// How a model came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Training {
    /// Rows fitted.
    pub(super) rows: u64,
    /// Rows kept back and judged.
    pub(super) eval_rows: u64,
    /// Rows left out because their label is missing.
    pub(super) dropped_rows: u64,
    /// Is it the optimum?
    pub(super) converged: bool,
    /// Why training ended.
    pub(super) stop: String,
    /// newton or quasi_newton.
    pub(super) method: String,
    /// Strength of the L1 penalty.
    pub(super) l1_reg: f64,
    /// Strength of the L2 penalty.
    pub(super) l2_reg: f64,
    /// Every iteration.
    pub(super) trace: Vec<TraceLine>,
    /// The whole training, in milliseconds.
    pub(super) duration_ms: u64,
    /// Metrics by name on the rows kept back, or on the training rows if there are none; in their usual order.
    pub(super) metrics: Vec<(String, Option<f64>)>,
}

/// One iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TraceLine {
    /// From 0, the start.
    pub(super) iteration: u64,
    /// Mean loss per unit of weight.
    pub(super) loss: f64,
    /// The same on the rows kept back; known for the last iteration.
    pub(super) eval_loss: Option<f64>,
    /// The objective with penalties, a sum.
    pub(super) objective: f64,
    /// Largest entry of the objective's gradient.
    pub(super) gradient_norm: f64,
    /// Share of the full step that was taken.
    pub(super) step: f64,
    /// Since the iteration before.
    pub(super) duration_ms: u64,
}

/// A model's name: one plain part.
pub(super) fn model_name(name: &Name) -> Result<String, Problem> {
    match name.parts.as_slice() {
        [one] if !one.is_empty() && one.len() <= NAME_LIMIT => Ok(one.clone()),
        [_] => Err(Problem::syntax(name.span, format!("a model's name has 1 to {NAME_LIMIT} bytes"))),
        _ => Err(Problem::unsupported(
            name.span,
            "models have no schema",
            "give the model a name without dots",
        )),
    }
}

/// The models of a session.
#[derive(Clone, Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in a folder, which is made when the first model is saved.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Names in alphabetical order.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| name_of(entry.file_name().to_str()?.strip_suffix(".json")?))
            .collect();
        names.sort();
        names
    }

    /// Is there one of this name?
    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Reads a model.
    pub(super) fn load(&self, name: &str) -> Result<Stored, Problem> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.unknown(name)),
            Err(error) => return Err(internal("a model could not be read", error)),
        };
        let corrupt = |why: String| {
            Problem::new(Ename::CorruptFile, format!("model {name} cannot be read: {why}"))
                .hint("train it again with CREATE OR REPLACE MODEL")
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let columns = super::encode::width(&stored.features);
        if stored.version != VERSION {
            return Err(corrupt(format!("its format is {}, not {VERSION}", stored.version)));
        }
        if stored.coefficients.len() != columns {
            return Err(corrupt(format!("{} coefficients for {columns} columns", stored.coefficients.len())));
        }
        Ok(stored)
    }

    /// Keeps a model, in place of any of its name.
    pub(super) fn save(&self, stored: &Stored) -> Result<(), Problem> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Problem::new(Ename::DiskLimit, format!("model {} could not be kept: {error}", stored.name))
            }
            _ => internal("a model could not be kept", error),
        };
        let bytes =
            serde_json::to_vec(stored).map_err(|error| internal("a model could not be written", error))?;
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let partial = self.folder.join(format!(".{}.partial", stem(&stored.name)));
        let mut file = fs::File::create(&partial).map_err(failed)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&partial, self.path(&stored.name))) {
            let _ = fs::remove_file(&partial);
            return Err(failed(error));
        }
        Ok(())
    }

    /// Removes a model; false if there is none.
    pub(super) fn remove(&self, name: &str) -> Result<bool, Problem> {
        match fs::remove_file(self.path(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(internal("a model could not be removed", error)),
        }
    }

    /// What an unknown name says.
    pub(super) fn unknown(&self, name: &str) -> Problem {
        let names = self.names();
        let problem = Problem::new(Ename::UnknownModel, format!("no model {name}"));
        if names.is_empty() {
            return problem.hint("make one with CREATE MODEL");
        }
        problem.hint("SHOW MODELS lists them").suggest(name, &names)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.json", stem(name)))
    }
}

/// A name as a file name: letters, digits and underscores stay, every other byte is `%` and two hex digits.
fn stem(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02x}"),
        })
        .collect()
}

/// The name of a file name, if it is one of ours.
fn name_of(stem: &str) -> Option<String> {
    if stem.starts_with('.') {
        return None;
    }
    let mut bytes = Vec::with_capacity(stem.len());
    let mut rest = stem;
    while let Some(first) = rest.bytes().next() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            rest = rest.get(3..)?;
        } else {
            bytes.push(first);
            rest = rest.get(1..)?;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Stored {
        Stored {
            version: VERSION,
            name: name.to_owned(),
            created_ms: 1,
            model_type: ModelType::LinearReg,
            label: "y".to_owned(),
            classes: None,
            features: Vec::new(),
            intercept: 0.1 + 0.2,
            coefficients: Vec::new(),
            standard_errors: None,
            training: Training::default(),
        }
    }

    #[test]
    fn kept_found_and_removed() {
        let folder = std::env::temp_dir().join(format!("carrel-models-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let store = Store::new(folder.clone());
        assert!(store.names().is_empty());
        let odd = "Größe ../x";
        for name in ["clicks", odd] {
            store.save(&model(name)).unwrap();
            assert_eq!(store.load(name).unwrap(), model(name));
        }
        assert_eq!(store.names(), [odd.to_owned(), "clicks".to_owned()]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "only whole files, all in the folder");
        assert_eq!(store.load("click").unwrap_err().hint.as_deref(), Some("did you mean clicks?"));
        fs::write(folder.join("bad.json"), "{").unwrap();
        assert_eq!(store.load("bad").unwrap_err().ename, Ename::CorruptFile);
        assert!(store.remove(odd).unwrap() && !store.remove(odd).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }
}
