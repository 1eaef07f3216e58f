//! `[network]`, `[[allow]]` and `[[profile]]`: which kernels have a way to the network, and what may be reached through it.

use carrel_hub::UserName;
use carrel_spawnd::limits::Who;
use carrel_spawnd::{KernelProfile, ProfileRule};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// `[network]`: the proxy. It runs if there is an `[[allow]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// The user that the proxy runs as.
    pub user: String,
    /// Whom those who were refused may ask.
    pub ask: String,
    /// Connections of one user at once.
    pub connections: u32,
    /// Connections that one user may ask for in a minute.
    pub requests_per_minute: u32,
    /// Bytes of one user in an hour, both ways; 0 is no bound.
    #[serde(deserialize_with = "super::text::size")]
    pub traffic_per_hour: u64,
    /// How long a connection may be silent.
    pub idle_seconds: u64,
    /// How long a connection may last.
    pub connection_seconds: u64,
    /// `[network.hosts]`: addresses that the administrator gives to names.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            user: "carrel-proxy".into(),
            ask: String::new(),
            connections: 64,
            requests_per_minute: 1200,
            traffic_per_hour: 20 << 30,
            idle_seconds: 300,
            connection_seconds: 43_200,
            hosts: BTreeMap::new(),
        }
    }
}

/// `[[allow]]`: hosts, for everybody, a user or a group. The proxy itself reads the hosts; it says what is wrong with them before a port opens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// `host`, `*.suffix` or `*`, with `:port` or `:*`.
    pub hosts: Vec<String>,
    /// The user, by name.
    pub user: Option<String>,
    /// The group, by name.
    pub group: Option<String>,
    /// Private networks that the hosts may lie in.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// `[[profile]]`: which kernels have which profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSettings {
    /// `kernel`, with `+proxy`, `+gpu` or `+proxy+gpu`.
    pub name: KernelProfile,
    /// The kernelspec; none is every kernel.
    pub kernel: Option<String>,
    /// The user, by name.
    pub user: Option<String>,
    /// The group, by name.
    pub group: Option<String>,
}

/// Whom a rule is about; nobody in particular is everybody.
fn who(table: &str, user: Option<&str>, group: Option<&str>) -> Result<Option<Who>, String> {
    match (user, group) {
        (None, None) => Ok(None),
        (Some(user), None) => Ok(Some(Who::User(
            UserName::parse(user)
                .map_err(|e| format!("[[{table}]] user: {e}"))?
                .escaped()
                .parse()
                .map_err(|e| format!("[[{table}]] user: {e}"))?,
        ))),
        (None, Some(group)) => {
            Ok(Some(Who::Group(group.parse().map_err(|e| format!("[[{table}]] group: {e}"))?)))
        }
        (Some(_), Some(_)) => Err(format!("a [[{table}]] names a user or a group, not both; write two")),
    }
}

/// The rules, as spawnd takes them.
pub fn profiles(rules: &[ProfileSettings]) -> Result<Vec<ProfileRule>, String> {
    let rule = |rule: &ProfileSettings| {
        let kernelspec = rule.kernel.as_deref().map(str::parse).transpose();
        Ok(ProfileRule {
            profile: rule.name,
            kernelspec: kernelspec.map_err(|e| format!("[[profile]] kernel: {e}"))?,
            who: who("profile", rule.user.as_deref(), rule.group.as_deref())?,
        })
    };
    rules.iter().map(rule).collect()
}

/// The list, as the proxy takes it: users by the names that the sandbox knows.
pub fn allow(rules: &[AllowRule]) -> Result<Vec<toml::Value>, String> {
    let list = |texts: &[String]| toml::Value::Array(texts.iter().cloned().map(Into::into).collect());
    let entry = |rule: &AllowRule| {
        let mut out = toml::Table::new();
        out.insert("hosts".into(), list(&rule.hosts));
        out.insert("addresses".into(), list(&rule.addresses));
        match who("allow", rule.user.as_deref(), rule.group.as_deref())? {
            Some(Who::User(user)) => out.insert("user".into(), user.to_string().into()),
            Some(Who::Group(group)) => out.insert("group".into(), group.to_string().into()),
            None => None,
        };
        Ok(toml::Value::Table(out))
    };
    rules.iter().map(entry).collect()
}

/// What cannot be meant.
pub(super) fn check(
    network: &NetworkSettings,
    rules: &[AllowRule],
    profile_rules: &[ProfileSettings],
    devices: &[PathBuf],
) -> Result<(), String> {
    allow(rules)?;
    profiles(profile_rules)?;
    let between = |key: &str, value: u64, min: u64, max: u64| {
        if (min..=max).contains(&value) {
            Ok(())
        } else {
            Err(format!("network.{key} must be between {min} and {max}, not {value}"))
        }
    };
    between("connections", network.connections.into(), 1, 4096)?;
    between("requests_per_minute", network.requests_per_minute.into(), 1, 1_000_000)?;
    between("idle_seconds", network.idle_seconds, 1, 86_400)?;
    between("connection_seconds", network.connection_seconds, 1, 2_592_000)?;
    if network.user.is_empty() || matches!(network.user.as_str(), "root" | "0") {
        return Err("network.user must be an ordinary user, not root".into());
    }
    if rules.is_empty() && profile_rules.iter().any(|rule| rule.name.proxy()) {
        return Err("a [[profile]] is kernel+proxy, but nothing may be reached: add an [[allow]]".into());
    }
    if devices.is_empty() && profile_rules.iter().any(|rule| rule.name.devices()) {
        return Err("a [[profile]] is kernel+gpu, but no device is named: set sandbox.devices".into());
    }
    if let Some(path) = devices.iter().find(|path| !path.starts_with("/dev")) {
        return Err(format!("sandbox.devices: {} does not lie below /dev", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/state"))
    }

    #[test]
    fn rules_become_what_spawnd_and_the_proxy_take() {
        let text = "[network]\nask = \"it@example.org\"\ntraffic_per_hour = \"1GiB\"\n[network.hosts]\n\"pypi.internal\" = [\"10.0.0.1\"]\n\
                    [[allow]]\nhosts = [\"packages.example\"]\n[[allow]]\nhosts = [\"*.corp\"]\nuser = \"Ada L\"\naddresses = [\"10.0.0.0/8\"]\n\
                    [[profile]]\nname = \"kernel+proxy\"\nkernel = \"python3\"\ngroup = \"ml team\"";
        let config = parse(text).unwrap();
        assert_eq!(config.network.traffic_per_hour, 1 << 30);
        let allow = allow(&config.allow).unwrap();
        let ada = UserName::parse("Ada L").unwrap().escaped();
        assert_eq!(allow[1]["user"].as_str(), Some(ada.as_str()));
        assert_eq!(allow[1]["addresses"][0].as_str(), Some("10.0.0.0/8"));
        let rules = profiles(&config.profiles).unwrap();
        assert_eq!(rules[0].who, Some(Who::Group("ml team".parse().unwrap())));
        assert_eq!(rules[0].kernelspec, Some("python3".parse().unwrap()));
    }

    #[test]
    fn devices_are_for_those_who_may_have_them() {
        let text =
            "[sandbox]\ndevices = [\"/dev/nvidia0\"]\n[[profile]]\nname = \"kernel+gpu\"\ngroup = \"ml\"";
        let config = parse(text).unwrap();
        assert_eq!(config.sandbox.devices, [PathBuf::from("/dev/nvidia0")]);
        let rules = profiles(&config.profiles).unwrap();
        assert!(rules[0].profile.devices() && !rules[0].profile.proxy());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("[network]\nprot = 1", "unknown key prot in [network]"),
            ("[network]\nconnections = 0", "network.connections must be between"),
            ("[network]\nuser = \"root\"", "ordinary user"),
            ("[network.hosts]\n\"a.org\" = [\"x\"]", "invalid IP address"),
            ("[[allow]]\nhost = [\"a\"]", "did you mean hosts?"),
            ("[[allow]]\nhosts = [\"a\"]\nuser = \"a\"\ngroup = \"b\"", "not both"),
            ("[[allow]]\nuser = \"a\"", "hosts"),
            ("[[profile]]\nname = \"kernel+net\"", "kernel+proxy"),
            ("[[profile]]\nname = \"kernel+gpu\"", "set sandbox.devices"),
            ("[sandbox]\ndevices = [\"/tmp/x\"]", "does not lie below /dev"),
            ("[[profile]]\nname = \"kernel+proxy\"", "add an [[allow]]"),
            ("[[profile]]\nname = \"kernel\"\nkernel = \"a b\"", "[[profile]] kernel"),
        ] {
            let got = parse(text).unwrap_err();
            assert!(got.contains(want), "{text:?}: {got}");
        }
    }
}
