//! `[[role]]`: what users, groups and services may do beyond the default roles.

use carrel_hub::role::GivenRole;
use carrel_hub::{Roles, Scope};
use serde::Deserialize;

/// `[[role]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSettings {
    /// Its name; `user`, `token` and `server` take the place of the default role.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Users who have it.
    #[serde(default)]
    pub users: Vec<String>,
    /// Groups whose members have it.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Services that have it.
    #[serde(default)]
    pub services: Vec<String>,
}

/// All roles; the first thing that is wrong with one is named.
pub(super) fn roles(settings: &[RoleSettings]) -> Result<Roles, String> {
    let mut given: Vec<GivenRole> = Vec::new();
    for role in settings {
        let named = |why: String| format!("[[role]] {}: {why}", role.name);
        let name_fits = !role.name.is_empty()
            && role.name.len() <= 64
            && role.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
        if !name_fits {
            return Err(named("a role's name is letters, digits and -_.:".into()));
        }
        if role.name == "admin" {
            return Err(named(
                "the role admin cannot be changed; `carrel user admin` makes administrators".into(),
            ));
        }
        if given.iter().any(|g| g.name == role.name) {
            return Err(named("it is there twice".into()));
        }
        if role.scopes.is_empty() {
            return Err(named("it has no scopes".into()));
        }
        let scopes = role.scopes.iter().map(|s| Scope::parse(s).map_err(|e| named(e.to_string())));
        given.push(GivenRole {
            name: role.name.clone(),
            scopes: scopes.collect::<Result<_, _>>()?,
            // users are known by their normal form
            users: role.users.iter().map(|u| u.to_lowercase()).collect(),
            groups: role.groups.iter().cloned().collect(),
            services: role.services.iter().cloned().collect(),
        });
    }
    Ok(Roles::new(given))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use std::path::Path;

    #[test]
    fn roles_are_taken_or_refused_with_their_name() {
        let parse = |text: &str| Config::parse(text, Path::new("/state"));
        let text = "[[role]]\nname = \"user\"\nscopes = [\"self\", \"access:services\"]\n\
                    [[role]]\nname = \"culler\"\nscopes = [\"list:users\"]\nservices = [\"idle\"]\nusers = [\"Ada\"]";
        let roles = parse(text).unwrap().roles();
        assert_eq!(roles.of_service("idle", false), ["culler"]);
        assert_eq!(roles.of_user("ada", false, &[]), ["user", "culler"]);
        for (text, want) in [
            (
                "[[role]]\nname = \"a\"\nscopes = [\"fly:moon\"]",
                "[[role]] a: scope \"fly:moon\" does not exist",
            ),
            ("[[role]]\nname = \"admin\"\nscopes = [\"self\"]", "cannot be changed"),
            ("[[role]]\nname = \"a b\"\nscopes = [\"self\"]", "letters, digits"),
            ("[[role]]\nname = \"a\"\nscopes = []", "it has no scopes"),
            ("[[role]]\nname = \"a\"\nscope = [\"self\"]", "did you mean scopes?"),
        ] {
            let got = parse(text).unwrap_err();
            assert!(got.contains(want), "{text:?}: {got}");
        }
    }
}
