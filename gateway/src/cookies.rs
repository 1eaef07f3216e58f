//! Cookies and form tokens: reading what a browser sends, writing what it keeps.
//!
//! | cookie | path | says |
//! |---|---|---|
//! | `jupyterhub-hub-login` | `/hub/` | who is signed in: a random secret, looked up by its digest |
//! | `jupyterhub-session-id` | `/` | which login this browser belongs to |
//! | `jupyterhub-user-{u}` | `/user/{u}/` | the same login, for that user's pages: a login's number, signed |
//! | `carrel-door` | `/user/{u}/` | the same for a classic server, which has the cookie above for itself; never passed on to it |
//! | `_xsrf` | `/hub/` and `/user/{u}/` | form token: a random part, signed together with the login and the path |

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carrel_hub::UserName;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The login cookie.
pub const LOGIN: &str = "jupyterhub-hub-login";
/// The session cookie.
pub const SESSION: &str = "jupyterhub-session-id";
/// The form token's cookie.
pub const XSRF: &str = "_xsrf";
/// Says to the gateway that a browser may enter a user's classic server.
pub const DOOR: &str = "carrel-door";
/// Where the Hub's cookies hold.
pub const HUB_PATH: &str = "/hub/";

/// Left alone in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// Signs what we hand out. The key lives in a file beside the database.
#[derive(Clone)]
pub struct Keys([u8; 32]);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Takes the key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A form token for a login (`None`: not signed in) and a cookie path.
    pub fn xsrf(&self, login: Option<i64>, path: &str) -> String {
        let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>());
        let mac = self.sign(&["xsrf", &random, &binding(login), path]);
        format!("{random}.{mac}")
    }

    /// Whether a form token was made for this login and path.
    pub fn xsrf_is_valid(&self, token: &str, login: Option<i64>, path: &str) -> bool {
        let Some((random, mac)) = token.split_once('.') else { return false };
        same(mac, &self.sign(&["xsrf", random, &binding(login), path]))
    }

    /// The value of `jupyterhub-user-{u}`.
    pub fn user_cookie(&self, login: i64, user: &UserName) -> String {
        format!("{login}.{}", self.sign(&["user", &login.to_string(), user.as_str()]))
    }

    /// The login behind a `jupyterhub-user-{u}` cookie, if we made it.
    pub fn read_user_cookie(&self, value: &str, user: &UserName) -> Option<i64> {
        let (login, mac) = value.split_once('.')?;
        let ours = self.sign(&["user", login, user.as_str()]);
        if same(mac, &ours) { login.parse().ok() } else { None }
    }

    /// The value of [`DOOR`] for a user's servers.
    pub fn door_cookie(&self, login: i64, user: &UserName) -> String {
        format!("{login}.{}", self.sign(&["door", &login.to_string(), user.as_str()]))
    }

    /// The login behind a [`DOOR`] cookie, if we made it.
    pub fn read_door_cookie(&self, value: &str, user: &UserName) -> Option<i64> {
        let (login, mac) = value.split_once('.')?;
        let ours = self.sign(&["door", login, user.as_str()]);
        if same(mac, &ours) { login.parse().ok() } else { None }
    }

    /// The API token of a service that we start: the same after every restart, so that one which outlived us keeps its own.
    pub fn service_token(&self, name: &str) -> String {
        self.sign(&["service", name])
    }

    fn sign(&self, parts: &[&str]) -> String {
        // any key length is fine for HMAC, so the empty answer never happens; it would match nothing that `same` accepts
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

fn same(a: &str, b: &str) -> bool {
    !b.is_empty() && bool::from(a.as_bytes().ct_eq(b.as_bytes()))
}

fn binding(login: Option<i64>) -> String {
    login.map_or_else(|| "nobody".to_owned(), |id| id.to_string())
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// The path under which a user's servers live.
pub fn user_path(user: &UserName) -> String {
    format!("/user/{}/", segment(user.as_str()))
}

/// The name of a user's cookie; odd names go by their folder-safe form.
pub fn user_cookie_name(user: &UserName) -> String {
    format!("jupyterhub-user-{}", user.escaped())
}

/// The first cookie of this name that a request carries.
pub fn read<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v.trim_matches('"'))
}

/// How a cookie is written.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Where it holds.
    pub path: &'a str,
    /// Hidden from scripts.
    pub http_only: bool,
    /// Seconds to keep it; `None` until the browser closes.
    pub max_age: Option<i64>,
    /// Only over HTTPS.
    pub secure: bool,
}

/// Adds a `Set-Cookie` header.
pub fn set(headers: &mut HeaderMap, cookie: Write<'_>) {
    let Write { name, value, path, .. } = cookie;
    let mut text = format!("{name}={value}; Path={path}; SameSite=Lax");
    if cookie.http_only {
        text.push_str("; HttpOnly");
    }
    if cookie.secure {
        text.push_str("; Secure");
    }
    if let Some(seconds) = cookie.max_age {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    // names, values and paths are ours and plain ASCII
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Makes a browser forget a cookie.
pub fn clear(headers: &mut HeaderMap, name: &str, path: &str) {
    set(headers, Write { name, value: "", path, http_only: true, max_age: Some(0), secure: false });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ada() -> UserName {
        UserName::parse("ada").unwrap()
    }

    #[test]
    fn form_tokens_hold_for_one_login_and_path() {
        let k = Keys::new([1; 32]);
        let t = k.xsrf(Some(7), HUB_PATH);
        assert!(k.xsrf_is_valid(&t, Some(7), HUB_PATH));
        assert_ne!(t, k.xsrf(Some(7), HUB_PATH));
        for (login, path) in [(Some(8), HUB_PATH), (None, HUB_PATH), (Some(7), "/user/ada/")] {
            assert!(!k.xsrf_is_valid(&t, login, path));
        }
        assert!(!Keys::new([2; 32]).xsrf_is_valid(&t, Some(7), HUB_PATH));
    }

    #[test]
    fn user_cookies_hold_for_one_user() {
        let k = Keys::new([1; 32]);
        let c = k.user_cookie(7, &ada());
        assert_eq!(k.read_user_cookie(&c, &ada()), Some(7));
        assert_eq!(k.read_user_cookie(&c, &UserName::parse("bob").unwrap()), None);
        // one is no good in the other's place
        let d = k.door_cookie(7, &ada());
        assert_eq!((k.read_door_cookie(&d, &ada()), k.read_door_cookie(&c, &ada())), (Some(7), None));
        assert_eq!(k.read_user_cookie(&d, &ada()), None);
        assert_eq!(k.read_user_cookie(&c.replacen('7', "8", 1), &ada()), None);
        assert_eq!(Keys::new([2; 32]).read_user_cookie(&c, &ada()), None);
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut h = HeaderMap::new();
        h.append(header::COOKIE, HeaderValue::from_static("a=1; _xsrf=\"x.y\"; b=2"));
        h.append(header::COOKIE, HeaderValue::from_static("c=3"));
        assert_eq!((read(&h, "_xsrf"), read(&h, "c"), read(&h, "d")), (Some("x.y"), Some("3"), None));
    }

    proptest! {
        #[test]
        fn forged_values_are_refused_and_never_panic(text in ".{0,80}") {
            let k = Keys::new([1; 32]);
            prop_assert!(!k.xsrf_is_valid(&text, None, HUB_PATH));
            prop_assert_eq!(k.read_user_cookie(&text, &ada()), None);
        }
    }
}
