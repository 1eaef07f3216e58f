//! An authorization request (RFC 6749 §4.1.1): read, checked against what is registered, refused in the right place.

use super::{Challenge, Code, RedirectUri, parameter};

/// A well-formed request whose answer goes to the registered address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorize {
    /// Given back as it came.
    pub state: Option<String>,
    /// Scopes asked for, separated by blanks; none takes all that the client may have.
    pub scope: Option<String>,
    /// The client's proof key.
    pub challenge: Option<Challenge>,
    /// Whether the request named the address, so that the exchange must name it too (§4.1.3).
    pub named_address: bool,
}

/// Why a request is refused, and who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The person, on a page: the address cannot be trusted (§4.1.2.1, first paragraph).
    Shown(String),
    /// The client, at its registered address.
    Returned {
        /// The standard's word.
        code: Code,
        /// For the client's developer.
        description: String,
        /// Given back as it came.
        state: Option<String>,
    },
}

impl Authorize {
    /// Which client a request names.
    pub fn client_id(pairs: &[(String, String)]) -> Result<&str, Refusal> {
        let found = parameter(pairs, "client_id").map_err(Refusal::Shown)?;
        found.ok_or_else(|| Refusal::Shown("client_id is missing".into()))
    }

    /// Checks the rest. The address is looked at first: before it is known to be the registered one, nothing is sent anywhere.
    pub fn check(pairs: &[(String, String)], registered: &RedirectUri) -> Result<Self, Refusal> {
        let named = parameter(pairs, "redirect_uri").map_err(Refusal::Shown)?;
        if named.is_some_and(|uri| uri != registered.as_str()) {
            return Err(Refusal::Shown(
                "redirect_uri is not the one that is registered for this client".into(),
            ));
        }
        let state = parameter(pairs, "state").map_err(Refusal::Shown)?.map(str::to_owned);
        let refuse =
            |code, description: String| Refusal::Returned { code, description, state: state.clone() };
        let get = |name| parameter(pairs, name).map_err(|why| refuse(Code::InvalidRequest, why));
        match get("response_type")? {
            Some("code") => {}
            None => return Err(refuse(Code::InvalidRequest, "response_type is missing".into())),
            Some(_) => {
                return Err(refuse(Code::UnsupportedResponseType, "response_type must be code".into()));
            }
        }
        let challenge = Challenge::parse(get("code_challenge")?, get("code_challenge_method")?);
        let challenge = challenge.map_err(|e| refuse(Code::InvalidRequest, e.to_string()))?;
        let scope = get("scope")?.map(str::to_owned);
        Ok(Self { state, scope, challenge, named_address: named.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let pair = |p: &str| p.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        text.split('&').filter_map(pair).collect()
    }

    #[test]
    fn requests_are_taken_or_refused_in_the_right_place() {
        let registered = RedirectUri::parse("/cb").unwrap();
        let long = format!("response_type=code&state={}", "s".repeat(5000));
        let challenge = format!("response_type=code&code_challenge={}", "a".repeat(43));
        let table = [
            ("response_type=code", "ok"),
            ("response_type=code&redirect_uri=/cb&state=s&scope=x", "ok"),
            ("response_type=code&redirect_uri=/cb/", "shown"),
            ("response_type=code&redirect_uri=/CB", "shown"),
            ("response_type=code&redirect_uri=/cb&redirect_uri=/cb", "shown"),
            ("response_type=token&redirect_uri=/other", "shown"),
            ("response_type=code&state=a&state=b", "shown"),
            (long.as_str(), "shown"),
            ("state=s", "invalid_request"),
            ("response_type=token", "unsupported_response_type"),
            ("response_type=code&response_type=code", "invalid_request"),
            ("response_type=code&scope=a&scope=b", "invalid_request"),
            (challenge.as_str(), "invalid_request"),
            ("response_type=code&code_challenge=x&code_challenge_method=S256", "invalid_request"),
        ];
        for (text, want) in table {
            let got = match Authorize::check(&pairs(text), &registered) {
                Ok(_) => "ok",
                Err(Refusal::Shown(_)) => "shown",
                Err(Refusal::Returned { code, .. }) => code.as_str(),
            };
            assert_eq!(got, want, "{text}");
        }
        let good =
            Authorize::check(&pairs("response_type=code&state=s&redirect_uri=/cb"), &registered).unwrap();
        assert_eq!((good.state.as_deref(), good.named_address), (Some("s"), true));
        assert!(Authorize::client_id(&pairs("a=b")).is_err());
        assert_eq!(Authorize::client_id(&pairs("client_id=c")), Ok("c"));
    }
}
