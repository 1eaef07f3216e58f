//! The address that a service's pages are fetched from.

use http::Uri;
use std::fmt;
use std::net::IpAddr;

/// Host and port of a service. Only plain HTTP: what lies on another machine is put behind TLS by whoever runs that machine's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    host: String,
    port: u16,
}

impl Upstream {
    /// Reads `http://host:port`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| Err(format!("url {text:?} {why}"));
        if text.len() > 300 {
            return Err("url is too long".into());
        }
        let Ok(uri) = text.parse::<Uri>() else { return bad("is no address") };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return bad(
                    "must be http://: the gateway and the service share a machine or a trusted network",
                );
            }
            _ => return bad("must begin with http://"),
        }
        if uri.path() != "/" || uri.query().is_some() {
            return bad(
                "must end after the port: a request's path is passed on as it is, with /services/NAME/",
            );
        }
        let Some(authority) = uri.authority() else { return bad("has no host") };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return bad("must be a host and a port");
        }
        Ok(Self { host: authority.host().to_ascii_lowercase(), port: authority.port_u16().unwrap_or(80) })
    }

    /// The host, an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it lies on this machine, and only there.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// For opening a connection.
    pub fn socket_address(&self) -> (String, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']').to_owned(), self.port)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_or_refused() {
        for (text, want) in [
            ("http://127.0.0.1:9999", Ok(("http://127.0.0.1:9999", true))),
            ("http://127.9.9.9:1/", Ok(("http://127.9.9.9:1", true))),
            ("http://localhost", Ok(("http://localhost:80", true))),
            ("http://[::1]:80", Ok(("http://[::1]:80", true))),
            ("http://Grader.internal:8080", Ok(("http://grader.internal:8080", false))),
            ("http://10.0.0.7:8080", Ok(("http://10.0.0.7:8080", false))),
            ("https://127.0.0.1", Err("must be http://")),
            ("127.0.0.1:80", Err("must begin with http://")),
            ("http://127.0.0.1:80/services/x", Err("must end after the port")),
            ("http://127.0.0.1:80?x", Err("must end after the port")),
            ("http://a@127.0.0.1", Err("must be a host")),
            ("http://a b", Err("is no address")),
            ("", Err("is no address")),
        ] {
            let got = Upstream::parse(text);
            match want {
                Ok((shown, loopback)) => {
                    let got = got.unwrap();
                    assert_eq!((got.to_string().as_str(), got.is_loopback()), (shown, loopback), "{text}");
                }
                Err(why) => assert!(got.as_ref().is_err_and(|e| e.contains(why)), "{text}: {got:?}"),
            }
        }
    }
}
