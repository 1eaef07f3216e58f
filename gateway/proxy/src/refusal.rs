//! Why somebody was not connected, as the client reads it: pip and Python show the first line's text only, so it says all.

use std::net::IpAddr;
use std::time::Duration;

use crate::budget::Spent;
use crate::request::Bad;
use crate::target::Target;

/// Why somebody was not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No request.
    Bad(Bad),
    /// A request that did not come to its end in time.
    Late,
    /// Not on the list.
    NotAllowed,
    /// On the list, but its addresses are of a kind that only the administrator may name.
    Special(IpAddr, &'static str),
    /// The name is not known.
    Unknown(String),
    /// The host does not take the connection.
    Unreachable(String),
    /// Neither does it refuse it.
    Silent,
    /// The user has had enough.
    Spent(Spent),
    /// The proxy has.
    Busy,
    /// What cannot be written down is not done.
    NoJournal,
}

impl Refusal {
    /// Of HTTP.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Bad(Bad::TooLong) => 431,
            Self::Bad(_) => 400,
            Self::Late => 408,
            Self::NotAllowed | Self::Special(..) => 403,
            Self::Unknown(_) | Self::Unreachable(_) => 502,
            Self::Silent => 504,
            Self::Spent(_) => 429,
            Self::Busy | Self::NoJournal => 503,
        }
    }

    /// In the journal.
    pub(crate) fn verdict(&self) -> &'static str {
        match self {
            Self::NotAllowed | Self::Special(..) | Self::Bad(_) => "denied",
            Self::Spent(_) | Self::Busy => "limited",
            Self::Late | Self::Unknown(_) | Self::Unreachable(_) | Self::Silent | Self::NoJournal => "failed",
        }
    }

    /// For whoever made the request.
    pub(crate) fn text(&self, target: Option<&Target>, ask: &str) -> String {
        let ask = if ask.is_empty() { "your administrator" } else { ask };
        let shown = target.map_or_else(|| "the host".to_owned(), ToString::to_string);
        let seconds = |wait: &Duration| wait.as_secs() + 1;
        match self {
            Self::Bad(Bad::Target) => "a host and a port are needed, such as packages.example:443".into(),
            Self::Bad(Bad::Scheme) => {
                "this proxy passes on http:// requests; for everything else it opens tunnels (CONNECT)".into()
            }
            Self::Bad(Bad::NotForProxy) => {
                "this is Carrel's proxy, not a web server; set it as your program's HTTPS proxy".into()
            }
            Self::Bad(Bad::Syntax) => "this is not an HTTP/1 request".into(),
            Self::Bad(Bad::TooLong) => "the request's head is too long (16 KiB, 100 headers)".into(),
            Self::Late => "the request did not come to its end".into(),
            Self::NotAllowed => {
                format!("Carrel: {shown} is not among the hosts that you may reach from here; ask {ask}")
            }
            Self::Special(address, what) => format!(
                "Carrel: {shown} leads to {address} ({what}), which you may not reach from here; ask {ask}"
            ),
            Self::Unknown(why) => format!("Carrel: {shown} was not found: {why}"),
            Self::Unreachable(why) => format!("Carrel: {shown} cannot be reached: {why}"),
            Self::Silent => format!("Carrel: {shown} does not answer"),
            Self::Spent(Spent::Connections) => {
                format!("Carrel: you have too many connections at once; close some or ask {ask}")
            }
            Self::Spent(Spent::Requests { wait, .. }) => {
                format!("Carrel: too many requests; try again in {} s", seconds(wait))
            }
            Self::Spent(Spent::Traffic { wait }) => {
                format!(
                    "Carrel: your traffic of this hour is used up; try again in {} s or ask {ask}",
                    seconds(wait)
                )
            }
            Self::Busy => "Carrel: the proxy has too many connections; try again".into(),
            Self::NoJournal => {
                "Carrel: connections cannot be written down, so none is made; tell your administrator".into()
            }
        }
    }

    /// Whether it is worth a line: of refusals that come by the hundred only the first is.
    pub(crate) fn is_news(&self) -> bool {
        !matches!(self, Self::Spent(Spent::Requests { first: false, .. }))
    }

    /// The whole answer.
    pub(crate) fn answer(&self, target: Option<&Target>, ask: &str) -> Vec<u8> {
        // Of a resolver's or the system's words nothing may end the line.
        let text: String = self
            .text(target, ask)
            .chars()
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .take(600)
            .collect();
        let retry = match self {
            Self::Spent(Spent::Requests { wait, .. } | Spent::Traffic { wait }) => {
                format!("Retry-After: {}\r\n", wait.as_secs() + 1)
            }
            _ => String::new(),
        };
        let (status, length) = (self.status(), text.len() + 1);
        format!(
            "HTTP/1.1 {status} {text}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{retry}Connection: close\r\n\r\n{text}\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_host_and_whom_to_ask() {
        let target = Target::parse("evil.org:443", None).unwrap();
        let answer =
            |refusal: &Refusal, ask: &str| String::from_utf8(refusal.answer(Some(&target), ask)).unwrap();
        let first = |refusal: &Refusal, ask: &str| answer(refusal, ask).lines().next().unwrap().to_owned();
        assert_eq!(
            first(&Refusal::NotAllowed, "it@example.org"),
            "HTTP/1.1 403 Carrel: evil.org:443 is not among the hosts that you may reach from here; ask it@example.org"
        );
        assert!(first(&Refusal::NotAllowed, "").ends_with("ask your administrator"));
        let special = Refusal::Special("169.254.169.254".parse().unwrap(), "link-local");
        assert!(first(&special, "").contains("leads to 169.254.169.254 (link-local)"));
        let spent = Refusal::Spent(Spent::Traffic { wait: Duration::from_secs(9) });
        assert!(answer(&spent, "").contains("\r\nRetry-After: 10\r\n"));
        let odd = answer(&Refusal::Unknown("no\r\nX: such ñame".into()), "");
        assert!(
            odd.starts_with("HTTP/1.1 502 Carrel: evil.org:443 was not found: no??X: such ?ame\r\n"),
            "{odd}"
        );
        let (head, body) = odd.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
