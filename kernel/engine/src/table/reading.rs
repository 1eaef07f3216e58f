//! How files are to be read, where somebody said it: the options of `read_csv`, `read_json` and `read_parquet`, under the names that
//! DuckDB gives them.

use arrow::datatypes::DataType;
use carrel_cell::problem::{Ename, Problem};

use crate::catalog::Packed;
use crate::config::Format;

/// What was said. What was not is found out from the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Their format, whatever they are called.
    pub format: Option<Format>,
    /// How they are packed, whatever they are called.
    pub packed: Option<Packed>,
    /// Whether text has a header line.
    pub header: Option<bool>,
    /// What stands between the values of a line.
    pub delimiter: Option<u8>,
    /// What stands around a value.
    pub quote: Option<u8>,
    /// What stands before a quote in a value.
    pub escape: Option<u8>,
    /// Lines that begin with it are left out.
    pub comment: Option<u8>,
    /// Lines at the beginning of each file that are left out.
    pub skip: u64,
    /// JSON: the file is one array of objects.
    pub array: Option<bool>,
    /// All columns, in order.
    pub columns: Option<Vec<(String, DataType)>>,
    /// The types of some columns by name.
    pub types: Vec<(String, DataType)>,
    /// The types of the first columns.
    pub first_types: Vec<DataType>,
    /// The names of the first columns.
    pub names: Vec<String>,
    /// All columns are text.
    pub all_text: bool,
    /// Texts that mean NULL.
    pub nulls: Vec<String>,
    /// How dates are written.
    pub dates: Option<String>,
    /// How times are written.
    pub times: Option<String>,
    /// What stands before the decimals of a number.
    pub decimal: Option<char>,
    /// The column that tells the file a row is from.
    pub filename: Option<String>,
    /// Whether folders `key=value` are columns.
    pub partitions: Option<bool>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `'text'`
    Text(String),
    /// `true`
    Bool(bool),
    /// `5`
    Number(i64),
    /// `['a', 'b']`
    List(Vec<Value>),
    /// `{'a': 'b'}`
    Struct(Vec<(String, Value)>),
}

/// All options, with the formats that have them.
const OPTIONS: &[(&str, &[Format])] = &[
    ("all_varchar", &[Format::Csv]),
    ("auto_detect", &[Format::Csv, Format::Ndjson]),
    ("column_names", &[Format::Csv]),
    ("column_types", &[Format::Csv]),
    ("columns", &[Format::Csv, Format::Ndjson]),
    ("comment", &[Format::Csv]),
    ("compression", &[Format::Csv, Format::Ndjson]),
    ("dateformat", &[Format::Csv]),
    ("decimal_separator", &[Format::Csv]),
    ("delim", &[Format::Csv]),
    ("escape", &[Format::Csv]),
    ("filename", &[Format::Csv, Format::Ndjson, Format::Parquet]),
    ("format", &[Format::Ndjson]),
    ("header", &[Format::Csv]),
    ("hive_partitioning", &[Format::Csv, Format::Ndjson, Format::Parquet]),
    ("names", &[Format::Csv]),
    ("nullstr", &[Format::Csv]),
    ("quote", &[Format::Csv]),
    ("sample_size", &[Format::Csv, Format::Ndjson]),
    ("skip", &[Format::Csv]),
    ("timestampformat", &[Format::Csv]),
    ("types", &[Format::Csv]),
    ("union_by_name", &[Format::Parquet]),
];

impl Reading {
    /// Files of one format.
    pub fn of(format: Format) -> Self {
        Self { format: Some(format), ..Self::default() }
    }

    /// Whether values must be changed after they were read as text.
    pub fn converts(&self) -> bool {
        !self.nulls.is_empty() || self.dates.is_some() || self.times.is_some() || self.decimal.is_some()
    }

    /// The same without what is done after reading, everything as text.
    pub fn as_text(&self) -> Self {
        Self {
            all_text: true,
            columns: None,
            types: Vec::new(),
            first_types: Vec::new(),
            nulls: Vec::new(),
            dates: None,
            times: None,
            decimal: None,
            names: match &self.columns {
                Some(columns) => columns.iter().map(|(name, _)| name.clone()).collect(),
                None => self.names.clone(),
            },
            ..self.clone()
        }
    }

    /// Takes one option. `type_of` knows what a type is called.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set(
        &mut self,
        name: &str,
        value: Value,
        type_of: &dyn Fn(&str) -> Option<DataType>,
    ) -> Result<(), Problem> {
        let name = match name {
            "sep" | "delimiter" => "delim",
            "null" | "nulls" | "na_values" => "nullstr",
            "dtypes" => "types",
            "date_format" => "dateformat",
            "timestamp_format" => "timestampformat",
            "sample_rows" => "sample_size",
            other => other,
        };
        let format = self.format.unwrap_or(Format::Csv);
        match OPTIONS.iter().find(|(known, _)| *known == name) {
            Some((_, formats)) if formats.contains(&format) => {}
            Some(_) => {
                return Err(Problem::new(Ename::BadOption, format!("files of this format have no '{name}'")));
            }
            None => {
                let known = OPTIONS.iter().filter(|(_, formats)| formats.contains(&format));
                let problem = Problem::new(Ename::BadOption, format!("there is no option '{name}'"));
                let problem = problem.suggest(name, known.clone().map(|(name, _)| *name));
                let all: Vec<_> = known.map(|(name, _)| *name).collect();
                let hint = format!("there are {}", all.join(", "));
                return Err(if problem.hint.is_some() { problem } else { problem.hint(hint) });
            }
        }
        let bad = |wanted: &str| Problem::new(Ename::BadOption, format!("{name} takes {wanted}"));
        match (name, value) {
            ("header", Value::Bool(header)) => self.header = Some(header),
            ("header", Value::Number(number @ (0 | 1))) => self.header = Some(number == 1),
            ("header", _) => return Err(bad("true or false")),
            ("delim", Value::Text(text)) => self.delimiter = Some(byte(name, &text)?),
            ("quote", Value::Text(text)) if text.is_empty() => self.quote = Some(0),
            ("quote", Value::Text(text)) => self.quote = Some(byte(name, &text)?),
            ("escape", Value::Text(text)) if text.is_empty() => self.escape = None,
            ("escape", Value::Text(text)) => self.escape = Some(byte(name, &text)?),
            ("comment", Value::Text(text)) if text.is_empty() => self.comment = None,
            ("comment", Value::Text(text)) => self.comment = Some(byte(name, &text)?),
            ("delim" | "quote" | "escape" | "comment", _) => return Err(bad("one character")),
            ("skip", Value::Number(lines @ 0..)) => self.skip = lines.unsigned_abs(),
            ("skip", _) => return Err(bad("a number of lines")),
            ("all_varchar", Value::Bool(all)) => self.all_text = all,
            ("auto_detect", Value::Bool(true)) | ("sample_size", Value::Number(_)) => {}
            ("auto_detect", _) => {
                return Err(bad("true").hint("say with header, delim and columns what it is"));
            }
            ("sample_size", _) => return Err(bad("a number of rows")),
            ("union_by_name", Value::Bool(_)) => {}
            ("union_by_name", _) => return Err(bad("true or false")),
            ("filename", Value::Bool(shown)) => self.filename = shown.then(|| "filename".to_owned()),
            ("filename", Value::Text(column)) => self.filename = Some(column),
            ("filename", _) => return Err(bad("true, false or the name of a column")),
            ("hive_partitioning", Value::Bool(hive)) => self.partitions = Some(hive),
            ("hive_partitioning", _) => return Err(bad("true or false")),
            ("dateformat", Value::Text(text)) => self.dates = Some(text),
            ("timestampformat", Value::Text(text)) => self.times = Some(text),
            ("dateformat" | "timestampformat", _) => return Err(bad("a pattern such as '%d.%m.%Y'")),
            ("decimal_separator", Value::Text(text)) if text == "." => self.decimal = None,
            ("decimal_separator", Value::Text(text)) if text == "," => self.decimal = Some(','),
            ("decimal_separator", _) => return Err(bad("',' or '.'")),
            ("nullstr", Value::Text(text)) => self.nulls = vec![text],
            ("nullstr", Value::List(list)) => {
                self.nulls = texts(list).ok_or_else(|| bad("a text or a list of texts"))?;
            }
            ("nullstr", _) => return Err(bad("a text or a list of texts")),
            ("names" | "column_names", Value::List(list)) => {
                self.names = texts(list).ok_or_else(|| bad("a list of names"))?;
            }
            ("names" | "column_names", _) => return Err(bad("a list of names")),
            ("columns", Value::Struct(columns)) => self.columns = Some(typed(columns, type_of)?),
            ("columns", _) => return Err(bad("all columns with their types: {'a': 'INTEGER', …}")),
            ("types" | "column_types", Value::Struct(columns)) => self.types = typed(columns, type_of)?,
            ("types" | "column_types", Value::List(list)) => {
                let names = texts(list).ok_or_else(|| bad("names of types"))?;
                let types = names.iter().map(|name| type_of(name).ok_or_else(|| no_type(name)));
                self.first_types = types.collect::<Result<_, _>>()?;
            }
            ("types" | "column_types", _) => {
                return Err(bad("types by column, {'a': 'INTEGER'}, or by place, ['INTEGER', …]"));
            }
            ("compression", Value::Text(text)) => {
                self.packed = match text.to_lowercase().as_str() {
                    "none" | "uncompressed" => Some(Packed::No),
                    "gzip" | "gz" => Some(Packed::Gzip),
                    "zstd" | "zst" => Some(Packed::Zstd),
                    "auto" | "auto_detect" => None,
                    _ => return Err(bad("'none', 'gzip', 'zstd' or 'auto'")),
                };
            }
            ("format", Value::Text(text)) => {
                self.array = match text.to_lowercase().as_str() {
                    "array" => Some(true),
                    "newline_delimited" | "nd" => Some(false),
                    "auto" => None,
                    _ => return Err(bad("'array', 'newline_delimited' or 'auto'")),
                };
            }
            _ => return Err(bad("another kind of value")),
        }
        Ok(())
    }
}

fn byte(name: &str, text: &str) -> Result<u8, Problem> {
    match (text, text.as_bytes()) {
        ("\\t", _) => Ok(b'\t'),
        (_, [one]) => Ok(*one),
        _ => Err(Problem::new(Ename::BadOption, format!("{name} takes one ASCII character"))
            .hint("'\\t' is the tabulator")),
    }
}

fn texts(list: Vec<Value>) -> Option<Vec<String>> {
    let text = |value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    };
    list.into_iter().map(text).collect()
}

fn typed(
    columns: Vec<(String, Value)>,
    type_of: &dyn Fn(&str) -> Option<DataType>,
) -> Result<Vec<(String, DataType)>, Problem> {
    let one = |(column, value)| match value {
        Value::Text(name) => Ok((column, type_of(&name).ok_or_else(|| no_type(&name))?)),
        _ => Err(Problem::new(Ename::BadOption, format!("the type of {column} is to be a text"))),
    };
    columns.into_iter().map(one).collect()
}

fn no_type(name: &str) -> Problem {
    Problem::new(Ename::BadOption, format!("there is no type '{name}'"))
        .hint("types are BIGINT, DOUBLE, DECIMAL(10, 2), VARCHAR, BOOLEAN, DATE, TIMESTAMP, …")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(format: Format, name: &str, value: Value) -> Result<Reading, Problem> {
        let mut reading = Reading::of(format);
        let type_of = |name: &str| (name == "DATE").then_some(DataType::Date32);
        reading.set(name, value, &type_of).map(|()| reading)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn options_have_values_of_their_kind() {
        assert_eq!(set(Format::Csv, "sep", text("\\t")).unwrap().delimiter, Some(b'\t'));
        assert_eq!(set(Format::Csv, "header", Value::Bool(false)).unwrap().header, Some(false));
        assert_eq!(set(Format::Csv, "nullstr", text("NA")).unwrap().nulls, ["NA"]);
        let types = Value::Struct(vec![("d".to_owned(), text("DATE"))]);
        assert_eq!(set(Format::Csv, "types", types).unwrap().types, [("d".to_owned(), DataType::Date32)]);
        for (format, name, value, why) in [
            (Format::Csv, "heder", Value::Bool(true), "did you mean"),
            (Format::Parquet, "header", Value::Bool(true), "have no 'header'"),
            (Format::Csv, "delim", text("::"), "one ASCII character"),
            (Format::Csv, "skip", Value::Number(-1), "a number of lines"),
            (Format::Csv, "types", Value::List(vec![text("DAY")]), "no type 'DAY'"),
            (Format::Csv, "auto_detect", Value::Bool(false), "takes true"),
        ] {
            let problem = set(format, name, value).unwrap_err();
            assert_eq!(problem.ename, Ename::BadOption);
            let told = format!("{problem} {}", problem.hint.clone().unwrap_or_default());
            assert!(told.contains(why), "{told}");
        }
    }
}
