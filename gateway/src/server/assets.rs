//! Static files: from a table that was listed at start, streamed from disk, precompressed where the browser takes it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use carrel_web::files::Table;
use carrel_web::lab::Lab;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use tokio_util::io::ReaderStream;

use crate::error::{Error, Result};

const HTTP_DATE: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// How long a browser may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// For ever: its name carries a hash of its content.
    Immutable,
    /// It must ask each time whether it has changed.
    Check,
}

/// `GET /static/lab/{path}`
pub async fn statics(
    Extension(lab): Extension<Arc<Lab>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    send(&lab.statics, &path, &headers, Caching::Immutable).await
}

/// `GET /hub/static/lab/{version}/{path}`: the same files, at one address for everybody.
pub async fn shared(
    Extension(lab): Extension<Arc<Lab>>,
    Path((_version, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    send(&lab.statics, &path, &headers, Caching::Immutable).await
}

/// `GET /static/favicons/{path}`
pub async fn favicons(
    Extension(lab): Extension<Arc<Lab>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    send(&lab.favicons, &path, &headers, Caching::Check).await
}

/// `GET /favicon.ico`
pub async fn favicon(Extension(lab): Extension<Arc<Lab>>, headers: HeaderMap) -> Result<Response> {
    send(&lab.favicons, "favicon.ico", &headers, Caching::Check).await
}

/// `GET /lab/extensions/{path}`
pub async fn extensions(
    Extension(lab): Extension<Arc<Lab>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    // An extension's package.json names its scripts, whose names carry hashes.
    let hashed = path.contains("/static/") && path.matches('.').count() >= 2;
    let caching = if hashed { Caching::Immutable } else { Caching::Check };
    send(&lab.extension_files, &path, &headers, caching).await
}

/// `GET /lab/api/themes/{path}`
pub async fn themes(
    Extension(lab): Extension<Arc<Lab>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    send(&lab.themes, &path, &headers, Caching::Check).await
}

/// One file of a table.
///
/// # Errors
/// When the table has no such file, or it cannot be read any more.
pub async fn send(table: &Table, name: &str, asked: &HeaderMap, caching: Caching) -> Result<Response> {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let found = table
        .find(name, text(header::ACCEPT_ENCODING).unwrap_or(""))
        .ok_or_else(|| Error::NotFound(format!("no file {name}")))?;

    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, HeaderValue::try_from(&found.etag).map_err(Error::internal)?);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(match caching {
            Caching::Immutable => "public, max-age=31536000, immutable",
            Caching::Check => "no-cache",
        }),
    );
    if found.varies {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let changed =
        OffsetDateTime::from_unix_timestamp(found.modified).ok().and_then(|at| at.format(HTTP_DATE).ok());
    if let Some(changed) = changed.and_then(|changed| HeaderValue::try_from(changed).ok()) {
        headers.insert(header::LAST_MODIFIED, changed);
    }
    let known = text(header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == found.etag)
    });
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }

    headers
        .insert(header::CONTENT_TYPE, HeaderValue::try_from(&found.content_type).map_err(Error::internal)?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(found.len));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(encoding) = found.encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    let file = tokio::fs::File::open(&found.path)
        .await
        .map_err(|error| Error::internal(format!("cannot open {}: {error}", found.path.display())))?;
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, 64 * 1024))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn ask(headers: &[(header::HeaderName, &str)]) -> Response {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.1f.js"), "plain").unwrap();
        std::fs::write(folder.path().join("a.1f.js.gz"), "gz").unwrap();
        let table = Table::scan(folder.path()).unwrap();
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let response = send(&table, "a.1f.js", &headers, Caching::Immutable).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Response::from_parts(parts, Body::from(bytes))
    }

    #[tokio::test]
    async fn a_file_is_sent_compressed_and_asked_for_once() {
        let first = ask(&[(header::ACCEPT_ENCODING, "gzip, br")]).await;
        let headers = first.headers().clone();
        assert_eq!(headers["content-encoding"], "gzip");
        assert_eq!(headers["content-length"], "2");
        assert_eq!(headers["vary"], "Accept-Encoding");
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert!(headers["last-modified"].to_str().unwrap().ends_with(" GMT"));
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "gz");
        let plain = ask(&[]).await;
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_ne!(plain.headers()["etag"], headers["etag"]);
    }

    #[tokio::test]
    async fn a_file_that_the_browser_has_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "x").unwrap();
        let table = Table::scan(folder.path()).unwrap();
        let tag = table.find("a", "").unwrap().etag;
        for (given, status) in [(tag.clone(), 304), (format!("\"x\", W/{tag}"), 304), ("\"x\"".into(), 200)] {
            let headers = [(header::IF_NONE_MATCH, given.parse().unwrap())].into_iter().collect();
            let response = send(&table, "a", &headers, Caching::Check).await.unwrap();
            assert_eq!(response.status(), status, "{given}");
        }
        let none = send(&table, "../a", &HeaderMap::new(), Caching::Check).await;
        assert!(matches!(none, Err(Error::NotFound(_))));
    }
}
