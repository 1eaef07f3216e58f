//! What a client wants to reach: a host and a port, in one spelling only.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host, by name or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// Lower case, without a dot at its end.
    Name(String),
    /// Written as an address.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Host {
    /// Reads a name, an IPv4 address, or an IPv6 address in brackets. Other spellings of addresses (`127.1`, `0x7f.1`) are nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let good = name.len() <= 253 && name.split('.').all(is_label);
        // the resolver would read these as addresses
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.starts_with(|c: char| c.is_ascii_digit())
            && (last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
        (good && !numeric).then_some(Self::Name(name))
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl Target {
    /// `host:port`, as in CONNECT; the port may be missing where there is a usual one.
    pub(crate) fn parse(text: &str, usual: Option<u16>) -> Option<Self> {
        let (host, port) = split_port(text)?;
        let port = match port {
            Some(port) => parse_port(port)?,
            None => usual?,
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

/// The host, and what stands after its colon if there is one.
pub(crate) fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let end = match text.strip_prefix('[') {
        Some(inner) => inner.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(end)?;
    match rest {
        "" => Some((host, None)),
        rest => Some((host, Some(rest.strip_prefix(':')?))),
    }
}

/// 1 to 65535, in digits alone.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_only() {
        let of = |text: &str| Target::parse(text, None).map(|target| target.to_string());
        for (text, want) in [
            ("Packages.Example:443", "packages.example:443"),
            ("packages.example.:443", "packages.example:443"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("[2606:4700::1]:443", "[2606:4700::1]:443"),
            ("[::ffff:10.0.0.1]:1", "10.0.0.1:1"),
            ("a_b.internal:65535", "a_b.internal:65535"),
            ("3com.com:1", "3com.com:1"),
        ] {
            assert_eq!(of(text).as_deref(), Some(want), "{text}");
        }
        for bad in [
            "",
            ":443",
            "packages.example",
            "packages.example:",
            "packages.example:0",
            "packages.example:65536",
            "packages.example:+1",
            "packages.example:443:1",
            "a..b:1",
            ".a:1",
            "a b:1",
            "a/b:1",
            "user@a:1",
            "127.1:80",
            "2130706433:80",
            "0x7f000001:80",
            "a.0x1:80",
            "1.2.3.4.5:80",
            "0177.0.0.1:1",
            "[fe80::1%eth0]:1",
            "[::1:1",
            "::1:1",
            "ä.org:1",
            "-a.org:1",
            "[]:1",
            "a.org..:1",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(Target::parse("a.org", Some(80)).unwrap().port, 80);
    }

    proptest! {
        /// What is read is written so that it is read as the same; nothing panics.
        #[test]
        fn the_written_form_is_stable(text in "[a-zA-Z0-9.:\\[\\]%@_-]{0,40}") {
            if let Some(target) = Target::parse(&text, None) {
                prop_assert_eq!(Target::parse(&target.to_string(), None), Some(target));
            }
        }

        /// A name never reaches the resolver that it would read as an address.
        #[test]
        fn names_are_not_addresses(text in "[0-9a-fx.]{1,20}") {
            if let Some(Host::Name(name)) = Host::parse(&text) {
                let last = name.rsplit('.').next().unwrap();
                prop_assert!(!last.bytes().all(|b| b.is_ascii_digit()) && !last.starts_with("0x"));
            }
        }
    }
}
