//! Services with a command: what is right about one, the token that it gets, and how spawnd starts it.

use super::configured::{places, spec};
use super::upstream::Upstream;
use crate::config::Config;
use crate::config::services::ServiceSettings;
use crate::cookies::Keys;
use crate::jailed::service::{Managed, account};
use carrel_hub::{Secret, ServiceName};
use carrel_spawnd::{HUB_PORT, ServerSpec, UserName};
use carrel_store::NewService;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Checks what only those with a command have.
pub(super) fn check(settings: &ServiceSettings) -> Result<(), String> {
    let Some(program) = settings.command.first() else {
        if settings.paths.is_empty() && settings.environment.is_empty() {
            return Ok(());
        }
        return Err("paths and environment are of services with a command".into());
    };
    if settings.token_file.is_some() || settings.token_env.is_some() {
        return Err(
            "a service with a command gets its token from Carrel: leave token_file and token_env out".into(),
        );
    }
    if !(Path::new(program).is_absolute() || program.starts_with("{prefix}/")) {
        return Err(format!("command: {program:?} must be an absolute path or begin with {{prefix}}/"));
    }
    if let Some(path) = settings.paths.iter().find(|path| !path.is_absolute()) {
        return Err(format!("paths: {} must be an absolute path", path.display()));
    }
    for name in settings.environment.keys() {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || name.starts_with("JUPYTERHUB_") || name.starts_with("LD_") {
            return Err(format!("environment: {name:?} cannot be set"));
        }
    }
    let url = settings.url.as_deref().map(Upstream::parse).transpose()?;
    match url {
        Some(url) if !url.is_loopback() || url.port() < 1024 || url.port() == HUB_PORT => Err(format!(
            "url of a service with a command is where it listens in its jail: http://127.0.0.1:PORT, a port from 1024 on, not {HUB_PORT}"
        )),
        _ => Ok(()),
    }
}

/// Gives those with a command their tokens, and with them their OAuth clients.
///
/// # Errors
/// When one is wrong; none that was checked is.
pub fn complete(config: &Config, keys: &Keys, services: &mut [NewService]) -> Result<(), String> {
    for settings in with_command(config) {
        let made = spec(settings, Some(keys.service_token(&settings.name))).check(places(config))?;
        if let Some(service) = services.iter_mut().find(|service| service.name == made.name) {
            *service = made;
        }
    }
    Ok(())
}

/// Those with a command, ready to be started.
pub fn managed(config: &Config, keys: &Keys) -> Vec<Managed> {
    let one = |settings: &ServiceSettings| {
        let token = keys.service_token(&settings.name);
        let made = spec(settings, Some(token.clone())).check(places(config))?;
        let secret = Secret::presented(&token).ok_or("the token is none")?;
        Managed::new(made.name, &secret, port(settings), made.client.as_ref())
    };
    let all = with_command(config).filter_map(|settings| {
        one(settings)
            .inspect_err(|why| {
                tracing::error!(service.name = settings.name, why, "a service cannot be started")
            })
            .ok()
    });
    all.collect()
}

/// As spawnd starts them.
pub fn programs(config: &Config) -> BTreeMap<UserName, ServerSpec> {
    let prefix = config.prefix();
    let fill = |text: &str| text.replace("{prefix}", &prefix.to_string_lossy());
    let one = |settings: &ServiceSettings| {
        let account = account(&ServiceName::parse(&settings.name).ok()?).ok()?;
        let argv: Vec<String> = settings.command.iter().map(|word| fill(word)).collect();
        let mut paths = own_paths(argv.first().map_or("", String::as_str));
        paths.extend(settings.paths.iter().cloned());
        Some((account, ServerSpec { argv, env: settings.environment.clone(), paths, port: port(settings) }))
    };
    with_command(config).filter_map(one).collect()
}

fn with_command(config: &Config) -> impl Iterator<Item = &ServiceSettings> {
    config.services.iter().filter(|settings| !settings.command.is_empty())
}

fn port(settings: &ServiceSettings) -> Option<u16> {
    settings.url.as_deref().and_then(|url| Upstream::parse(url).ok()).map(|url| url.port())
}

/// What a program needs: the environment of a Python, else itself. What lies below `/usr` all jails see.
fn own_paths(program: &str) -> Vec<PathBuf> {
    let program = Path::new(program);
    match program.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent) {
        Some(environment) if environment.join("pyvenv.cfg").is_file() => vec![environment.to_owned()],
        _ => vec![program.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(&format!("[[service]]\nname = \"Cull\"\n{text}"), Path::new("/state"))
    }

    #[test]
    fn a_command_gets_a_token_a_port_and_an_account() {
        let config = parse(
            "command = [\"{prefix}/bin/x\", \"--y={prefix}\"]\nurl = \"http://127.0.0.1:9999\"\npaths = [\"/srv/x\"]\nenvironment = { TZ = \"UTC\" }\n[paths]\nprefix = \"/opt/c\"",
        )
        .unwrap();
        let keys = Keys::new([1; 32]);
        let mut services = super::super::configured::services(&config).unwrap();
        assert!(services[0].token.is_none());
        complete(&config, &keys, &mut services).unwrap();
        let token = Secret::presented(&keys.service_token("Cull")).unwrap();
        assert_eq!(services[0].token.as_ref().map(|t| t.0), Some(token.hash()));
        assert_eq!(services[0].client.as_ref().map(|c| c.id.as_str()), Some("service-Cull"));
        assert_eq!(managed(&config, &keys).len(), 1);
        let (account, spec) = programs(&config).into_iter().next().unwrap();
        assert!(account.as_str().starts_with("service-cull--"));
        assert_eq!(spec.argv, ["/opt/c/bin/x", "--y=/opt/c"]);
        assert_eq!((spec.port, spec.env["TZ"].as_str()), (Some(9999), "UTC"));
        assert_eq!(spec.paths, [Path::new("/opt/c/bin/x"), Path::new("/srv/x")]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("command = [\"python\"]", "must be an absolute path"),
            ("command = [\"/x\"]\ntoken_file = \"/t\"", "gets its token from Carrel"),
            ("command = [\"/x\"]\nurl = \"http://10.0.0.1:9999\"", "where it listens in its jail"),
            ("command = [\"/x\"]\nurl = \"http://127.0.0.1:8081\"", "not 8081"),
            ("command = [\"/x\"]\npaths = [\"x\"]", "must be an absolute path"),
            ("command = [\"/x\"]\nenvironment = { JUPYTERHUB_API_TOKEN = \"x\" }", "cannot be set"),
            ("paths = [\"/x\"]", "are of services with a command"),
        ] {
            let got = parse(text).unwrap_err();
            assert!(got.contains(want), "{text:?}: {got}");
        }
    }
}
