//! What somebody holds: a user or a service through roles and shares, a token as far as its owner still does.

use crate::app::App;
use crate::error::Result;
use carrel_hub::{Scope, ScopeSet, Whose};
use carrel_store::{OAuthClient, Service, Store, Token, TokenOwner, User};
use std::collections::{BTreeMap, BTreeSet};

/// Who can hold scopes.
#[derive(Debug, Clone)]
pub enum Holder {
    /// A user.
    User(UserHolder),
    /// A service.
    Service(Service),
}

/// A user with what scopes come from.
#[derive(Debug, Clone)]
pub struct UserHolder {
    /// The row.
    pub user: User,
    /// Names of the groups, if they matter for roles.
    groups: Vec<String>,
    /// What others share with the user.
    shared: Vec<Scope>,
}

/// What must be read of a user before it is known what the user holds.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The groups, because there are roles for groups.
    role_groups: bool,
    /// What is shared with groups: for a login and what was issued in it. As in JupyterHub, a token that stands alone has only what is shared
    /// with the user by name.
    group_shares: bool,
}

impl Look {
    /// For a login.
    pub fn of_login(app: &App) -> Self {
        Self { role_groups: app.roles.name_groups(), group_shares: true }
    }

    /// For a token that stands alone.
    pub fn of_token(app: &App) -> Self {
        Self { group_shares: false, ..Self::of_login(app) }
    }

    /// The same for a token that may have been issued in a login.
    pub fn at(self, token: &Token) -> Self {
        Self { group_shares: token.session_id.is_some(), ..self }
    }
}

impl Holder {
    /// Who owns something.
    pub fn find(store: &Store, owner: TokenOwner, look: Look) -> carrel_store::Result<Option<Self>> {
        match owner {
            TokenOwner::User(id) => match store.user_by_id(id)? {
                Some(user) => Self::user(store, user, look).map(Some),
                None => Ok(None),
            },
            TokenOwner::Service(id) => Ok(store.service_by_id(id)?.map(Self::Service)),
        }
    }

    /// A user.
    pub fn user(store: &Store, user: User, look: Look) -> carrel_store::Result<Self> {
        let groups = if look.role_groups { store.groups_of(user.id)? } else { Vec::new() };
        let shared = store.scopes_shared_with(user.id, look.group_shares)?;
        Ok(Self::User(UserHolder { user, groups, shared }))
    }

    /// What it holds through roles and shares.
    pub fn held(&self, app: &App) -> ScopeSet {
        match self {
            Self::User(UserHolder { user, groups, shared }) => {
                let held = app.roles.held_by_user(user.name.as_str(), user.admin, groups);
                held.union(ScopeSet::resolve(shared, self.whose()))
            }
            Self::Service(service) => app.roles.held_by_service(service.name.as_str(), service.admin),
        }
    }

    /// The same, as scopes are resolved with it.
    pub fn whose(&self) -> Whose<'_> {
        match self {
            Self::User(UserHolder { user, .. }) => Whose::of_user(user.name.as_str()),
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
