//! What `SET` changes, kept in scratch so that an engine that comes back has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem, Span};
use carrel_cell::statement::OptionValue;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::SessionContext;

use crate::config::Config;
use crate::runtime;
use crate::scratch::Scratch;

/// The session's settings that differ from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

struct Key {
    name: &'static str,
    /// DataFusion's name, if it is one of its options.
    option: Option<&'static str>,
    default: &'static str,
    check: fn(&OptionValue) -> Option<String>,
    takes: &'static str,
    about: &'static str,
}

const KEYS: &[Key] = &[
    Key {
        name: "batch_size",
        option: Some("datafusion.execution.batch_size"),
        default: "8192",
        check: |value| whole(value, 1, 1 << 20),
        takes: "a number from 1 to 1048576",
        about: "rows that are computed at a time",
    },
    Key {
        name: "schema",
        option: None,
        default: "",
        check: |value| value.as_text().map(str::to_owned),
        takes: "the name of a schema",
        about: "where names without a schema are looked up after the session's tables",
    },
    Key {
        name: PERSIST,
        option: None,
        default: "false",
        check: |value| value.as_bool().map(|on| on.to_string()),
        takes: "true or false",
        about: "tables, views, models and settings stay when the kernel is restarted",
    },
    Key {
        name: "threads",
        option: Some("datafusion.execution.target_partitions"),
        default: "",
        check: |value| whole(value, 1, 256),
        takes: "a number from 1 to 256",
        about: "parts that a query is computed in at the same time",
    },
    Key {
        name: "timezone",
        option: Some("datafusion.execution.time_zone"),
        default: "+00:00",
        check: zone,
        takes: "an offset such as '+01:00' or a name such as 'Europe/Berlin'",
        about: "the zone of now() and of times without one",
    },
];

const PERSIST: &str = "session.persist";

const FILE: &str = "settings.json";

impl Settings {
    /// The settings in a scratch folder; none if there are none.
    pub fn load(scratch: &Scratch) -> Result<Self, Problem> {
        let values = match std::fs::read(scratch.path().join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "the session's settings cannot be read; they are the defaults again");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Ok(Self { values })
    }

    /// Sets a key, or puts it back with no value.
    pub fn set(&mut self, key: &str, value: Option<&OptionValue>, span: Span) -> Result<(), Problem> {
        let known = find(key).map_err(|problem| problem.at(span))?;
        match value {
            None => {
                self.values.remove(known.name);
            }
            Some(value) => {
                let wrong = || {
                    Problem::new(Ename::BadOption, format!("{key} cannot be {value}"))
                        .at(span)
                        .hint(format!("{key} takes {}", known.takes))
                };
                self.values.insert(known.name.to_owned(), (known.check)(value).ok_or_else(wrong)?);
            }
        }
        Ok(())
    }

    /// Keeps them for the next engine.
    pub fn save(&self, scratch: &Scratch) -> Result<(), Problem> {
        let bytes = serde_json::to_vec(&self.values)
            .map_err(|error| Problem::new(Ename::Internal, format!("settings cannot be written: {error}")))?;
        scratch.put(FILE, &bytes)
    }

    /// Tells DataFusion.
    pub fn apply(&self, context: &SessionContext, config: &Config) -> Result<(), Problem> {
        let state = context.state_ref();
        let mut state = state.write();
        for key in KEYS {
            let Some(option) = key.option else { continue };
            let value = self.value(key, config);
            state.config_mut().options_mut().set(option, &value).map_err(|error| {
                Problem::new(Ename::BadOption, format!("{} cannot be {value}: {}", key.name, error.message()))
            })?;
        }
        // functions such as now() keep what they need of the options
        let options = state.config().options().clone();
        let updated: Vec<_> = state
            .scalar_functions()
            .values()
            .filter_map(|f| f.inner().with_updated_config(&options))
            .collect();
        for function in updated {
            state.register_udf(Arc::new(function)).map_err(|error| carrel_query::problems::of(&error, ""))?;
        }
        Ok(())
    }

    /// The value of a key as text.
    pub fn get(&self, key: &str, config: &Config) -> Result<String, Problem> {
        find(key).map(|known| self.value(known, config))
    }

    fn value(&self, key: &Key, config: &Config) -> String {
        match (self.values.get(key.name), key.name) {
            (Some(value), _) => value.clone(),
            (None, "threads") => runtime::threads(config).to_string(),
            (None, "batch_size") => config.engine.batch_size.to_string(),
            (None, _) => key.default.to_owned(),
        }
    }

    /// Does the session outlive a restart that its user asked for?
    pub fn persists(&self) -> bool {
        self.values.get(PERSIST).is_some_and(|value| value == "true")
    }

    /// The schema of names without one.
    pub fn schema(&self) -> Option<&str> {
        self.values.get("schema").map(String::as_str).filter(|schema| !schema.is_empty())
    }

    /// Name, value, what it is.
    pub fn rows(&self, config: &Config) -> Vec<Vec<Option<String>>> {
        let row = |key: &Key| {
            vec![Some(key.name.to_owned()), Some(self.value(key, config)), Some(key.about.to_owned())]
        };
        KEYS.iter().map(row).collect()
    }
}

fn find(key: &str) -> Result<&'static Key, Problem> {
    let unknown = || {
        let names = KEYS.iter().map(|key| key.name);
        let problem =
            Problem::new(Ename::BadOption, format!("there is no setting {key}")).suggest(key, names);
        if problem.hint.is_some() { problem } else { problem.hint("SHOW ALL lists the settings") }
    };
    KEYS.iter().find(|known| known.name == key).ok_or_else(unknown)
}

fn whole(value: &OptionValue, least: u32, most: u32) -> Option<String> {
    let number = value.as_number().or_else(|| value.as_text()?.parse().ok())?;
    (number.fract() == 0.0 && number >= f64::from(least) && number <= f64::from(most))
        .then(|| format!("{number:.0}"))
}

fn zone(value: &OptionValue) -> Option<String> {
    let text = value.as_text()?;
    let named: Option<arrow::array::timezone::Tz> = text.parse().ok();
    named.map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_fits_and_says_what_would() {
        let mut settings = Settings::default();
        let config = Config::default();
        settings.set("batch_size", Some(&OptionValue::Number(100.0)), Span::default()).unwrap();
        assert_eq!(settings.get("batch_size", &config).unwrap(), "100");
        settings.set("batch_size", None, Span::default()).unwrap();
        assert_eq!(settings.get("batch_size", &config).unwrap(), "8192");
        let problem =
            settings.set("batch_size", Some(&OptionValue::Number(0.5)), Span::new(1, 2)).unwrap_err();
        assert_eq!((problem.ename, problem.span), (Ename::BadOption, Some(Span::new(1, 2))));
        let problem = settings.set("batchsize", None, Span::default()).unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("did you mean batch_size?"));
        settings.set("timezone", Some(&OptionValue::Text("+01:00".into())), Span::default()).unwrap();
        assert!(settings.set("timezone", Some(&OptionValue::Text("Mars".into())), Span::default()).is_err());
    }
}
