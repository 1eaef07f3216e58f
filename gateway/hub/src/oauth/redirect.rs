//! Where a client wants its answer: one registered address, compared character by character.

use std::fmt;

/// The longest address that is taken.
const MAX: usize = 2048;

/// Why an address cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redirect address {0:?}: {1}")]
pub struct RedirectError(String, &'static str);

/// A registered redirect address: `http://…`, `https://…`, or a path on the hub's own host (as JupyterHub's own servers register).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Checks an address. RFC 6749 §3.1.2: absolute, and without a fragment.
    pub fn parse(text: &str) -> Result<Self, RedirectError> {
        let bad = |why| Err(RedirectError(text.chars().take(200).collect(), why));
        if text.is_empty() || text.len() > MAX {
            return bad("it is empty or too long");
        }
        // what a browser would read in another way than we do has no place in it
        if !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`'))
        {
            return bad("only plain address characters are taken");
        }
        if text.contains('#') {
            return bad("it must have no fragment");
        }
        let uri = Self(text.to_owned());
        match uri.authority() {
            None if text.starts_with('/') && !text.starts_with("//") => Ok(uri),
            None => bad("it must begin with http://, https:// or a single slash"),
            Some(host) if is_host(host) => Ok(uri),
            Some(_) => bad("its host is malformed"),
        }
    }

    /// The address as registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port, unless it is a path on the hub's own host.
    pub fn origin(&self) -> Option<&str> {
        let host = self.authority()?;
        let start = self.0.find("://")? + 3;
        self.0.get(..start + host.len())
    }

    /// The address with parameters added to its query, which is kept (RFC 6749 §4.1.2). Values are encoded by `encode`.
    pub fn with(&self, parameters: &[(&str, &str)], encode: impl Fn(&str) -> String) -> String {
        let mut out = self.0.clone();
        let mut separator = if out.contains('?') { '&' } else { '?' };
        for (name, value) in parameters {
            out.push(separator);
            out.push_str(name);
            out.push('=');
            out.push_str(&encode(value));
            separator = '&';
        }
        out
    }

    fn authority(&self) -> Option<&str> {
        let rest = self.0.strip_prefix("http://").or_else(|| self.0.strip_prefix("https://"))?;
        rest.split(['/', '?']).next()
    }
}

/// `host`, `host:port`, `[v6]:port`; no user name, which only misleads.
fn is_host(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let fits = match bracketed {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    fits && port.is_none_or(|p| p.parse::<u16>().is_ok())
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_or_refused() {
        let table = [
            ("/user/ada/oauth_callback", Ok(None)),
            ("http://127.0.0.1:10101/services/x/cb", Ok(Some("http://127.0.0.1:10101"))),
            ("https://grader.example/cb?a=1", Ok(Some("https://grader.example"))),
            ("http://[::1]:8080/cb", Ok(Some("http://[::1]:8080"))),
            ("http://host?x", Ok(Some("http://host"))),
            ("", Err(())),
            ("//evil.example/cb", Err(())),
            ("/\\evil.example", Err(())),
            ("javascript:alert(1)", Err(())),
            ("ftp://host/", Err(())),
            ("http://", Err(())),
            ("http:///cb", Err(())),
            ("http://a@b/cb", Err(())),
            ("http://host:99999/cb", Err(())),
            ("http://host/cb#x", Err(())),
            ("http://host/c b", Err(())),
            ("http://hôst/", Err(())),
            ("http://a;b/", Err(())),
        ];
        for (text, want) in table {
            let got = RedirectUri::parse(text);
            let got = got.as_ref().map(RedirectUri::origin).map_err(|_| ());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn the_answer_is_added_to_the_query() {
        let add = |text: &str| {
            RedirectUri::parse(text)
                .unwrap()
                .with(&[("code", "c"), ("state", "&")], |v| v.replace('&', "%26"))
        };
        assert_eq!(add("/cb"), "/cb?code=c&state=%26");
        assert_eq!(add("http://h/cb?a=1"), "http://h/cb?a=1&code=c&state=%26");
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_what_a_browser_reads(text in "(http://|https://|/|//)?[a-z0-9:/?#@.\\\\;'\"\\[\\] -]{0,30}") {
            if let Ok(uri) = RedirectUri::parse(&text) {
                prop_assert_eq!(uri.as_str(), text.as_str());
                let origin = uri.origin().unwrap_or("");
                prop_assert!(!origin.contains([';', ' ', ',', '\'', '"', '@']));
                prop_assert!(uri.origin().is_some() || !text.starts_with("//"));
            }
        }
    }
}
