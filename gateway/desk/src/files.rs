//! `/files/{path}`: the bytes of a file, whole or a range, with what a browser needs to cache it and not to trust it.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::{FileType, Stat};
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::body::{self, Answer, Body, set};
use crate::desk::Busy;
use crate::error::Error;
use crate::home::{Home, kind};
use crate::model::{guess_mime, http_date, timestamp};
use crate::path::ContentsPath;
use crate::stream::{self, Encoding};

/// A file's page gets an origin of its own: its scripts cannot speak to the server in the user's name.
const POLICY: &str = "frame-ancestors 'self'; sandbox allow-scripts";

/// An open file to be served.
#[derive(Debug)]
pub(crate) struct Served {
    file: File,
    stat: Stat,
    name: String,
}

/// Opens the file. Folders and hidden files are not served.
pub(crate) fn open(home: &Home, path: &ContentsPath) -> Result<Served, Error> {
    if path.is_hidden() {
        return Err(Error::NotFound(path.to_string()));
    }
    let (file, stat) = home.open_read(path)?;
    if kind(&stat) != FileType::RegularFile {
        return Err(Error::NotFound(path.to_string()));
    }
    Ok(Served { file, stat, name: path.name().to_owned() })
}

/// Answers GET and HEAD.
pub(crate) fn serve(
    served: Served,
    method: &Method,
    request: &HeaderMap,
    download: bool,
    busy: Busy,
) -> Answer {
    let Served { mut file, stat, name } = served;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let tag = format!("\"{:x}-{size:x}-{:x}-{:x}\"", stat.st_ino, stat.st_mtime, stat.st_mtime_nsec);
    let mut response = Response::new(body::full(""));
    let headers = response.headers_mut();
    set(headers, header::ETAG, &tag);
    set(headers, header::LAST_MODIFIED, &http_date(timestamp(stat.st_mtime, stat.st_mtime_nsec)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if unchanged(request, &tag, stat.st_mtime) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    set(headers, header::CONTENT_TYPE, &content_type(&name));
    if download {
        set(headers, header::CONTENT_DISPOSITION, &disposition(&name));
    }
    let (start, length) = match wanted(request, &tag, size) {
        Wanted::Whole => (0, size),
        Wanted::Part { start, length } => {
            set(headers, header::CONTENT_RANGE, &format!("bytes {start}-{}/{size}", start + length - 1));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (start, length)
        }
        Wanted::Nothing => {
            set(headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(response);
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    if method != Method::HEAD && length > 0 {
        file.seek(SeekFrom::Start(start)).map_err(|e| Error::io("read", name, e))?;
        *response.body_mut() = file_body(file, length, busy);
    }
    Ok(response)
}

fn file_body(file: File, length: u64, busy: Busy) -> Body {
    use futures::StreamExt as _;
    let pieces = stream::body(file, length, Encoding::Plain, Vec::new(), Vec::new());
    body::streamed(pieces.inspect(move |_| {
        let _still_running = &busy;
    }))
}

fn content_type(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".gz") || lower.ends_with(".tgz") {
        return "application/gzip".into();
    }
    if lower.ends_with(".ipynb") {
        return "application/x-ipynb+json".into();
    }
    match guess_mime(name) {
        Some(mime) if mime == "text/plain" => "text/plain; charset=UTF-8".into(),
        Some(mime) => mime,
        None => "application/octet-stream".into(),
    }
}

fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    format!(
        "attachment; filename=\"{plain}\"; filename*=UTF-8''{}",
        utf8_percent_encode(name, NON_ALPHANUMERIC)
    )
}

/// Does the client hold this version already?
fn unchanged(request: &HeaderMap, tag: &str, mtime: i64) -> bool {
    if let Some(held) = request.get(header::IF_NONE_MATCH) {
        return held.to_str().is_ok_and(|held| {
            held.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag)
        });
    }
    date_of(request, header::IF_MODIFIED_SINCE).is_some_and(|since| mtime <= since)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part { start: u64, length: u64 },
    Nothing,
}

/// One range is honoured; several, or nonsense, mean the whole, as the standard allows.
fn wanted(request: &HeaderMap, tag: &str, size: u64) -> Wanted {
    let Some(range) = request.get(header::RANGE).and_then(|v| v.to_str().ok()) else { return Wanted::Whole };
    if let Some(only_if) = request.get(header::IF_RANGE)
        && only_if.as_bytes() != tag.as_bytes()
    {
        return Wanted::Whole;
    }
    let Some((from, to)) = range.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Wanted::Whole;
    };
    match (from.trim(), to.trim()) {
        ("", to) => match to.parse::<u64>() {
            Ok(0) => Wanted::Nothing,
            Ok(_) if size == 0 => Wanted::Nothing,
            Ok(last) => Wanted::Part { start: size - last.min(size), length: last.min(size) },
            Err(_) => Wanted::Whole,
        },
        (from, to) => {
            let Ok(start) = from.parse::<u64>() else { return Wanted::Whole };
            let end = match to {
                "" => size.saturating_sub(1),
                to => match to.parse::<u64>() {
                    Ok(end) if end >= start => end.min(size.saturating_sub(1)),
                    _ => return Wanted::Whole,
                },
            };
            if start >= size { Wanted::Nothing } else { Wanted::Part { start, length: end - start + 1 } }
        }
    }
}

fn date_of(request: &HeaderMap, name: header::HeaderName) -> Option<i64> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let text = request.get(name)?.to_str().ok()?;
    Some(PrimitiveDateTime::parse(text, format).ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, size: u64, expect: Wanted) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        assert_eq!(wanted(&headers, "\"t\"", size), expect, "{range}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-3", 10, Wanted::Part { start: 0, length: 4 });
        check("bytes=4-", 10, Wanted::Part { start: 4, length: 6 });
        check("bytes=-3", 10, Wanted::Part { start: 7, length: 3 });
        check("bytes=-30", 10, Wanted::Part { start: 0, length: 10 });
        check("bytes=4-99", 10, Wanted::Part { start: 4, length: 6 });
        check("bytes=10-", 10, Wanted::Nothing);
        check("bytes=-0", 10, Wanted::Nothing);
        check("bytes=0-", 0, Wanted::Nothing);
        check("bytes=5-3", 10, Wanted::Whole);
        check("bytes=0-1,4-5", 10, Wanted::Whole);
        check("lines=0-1", 10, Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-3"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"old\""));
        assert_eq!(wanted(&headers, "\"new\"", 10), Wanted::Whole);
    }

    #[test]
    fn cached_versions() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MODIFIED_SINCE, HeaderValue::from_static("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(unchanged(&headers, "\"t\"", 1_700_000_000));
        assert!(!unchanged(&headers, "\"t\"", 1_700_000_001));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"t\""));
        assert!(unchanged(&headers, "\"t\"", 1_700_000_001));
        assert!(!unchanged(&headers, "\"u\"", 0));
    }

    #[test]
    fn file_names_in_headers_are_harmless() {
        let text = disposition("a\"b\r\n é.txt");
        assert!(text.starts_with(
            "attachment; filename=\"a_b__ _.txt\"; filename*=UTF-8''a%22b%0D%0A%20%C3%A9%2Etxt"
        ));
    }
}
