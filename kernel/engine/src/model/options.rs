//! `OPTIONS(…)` of `CREATE MODEL`: names and values as in BigQuery ML; what is unknown or out of range is refused at its place.

use carrel_cell::problem::{Ename, Problem, Span};
use carrel_cell::statement::{CreateModel, OptionEntry, OptionValue};
use serde::{Deserialize, Serialize};

use super::encode::Encoding;

/// The kinds of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelType {
    /// Two classes, log loss.
    LogisticReg,
    /// A number, squared loss.
    LinearReg,
}

impl ModelType {
    /// As in `model_type = '…'`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LogisticReg => "logistic_reg",
            Self::LinearReg => "linear_reg",
        }
    }
}

/// Which rows are kept back to judge the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Split {
    /// None.
    No,
    /// This share.
    Random(f64),
    /// None below 500 rows, a fifth up to 50,000, about 10,000 beyond.
    Auto,
}

impl Split {
    /// The share of rows kept back.
    pub(super) fn share(self, rows: usize) -> f64 {
        match self {
            Self::No => 0.0,
            Self::Random(share) => share,
            Self::Auto if rows < 500 => 0.0,
            Self::Auto if rows <= 50_000 => 0.2,
            Self::Auto => 10_000.0 / rows as f64,
        }
    }
}

/// Weights of the two classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ClassWeights {
    /// All 1.
    Even,
    /// Inverse to how often a class occurs.
    Auto,
    /// By class, where it was given, and 1 otherwise.
    Given(Vec<(String, f64)>, Span),
}

/// All options, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    pub(super) model_type: ModelType,
    pub(super) label: String,
    pub(super) label_span: Option<Span>,
    pub(super) l1: f64,
    pub(super) l2: f64,
    pub(super) max_iterations: usize,
    pub(super) tolerance: f64,
    pub(super) min_rel_progress: Option<f64>,
    pub(super) fit_intercept: bool,
    pub(super) encoding: Encoding,
    pub(super) split: Split,
    pub(super) class_weights: ClassWeights,
    pub(super) seed: u64,
}

const NAMES: &[&str] = &[
    "model_type",
    "input_label_cols",
    "l1_reg",
    "l2_reg",
    "max_iterations",
    "tolerance",
    "early_stop",
    "min_rel_progress",
    "fit_intercept",
    "category_encoding_method",
    "max_categories",
    "standardize_features",
    "data_split_method",
    "data_split_eval_fraction",
    "auto_class_weights",
    "class_weights",
    "seed",
];

impl Options {
    /// Reads the options of a statement.
    pub(super) fn read(create: &CreateModel) -> Result<Self, Problem> {
        let mut options = Self {
            model_type: ModelType::LogisticReg,
            label: "label".to_owned(),
            label_span: None,
            l1: 0.0,
            l2: 1.0,
            max_iterations: 100,
            tolerance: 1e-9,
            min_rel_progress: None,
            fit_intercept: true,
            encoding: Encoding { reference: false, max_categories: 1000, standardize: true },
            split: Split::Auto,
            class_weights: ClassWeights::Even,
            seed: 0,
        };
        let (mut model_type, mut method, mut share) = (None, None, None);
        let (mut early_stop, mut progress) = (false, 0.01);
        for (at, entry) in create.options.iter().enumerate() {
            if let Some(twice) = create.options[..at].iter().find(|other| other.name == entry.name) {
                return Err(bad(entry, format!("{} is given twice", twice.name)));
            }
            match entry.name.as_str() {
                "model_type" => model_type = Some(model_type_of(entry)?),
                "input_label_cols" => {
                    options.label = label_of(entry)?;
                    options.label_span = Some(entry.span);
                }
                "l1_reg" => options.l1 = number(entry, 0.0, f64::MAX)?,
                "l2_reg" => options.l2 = number(entry, 0.0, f64::MAX)?,
                "max_iterations" => options.max_iterations = whole(entry, 1.0, 100_000.0)? as usize,
                "tolerance" => options.tolerance = number(entry, 1e-15, 1.0)?,
                "early_stop" => early_stop = truth(entry)?,
                "min_rel_progress" => {
                    progress = number(entry, 0.0, 1.0)?;
                    early_stop = true;
                }
                "fit_intercept" => options.fit_intercept = truth(entry)?,
                "category_encoding_method" => {
                    options.encoding.reference =
                        one_of(entry, &["ONE_HOT_ENCODING", "DUMMY_ENCODING"])? == "DUMMY_ENCODING";
                }
                "max_categories" => options.encoding.max_categories = whole(entry, 1.0, 100_000.0)? as usize,
                "standardize_features" => options.encoding.standardize = truth(entry)?,
                "data_split_method" => {
                    method = Some(one_of(entry, &["NO_SPLIT", "RANDOM", "AUTO_SPLIT"])?);
                }
                "data_split_eval_fraction" => share = Some(number(entry, 0.0, 0.9)?),
                "auto_class_weights" => {
                    if truth(entry)? {
                        options.class_weights = ClassWeights::Auto;
                    }
                }
                "class_weights" => options.class_weights = class_weights_of(entry)?,
                "seed" => options.seed = whole(entry, 0.0, 9_007_199_254_740_992.0)? as u64,
                other => {
                    return Err(
                        bad(entry, format!("CREATE MODEL has no option {other}")).suggest(other, NAMES)
                    );
                }
            }
        }
        options.model_type = model_type.ok_or_else(|| {
            Problem::new(Ename::BadOption, "model_type is missing")
                .at(create.name.span)
                .hint("add OPTIONS(model_type = 'logistic_reg', input_label_cols = ['…'])")
        })?;
        if early_stop {
            options.min_rel_progress = Some(progress);
        }
        options.split = match (method, share) {
            (Some("NO_SPLIT"), _) => Split::No,
            (Some("RANDOM") | None, Some(share)) => Split::Random(share),
            (Some("RANDOM"), None) => Split::Random(0.2),
            (Some(_) | None, _) => Split::Auto,
        };
        if options.model_type == ModelType::LinearReg
            && let Some(entry) = create.options.iter().find(|o| o.name.ends_with("class_weights"))
        {
            return Err(bad(entry, format!("{} needs model_type = 'logistic_reg'", entry.name)));
        }
        Ok(options)
    }
}

fn bad(entry: &OptionEntry, message: String) -> Problem {
    Problem::new(Ename::BadOption, message).at(entry.span)
}

fn model_type_of(entry: &OptionEntry) -> Result<ModelType, Problem> {
    const TYPES: [&str; 2] = ["logistic_reg", "linear_reg"];
    let given = entry.value.as_text().unwrap_or_default().to_ascii_lowercase();
    match given.as_str() {
        "logistic_reg" => Ok(ModelType::LogisticReg),
        "linear_reg" => Ok(ModelType::LinearReg),
        _ => Err(bad(entry, format!("model_type {} is not supported", entry.value))
            .hint("model_type is 'logistic_reg' or 'linear_reg'")
            .suggest(&given, TYPES)),
    }
}

fn label_of(entry: &OptionEntry) -> Result<String, Problem> {
    let one = match &entry.value {
        OptionValue::List(values) if values.len() == 1 => values[0].as_text(),
        value => value.as_text(),
    };
    one.map(str::to_owned)
        .ok_or_else(|| bad(entry, "input_label_cols takes one column name, as in ['clicked']".to_owned()))
}

fn number(entry: &OptionEntry, low: f64, high: f64) -> Result<f64, Problem> {
    match entry.value.as_number() {
        Some(value) if value.is_finite() && (low..=high).contains(&value) => Ok(value),
        _ if high == f64::MAX => {
            Err(bad(entry, format!("{} is a number of at least {low}, not {}", entry.name, entry.value)))
        }
        _ => Err(bad(entry, format!("{} is a number from {low} to {high}, not {}", entry.name, entry.value))),
    }
}

fn whole(entry: &OptionEntry, low: f64, high: f64) -> Result<f64, Problem> {
    let value = number(entry, low, high)?;
    if value.fract() == 0.0 {
        return Ok(value);
    }
    Err(bad(entry, format!("{} is a whole number, not {}", entry.name, entry.value)))
}

fn truth(entry: &OptionEntry) -> Result<bool, Problem> {
    entry
        .value
        .as_bool()
        .ok_or_else(|| bad(entry, format!("{} is TRUE or FALSE, not {}", entry.name, entry.value)))
}

fn one_of(entry: &OptionEntry, values: &[&'static str]) -> Result<&'static str, Problem> {
    let given = entry.value.as_text().unwrap_or_default();
    values.iter().find(|value| value.eq_ignore_ascii_case(given)).copied().ok_or_else(|| {
        bad(entry, format!("{} {} is not supported", entry.name, entry.value)).hint(format!(
            "{} is one of {}",
            entry.name,
            values.join(", ")
        ))
    })
}

fn class_weights_of(entry: &OptionEntry) -> Result<ClassWeights, Problem> {
    let wrong = || bad(entry, "class_weights takes [['class', weight], …]".to_owned());
    let OptionValue::List(pairs) = &entry.value else { return Err(wrong()) };
    let weights = pairs
        .iter()
        .map(|pair| match pair {
            OptionValue::List(pair) => match pair.as_slice() {
                [class, OptionValue::Number(weight)] if *weight >= 0.0 && weight.is_finite() => {
                    Ok((class.to_string(), *weight))
                }
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ClassWeights::Given(weights, entry.span))
}

#[cfg(test)]
mod tests {
    use carrel_cell::statement::{StatementKind, parse_statement};

    use super::*;

    fn read(options: &str) -> (String, Result<Options, Problem>) {
        let sql = format!("CREATE MODEL m OPTIONS({options}) AS SELECT 1 AS y");
        let StatementKind::CreateModel(create) = parse_statement(&sql).unwrap().kind else { panic!("{sql}") };
        let read = Options::read(&create);
        (sql, read)
    }

    #[test]
    fn options_are_read() {
        let (_, options) = read(
            "model_type='LOGISTIC_REG', input_label_cols=['y'], l2_reg=0.5, data_split_method='random', \
             data_split_eval_fraction=0.3, class_weights=[['0', 1], ['1', 5.5]], early_stop=true, seed=9",
        );
        let options = options.unwrap();
        assert_eq!((options.model_type, options.label.as_str()), (ModelType::LogisticReg, "y"));
        assert_eq!((options.l1, options.l2, options.seed), (0.0, 0.5, 9));
        assert_eq!((options.split, options.min_rel_progress), (Split::Random(0.3), Some(0.01)));
        let ClassWeights::Given(weights, _) = options.class_weights else { panic!("no weights") };
        assert_eq!(weights, [("0".to_owned(), 1.0), ("1".to_owned(), 5.5)]);
    }

    #[test]
    fn mistakes_are_placed() {
        for (options, place, words) in [
            ("model_type='linear_reg', l2_regg=1", "l2_regg=1", "no option l2_regg"),
            ("model_type='linear_reg', l2_reg=-1", "l2_reg=-1", "at least 0"),
            ("model_type='kmeans'", "model_type='kmeans'", "not supported"),
            ("model_type='linear_reg', seed=1.5", "seed=1.5", "whole number"),
            ("model_type='linear_reg', seed=1, seed=2", "seed=2", "twice"),
            ("model_type='linear_reg', auto_class_weights=true", "auto_class_weights=true", "logistic_reg"),
            (
                "model_type='logistic_reg', input_label_cols=['a','b']",
                "input_label_cols=['a','b']",
                "one column",
            ),
        ] {
            let (sql, result) = read(options);
            let problem = result.unwrap_err();
            assert_eq!(problem.span.unwrap().of(&sql), place, "{problem}");
            assert!(problem.message.contains(words), "{problem}");
        }
        assert_eq!(
            read("model_type='linear_reg', l2_regg=1").1.unwrap_err().hint.as_deref(),
            Some("did you mean l2_reg?")
        );
        assert!(read("l2_reg=1").1.unwrap_err().message.contains("model_type is missing"));
    }

    #[test]
    fn automatic_split_follows_the_size() {
        assert_eq!(Split::Auto.share(400), 0.0);
        assert_eq!(Split::Auto.share(1000), 0.2);
        assert_eq!(Split::Auto.share(1_000_000), 0.01);
    }
}
