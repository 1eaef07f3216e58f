//! Lists in pages, as JupyterHub gives them.

use crate::config::HubSettings;
use crate::error::{Error, Result};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{Value, json};
use std::collections::HashMap;

const TYPE: &str = "application/jupyterhub-pagination+json";

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Entries to leave out.
    pub(super) offset: usize,
    /// Entries to give.
    pub(super) limit: usize,
}

impl Page {
    /// Reads `offset` and `limit`.
    pub(super) fn of(args: &HashMap<String, String>, settings: &HubSettings) -> Result<Self> {
        let number = |name: &str, default: i64| match args.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| Error::Malformed(format!("{name} must be a number, not {text:?}"))),
        };
        let wide = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let offset = number("offset", 0)?.max(0);
        let limit = number("limit", wide(settings.page_default))?.clamp(1, wide(settings.page_max));
        Ok(Self { offset: usize::try_from(offset).unwrap_or(0), limit: usize::try_from(limit).unwrap_or(1) })
    }

    /// The answer: a bare list, or with numbers if the client asks for them.
    pub(super) fn answer(self, items: Vec<Value>, total: usize, headers: &HeaderMap, uri: &Uri) -> Response {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
        if !accept.contains(TYPE) {
            return Json(items).into_response();
        }
        let mut response = self.with_numbers(items, total, headers, uri);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TYPE));
        response
    }

    /// The answer with numbers, for lists that have no other form.
    pub(super) fn with_numbers(
        self,
        items: Vec<Value>,
        total: usize,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Response {
        let after = self.offset.saturating_add(self.limit);
        let next = (after < total).then(
            || json!({"offset": after, "limit": self.limit, "url": self.next_url(after, headers, uri)}),
        );
        let body = json!({
            "items": items,
            "_pagination": {"offset": self.offset, "limit": self.limit, "total": total, "next": next},
        });
        Json(body).into_response()
    }

    fn next_url(self, offset: usize, headers: &HeaderMap, uri: &Uri) -> String {
        let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or("");
        let scheme = headers
            .get("x-forwarded-proto")
            .and_then(|v| v.to_str().ok())
            .filter(|s| *s == "https")
            .unwrap_or("http");
        let others = uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter(|p| !p.is_empty() && !p.starts_with("offset=") && !p.starts_with("limit="));
        let mut query: Vec<String> = others.map(str::to_owned).collect();
        query.extend([format!("offset={offset}"), format!("limit={}", self.limit)]);
        format!("{scheme}://{host}{}?{}", uri.path(), query.join("&"))
    }
}
