//! What is said about a service, by the configuration or through the API: the same words, checked in one place.

use super::upstream::Upstream;
use carrel_hub::oauth::RedirectUri;
use carrel_hub::{Scope, Secret, ServiceName};
use carrel_store::{NewService, ServiceClient};
use serde_json::{Map, Value};

/// The shortest API token that a person may choose. Those that the hub makes have 64 characters.
const MIN_TOKEN: usize = 16;
/// The largest `info`, as JSON.
const MAX_INFO: usize = 64 << 10;
/// Every OAuth client of a service begins with this, so that none can pass for a user's server.
const CLIENT: &str = "service-";

/// A service as somebody describes it.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Whether it holds the admin role.
    pub admin: bool,
    /// Where its pages are fetched from.
    pub url: Option<String>,
    /// Whether people are shown it.
    pub display: bool,
    /// Whatever its maker wants to be told about it.
    pub info: Map<String, Value>,
    /// Its API token, which is its OAuth secret too.
    pub api_token: Option<String>,
    /// Its OAuth client, if not `service-{name}`.
    pub oauth_client_id: Option<String>,
    /// Where people are sent back to, if not `/services/{name}/oauth_callback`.
    pub oauth_redirect_uri: Option<String>,
    /// Scopes that it may ask people for.
    pub oauth_scopes: Vec<String>,
    /// Whether people are not asked.
    pub oauth_no_confirm: bool,
}

/// Which addresses a service may have.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Hosts beside this machine; `None` is any, for what the administrator wrote into the configuration.
    pub hosts: Option<&'a [String]>,
    /// The gateway's own port, which would only lead back here.
    pub own_port: u16,
}

impl Spec {
    /// Checks everything.
    pub fn check(self, places: Places<'_>) -> Result<NewService, String> {
        let name = ServiceName::parse(&self.name).map_err(|e| e.to_string())?;
        let url = self.url.filter(|u| !u.is_empty()).map(|u| Upstream::parse(&u)).transpose()?;
        if let Some(url) = &url {
            places.check(url)?;
        }
        if Value::Object(self.info.clone()).to_string().len() > MAX_INFO {
            return Err(format!("info is larger than {MAX_INFO} bytes"));
        }
        let token = self.api_token.filter(|t| !t.is_empty());
        let token = token.map(|t| {
            let secret = Secret::presented(&t).filter(|_| t.len() >= MIN_TOKEN);
            secret.ok_or_else(|| {
                format!("api_token must have {MIN_TOKEN} to 256 printable characters and no blanks")
            })
        });
        let token = token.transpose()?;
        let id = self.oauth_client_id.filter(|id| !id.is_empty());
        let wants_client = url.is_some() || id.is_some() || self.oauth_redirect_uri.is_some();
        let id = id.unwrap_or_else(|| format!("{CLIENT}{name}"));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !id.starts_with(CLIENT) || id.len() > 128 || !id.bytes().all(plain) {
            return Err(format!(
                "oauth_client_id must begin with {CLIENT}, followed by letters, digits and -_."
            ));
        }
        for scope in &self.oauth_scopes {
            Scope::parse(scope).map_err(|e| e.to_string())?;
        }
        let redirect = self.oauth_redirect_uri.filter(|u| !u.is_empty());
        let redirect = redirect.unwrap_or_else(|| format!("{}oauth_callback", name.prefix()));
        let redirect_uri = RedirectUri::parse(&redirect).map_err(|e| e.to_string())?;
        // without a secret it cannot prove who it is, so nobody can be sent to it
        let client = (wants_client && token.is_some()).then_some(ServiceClient {
            id,
            redirect_uri,
            scopes: self.oauth_scopes,
            no_confirm: self.oauth_no_confirm,
        });
        Ok(NewService {
            name,
            admin: self.admin,
            url: url.map(|u| u.to_string()),
            display: self.display,
            info: self.info,
            token: token.map(|t| (t.hash(), t.prefix())),
            client,
        })
    }
}

impl Places<'_> {
    fn check(&self, url: &Upstream) -> Result<(), String> {
        if url.is_loopback() {
            if url.port() == self.own_port {
                return Err(format!("url {url} is this gateway itself"));
            }
            return Ok(());
        }
        match self.hosts {
            Some(hosts) if !hosts.iter().any(|h| h.eq_ignore_ascii_case(url.host())) => Err(format!(
                "url {url} is not on this machine; services made through the API may lie elsewhere only on hosts that hub.service_hosts lists"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Places<'static> = Places { hosts: Some(&[]), own_port: 8000 };

    fn spec(change: impl FnOnce(&mut Spec)) -> Result<NewService, String> {
        let mut spec = Spec {
            name: "a".into(),
            url: Some("http://127.0.0.1:9".into()),
            api_token: Some("0123456789abcdef".into()),
            ..Spec::default()
        };
        change(&mut spec);
        spec.check(HERE)
    }

    #[test]
    fn what_is_not_said_is_as_in_jupyterhub() {
        let made = spec(|_| {}).unwrap();
        let client = made.client.unwrap();
        assert_eq!(
            (client.id.as_str(), client.redirect_uri.as_str()),
            ("service-a", "/services/a/oauth_callback")
        );
        assert_eq!(made.url.as_deref(), Some("http://127.0.0.1:9"));
        assert!(spec(|s| s.api_token = None).unwrap().client.is_none(), "no secret, no client");
        assert!(spec(|s| s.url = None).unwrap().client.is_none(), "no pages, no client");
        let away = spec(|s| {
            s.url = None;
            s.oauth_redirect_uri = Some("https://grader.example/cb".into());
        });
        assert_eq!(away.unwrap().client.unwrap().redirect_uri.as_str(), "https://grader.example/cb");
    }

    #[test]
    fn mistakes_are_named() {
        type Change = fn(&mut Spec);
        let table: [(Change, &str); 9] = [
            (|s| s.name = "a/b".into(), "service name"),
            (|s| s.api_token = Some("short".into()), "api_token must have 16"),
            (|s| s.api_token = Some("with blanks in it, long".into()), "api_token"),
            (|s| s.url = Some("http://10.0.0.1:80".into()), "hub.service_hosts"),
            (|s| s.url = Some("http://localhost:8000".into()), "this gateway itself"),
            (|s| s.oauth_client_id = Some("jupyterhub-user-ada".into()), "must begin with service-"),
            (|s| s.oauth_redirect_uri = Some("javascript:alert(1)".into()), "redirect address"),
            (|s| s.oauth_scopes = vec!["fly:moon".into()], "does not exist"),
            (|s| drop(s.info.insert("a".into(), "x".repeat(70_000).into())), "info is larger"),
        ];
        for (change, want) in table {
            let got = spec(change).unwrap_err();
            assert!(got.contains(want), "{got}");
        }
        let named = ["grader.internal".to_owned()];
        let places = Places { hosts: Some(&named), own_port: 8000 };
        let away =
            Spec { name: "a".into(), url: Some("http://grader.internal:8000".into()), ..Spec::default() };
        assert!(away.clone().check(places).is_ok());
        assert!(away.check(Places { hosts: None, own_port: 8000 }).is_ok());
    }
}
