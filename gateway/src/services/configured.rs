//! The services of the configuration. Their tokens are read once, at the start, while the program may still be root; none is written into
//! the configuration itself, which others may read.

use super::spec::{Places, Spec};
use crate::config::Config;
use crate::config::services::ServiceSettings;
use carrel_store::NewService;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// No token is longer.
const MAX_FILE: u64 = 4096;

/// All configured services; the first thing that is wrong with one is named.
pub fn services(config: &Config) -> Result<Vec<NewService>, String> {
    let mut made: Vec<NewService> = Vec::new();
    for settings in &config.services {
        let named = |why: String| format!("[[service]] {}: {why}", settings.name);
        let token = token(settings).map_err(named)?;
        let new = spec(settings, token).check(places(config)).map_err(named)?;
        if let Some(other) = made
            .iter()
            .find(|m| m.token.is_some() && m.token.as_ref().map(|t| t.0) == new.token.as_ref().map(|t| t.0))
        {
            return Err(named(format!("it has the token of the service {}", other.name)));
        }
        made.push(new);
    }
    Ok(made)
}

/// Checks everything but the tokens, which this may not be the place to read.
pub fn check(config: &Config) -> Result<(), String> {
    let mut names: Vec<&str> = Vec::new();
    let mut clients: Vec<String> = Vec::new();
    for settings in &config.services {
        let named = |why: String| format!("[[service]] {}: {why}", settings.name);
        if settings.token_file.is_some() && settings.token_env.is_some() {
            return Err(named("token_file or token_env, not both".into()));
        }
        if settings.token_file.as_ref().is_some_and(|f| !f.is_absolute()) {
            return Err(named("token_file must be an absolute path".into()));
        }
        super::managed::check(settings).map_err(named)?;
        let managed = !settings.command.is_empty();
        let has_token = managed || settings.token_file.is_some() || settings.token_env.is_some();
        let signs_in = settings.oauth_redirect_uri.is_some()
            || settings.oauth_client_id.is_some()
            || settings.oauth_no_confirm
            || !settings.oauth_client_allowed_scopes.is_empty();
        if signs_in && !has_token {
            return Err(named("people can sign in only if it has a token: set token_file".into()));
        }
        let stand_in = has_token.then(|| "0".repeat(32));
        let new = spec(settings, stand_in).check(places(config)).map_err(named)?;
        if names.contains(&settings.name.as_str()) {
            return Err(named("it is there twice".into()));
        }
        names.push(&settings.name);
        if let Some(client) = new.client {
            if clients.contains(&client.id) {
                return Err(named(format!("another service has the oauth_client_id {}", client.id)));
            }
            clients.push(client.id);
        }
    }
    Ok(())
}

pub(super) fn places(config: &Config) -> Places<'_> {
    Places { hosts: None, own_port: config.gateway.port }
}

pub(super) fn spec(settings: &ServiceSettings, api_token: Option<String>) -> Spec {
    let info = serde_json::to_value(&settings.info).ok();
    Spec {
        name: settings.name.clone(),
        admin: settings.admin,
        url: settings.url.clone(),
        display: settings.display,
        info: info.and_then(|v| v.as_object().cloned()).unwrap_or_default(),
        api_token,
        oauth_client_id: settings.oauth_client_id.clone(),
        oauth_redirect_uri: settings.oauth_redirect_uri.clone(),
        oauth_scopes: settings.oauth_client_allowed_scopes.clone(),
        oauth_no_confirm: settings.oauth_no_confirm,
    }
}

fn token(settings: &ServiceSettings) -> Result<Option<String>, String> {
    if let Some(name) = &settings.token_env {
        let value =
            std::env::var(name).map_err(|_| format!("the variable {name} of token_env is not set"))?;
        return Ok(Some(value.trim().to_owned()));
    }
    settings.token_file.as_deref().map(file).transpose()
}

fn file(path: &Path) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("cannot read token_file {}: {e}", path.display());
    let file = fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(format!("token_file {} is no file", path.display()));
    }
    if about.mode() & 0o007 != 0 {
        return Err(format!("everybody may read token_file {0}: chmod 600 {0}", path.display()));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_hub::Secret;
    use std::os::unix::fs::PermissionsExt;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/state"))
    }

    #[test]
    fn a_token_comes_from_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "a-token-of-some-length\n").unwrap();
        let text = format!(
            "[[service]]\nname = \"cull\"\ntoken_file = {:?}\nadmin = true\ninfo = {{ a = [1] }}\n[[service]]\nname = \"plain\"\nurl = \"http://10.0.0.7:80\"",
            path.display().to_string()
        );
        let config = parse(&text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(services(&config).unwrap_err().contains("everybody may read"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let made = services(&config).unwrap();
        let want = Secret::presented("a-token-of-some-length").unwrap().hash();
        assert_eq!(made[0].token.as_ref().map(|t| t.0), Some(want));
        assert!(made[0].admin && made[0].display && made[0].info["a"][0] == 1);
        assert!(made[1].token.is_none() && made[1].client.is_none());
        let twice = parse(&text.replace(
            "url = \"http://10.0.0.7:80\"",
            &format!("token_file = {:?}", path.display().to_string()),
        ));
        assert!(services(&twice.unwrap()).unwrap_err().contains("it has the token of the service cull"));
        fs::write(&path, "short").unwrap();
        assert!(services(&config).unwrap_err().contains("[[service]] cull: api_token must have"));
        fs::remove_file(&path).unwrap();
        assert!(services(&config).unwrap_err().contains("cannot read token_file"));
        let unset = parse("[[service]]\nname = \"a\"\ntoken_env = \"CARREL_NO_SUCH_VARIABLE\"").unwrap();
        assert!(services(&unset).unwrap_err().contains("is not set"));
    }

    #[test]
    fn mistakes_are_named_before_a_port_is_opened() {
        let head = "[[service]]\nname = \"a\"\n";
        for (text, want) in [
            ("nmae = 1", "did you mean name?"),
            ("token_file = \"x\"", "must be an absolute path"),
            ("token_file = \"/x\"\ntoken_env = \"Y\"", "not both"),
            ("oauth_no_confirm = true", "set token_file"),
            ("url = \"https://x\"", "must be http://"),
            ("token = \"in the clear\"", "unknown key token in [service]"),
            ("[[service]]\nname = \"a\"", "it is there twice"),
            (
                "token_env = \"X\"\noauth_client_id = \"service-b\"\n[[service]]\nname = \"b\"\ntoken_env = \"Y\"\nurl = \"http://127.0.0.1:9\"",
                "another service has the oauth_client_id",
            ),
        ] {
            let got = parse(&format!("{head}{text}")).unwrap_err();
            assert!(got.contains(want), "{text:?}: {got}");
        }
        assert!(parse("[[service]]\nname = \"a b\"").unwrap_err().contains("service name"));
    }
}
