//! Which profile a kernel's jail has: what the administrator's rules say, else what the kernelspec says.

use serde::{Deserialize, Serialize};

use crate::limits::Who;
use crate::names::{GroupName, SpecId, UserName};
use crate::settings::Kernelspec;

/// The kinds of kernels' jails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelProfile {
    /// No network.
    #[default]
    #[serde(rename = "kernel")]
    Plain,
    /// No network either, but a way to the proxy.
    #[serde(rename = "kernel+proxy")]
    Proxy,
    /// No network, but the devices that the settings name.
    #[serde(rename = "kernel+gpu")]
    Gpu,
    /// Both.
    #[serde(rename = "kernel+proxy+gpu")]
    ProxyGpu,
}

impl KernelProfile {
    /// Whether it has a way to the proxy.
    #[must_use]
    pub fn proxy(self) -> bool {
        matches!(self, Self::Proxy | Self::ProxyGpu)
    }

    /// Whether it sees the devices.
    #[must_use]
    pub fn devices(self) -> bool {
        matches!(self, Self::Gpu | Self::ProxyGpu)
    }
}

/// A rule: all that it names must fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileRule {
    /// The profile.
    pub profile: KernelProfile,
    /// Of this kernel only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernelspec: Option<SpecId>,
    /// Of these people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
}

impl ProfileRule {
    fn fits(&self, spec: &SpecId, user: &UserName, groups: &[GroupName]) -> bool {
        let who = self.who.as_ref().is_none_or(|who| match who {
            Who::User(name) => name == user,
            Who::Group(group) => groups.contains(group),
        });
        who && self.kernelspec.as_ref().is_none_or(|name| name == spec)
    }
}

/// The profile of a kernel that this user starts.
#[must_use]
pub fn profile_of(
    rules: &[ProfileRule],
    (id, spec): (&SpecId, &Kernelspec),
    user: &UserName,
    groups: &[GroupName],
) -> KernelProfile {
    rules.iter().find(|rule| rule.fits(id, user, groups)).map_or(spec.profile, |rule| rule.profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts_then_the_kernelspec() {
        let rules: Vec<ProfileRule> = serde_json::from_str(
            r#"[{"profile":"kernel","who":{"user":"eve"}},
                {"profile":"kernel+proxy","kernelspec":"py","who":{"group":"ml"}}]"#,
        )
        .unwrap();
        let of = |spec: &str, profile, user: &str, groups: &[&str]| {
            let groups: Vec<GroupName> = groups.iter().map(|g| g.parse().unwrap()).collect();
            let written = Kernelspec { profile, ..Kernelspec::default() };
            profile_of(&rules, (&spec.parse().unwrap(), &written), &user.parse().unwrap(), &groups)
        };
        use KernelProfile::{Plain, Proxy};
        assert_eq!(of("py", Plain, "ada", &[]), Plain);
        assert_eq!(of("py", Plain, "ada", &["x", "ml"]), Proxy);
        assert_eq!(of("sql", Plain, "ada", &["ml"]), Plain);
        assert_eq!(of("sql", Proxy, "ada", &[]), Proxy);
        assert_eq!(of("py", Proxy, "eve", &["ml"]), Plain);
    }
}
