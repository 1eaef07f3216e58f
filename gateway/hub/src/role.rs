//! The default roles and what they grant.

use crate::scope::{Scope, ScopeSet};

/// What the metascope `self` means, each for oneself.
pub(crate) const SELF: &[&str] =
    &["read:users", "users:shares", "read:shares", "users:activity", "servers", "tokens", "access:servers"];

const ADMIN: &[&str] = &[
    "admin-ui",
    "admin:users",
    "admin:servers",
    "admin:services",
    "tokens",
    "admin:groups",
    "list:services",
    "read:services",
    "read:hub",
    "proxy",
    "shutdown",
    "access:services",
    "access:servers",
    "read:roles",
    "read:metrics",
    "shares",
];

/// A named set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything.
    Admin,
    /// A server's own token.
    Server,
    /// A token asked for without scopes.
    Token,
    /// Every user.
    User,
}

impl Role {
    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "admin" => Self::Admin,
            "server" => Self::Server,
            "token" => Self::Token,
            "user" => Self::User,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Server => "server",
            Self::Token => "token",
            Self::User => "user",
        }
    }

    /// Its scopes as written.
    pub fn scopes(self) -> Vec<Scope> {
        let texts: &[&str] = match self {
            Self::Admin => ADMIN,
            Self::Server => &["users:activity!user", "access:servers!server"],
            Self::Token => &["inherit"],
            Self::User => &["self"],
        };
        texts.iter().filter_map(|t| Scope::parse(t).ok()).collect()
    }

    /// The roles of a user.
    pub fn of_user(is_admin: bool) -> &'static [Self] {
        if is_admin { &[Self::Admin, Self::User] } else { &[Self::User] }
    }

    /// What a user holds through all roles.
    pub fn held_by(user: &str, is_admin: bool) -> ScopeSet {
        Self::of_user(is_admin)
            .iter()
            .map(|r| ScopeSet::resolve(&r.scopes(), user))
            .fold(ScopeSet::default(), ScopeSet::union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_of_every_role_exists() {
        assert_eq!(Role::Admin.scopes().len(), ADMIN.len());
        for role in [Role::Admin, Role::Server, Role::Token, Role::User] {
            assert!(!role.scopes().is_empty());
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        assert_eq!(Role::parse("king"), None);
        assert_eq!(ScopeSet::resolve(&Role::User.scopes(), "ada").reach("list:users"), None);
    }

    #[test]
    fn an_admin_holds_everything_that_matters() {
        let held = Role::held_by("root", true);
        let text = held.to_strings();
        for want in [
            "admin-ui",
            "admin:auth_state",
            "delete:users",
            "admin:server_state",
            "groups",
            "list:services",
            "shares",
        ] {
            assert!(text.iter().any(|t| t == want), "{want}");
        }
        assert!(!Role::held_by("ada", false).to_strings().iter().any(|t| !t.ends_with("!user=ada")));
    }
}
