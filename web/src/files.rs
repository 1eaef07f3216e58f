//! A table of the files that may be served: names, types, tags, precompressed variants. Contents stay on disk.
//!
//! The folder is listed once, at start. A request names an entry of the table or nothing: no path is ever built from what
//! a client sent, so there is nothing to traverse.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Listing stops here: a folder of assets has hundreds of files.
const MOST_FILES: usize = 50_000;

/// The files below one or more folders, by their relative name.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    plain: Variant,
    br: Option<Variant>,
    gz: Option<Variant>,
}

#[derive(Debug, Clone, Copy)]
struct Variant {
    len: u64,
    modified_s: i64,
    modified_ns: i64,
}

/// A file chosen for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What to open.
    pub path: PathBuf,
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Encoding`, when the precompressed variant was chosen.
    pub encoding: Option<&'static str>,
    /// Whether other encodings of it exist (then the answer varies by `Accept-Encoding`).
    pub varies: bool,
    /// `Content-Length`.
    pub len: u64,
    /// A strong `ETag`, quotes included.
    pub etag: String,
    /// Seconds since 1970 of the last change.
    pub modified: i64,
}

impl Table {
    /// Lists `root`; a missing folder is an empty table.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn scan(root: &Path) -> io::Result<Self> {
        let mut table = Self::default();
        table.add(root)?;
        Ok(table)
    }

    /// Adds the files below `root`; a name that is already there stays (earlier folders win).
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn add(&mut self, root: &Path) -> io::Result<()> {
        let mut found: HashMap<String, Variant> = HashMap::new();
        list(root, "", &mut found)?;
        for (name, plain) in &found {
            let original = |suffix| name.strip_suffix(suffix).is_some_and(|name| found.contains_key(name));
            if original(".br") || original(".gz") || self.entries.contains_key(name) {
                continue;
            }
            let variant = |suffix: &str| found.get(&format!("{name}{suffix}")).copied();
            let entry =
                Entry { path: root.join(name), plain: *plain, br: variant(".br"), gz: variant(".gz") };
            self.entries.insert(name.clone(), entry);
        }
        Ok(())
    }

    /// The names in the table, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file of this name in the best encoding that the client takes, or none.
    #[must_use]
    pub fn find(&self, name: &str, accept_encoding: &str) -> Option<Found> {
        let entry = self.entries.get(name)?;
        let (variant, encoding, suffix) = match (entry.br, entry.gz) {
            (Some(br), _) if accepts(accept_encoding, "br") => (br, Some("br"), ".br"),
            (_, Some(gz)) if accepts(accept_encoding, "gzip") => (gz, Some("gzip"), ".gz"),
            _ => (entry.plain, None, ""),
        };
        let mut path = entry.path.clone().into_os_string();
        path.push(suffix);
        Some(Found {
            path: path.into(),
            content_type: content_type(name),
            encoding,
            varies: entry.br.is_some() || entry.gz.is_some(),
            len: variant.len,
            etag: format!(
                "\"{:x}-{:x}{:08x}{}\"",
                variant.len, variant.modified_s, variant.modified_ns, suffix
            ),
            modified: variant.modified_s,
        })
    }
}

/// Whether an `Accept-Encoding` header takes this coding.
fn accepts(header: &str, coding: &str) -> bool {
    header.split(',').any(|item| {
        let (name, rest) = item.split_once(';').unwrap_or((item, ""));
        let refused = rest
            .trim()
            .strip_prefix("q=")
            .and_then(|q| q.trim().parse::<f32>().ok())
            .is_some_and(|q| q <= 0.0);
        name.trim().eq_ignore_ascii_case(coding) && !refused
    })
}

/// The type to send a file with, by the end of its name.
#[must_use]
pub fn content_type(name: &str) -> String {
    let guessed = mime_guess::from_path(name).first_or_octet_stream();
    match guessed.essence_str() {
        "application/json" => "application/json".into(),
        essence @ ("application/javascript" | "text/javascript") => format!("{essence}; charset=utf-8"),
        essence if guessed.type_() == "text" => format!("{essence}; charset=utf-8"),
        essence => essence.into(),
    }
}

fn list(root: &Path, prefix: &str, into: &mut HashMap<String, Variant>) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(prefix)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && prefix.is_empty() => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || into.len() >= MOST_FILES {
            continue;
        }
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // Links are not followed: what is served lies in the folder.
        let meta = entry.metadata()?;
        if meta.is_dir() {
            list(root, &name, into)?;
        } else if meta.is_file() {
            let variant =
                Variant { len: meta.len(), modified_s: meta.mtime(), modified_ns: meta.mtime_nsec() };
            into.insert(name, variant);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for (name, text) in [
            ("main.abc.js", "plain text"),
            ("main.abc.js.br", "br"),
            ("main.abc.js.gz", "gzip"),
            ("sub/a.css", "a"),
            ("lonely.gz", "itself"),
            (".hidden", "no"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_best_encoding_is_chosen() {
        let folder = folder();
        let table = Table::scan(folder.path()).unwrap();
        let pick = |accept| {
            let found = table.find("main.abc.js", accept).unwrap();
            (found.encoding, std::fs::read_to_string(&found.path).unwrap(), found.len)
        };
        assert_eq!(pick("gzip, deflate, br"), (Some("br"), "br".into(), 2));
        assert_eq!(pick("gzip;q=0.5, br;q=0"), (Some("gzip"), "gzip".into(), 4));
        assert_eq!(pick("identity"), (None, "plain text".into(), 10));
        let tags: Vec<String> =
            ["br", "gzip", ""].iter().map(|a| table.find("main.abc.js", a).unwrap().etag).collect();
        assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
    }

    #[test]
    fn only_listed_names_are_found() {
        let folder = folder();
        let table = Table::scan(folder.path()).unwrap();
        let mut names: Vec<&str> = table.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["lonely.gz", "main.abc.js", "sub/a.css"]);
        for name in ["../main.abc.js", "sub/../main.abc.js", "", "sub", ".hidden", "main.abc.js.br"] {
            assert_eq!(table.find(name, ""), None, "{name}");
        }
    }

    #[test]
    fn a_missing_folder_is_empty_and_earlier_folders_win() {
        let (first, second) = (folder(), folder());
        std::fs::write(second.path().join("extra.json"), "{}").unwrap();
        let mut table = Table::scan(&first.path().join("none")).unwrap();
        table.add(first.path()).unwrap();
        table.add(second.path()).unwrap();
        assert!(table.find("sub/a.css", "").unwrap().path.starts_with(first.path()));
        assert!(table.find("extra.json", "").unwrap().path.starts_with(second.path()));
    }

    #[test]
    fn types_by_name() {
        assert_eq!(content_type("a/b.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("x.css"), "text/css; charset=utf-8");
        assert_eq!(content_type("x.json"), "application/json");
        assert_eq!(content_type("logo.svg"), "image/svg+xml");
        assert_eq!(content_type("f.woff2"), "font/woff2");
        assert_eq!(content_type("nothing"), "application/octet-stream");
    }
}
