//! What a server in a jail is told: JupyterHub's contract with the processes that it starts. Pure.

use std::collections::BTreeMap;
use std::fmt;

use carrel_hub::{Secret, ServerName, ServiceName, UserName};
use carrel_spawnd::{HUB_PORT, Limits};
use carrel_store::ServiceClient;

use crate::cookies;

/// Names and values. Its `Debug` hides the values: one of them is a token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<&'static str, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// All of it.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<&'static str, String> {
        &self.0
    }
}

/// A user's classic server.
#[derive(Debug, Clone, Copy)]
pub struct ClassicFacts<'a> {
    /// Whose.
    pub user: &'a UserName,
    /// Which.
    pub server: &'a ServerName,
    /// Its own token, which is its OAuth secret too.
    pub token: &'a Secret,
    /// Where it listens on its own loopback.
    pub port: u16,
    /// Where its address leads, without a slash before.
    pub default_path: &'a str,
    /// How often it reports that it is used.
    pub activity_seconds: u64,
    /// What its jail may have.
    pub limits: &'a Limits,
}

/// The OAuth client of a user's server.
#[must_use]
pub fn client_id(user: &UserName, server: &ServerName) -> String {
    let of_user = cookies::user_cookie_name(user);
    if server.is_default() { of_user } else { format!("{of_user}-{server}") }
}

/// The address below which a server answers, with both slashes.
#[must_use]
pub fn base_of(user: &UserName, server: &ServerName) -> String {
    let base = cookies::user_path(user);
    if server.is_default() { base } else { format!("{base}{server}/") }
}

/// Who may enter a server.
#[must_use]
pub fn access_scopes(user: &UserName, server: &ServerName) -> [String; 2] {
    [format!("access:servers!server={user}/{server}"), format!("access:servers!user={user}")]
}

/// What a classic server is told.
#[must_use]
pub fn classic(facts: ClassicFacts<'_>) -> Environment {
    let ClassicFacts { user, server, token, port, default_path, activity_seconds, limits } = facts;
    let api = format!("http://127.0.0.1:{HUB_PORT}/hub/api");
    let base = base_of(user, server);
    let scopes = serde_json::json!(access_scopes(user, server)).to_string();
    let mut all = BTreeMap::from([
        ("JUPYTERHUB_ACTIVITY_INTERVAL", activity_seconds.to_string()),
        ("JUPYTERHUB_ACTIVITY_URL", format!("{api}/users/{}/activity", cookies::segment(user.as_str()))),
        ("JUPYTERHUB_API_TOKEN", token.reveal().to_owned()),
        ("JUPYTERHUB_API_URL", api),
        ("JUPYTERHUB_BASE_URL", "/".to_owned()),
        ("JUPYTERHUB_CLIENT_ID", client_id(user, server)),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0".to_owned()),
        ("JUPYTERHUB_DEFAULT_URL", format!("/{default_path}")),
        ("JUPYTERHUB_HOST", String::new()),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", scopes.clone()),
        ("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{base}oauth_callback")),
        ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]".to_owned()),
        ("JUPYTERHUB_OAUTH_SCOPES", scopes),
        ("JUPYTERHUB_PUBLIC_HUB_URL", String::new()),
        ("JUPYTERHUB_PUBLIC_URL", String::new()),
        ("JUPYTERHUB_SERVER_NAME", server.to_string()),
        ("JUPYTERHUB_SERVICE_PREFIX", base.clone()),
        ("JUPYTERHUB_SERVICE_URL", format!("http://127.0.0.1:{port}{base}")),
        ("JUPYTERHUB_USER", user.to_string()),
        ("JPY_API_TOKEN", token.reveal().to_owned()),
    ]);
    all.extend(limits.memory_bytes.map(|bytes| ("MEM_LIMIT", bytes.to_string())));
    all.extend(limits.cpu.map(|cpu| ("CPU_LIMIT", cpu.to_string())));
    Environment(all)
}

/// A service with a command.
#[derive(Debug, Clone, Copy)]
pub struct ServiceFacts<'a> {
    /// Which.
    pub name: &'a ServiceName,
    /// Its own token, which is its OAuth secret too.
    pub token: &'a Secret,
    /// Where it listens on its own loopback, if it has pages.
    pub port: Option<u16>,
    /// Its OAuth client.
    pub client: Option<&'a ServiceClient>,
}

/// What a service with a command is told.
#[must_use]
pub fn service(facts: ServiceFacts<'_>) -> Environment {
    let ServiceFacts { name, token, port, client } = facts;
    let prefix = name.prefix();
    let scopes = serde_json::json!([format!("access:services!service={name}")]).to_string();
    let mut all = BTreeMap::from([
        ("JUPYTERHUB_API_TOKEN", token.reveal().to_owned()),
        ("JUPYTERHUB_API_URL", format!("http://127.0.0.1:{HUB_PORT}/hub/api")),
        ("JUPYTERHUB_BASE_URL", "/".to_owned()),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0".to_owned()),
        ("JUPYTERHUB_HOST", String::new()),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", scopes.clone()),
        ("JUPYTERHUB_OAUTH_SCOPES", scopes),
        ("JUPYTERHUB_PUBLIC_HUB_URL", String::new()),
        ("JUPYTERHUB_PUBLIC_URL", String::new()),
        ("JUPYTERHUB_SERVICE_NAME", name.to_string()),
        ("JUPYTERHUB_SERVICE_PREFIX", prefix),
    ]);
    all.extend(port.map(|port| ("JUPYTERHUB_SERVICE_URL", format!("http://127.0.0.1:{port}"))));
    if let Some(client) = client {
        all.insert("JUPYTERHUB_CLIENT_ID", client.id.clone());
        all.insert("JUPYTERHUB_OAUTH_CALLBACK_URL", client.redirect_uri.as_str().to_owned());
        let allowed = serde_json::json!(client.scopes).to_string();
        all.insert("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", allowed);
    }
    Environment(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: &str, server: &str) -> Environment {
        let (user, server) = (UserName::parse(user).unwrap(), ServerName::parse(server).unwrap());
        let token = Secret::from_random([7; 32]);
        classic(ClassicFacts {
            user: &user,
            server: &server,
            token: &token,
            port: 8888,
            default_path: "lab",
            activity_seconds: 300,
            limits: &Limits::classic(),
        })
    }

    #[test]
    fn a_default_server_is_told_what_the_contract_says() {
        let env = of("ada", "");
        for (name, want) in [
            ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/hub/api"),
            ("JUPYTERHUB_ACTIVITY_URL", "http://127.0.0.1:8081/hub/api/users/ada/activity"),
            ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-ada"),
            ("JUPYTERHUB_SERVER_NAME", ""),
            ("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/"),
            ("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8888/user/ada/"),
            ("JUPYTERHUB_OAUTH_CALLBACK_URL", "/user/ada/oauth_callback"),
            ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", r#"["access:servers!server=ada/","access:servers!user=ada"]"#),
            ("MEM_LIMIT", "4294967296"),
        ] {
            assert_eq!(env.variables().get(name).map(String::as_str), Some(want), "{name}");
        }
    }

    #[test]
    fn a_named_server_and_an_odd_name_have_addresses_of_their_own() {
        let env = of("Ada L", "gpu");
        assert_eq!(env.variables()["JUPYTERHUB_SERVICE_PREFIX"], "/user/ada%20l/gpu/");
        assert!(env.variables()["JUPYTERHUB_CLIENT_ID"].ends_with("-gpu"));
        assert_eq!(env.variables()["JUPYTERHUB_USER"], "ada l");
    }

    #[test]
    fn a_service_is_told_what_jupyterhub_tells_its_own() {
        let (name, token) = (ServiceName::parse("Cull.1").unwrap(), Secret::from_random([7; 32]));
        let env = service(ServiceFacts { name: &name, token: &token, port: None, client: None });
        for (name, want) in [
            ("JUPYTERHUB_SERVICE_NAME", Some("Cull.1")),
            ("JUPYTERHUB_SERVICE_PREFIX", Some("/services/Cull.1/")),
            ("JUPYTERHUB_API_URL", Some("http://127.0.0.1:8081/hub/api")),
            ("JUPYTERHUB_SERVICE_URL", None),
            ("JUPYTERHUB_CLIENT_ID", None),
        ] {
            assert_eq!(env.variables().get(name).map(String::as_str), want, "{name}");
        }
        let env = service(ServiceFacts { name: &name, token: &token, port: Some(10101), client: None });
        assert_eq!(env.variables()["JUPYTERHUB_SERVICE_URL"], "http://127.0.0.1:10101");
    }

    #[test]
    fn the_token_is_not_printed_by_accident() {
        let env = of("ada", "");
        assert!(!format!("{env:?}").contains(&env.variables()["JUPYTERHUB_API_TOKEN"]));
    }
}
