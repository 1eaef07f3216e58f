//! What somebody holds: a user or a service through roles, a token as far as its owner still does.

use crate::app::App;
use crate::error::Result;
use carrel_hub::{Scope, ScopeSet, Whose};
use carrel_store::{OAuthClient, Service, Store, Token, TokenOwner, User};
use std::collections::{BTreeMap, BTreeSet};

/// Who can hold scopes.
#[derive(Debug, Clone)]
pub enum Holder {
    /// A user, with the groups if they matter for roles.
    User(User, Vec<String>),
    /// A service.
    Service(Service),
}

impl Holder {
    /// Who owns something.
    pub fn find(store: &Store, owner: TokenOwner, groups_matter: bool) -> carrel_store::Result<Option<Self>> {
        match owner {
            TokenOwner::User(id) => match store.user_by_id(id)? {
                Some(user) => Self::user(store, user, groups_matter).map(Some),
                None => Ok(None),
            },
            TokenOwner::Service(id) => Ok(store.service_by_id(id)?.map(Self::Service)),
        }
    }

    /// A user.
    pub fn user(store: &Store, user: User, groups_matter: bool) -> carrel_store::Result<Self> {
        let groups = if groups_matter { store.groups_of(user.id)? } else { Vec::new() };
        Ok(Self::User(user, groups))
    }

    /// What it holds through roles.
    pub fn held(&self, app: &App) -> ScopeSet {
        match self {
            Self::User(user, groups) => app.roles.held_by_user(user.name.as_str(), user.admin, groups),
            Self::Service(service) => app.roles.held_by_service(service.name.as_str(), service.admin),
        }
    }

    /// The same, as scopes are resolved with it.
    pub fn whose(&self) -> Whose<'_> {
        match self {
            Self::User(user, _) => Whose::of_user(user.name.as_str()),
            Self::Service(service) => Whose::of_service(service.name.as_str()),
        }
    }
}

/// The members of the groups that some filter names.
#[derive(Debug, Clone, Default)]
pub struct Members(BTreeMap<String, BTreeSet<String>>);

impl Members {
    /// The members of all groups that these sets name. Most name none, which costs nothing.
    pub async fn named(app: &App, sets: &[&ScopeSet]) -> Result<Self> {
        let groups: BTreeSet<String> =
            sets.iter().flat_map(|s| s.groups_named()).map(str::to_owned).collect();
        if groups.is_empty() {
            return Ok(Self::default());
        }
        app.store.call(move |s| s.members_of(&groups)).await.map(Self)
    }

    /// Whether a user is a member of one of them.
    pub fn has(&self, group: &str, user: &str) -> bool {
        self.0.get(group).is_some_and(|m| m.contains(user))
    }
}

/// Scopes, and the members of the groups that they name.
#[derive(Debug, Clone)]
pub struct Holding {
    /// What is held.
    pub scopes: ScopeSet,
    /// Who is in the groups that it names.
    pub members: Members,
}

impl Holding {
    /// All that somebody holds.
    pub async fn of(app: &App, who: &Holder) -> Result<Self> {
        let scopes = who.held(app);
        let members = Members::named(app, &[&scopes]).await?;
        Ok(Self { scopes, members })
    }

    /// What a token may do, given its owner and the OAuth client that it was issued to.
    pub async fn of_token(
        app: &App,
        token: &Token,
        owner: &Holder,
        client: Option<&OAuthClient>,
    ) -> Result<Self> {
        let given: Vec<Scope> = token.scopes.iter().filter_map(|s| Scope::parse(s).ok()).collect();
        let whose = Whose { issuer: client.map(|c| c.stands_for.issuer()), ..owner.whose() };
        let held = owner.held(app);
        let members = Members::named(app, &[&ScopeSet::resolve(&given, whose), &held]).await?;
        let scopes = ScopeSet::for_token(&given, whose, &held, &|g, u| members.has(g, u));
        Ok(Self { scopes, members })
    }
}
