//! PUT and POST of models: saving files and notebooks, making folders, untitled names.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustix::fs::{FileType, Mode, mkdirat};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::account::{Size, on_disk};
use crate::atomic::{self, Taken};
use crate::checkpoints;
use crate::desk::Desk;
use crate::error::Error;
use crate::home::kind;
use crate::log;
use crate::model::{Model, Type};
use crate::names;
use crate::notebook::{self, Notebook};
use crate::path::ContentsPath;
use crate::read;
use crate::trust::take_marks;

/// Base64 as clients send it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The body of a PUT or POST; what is not named here does not matter.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Given<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) format: Option<String>,
    /// A `null` is something given, and refused.
    #[serde(borrow, default, deserialize_with = "given_content")]
    pub(crate) content: Option<&'a RawValue>,
    pub(crate) chunk: Option<i64>,
    pub(crate) copy_from: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) ext: Option<String>,
}

/// What a PUT did.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) model: Model,
    /// There was no file of that name before.
    pub(crate) created: bool,
}

/// Reads a JSON object from a body. `None` for an empty one, `null` and `{}`, which Jupyter takes as "nothing given".
pub(crate) fn given(body: &[u8]) -> Result<Option<Given<'_>>, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::bad("the body is not UTF-8"))?.trim();
    if matches!(text, "" | "null" | "{}") {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|e| Error::bad(format!("invalid JSON in body of request: {e}")))
}

/// PUT: saves under the path's own name.
pub(crate) fn put(desk: &Desk, path: &ContentsPath, body: &[u8]) -> Result<Saved, Error> {
    let Some(given) = given(body)? else {
        return post_untitled(desk, path, None, "").map(|model| Saved { model, created: true });
    };
    if given.copy_from.is_some() {
        return Err(Error::bad("cannot copy with PUT, only POST"));
    }
    let named = given.path.as_deref().map(ContentsPath::parse).transpose()?;
    if path.is_hidden() || named.is_some_and(|named| named.is_hidden()) {
        return Err(Error::bad(format!("cannot create file or directory '{path}'")));
    }
    let existed = desk.home.is_file(path);
    let kind = match given.kind.as_deref().and_then(Type::parse) {
        Some(kind) => kind,
        None if existed || given.chunk.is_some() => return Err(Error::bad("no file type provided")),
        None => Type::of_name(path.name()),
    };
    if let Some(chunk) = given.chunk {
        if kind != Type::File {
            return Err(Error::bad("only files can be sent in chunks"));
        }
        let content = given.content.ok_or_else(|| Error::bad("no file content provided"))?;
        let bytes = decode(content, given.format.as_deref())?;
        let model = desk.uploads.chunk(&desk.home, path, chunk, &bytes)?;
        return Ok(Saved { model, created: !existed && chunk == 1 });
    }
    let mut remark = None;
    match (kind, given.content) {
        (Type::Directory, _) => make_directory(desk, path)?,
        (_, None) if existed => return Err(Error::bad("no file content provided")),
        (Type::File, None) => write(desk, path, Taken::Refuse, b"")?,
        (Type::File, Some(content)) => {
            write(desk, path, Taken::Replace, &decode(content, given.format.as_deref())?)?;
        }
        (Type::Notebook, None) => save_notebook(desk, path, Taken::Refuse, notebook::empty())?,
        (Type::Notebook, Some(content)) => {
            let value = serde_json::from_str(content.get())
                .map_err(|e| Error::bad(format!("invalid notebook, nothing was saved: {e}")))?;
            let notebook = notebook::accept(value)?;
            remark.clone_from(&notebook.remark);
            save_notebook(desk, path, Taken::Replace, notebook)?;
        }
    }
    let mut model = read::bare(&desk.home, path)?;
    model.message = remark;
    Ok(Saved { model, created: !existed })
}

/// POST without a source: something new and empty in the folder `path`, under a free name.
pub(crate) fn post_untitled(
    desk: &Desk,
    path: &ContentsPath,
    kind: Option<Type>,
    ext: &str,
) -> Result<Model, Error> {
    if path.is_hidden() {
        return Err(Error::bad(format!("cannot create a file in '{path}'")));
    }
    if !desk.home.is_dir(path) {
        return Err(Error::NotFound(path.to_string()));
    }
    if ext.contains('/') {
        return Err(Error::bad("'ext' contains a slash"));
    }
    let kind = kind.unwrap_or(if ext == ".ipynb" { Type::Notebook } else { Type::File });
    let (name, insert) = match kind {
        Type::Directory => (format!("Untitled Folder{ext}"), " "),
        Type::Notebook => ("Untitled.ipynb".to_owned(), ""),
        Type::File => (format!("untitled{ext}"), ""),
    };
    for name in names::candidates(&name, insert) {
        let path = path.join(&name)?;
        if desk.home.place(&path)?.stat()?.is_some() {
            continue;
        }
        let made = match kind {
            Type::Directory => mkdir(desk, &path),
            Type::Notebook => save_notebook(desk, &path, Taken::Refuse, notebook::empty()),
            Type::File => write(desk, &path, Taken::Refuse, b""),
        };
        match made {
            // Somebody else took the name in between: the next one.
            Err(Error::Exists(_)) => {}
            Err(e) => return Err(e),
            Ok(()) => return read::bare(&desk.home, &path),
        }
    }
    Err(Error::Exists(path.to_string()))
}

fn write(desk: &Desk, path: &ContentsPath, taken: Taken, bytes: &[u8]) -> Result<(), Error> {
    atomic::write(desk.home.place_to_write(path)?, taken, bytes)
}

fn save_notebook(
    desk: &Desk,
    path: &ContentsPath,
    taken: Taken,
    mut notebook: Notebook,
) -> Result<(), Error> {
    let own = take_marks(&mut notebook.value);
    let bytes = notebook::to_file(&notebook).map_err(|e| Error::bad(e.to_string()))?;
    write(desk, path, taken, &bytes)?;
    drop(bytes);
    // The notebook is safe; what follows must not make the answer a failure.
    if own && let Err(e) = desk.trust.sign(&desk.home, &mut notebook.value) {
        log::warn("trust.sign", &e.chain());
    }
    if checkpoints::find(&desk.home, path)?.is_none()
        && let Err(e) = checkpoints::create(&desk.home, path)
    {
        log::warn("checkpoint.first", &e.chain());
    }
    Ok(())
}

fn make_directory(desk: &Desk, path: &ContentsPath) -> Result<(), Error> {
    match mkdir(desk, path) {
        Err(Error::Exists(_)) => match desk.home.stat(path) {
            Ok(stat) if kind(&stat) == FileType::Directory => Ok(()),
            _ => Err(Error::bad(format!("not a directory: '{path}'"))),
        },
        other => other,
    }
}

fn mkdir(desk: &Desk, path: &ContentsPath) -> Result<(), Error> {
    let place = desk.home.place(path)?;
    if place.stat()?.is_none() {
        place.take(Size { bytes: on_disk(1), files: 1 })?;
    }
    mkdirat(&place.dir, &place.name, Mode::from_raw_mode(0o777)).map_err(|e: Errno| place.failed("create", e))
}

fn given_content<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// The bytes of a file's content; text is not copied if nothing in it is escaped.
fn decode<'a>(content: &'a RawValue, format: Option<&str>) -> Result<Cow<'a, [u8]>, Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let base64 = match format {
        Some("text") => false,
        Some("base64") => true,
        _ => return Err(Error::bad("must specify format of file contents as 'text' or 'base64'")),
    };
    let Text(text) = serde_json::from_str(content.get())
        .map_err(|_| Error::bad("the content of a file must be a string"))?;
    if !base64 {
        return Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        });
    }
    let text = if text.bytes().any(|b| b.is_ascii_whitespace()) {
        Cow::Owned(text.split_ascii_whitespace().collect())
    } else {
        text
    };
    let bytes = BASE64.decode(text.as_bytes());
    bytes.map(Cow::Owned).map_err(|e| Error::bad(format!("the content is not base64: {e}")))
}
