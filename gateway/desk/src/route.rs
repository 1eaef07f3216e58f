//! From method and address to what is asked for: pure, so that a table can test it.

use http::Method;

use crate::error::Error;
use crate::path::ContentsPath;

/// A request of the Jupyter Server API that this program answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/api/contents{/path}`
    Contents(ContentsPath),
    /// `/api/contents{/path}/checkpoints`. A folder may be called that too: `whole` is the path read that way.
    Checkpoints { path: ContentsPath, whole: ContentsPath },
    /// `/api/contents{/path}/checkpoints/{id}`, with the same doubt.
    Checkpoint { path: ContentsPath, id: String, whole: ContentsPath },
    /// `/api/contents{/path}/trust`, with the same doubt.
    Trust { path: ContentsPath, whole: ContentsPath },
    /// `/api/resolvePath`
    ResolvePath,
    /// `/files/{path}`
    Files(ContentsPath),
    /// `/api/terminals`
    Terminals,
    /// `/api/terminals/{name}`
    Terminal(String),
    /// `/terminals/websocket/{name}`
    TerminalSocket(String),
    /// `/api/nbconvert`
    NbconvertList,
    /// `/nbconvert/{format}/{path}`
    Nbconvert,
}

/// Reads the path part of a request's address, still percent-encoded.
pub(crate) fn parse(raw: &str) -> Result<Route, Error> {
    if let Some(rest) = below(raw, "/api/contents") {
        return contents(rest);
    }
    if let Some(rest) = below(raw, "/files") {
        return Ok(Route::Files(ContentsPath::from_url(rest)?));
    }
    if let Some(rest) = below(raw, "/api/terminals") {
        return match rest.trim_matches('/') {
            "" => Ok(Route::Terminals),
            name => Ok(Route::Terminal(terminal_name(name)?)),
        };
    }
    if let Some(rest) = below(raw, "/terminals/websocket") {
        return Ok(Route::TerminalSocket(terminal_name(rest.trim_matches('/'))?));
    }
    if below(raw, "/nbconvert").is_some() {
        return Ok(Route::Nbconvert);
    }
    match raw.trim_end_matches('/') {
        "/api/nbconvert" => Ok(Route::NbconvertList),
        "/api/resolvePath" => Ok(Route::ResolvePath),
        _ => Err(Error::NoSuch("Not Found".into())),
    }
}

/// What follows `prefix` when the address is it or lies below it.
fn below<'a>(raw: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = raw.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn contents(rest: &str) -> Result<Route, Error> {
    let whole = ContentsPath::from_url(rest)?;
    let trimmed = rest.trim_end_matches('/');
    if let Some(path) = trimmed.strip_suffix("/checkpoints") {
        return Ok(Route::Checkpoints { path: ContentsPath::from_url(path)?, whole });
    }
    if let Some(path) = trimmed.strip_suffix("/trust") {
        return Ok(Route::Trust { path: ContentsPath::from_url(path)?, whole });
    }
    if let Some((path, id)) = trimmed.rsplit_once('/')
        && let Some(path) = path.strip_suffix("/checkpoints")
        && !id.is_empty()
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return Ok(Route::Checkpoint { path: ContentsPath::from_url(path)?, id: id.to_owned(), whole });
    }
    Ok(Route::Contents(whole))
}

/// Terminal names are word characters, as in Jupyter.
pub(crate) fn terminal_name(name: &str) -> Result<String, Error> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(word) {
        return Err(Error::NoSuch(format!("Terminal not found: {name}")));
    }
    Ok(name.to_owned())
}

/// The methods a route has, for `Allow`; asking for another is a 405.
pub(crate) fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Contents(_) => "GET, PUT, POST, PATCH, DELETE, OPTIONS",
        Route::Checkpoints { .. } => "GET, POST, OPTIONS",
        Route::Checkpoint { .. } => "POST, DELETE, OPTIONS",
        Route::Trust { .. } => "POST, OPTIONS",
        Route::Files(_) => "GET, HEAD, OPTIONS",
        Route::Terminals => "GET, POST, OPTIONS",
        Route::Terminal(_) => "GET, DELETE, OPTIONS",
        Route::ResolvePath | Route::TerminalSocket(_) | Route::NbconvertList | Route::Nbconvert => {
            "GET, OPTIONS"
        }
    }
}

/// Is this method among them?
pub(crate) fn permits(route: &Route, method: &Method) -> bool {
    allowed(route).split(", ").any(|name| name == method.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ContentsPath {
        ContentsPath::parse(text).unwrap()
    }

    #[test]
    fn routes() {
        let table = [
            ("/api/contents", Route::Contents(path(""))),
            ("/api/contents/", Route::Contents(path(""))),
            ("/api/contents/a%20b.txt", Route::Contents(path("a b.txt"))),
            (
                "/api/contents/a/n.ipynb/checkpoints",
                Route::Checkpoints { path: path("a/n.ipynb"), whole: path("a/n.ipynb/checkpoints") },
            ),
            (
                "/api/contents/n.ipynb/checkpoints/check-1",
                Route::Checkpoint {
                    path: path("n.ipynb"),
                    id: "check-1".into(),
                    whole: path("n.ipynb/checkpoints/check-1"),
                },
            ),
            ("/api/contents/d/checkpoints/a.txt", Route::Contents(path("d/checkpoints/a.txt"))),
            (
                "/api/contents/n.ipynb/trust",
                Route::Trust { path: path("n.ipynb"), whole: path("n.ipynb/trust") },
            ),
            ("/files/a/b.html", Route::Files(path("a/b.html"))),
            ("/api/terminals", Route::Terminals),
            ("/api/terminals/1", Route::Terminal("1".into())),
            ("/terminals/websocket/1", Route::TerminalSocket("1".into())),
            ("/api/nbconvert", Route::NbconvertList),
            ("/nbconvert/html/a.ipynb", Route::Nbconvert),
            ("/api/resolvePath", Route::ResolvePath),
        ];
        for (raw, route) in table {
            assert_eq!(parse(raw).unwrap(), route, "{raw}");
        }
    }

    #[test]
    fn unknown_addresses_are_not_found() {
        for raw in [
            "/",
            "/api",
            "/api/contentsx",
            "/filesystem",
            "/api/terminals/a.b",
            "/terminals/websocket/",
            "/etc",
        ] {
            assert_eq!(parse(raw).unwrap_err().status(), 404, "{raw}");
        }
    }

    #[test]
    fn methods() {
        let files = Route::Files(path("a"));
        assert!(permits(&files, &Method::HEAD) && !permits(&files, &Method::PUT));
        assert!(permits(&Route::Contents(path("")), &Method::PATCH));
    }
}
