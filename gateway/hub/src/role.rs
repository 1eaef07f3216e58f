//! The default roles and what they grant.

use crate::scope::{Issuer, Scope, ScopeSet, Whose};
use std::collections::BTreeSet;

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

    /// What the token of a user's own server holds: it may say that the user is active, and enter that server.
    pub fn of_server(user: &str, server: &str) -> Vec<String> {
        vec![format!("users:activity!user={user}"), Issuer::Server(user, server).access_scope()]
    }
}

/// A role that the administrator defines. One that is called `user`, `token` or `server` takes the place of the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRole {
    /// Its name.
    pub name: String,
    /// Its scopes as written.
    pub scopes: Vec<Scope>,
    /// Users who have it, by name.
    pub users: BTreeSet<String>,
    /// Groups whose members have it.
    pub groups: BTreeSet<String>,
    /// Services that have it.
    pub services: BTreeSet<String>,
}

/// All roles of this hub: the default ones and the administrator's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(Vec<GivenRole>);

impl Roles {
    /// The default roles and these.
    pub fn new(given: Vec<GivenRole>) -> Self {
        Self(given)
    }

    /// The scopes of a role; none if there is no such role.
    pub fn scopes(&self, name: &str) -> Option<Vec<Scope>> {
        let given = self.0.iter().find(|r| r.name == name).map(|r| r.scopes.clone());
        given.or_else(|| Role::parse(name).map(Role::scopes))
    }

    /// Whether it matters for a user's scopes which groups the user is in.
    pub fn name_groups(&self) -> bool {
        self.0.iter().any(|r| !r.groups.is_empty())
    }

    /// The names of a user's roles.
    pub fn of_user(&self, name: &str, is_admin: bool, groups: &[String]) -> Vec<&str> {
        let default = if is_admin { &[Role::Admin, Role::User][..] } else { &[Role::User] };
        let given = self.0.iter().filter(|r| {
            r.name != Role::User.name()
                && (r.users.contains(name) || groups.iter().any(|g| r.groups.contains(g)))
        });
        default.iter().map(|r| r.name()).chain(given.map(|r| r.name.as_str())).collect()
    }

    /// The names of a group's roles.
    pub fn of_group(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|r| r.groups.contains(name)).map(|r| r.name.as_str()).collect()
    }

    /// The names of a service's roles.
    pub fn of_service(&self, name: &str, is_admin: bool) -> Vec<&str> {
        let admin = is_admin.then(|| Role::Admin.name());
        let given = self.0.iter().filter(|r| r.services.contains(name)).map(|r| r.name.as_str());
        admin.into_iter().chain(given).collect()
    }

    /// What a user holds through all roles.
    pub fn held_by_user(&self, name: &str, is_admin: bool, groups: &[String]) -> ScopeSet {
        self.together(&self.of_user(name, is_admin, groups), Whose::of_user(name))
    }

    /// What a service holds through all roles.
    pub fn held_by_service(&self, name: &str, is_admin: bool) -> ScopeSet {
        self.together(&self.of_service(name, is_admin), Whose::of_service(name))
    }

    fn together(&self, roles: &[&str], whose: Whose<'_>) -> ScopeSet {
        let sets = roles.iter().filter_map(|r| self.scopes(r)).map(|s| ScopeSet::resolve(&s, whose));
        sets.fold(ScopeSet::default(), ScopeSet::union)
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
        assert_eq!(ScopeSet::resolve(&Role::User.scopes(), Whose::of_user("ada")).reach("list:users"), None);
    }

    #[test]
    fn an_admin_holds_everything_that_matters() {
        let held = Roles::default().held_by_user("root", true, &[]);
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
        let ada = Roles::default().held_by_user("ada", false, &[]);
        assert!(!ada.to_strings().iter().any(|t| !t.ends_with("!user=ada")));
    }

    #[test]
    fn given_roles_add_to_the_default_ones_or_take_their_place() {
        let given = |name: &str, scope: &str, users: &[&str], groups: &[&str], services: &[&str]| {
            let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            let scopes = scope.split(' ').map(|s| Scope::parse(s).unwrap()).collect();
            GivenRole {
                name: name.into(),
                scopes,
                users: set(users),
                groups: set(groups),
                services: set(services),
            }
        };
        let roles = Roles::new(vec![
            given("user", "self access:services", &[], &[], &[]),
            given("teacher", "read:users!group=class", &["ada"], &["staff"], &[]),
            given("culler", "list:users delete:servers", &[], &[], &["idle"]),
        ]);
        let holds = |set: ScopeSet, scope: &str| set.to_strings().iter().any(|s| s == scope);
        assert!(roles.name_groups() && !Roles::default().name_groups());
        assert_eq!(roles.of_user("ada", false, &[]), ["user", "teacher"]);
        assert_eq!(roles.of_user("bob", true, &["staff".into()]), ["admin", "user", "teacher"]);
        assert_eq!(roles.of_group("staff"), ["teacher"]);
        assert_eq!(roles.of_service("idle", false), ["culler"]);
        assert!(holds(roles.held_by_user("bob", false, &[]), "access:services"));
        assert!(!holds(roles.held_by_user("bob", false, &[]), "read:users!group=class"));
        assert!(holds(roles.held_by_user("bob", false, &["staff".into()]), "read:users!group=class"));
        assert!(holds(roles.held_by_service("idle", false), "delete:servers"));
        assert_eq!(roles.held_by_service("other", false), ScopeSet::default());
        assert!(holds(roles.held_by_service("other", true), "shutdown"));
        assert_eq!(roles.scopes("king"), None);
    }

    #[test]
    fn a_server_s_token_may_hardly_do_anything() {
        let want = ["users:activity!user=ada", "access:servers!server=ada/"];
        assert_eq!(Role::of_server("ada", ""), want);
        let whose = Whose { issuer: Some(Issuer::Server("ada", "")), ..Whose::of_user("ada") };
        let texts: Vec<Scope> = want.iter().map(|s| Scope::parse(s).unwrap()).collect();
        assert_eq!(ScopeSet::resolve(&Role::Server.scopes(), whose), ScopeSet::resolve(&texts, whose));
    }
}
