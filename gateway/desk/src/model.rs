//! The models of the contents API: Jupyter's fields, filled from a `stat`.

use rustix::fs::{FileType, Stat};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::home::kind;
use crate::path::ContentsPath;

/// What a path is to the contents API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Type {
    Directory,
    File,
    Notebook,
}

impl Type {
    /// Reads `type`; like Jupyter, what is not known means a file.
    pub(crate) fn parse(text: &str) -> Option<Type> {
        match text {
            "" => None,
            "directory" => Some(Type::Directory),
            "notebook" => Some(Type::Notebook),
            _ => Some(Type::File),
        }
    }

    /// What a name says it is when nobody says otherwise.
    pub(crate) fn of_name(name: &str) -> Type {
        if name.ends_with(".ipynb") { Type::Notebook } else { Type::File }
    }
}

/// How `content` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    Text,
    Base64,
}

/// One file, notebook or folder.
#[derive(Debug, Serialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) last_modified: String,
    pub(crate) created: String,
    pub(crate) format: Option<Format>,
    pub(crate) mimetype: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) writable: bool,
    pub(crate) hash: Option<String>,
    pub(crate) hash_algorithm: Option<&'static str>,
    #[serde(rename = "type")]
    pub(crate) kind: Type,
    /// Why a notebook that was read or saved is not quite valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Last, so that a long content can be streamed behind the rest.
    pub(crate) content: Option<Content>,
    /// For the `Last-Modified` header.
    #[serde(skip)]
    pub(crate) modified: OffsetDateTime,
}

/// What a model holds when content is asked for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Listing(Vec<Model>),
    Text(String),
    Notebook(serde_json::Value),
}

/// One checkpoint of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Checkpoint {
    pub(crate) id: &'static str,
    pub(crate) last_modified: String,
}

impl Model {
    /// A model without content. `asked` is the type the caller reads a file as, if it said so.
    pub(crate) fn new(path: &ContentsPath, stat: &Stat, writable: bool, asked: Option<Type>) -> Model {
        Model::named(path.name(), path.as_str().to_owned(), stat, writable, asked)
    }

    /// The same for a name in a listing, whose path need not be one that can be opened (an undecodable name).
    pub(crate) fn named(name: &str, path: String, stat: &Stat, writable: bool, asked: Option<Type>) -> Model {
        let kind = match kind(stat) {
            FileType::Directory => Type::Directory,
            _ => asked.unwrap_or_else(|| Type::of_name(name)),
        };
        let modified = timestamp(stat.st_mtime, stat.st_mtime_nsec);
        Model {
            name: name.to_owned(),
            path,
            last_modified: iso(modified),
            created: iso(timestamp(stat.st_ctime, stat.st_ctime_nsec)),
            format: None,
            mimetype: match kind {
                Type::File => guess_mime(name),
                Type::Directory | Type::Notebook => None,
            },
            size: match kind {
                Type::Directory => None,
                Type::File | Type::Notebook => u64::try_from(stat.st_size).ok(),
            },
            writable,
            hash: None,
            hash_algorithm: None,
            kind,
            message: None,
            content: None,
            modified,
        }
    }

    /// Puts the SHA-256 of the file's bytes in.
    pub(crate) fn set_hash(&mut self, sha256: String) {
        self.hash = Some(sha256);
        self.hash_algorithm = Some("sha256");
    }
}

/// The MIME type of a name, where the name tells.
pub(crate) fn guess_mime(name: &str) -> Option<String> {
    let (_, extension) = name.rsplit_once('.')?;
    let known = match extension.to_ascii_lowercase().as_str() {
        // Source code that the registry takes for films or plain text.
        "py" => "text/x-python",
        "r" => "text/x-r-source",
        "ts" | "tsx" => "text/x-typescript",
        "sql" => "application/sql",
        _ => return mime_guess::from_path(name).first_raw().map(str::to_owned),
    };
    Some(known.to_owned())
}

/// A point in time of a `stat`; one out of the calendar is 1970, as in Jupyter.
pub(crate) fn timestamp(seconds: i64, nanos: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `2026-11-22T12:00:00.123456Z`
pub(crate) fn iso(at: OffsetDateTime) -> String {
    let micros = at.microsecond() * 1000;
    let at = at.replace_nanosecond(micros).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

/// `Sun, 22 Nov 2026 12:00:00 GMT`
pub(crate) fn http_date(at: OffsetDateTime) -> String {
    at.format(format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    ))
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = timestamp(1_700_000_000, 123_456_789);
        assert_eq!(iso(at), "2023-11-14T22:13:20.123456Z");
        assert_eq!(http_date(at), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(iso(timestamp(i64::MAX, 0)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn mime_types() {
        let table = [
            ("a.txt", Some("text/plain")),
            ("a.PY", Some("text/x-python")),
            ("a.csv", Some("text/csv")),
            ("a.png", Some("image/png")),
            ("a.html", Some("text/html")),
            ("a.nonsense", None),
            ("Makefile", None),
        ];
        for (name, mime) in table {
            assert_eq!(guess_mime(name).as_deref(), mime, "{name}");
        }
    }

    #[test]
    fn unknown_types_mean_a_file() {
        assert_eq!(Type::parse("weird"), Some(Type::File));
        assert_eq!(Type::parse(""), None);
    }
}
