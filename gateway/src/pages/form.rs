//! Forms: read with a bound, and only with the browser's form token.

use crate::app::App;
use crate::caller::{self, Caller};
use crate::cookies::HUB_PATH;
use crate::error::{Error, Result};
use axum::body::Body;
use http::HeaderMap;
use std::collections::HashMap;

/// No form of ours is larger.
const MAX: usize = 16 << 10;

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Reads a body.
    pub(super) async fn read(body: Body) -> Result<Self> {
        let bytes = axum::body::to_bytes(body, MAX).await.map_err(|_| Error::TooLarge(MAX))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Error::Malformed("the form is not UTF-8".into()))?;
        let decode = |t: &str| {
            percent_encoding::percent_decode_str(&t.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect()))
    }

    /// A field; empty if it is missing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Reads a form of a signed-in caller and checks its form token.
    pub(super) async fn of_caller(
        app: &App,
        caller: &Caller,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self> {
        caller.signed_in()?;
        let form = Self::read(body).await?;
        form.check(app, headers, caller.login_id())?;
        Ok(form)
    }

    /// Checks the form token.
    pub(super) fn check(&self, app: &App, headers: &HeaderMap, login: Option<i64>) -> Result<()> {
        caller::check_xsrf_value(app, headers, self.0.get("_xsrf").map(String::as_str), login, HUB_PATH)
    }
}
