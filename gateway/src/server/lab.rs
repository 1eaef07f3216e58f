//! JupyterLab's page at its addresses, and the addresses that lead to it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{OriginalUri, Path, State};
use axum::response::{IntoResponse, Response};
use carrel_web::lab::{Lab, Mode, Page, index_html};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::app::App;
use crate::error::Error;
use crate::user::UserServer;

/// Framing by others and foreign bases are refused. Scripts are not narrowed further: extensions compile code at run time.
const CSP: &str = "frame-ancestors 'self'; object-src 'none'; base-uri 'self'";

/// `GET /`
pub async fn root(State(app): State<App>, server: UserServer) -> Response {
    redirect(&format!("{}{}", server.base, app.config.hub.default_path))
}

/// `GET /lab/`
pub async fn without_slash(server: UserServer, uri: Uri) -> Response {
    redirect(&format!("{}lab{}", server.base, query(&uri)))
}

/// `GET /tree/{path}`, `/notebooks/{path}`, `/edit/{path}`: Notebook's addresses lead to the same file in JupyterLab.
pub async fn tree(server: UserServer, uri: Uri) -> Response {
    let path = uri.path();
    let rest =
        ["/tree", "/notebooks", "/edit"].iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or("");
    let rest = rest.trim_end_matches('/');
    let tree = if rest.is_empty() { String::new() } else { format!("/tree{rest}") };
    redirect(&format!("{}lab{tree}{}", server.base, query(&uri)))
}

/// `GET /logout`: the Hub's business.
pub async fn logout() -> Response {
    redirect("/hub/logout")
}

/// `POST /api/shutdown`: a server in Carrel is not a process of its own to be ended from inside.
pub async fn no_shutdown() -> Error {
    Error::Forbidden("stop the server from the Hub's home page".into())
}

/// `GET /lab…`
pub async fn lab(
    lab: Extension<Arc<Lab>>,
    uri: OriginalUri,
    server: UserServer,
    rest: Option<Path<String>>,
) -> Response {
    page(&lab, &uri.0, &server, Mode::MultipleDocument, rest.as_ref().map_or("", |rest| &rest.0))
}

/// `GET /doc…`
pub async fn doc(
    lab: Extension<Arc<Lab>>,
    uri: OriginalUri,
    server: UserServer,
    rest: Option<Path<String>>,
) -> Response {
    page(&lab, &uri.0, &server, Mode::SingleDocument, rest.as_ref().map_or("", |rest| &rest.0))
}

/// The page; `rest` is what follows `/lab/`, decoded.
fn page(lab: &Lab, uri: &Uri, server: &UserServer, mode: Mode, rest: &str) -> Response {
    let (workspace, tree_path, known) = place(rest);
    let static_url = format!("/hub/static/lab/{}", lab.version);
    let html = index_html(
        lab,
        &Page {
            base_url: &server.base,
            static_url: &static_url,
            hub_prefix: "/hub/",
            user: server.user.name.as_str(),
            server_name: server.server.as_str(),
            mode,
            workspace,
            tree_path,
            not_found: (!known).then_some(uri.path()),
        },
    );
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, html).into_response()
}

/// Workspace and file that an address names, and whether it is one of JupyterLab's.
fn place(rest: &str) -> (&str, &str, bool) {
    let (workspace, rest) = match rest.strip_prefix("workspaces/") {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => ("default", rest),
    };
    match rest.strip_prefix("tree") {
        _ if rest.is_empty() => (workspace, "", true),
        Some("") => (workspace, "", true),
        Some(path) if path.starts_with('/') => (workspace, path.trim_matches('/'), true),
        _ => (workspace, "", false),
    }
}

fn query(uri: &Uri) -> String {
    uri.query().map_or_else(String::new, |query| format!("?{query}"))
}

fn redirect(to: &str) -> Response {
    match HeaderValue::try_from(to) {
        Ok(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Err(error) => Error::internal(format!("address {to:?}: {error}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_workspace_and_file() {
        let table = [
            ("", ("default", "", true)),
            ("tree/a/b.ipynb", ("default", "a/b.ipynb", true)),
            ("tree", ("default", "", true)),
            ("workspaces/w", ("w", "", true)),
            ("workspaces/w/tree/x y", ("w", "x y", true)),
            ("treeish", ("default", "", false)),
            ("nonsense/tree/a", ("default", "", false)),
        ];
        for (rest, expected) in table {
            assert_eq!(place(rest), expected, "{rest}");
        }
    }
}
