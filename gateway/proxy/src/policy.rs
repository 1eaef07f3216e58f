//! Who may reach what: the administrator's list, and the addresses that a name may lead to. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;

use crate::address::special;
use crate::target::{Host, Target, parse_port, split_port};

/// Who asks: as spawnd said it with the kernel's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asker {
    /// By the name that the sandbox knows.
    pub(crate) user: String,
    /// The user's groups when the kernel was started.
    pub(crate) groups: Vec<String>,
    /// The kernel's jail.
    pub(crate) kernel: String,
}

/// `[[allow]]` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowText {
    hosts: Vec<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    addresses: Vec<IpNet>,
}

/// Everything that may be reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    allow: Vec<Allow>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Clone, Debug)]
struct Allow {
    who: Who,
    what: Vec<What>,
    addresses: Vec<IpNet>,
}

#[derive(Clone, Debug)]
enum Who {
    All,
    User(String),
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    host: Pattern,
    /// Every port, if none is named.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Exactly(Host),
    /// `.example.org`: what ends like this.
    Below(String),
}

/// What the list says of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Connect to these: the administrator named them.
    Fixed(Vec<IpAddr>),
    /// Ask for the name's addresses; of those that are special only these networks.
    Resolve(Vec<IpNet>),
}

impl Policy {
    /// Reads the list; the error says which entry is wrong, and how.
    pub(crate) fn new(allow: Vec<AllowText>, hosts: BTreeMap<String, Vec<IpAddr>>) -> Result<Self, String> {
        let allow = allow.into_iter().map(Allow::new).collect::<Result<_, _>>()?;
        let hosts = hosts.into_iter().map(|(name, addresses)| match Host::parse(&name) {
            Some(Host::Name(name)) if !addresses.is_empty() => Ok((name, addresses)),
            _ => Err(format!("[network.hosts] {name:?} must be a host name with at least one address")),
        });
        Ok(Self { allow, hosts: hosts.collect::<Result<_, _>>()? })
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.allow.len()
    }

    /// Whether this user may reach this host and port. Nothing has been resolved yet.
    pub(crate) fn grant(&self, asker: &Asker, target: &Target) -> Option<Grant> {
        let mut networks = Vec::new();
        let (mut found, mut named) = (false, false);
        for allow in self.allow.iter().filter(|allow| allow.is_about(asker)) {
            let fitting = allow.what.iter().filter(|what| what.fits(target));
            for what in fitting {
                found = true;
                named |= matches!(what.host, Pattern::Exactly(Host::Address(_)));
                networks.extend(&allow.addresses);
            }
        }
        if !found {
            return None;
        }
        Some(match &target.host {
            Host::Address(address) if named => Grant::Fixed(vec![*address]),
            Host::Address(_) => Grant::Resolve(networks),
            Host::Name(name) => match self.hosts.get(name) {
                Some(addresses) => Grant::Fixed(addresses.clone()),
                None => Grant::Resolve(networks),
            },
        })
    }
}

/// Which of a name's addresses may be connected to; the error is one that may not, and what it is.
pub(crate) fn usable(
    found: impl IntoIterator<Item = IpAddr>,
    port: u16,
    networks: &[IpNet],
) -> Result<Vec<SocketAddr>, Option<(IpAddr, &'static str)>> {
    let mut refused = None;
    let mut good = Vec::new();
    for address in found {
        let address = address.to_canonical();
        match special(address) {
            Some(what) if !networks.iter().any(|network| network.contains(&address)) => {
                refused = refused.or(Some((address, what)));
            }
            _ => good.push(SocketAddr::new(address, port)),
        }
    }
    if good.is_empty() { Err(refused) } else { Ok(good) }
}

impl Allow {
    fn new(text: AllowText) -> Result<Self, String> {
        let who = match (text.user, text.group) {
            (None, None) => Who::All,
            (Some(user), None) => Who::User(user),
            (None, Some(group)) => Who::Group(group),
            (Some(_), Some(_)) => {
                return Err("an [[allow]] names a user or a group, not both; write two".into());
            }
        };
        if text.hosts.is_empty() {
            return Err("an [[allow]] has no hosts".into());
        }
        let what = text.hosts.iter().map(|text| What::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { who, what, addresses: text.addresses })
    }

    fn is_about(&self, asker: &Asker) -> bool {
        match &self.who {
            Who::All => true,
            Who::User(user) => *user == asker.user,
            Who::Group(group) => asker.groups.contains(group),
        }
    }
}

impl What {
    /// `host`, `*.suffix` or `*`, with `:port` or `:*`; without it the port is that of https.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "[[allow]] {text:?} is not a host: write \"packages.example\", \"*.example.org:8443\", \"10.0.0.5:22\", \"[2001:db8::1]:443\" or \"*\"; \
                 without a port 443 is meant, \":*\" is all ports"
            )
        };
        let (host, port) = split_port(text).ok_or_else(wrong)?;
        let port = match port {
            None => Some(443),
            Some("*") => None,
            Some(port) => Some(parse_port(port).ok_or_else(wrong)?),
        };
        let host = match host.strip_prefix('*') {
            Some("") => Pattern::Any,
            Some(suffix) => match suffix.strip_prefix('.').and_then(Host::parse) {
                Some(Host::Name(name)) => Pattern::Below(format!(".{name}")),
                _ => return Err(wrong()),
            },
            None => Pattern::Exactly(Host::parse(host).ok_or_else(wrong)?),
        };
        Ok(Self { host, port })
    }

    fn fits(&self, target: &Target) -> bool {
        let host = match (&self.host, &target.host) {
            (Pattern::Any, _) => true,
            (Pattern::Exactly(host), asked) => host == asked,
            (Pattern::Below(suffix), Host::Name(name)) => {
                name.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty())
            }
            (Pattern::Below(_), Host::Address(_)) => false,
        };
        host && self.port.is_none_or(|port| port == target.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        #[derive(Deserialize)]
        struct Whole {
            #[serde(default)]
            allow: Vec<AllowText>,
            #[serde(default)]
            hosts: BTreeMap<String, Vec<IpAddr>>,
        }
        let whole: Whole = toml::from_str(text).map_err(|error| error.to_string())?;
        Policy::new(whole.allow, whole.hosts)
    }

    fn asker(user: &str, groups: &[&str]) -> Asker {
        Asker { user: user.into(), groups: groups.iter().map(|&g| g.into()).collect(), kernel: "k".into() }
    }

    #[test]
    fn entries_are_for_all_for_a_group_or_for_a_user() {
        let policy = policy(
            r#"
            allow = [
              { hosts = ["packages.example", "*.files.example"] },
              { hosts = ["*.corp.example:8443", "10.0.0.5:22"], group = "ml", addresses = ["10.0.0.0/8"] },
              { hosts = ["*:*"], user = "eve" },
            ]
            hosts = { "Files.corp.example" = ["10.1.1.1"] }"#,
        )
        .unwrap();
        let ask = |who: &Asker, target: &str| policy.grant(who, &Target::parse(target, None).unwrap());
        let (ada, ml, eve) = (asker("ada", &[]), asker("bob", &["x", "ml"]), asker("eve", &[]));
        let open = || Some(Grant::Resolve(vec![]));
        let ten = || Some(Grant::Resolve(vec!["10.0.0.0/8".parse().unwrap()]));
        for (who, target, want) in [
            (&ada, "packages.example:443", open()),
            (&ada, "PACKAGES.EXAMPLE.:443", open()),
            (&ada, "packages.example:80", None),
            (&ada, "evil-packages.example:443", None),
            (&ada, "a.packages.example:443", None),
            (&ada, "data.files.example:443", open()),
            (&ada, "a.b.files.example:443", open()),
            (&ada, "files.example:443", None),
            (&ada, "evilfiles.example:443", None),
            (&ada, "data.files.example.evil.org:443", None),
            (&ada, "x.corp.example:8443", None),
            (&ml, "x.corp.example:8443", ten()),
            (&ml, "files.corp.example:8443", Some(Grant::Fixed(vec!["10.1.1.1".parse().unwrap()]))),
            (&ml, "10.0.0.5:22", Some(Grant::Fixed(vec!["10.0.0.5".parse().unwrap()]))),
            (&ml, "10.0.0.6:22", None),
            (&eve, "anything.org:1", open()),
            (&eve, "10.0.0.5:22", open()),
        ] {
            assert_eq!(ask(who, target), want, "{} {target}", who.user);
        }
    }

    #[test]
    fn what_a_name_leads_to_is_looked_at() {
        let addresses = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        let of = |list: &[&str], networks: &[&str]| {
            let networks: Vec<IpNet> = networks.iter().map(|n| n.parse().unwrap()).collect();
            usable(addresses(list), 443, &networks)
                .map(|good| good.iter().map(ToString::to_string).collect::<Vec<_>>())
                .map_err(|bad| bad.map(|(address, what)| format!("{address} {what}")))
        };
        assert_eq!(of(&["1.1.1.1"], &[]), Ok(vec!["1.1.1.1:443".to_owned()]));
        assert_eq!(of(&["127.0.0.1", "1.1.1.1"], &[]), Ok(vec!["1.1.1.1:443".to_owned()]));
        assert_eq!(of(&["169.254.169.254"], &[]), Err(Some("169.254.169.254 link-local".to_owned())));
        assert_eq!(of(&["10.0.0.1"], &["10.0.0.0/8"]), Ok(vec!["10.0.0.1:443".to_owned()]));
        assert_eq!(of(&["::ffff:10.0.0.1"], &["10.0.0.0/8"]), Ok(vec!["10.0.0.1:443".to_owned()]));
        assert_eq!(of(&["192.168.0.1"], &["10.0.0.0/8"]), Err(Some("192.168.0.1 private".to_owned())));
        assert_eq!(of(&[], &[]), Err(None));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("allow = [{ hosts = [] }]", "no hosts"),
            ("allow = [{ hosts = ['a'], user = 'x', group = 'y' }]", "not both"),
            ("allow = [{ hosts = ['*a.org'] }]", "\"*a.org\" is not a host"),
            ("allow = [{ hosts = ['a.*.org'] }]", "is not a host"),
            ("allow = [{ hosts = ['https://a.org'] }]", "is not a host"),
            ("allow = [{ hosts = ['a.org:0'] }]", "is not a host"),
            ("allow = [{ hosts = ['127.1'] }]", "is not a host"),
            ("allow = [{ hosts = ['*.10.0.0.1'] }]", "is not a host"),
            ("allow = [{ hosts = ['a'], addresses = ['10.0.0.0/33'] }]", "invalid"),
            ("allow = [{ host = ['a'] }]", "unknown field"),
            ("hosts = { '10.0.0.1' = ['10.0.0.1'] }", "[network.hosts]"),
            ("hosts = { 'a.org' = [] }", "at least one address"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    proptest! {
        /// A suffix never lets through what does not end in it, label by label.
        #[test]
        fn suffixes_are_whole_labels(name in "[a-c.]{1,12}", suffix in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}") {
            let what = What::parse(&format!("*.{suffix}")).unwrap();
            if let Some(target) = Target::parse(&format!("{name}:443"), None) {
                let host = target.host.to_string();
                let (have, want): (Vec<_>, Vec<_>) = (host.split('.').collect(), suffix.split('.').collect());
                let below = have.len() > want.len() && have.ends_with(&want);
                prop_assert_eq!(what.fits(&target), below);
            }
        }
    }
}
