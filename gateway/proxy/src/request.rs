//! A client's request: `CONNECT host:port`, or a request for an `http://` address, which is passed on as its server expects it.

use std::io::Write;

use crate::target::Target;

/// The longest head of a request.
pub(crate) const MOST_HEAD: usize = 16 * 1024;
/// The most header lines.
const MOST_HEADERS: usize = 100;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A tunnel, through which it speaks to the host itself.
    Tunnel(Target),
    /// One plain HTTP request, with the head that the host is to get.
    Plain(Target, Vec<u8>),
}

impl Request {
    /// Where it goes.
    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::Tunnel(target) | Self::Plain(target, _) => target,
        }
    }
}

/// What the beginning of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// More is to come.
    Partial,
    /// A request, and how many bytes of the beginning it was.
    Whole(Request, usize),
}

/// Why something is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// No HTTP/1.
    Syntax,
    /// No host and port that could be meant.
    Target,
    /// A scheme other than http.
    Scheme,
    /// Meant for a web server, not for a proxy.
    NotForProxy,
    /// The head is too long.
    TooLong,
}

/// Headers between two neighbours, and those that name the proxy or the host anew.
const OWN_HEADERS: &[&str] = &[
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
];

/// Reads the beginning of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, Bad> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let used = match request.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used <= MOST_HEAD => used,
        Ok(httparse::Status::Partial) if bytes.len() < MOST_HEAD => return Ok(Head::Partial),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLong),
        Err(_) => return Err(Bad::Syntax),
    };
    let (Some(method), Some(path)) = (request.method, request.path) else { return Err(Bad::Syntax) };
    if method == "CONNECT" {
        let target = Target::parse(path, None).ok_or(Bad::Target)?;
        return Ok(Head::Whole(Request::Tunnel(target), used));
    }
    if path.starts_with('/') || path == "*" {
        return Err(Bad::NotForProxy);
    }
    let uri: http::Uri = path.parse().map_err(|_| Bad::Target)?;
    if uri.scheme_str() != Some("http") {
        return Err(Bad::Scheme);
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let target = Target::parse(authority, Some(80)).ok_or(Bad::Target)?;
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    // a query without a path
    let slash = if asked.starts_with('/') { "" } else { "/" };
    let mut head = Vec::with_capacity(used);
    // Writing to a Vec cannot fail.
    let _ = write!(head, "{method} {slash}{asked} HTTP/1.1\r\nHost: {authority}\r\n");
    for header in request.headers.iter().filter(|header| passes(header.name)) {
        let _ = write!(head, "{}: ", header.name);
        head.extend_from_slice(header.value);
        head.extend_from_slice(b"\r\n");
    }
    // One request a connection: the next may be for another host.
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(Head::Whole(Request::Plain(target, head), used))
}

fn passes(name: &str) -> bool {
    !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> (Request, usize) {
        match parse(text.as_bytes()) {
            Ok(Head::Whole(request, used)) => (request, used),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_tunnel_is_read_and_what_follows_is_left() {
        let (request, used) = whole("CONNECT Packages.Example:443 HTTP/1.1\r\nHost: other.org:1\r\n\r\nrest");
        assert_eq!(request, Request::Tunnel(Target::parse("packages.example:443", None).unwrap()));
        assert_eq!(used, 60);
    }

    #[test]
    fn a_plain_request_is_passed_on_for_its_host_alone() {
        let text = "POST http://A.org:8080?q=1 HTTP/1.1\r\nHost: evil.org\r\nProxy-Authorization: Basic x\r\nConnection: keep-alive\r\n\
                    Content-Length: 2\r\nX-Own: é\r\n\r\nhi";
        let (request, used) = whole(text);
        let Request::Plain(target, head) = request else { panic!() };
        assert_eq!((target.to_string().as_str(), &text[used..]), ("a.org:8080", "hi"));
        let want = "POST /?q=1 HTTP/1.1\r\nHost: A.org:8080\r\nContent-Length: 2\r\nX-Own: é\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), want);
        let (request, _) = whole("GET http://a.org/x HTTP/1.0\r\n\r\n");
        assert_eq!(request.target().port, 80);
    }

    #[test]
    fn what_is_no_request_for_a_proxy_is_refused() {
        let long = format!("CONNECT a:1 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MOST_HEAD));
        let unended = format!("CONNECT a:1 HTTP/1.1\r\nX: {}", "x".repeat(MOST_HEAD));
        let many = format!("CONNECT a:1 HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_HEADERS + 1));
        for (text, want) in [
            ("CONNECT a.org HTTP/1.1\r\n\r\n", Bad::Target),
            ("CONNECT user@a.org:1 HTTP/1.1\r\n\r\n", Bad::Target),
            ("CONNECT http://a.org:1/ HTTP/1.1\r\n\r\n", Bad::Target),
            ("GET https://a.org/ HTTP/1.1\r\n\r\n", Bad::Scheme),
            ("GET ftp://a.org/ HTTP/1.1\r\n\r\n", Bad::Scheme),
            ("GET http://user:pass@a.org/ HTTP/1.1\r\n\r\n", Bad::Target),
            ("GET http://127.1/ HTTP/1.1\r\n\r\n", Bad::Target),
            ("GET a.org HTTP/1.1\r\n\r\n", Bad::Scheme),
            ("GET / HTTP/1.1\r\nHost: a.org\r\n\r\n", Bad::NotForProxy),
            ("\x16\x03\x01\x02\x00\x01\x00\x01", Bad::Syntax),
            ("CONNECT a:1 HTTP/2\r\n\r\n", Bad::Syntax),
            (&long, Bad::TooLong),
            (&unended, Bad::TooLong),
            (&many, Bad::TooLong),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(want), "{text:.60?}");
        }
    }

    proptest! {
        /// Any bytes give an answer, and a request is the same wherever the connection cut it.
        #[test]
        fn cuts_do_not_matter(host in "[a-z]{1,9}(\\.[a-z]{1,9}){0,3}", port in 1u16.., cut in 0usize..200, junk in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = format!("CONNECT {host}:{port} HTTP/1.1\r\nUser-Agent: pip\r\n\r\n");
            let part = &text.as_bytes()[..cut.min(text.len() - 1)];
            prop_assert_eq!(parse(part), Ok(Head::Partial));
            let mut more = text.clone().into_bytes();
            more.extend(&junk);
            let wanted = Request::Tunnel(Target::parse(&format!("{host}:{port}"), None).unwrap());
            prop_assert_eq!(parse(&more), Ok(Head::Whole(wanted, text.len())));
        }

        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        /// Nothing that a client writes into an address or a header becomes a line of its own in what is passed on.
        #[test]
        fn no_line_is_smuggled(path in "[ -~]{0,40}", value in "[\t -~]{0,40}") {
            let text = format!("GET http://a.org/{path} HTTP/1.1\r\nX-Own: {value}\r\n\r\n");
            if let Ok(Head::Whole(Request::Plain(target, head), _)) = parse(text.as_bytes()) {
                prop_assert_eq!(target.to_string(), "a.org:80");
                prop_assert_eq!(head.windows(2).filter(|two| two == b"\r\n").count(), 5);
            }
        }
    }
}
