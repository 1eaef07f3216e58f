//! GET of a model: folders, notebooks, files; a long file is streamed, never held whole.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FileType, Stat};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::home::{Home, kind};
use crate::listing;
use crate::model::{Content, Format, Model, Type};
use crate::notebook;
use crate::path::ContentsPath;
use crate::stream::{Encoding, Utf8Check};
use crate::trust::Trust;

/// A file up to this size is answered from memory.
const SMALL: u64 = 1 << 20;
/// A browser takes no longer string than this; `/files` gives the rest.
pub(crate) const MAX_CONTENT: u64 = 512 << 20;
/// How much is read at a time.
const CHUNK: usize = 256 << 10;

/// What the query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) kind: Option<Type>,
    pub(crate) format: Option<Format>,
    pub(crate) content: bool,
    pub(crate) hash: bool,
}

impl Ask {
    /// Without content: what answers a save or a rename.
    pub(crate) const BARE: Ask = Ask { kind: None, format: None, content: false, hash: false };

    /// Reads the query's keys; unknown ones do not matter.
    pub(crate) fn from_query(query: &[(String, String)]) -> Result<Ask, Error> {
        let mut ask = Ask { content: true, ..Ask::BARE };
        let flag = |name: &str, value: &str| match value {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(Error::bad(format!("{name} '{value}' is invalid, it must be 0 or 1"))),
        };
        for (key, value) in query {
            match key.as_str() {
                "type" => ask.kind = Type::parse(value),
                "format" => {
                    ask.format = match value.as_str() {
                        "text" => Some(Format::Text),
                        "base64" => Some(Format::Base64),
                        "json" | "" => None,
                        _ => return Err(Error::bad(format!("format '{value}' is invalid"))),
                    }
                }
                "content" => ask.content = flag("content", value)?,
                "hash" => ask.hash = flag("hash", value)?,
                _ => {}
            }
        }
        Ok(ask)
    }
}

/// The answer: a model as it is, or one whose content follows from a file.
#[derive(Debug)]
pub(crate) enum Got {
    Whole(Model),
    Streamed { model: Model, file: File, encoding: Encoding },
}

/// Answers a GET. Hidden paths do not exist.
pub(crate) fn get(
    home: &Home,
    trust: &Trust,
    path: &ContentsPath,
    ask: Ask,
    now: SystemTime,
    limit: u64,
) -> Result<Got, Error> {
    if path.is_hidden() {
        return Err(Error::NotFound(path.to_string()));
    }
    let (file, stat) = home.open_read(path)?;
    if kind(&stat) == FileType::Directory {
        return directory(home, path, file, &stat, ask, now).map(Got::Whole);
    }
    match ask.kind.unwrap_or_else(|| Type::of_name(path.name())) {
        Type::Directory => Err(bad_type(format!("'{path}' is not a directory"))),
        Type::Notebook => read_notebook(home, trust, path, file, &stat, ask, limit).map(Got::Whole),
        Type::File => read_file(home, path, file, &stat, ask),
    }
}

/// The model of a path without content.
pub(crate) fn bare(home: &Home, path: &ContentsPath) -> Result<Model, Error> {
    let stat = home.stat(path)?;
    Ok(Model::new(path, &stat, home.writable(path), None))
}

fn directory(
    home: &Home,
    path: &ContentsPath,
    file: File,
    stat: &Stat,
    ask: Ask,
    now: SystemTime,
) -> Result<Model, Error> {
    match ask.kind {
        None | Some(Type::Directory) => {}
        Some(Type::File) => return Err(bad_type(format!("'{path}' is a directory, not a file"))),
        Some(Type::Notebook) => return Err(bad_type(format!("'{path}' is a directory, not a notebook"))),
    }
    let mut model = Model::new(path, stat, home.writable(path), None);
    if ask.content {
        model.content = Some(Content::Listing(listing::list(home, path, file, now)?));
        model.format = Some(Format::Json);
    }
    Ok(model)
}

fn read_notebook(
    home: &Home,
    trust: &Trust,
    path: &ContentsPath,
    mut file: File,
    stat: &Stat,
    ask: Ask,
    limit: u64,
) -> Result<Model, Error> {
    let mut model = Model::new(path, stat, home.writable(path), Some(Type::Notebook));
    if !ask.content {
        if ask.hash {
            model.set_hash(scan(&mut file, path)?.sha256);
        }
        return Ok(model);
    }
    let bytes = read_bounded(&mut file, path, stat, limit)?;
    if ask.hash {
        model.set_hash(hex::encode(Sha256::digest(&bytes)));
    }
    let mut notebook = notebook::parse(&bytes, path.as_str())?;
    trust.mark(&mut notebook.value);
    model.format = Some(Format::Json);
    model.message = notebook.remark;
    model.content = Some(Content::Notebook(notebook.value));
    Ok(model)
}

fn read_file(home: &Home, path: &ContentsPath, mut file: File, stat: &Stat, ask: Ask) -> Result<Got, Error> {
    let mut model = Model::new(path, stat, home.writable(path), Some(Type::File));
    if !ask.content {
        if ask.hash {
            model.set_hash(scan(&mut file, path)?.sha256);
        }
        return Ok(Got::Whole(model));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size <= SMALL {
        let bytes = read_bounded(&mut file, path, stat, SMALL)?;
        if ask.hash {
            model.set_hash(hex::encode(Sha256::digest(&bytes)));
        }
        let text = match ask.format {
            Some(Format::Base64) => Err(bytes),
            _ => String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes),
        };
        let (format, content) = match text {
            Ok(text) => (Format::Text, text),
            Err(bytes) => (Format::Base64, STANDARD.encode(bytes)),
        };
        set_format(&mut model, path, ask, format)?;
        model.content = Some(Content::Text(content));
        return Ok(Got::Whole(model));
    }
    if size > MAX_CONTENT {
        return Err(Error::TooLarge(format!(
            "'{path}' has {size} bytes; more than {MAX_CONTENT} are only served by /files/, as a download"
        )));
    }
    let mut format = Format::Base64;
    if ask.hash || ask.format != Some(Format::Base64) {
        let scan = scan(&mut file, path)?;
        if scan.utf8 && ask.format != Some(Format::Base64) {
            format = Format::Text;
        }
        if ask.hash {
            model.set_hash(scan.sha256);
        }
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::io("read", path.as_str(), e))?;
    }
    set_format(&mut model, path, ask, format)?;
    let encoding = if format == Format::Text { Encoding::json_text() } else { Encoding::base64() };
    Ok(Got::Streamed { model, file, encoding })
}

fn set_format(model: &mut Model, path: &ContentsPath, ask: Ask, format: Format) -> Result<(), Error> {
    if ask.format == Some(Format::Text) && format != Format::Text {
        return Err(Error::Bad {
            message: format!("'{path}' is not UTF-8 encoded"),
            reason: Some("bad format"),
        });
    }
    model.format = Some(format);
    model.mimetype.get_or_insert_with(|| {
        if format == Format::Text { "text/plain" } else { "application/octet-stream" }.to_owned()
    });
    Ok(())
}

fn bad_type(message: String) -> Error {
    Error::Bad { message, reason: Some("bad type") }
}

/// The whole of a file that must not be longer than `limit`, whatever `stat` said.
fn read_bounded(file: &mut File, path: &ContentsPath, stat: &Stat, limit: u64) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge(format!("'{path}' is larger than {limit} bytes"));
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path.as_str(), e))?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

struct Scan {
    sha256: String,
    utf8: bool,
}

/// Reads a file once, piece by piece.
fn scan(file: &mut File, path: &ContentsPath) -> Result<Scan, Error> {
    let (mut hash, mut utf8) = (Sha256::new(), Utf8Check::default());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(&chunk[..n]);
                utf8.feed(&chunk[..n]);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", path.as_str(), e)),
        }
    }
    Ok(Scan { sha256: hex::encode(hash.finalize()), utf8: utf8.finish() })
}
