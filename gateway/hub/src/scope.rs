//! Scopes: what a caller may do, and to whom.
//!
//! A [`Scope`] is one word as it is written (`servers!user=ada`, `read:users!user`, `inherit`). A [`ScopeSet`] is what a caller holds
//! in the end: metascopes resolved, contained scopes added, every name with its [`Reach`]. A scope without filter reaches everything;
//! filters of one name add up.

mod error;
mod table;
mod whose;

pub use error::ScopeError;
pub use whose::{Issuer, Owner, Whose};

use crate::role;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use table::TABLE;

/// Restricts a scope to some targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// One user.
    User(String),
    /// The members of a group, or the group itself.
    Group(String),
    /// One server of one user.
    Server(String, String),
    /// One service.
    Service(String),
}

/// A filter as written: `!user` alone means whoever owns the token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Written {
    None,
    Owner,
    OwnServer,
    OwnService,
    Given(Filter),
}

/// One scope as written in a role or a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    name: &'static str,
    written: Written,
}

impl Scope {
    /// Reads one scope.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let (name, filter) = match text.split_once('!') {
            Some((name, filter)) => (name, Some(filter)),
            None => (text, None),
        };
        let name = known(name).ok_or_else(|| ScopeError::Unknown(text.to_owned()))?;
        let Some(filter) = filter else { return Ok(Self { name, written: Written::None }) };
        if matches!(name, "self" | "inherit" | "no_scope") {
            return Err(ScopeError::MetaFilter(text.to_owned()));
        }
        let bad = || ScopeError::BadFilter(filter.to_owned());
        let written = match filter.split_once('=') {
            None => match filter {
                "user" => Written::Owner,
                "server" => Written::OwnServer,
                "service" => Written::OwnService,
                _ => return Err(bad()),
            },
            Some((_, "")) => return Err(bad()),
            Some(("user", u)) => Written::Given(Filter::User(u.to_owned())),
            Some(("group", g)) => Written::Given(Filter::Group(g.to_owned())),
            Some(("service", s)) => Written::Given(Filter::Service(s.to_owned())),
            Some(("server", s)) => {
                let (u, s) = s.split_once('/').ok_or_else(bad)?;
                if u.is_empty() {
                    return Err(bad());
                }
                Written::Given(Filter::Server(u.to_owned(), s.to_owned()))
            }
            Some(_) => return Err(bad()),
        };
        Ok(Self { name, written })
    }

    /// What it lets its holder do, for a person who is asked.
    pub fn describe(&self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self.name).map_or("", |row| row.2)
    }

    /// To whom or what it is limited, as written; nothing where it reaches everything.
    pub fn filter(&self) -> Option<String> {
        self.to_string().split_once('!').map(|(_, filter)| filter.to_owned())
    }

    /// The same scope for one server and nothing else, as shares have it. A filter that says something else is refused.
    pub fn of_server(&self, user: &str, server: &str) -> Result<Self, ScopeError> {
        let only = Written::Given(Filter::Server(user.to_owned(), server.to_owned()));
        if matches!(self.name, "self" | "inherit" | "no_scope") {
            return Err(ScopeError::MetaFilter(self.name.to_owned()));
        }
        if self.written != Written::None && self.written != only {
            return Err(ScopeError::NotOfServer(self.to_string(), format!("{user}/{server}")));
        }
        Ok(Self { name: self.name, written: only })
    }

    /// Its name, without a filter.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether this is the metascope `inherit`.
    pub fn is_inherit(&self) -> bool {
        self.name == "inherit"
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match &self.written {
            Written::None => Ok(()),
            Written::Owner => f.write_str("!user"),
            Written::OwnServer => f.write_str("!server"),
            Written::OwnService => f.write_str("!service"),
            Written::Given(filter) => write!(f, "!{filter}"),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(u) => write!(f, "user={u}"),
            Self::Group(g) => write!(f, "group={g}"),
            Self::Server(u, s) => write!(f, "server={u}/{s}"),
            Self::Service(s) => write!(f, "service={s}"),
        }
    }
}

/// How far one scope name reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// What any of these filters admits.
    Some(BTreeSet<Filter>),
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The Hub as a whole: only an unfiltered scope will do.
    Hub,
    /// A list, which the caller's filters shorten: any reach will do.
    List,
    /// One user.
    User(&'a str),
    /// One server of one user.
    Server(&'a str, &'a str),
    /// One group.
    Group(&'a str),
    /// One service.
    Service(&'a str),
}

/// The answer to "may this caller".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Granted,
    /// The caller holds the scope, for other targets.
    Elsewhere,
    /// The caller does not hold the scope at all.
    Lacking,
}

/// Whether a user is a member of a group: the one fact that filters need from outside.
pub type Member<'a> = &'a dyn Fn(&str, &str) -> bool;

/// What a caller holds: names with their reach, contained scopes included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet {
    held: BTreeMap<&'static str, Reach>,
}

impl ScopeSet {
    /// Resolves written scopes: metascope `self`, bare filters, contained scopes. A bare filter that means nothing here (`!user` of a
    /// service, `!server` of a token that no server's client asked for) reaches nothing. `inherit` adds nothing here; whoever resolves a
    /// token replaces it by the owner's set.
    pub fn resolve(scopes: &[Scope], whose: Whose<'_>) -> Self {
        let mut set = Self::default();
        for scope in scopes {
            let filter = match (scope.name, &scope.written) {
                ("inherit" | "no_scope", _) => continue,
                ("self", _) => {
                    if let Some(own) = whose.user() {
                        role::SELF.iter().for_each(|name| set.add_with_contained(name, Some(own.clone())));
                    }
                    continue;
                }
                (_, Written::None) => {
                    set.add_with_contained(scope.name, None);
                    continue;
                }
                (_, Written::Given(filter)) => Some(filter.clone()),
                (_, Written::Owner) => whose.user(),
                (_, Written::OwnServer) => whose.server(),
                (_, Written::OwnService) => whose.service(),
            };
            if let Some(filter) = filter {
                set.add_with_contained(scope.name, Some(filter));
            }
        }
        set
    }

    /// What a token may do: what it was given, as far as the owner still holds it, and always who the owner is.
    pub fn for_token(given: &[Scope], whose: Whose<'_>, held: &Self, member: Member<'_>) -> Self {
        let mut set = if given.iter().any(Scope::is_inherit) {
            held.clone()
        } else {
            Self::resolve(given, whose).intersect(held, member)
        };
        match whose.owner {
            Owner::User(name) => {
                for scope in ["read:users:name", "read:users:groups"] {
                    set.add(scope, Some(Filter::User(name.to_owned())));
                }
            }
            Owner::Service(name) => {
                set.add("read:services:name", Some(Filter::Service(name.to_owned())));
            }
        }
        set
    }

    /// Both sets together.
    pub fn union(mut self, other: Self) -> Self {
        for (name, reach) in other.held {
            match reach {
                Reach::All => self.add(name, None),
                Reach::Some(filters) => filters.into_iter().for_each(|f| self.add(name, Some(f))),
            }
        }
        self
    }

    /// What both sets grant.
    pub fn intersect(&self, other: &Self, member: Member<'_>) -> Self {
        let mut out = Self::default();
        for (name, mine) in &self.held {
            match (mine, other.held.get(name)) {
                (_, None) => {}
                (Reach::All, Some(reach)) | (reach, Some(Reach::All)) => {
                    out.held.insert(name, reach.clone());
                }
                (Reach::Some(a), Some(Reach::Some(b))) => {
                    let both: BTreeSet<_> =
                        a.iter().flat_map(|x| b.iter().filter_map(|y| meet(x, y, member))).collect();
                    if !both.is_empty() {
                        out.held.insert(name, Reach::Some(both));
                    }
                }
            }
        }
        out
    }

    /// The first scope of `wanted` that this set does not wholly grant.
    pub fn first_beyond(&self, wanted: &Self, member: Member<'_>) -> Option<String> {
        wanted.held.iter().find_map(|(name, reach)| match (reach, self.held.get(name)) {
            (_, Some(Reach::All)) => None,
            (Reach::All, _) | (_, None) => Some((*name).to_owned()),
            (Reach::Some(want), Some(Reach::Some(have))) => want
                .iter()
                .find(|w| !have.iter().any(|h| meet(w, h, member).as_ref() == Some(*w)))
                .map(|w| format!("{name}!{w}")),
        })
    }

    /// May a caller with this set use `scope` on `target`?
    pub fn access(&self, scope: &str, target: Target<'_>, member: Member<'_>) -> Access {
        match self.held.get(scope) {
            None => Access::Lacking,
            Some(Reach::All) => Access::Granted,
            Some(Reach::Some(_)) if target == Target::List => Access::Granted,
            Some(Reach::Some(filters)) if filters.iter().any(|f| admits(f, target, member)) => {
                Access::Granted
            }
            Some(Reach::Some(_)) => Access::Elsewhere,
        }
    }

    /// How far one scope reaches.
    pub fn reach(&self, scope: &str) -> Option<&Reach> {
        self.held.get(scope)
    }

    /// Every group that some filter names: their members must be known before [`Self::access`] is asked.
    pub fn groups_named(&self) -> BTreeSet<&str> {
        self.held
            .values()
            .filter_map(|r| if let Reach::Some(f) = r { Some(f) } else { None })
            .flatten()
            .filter_map(|f| if let Filter::Group(g) = f { Some(g.as_str()) } else { None })
            .collect()
    }

    /// The set as JupyterHub lists it, sorted.
    pub fn to_strings(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for (name, reach) in &self.held {
            match reach {
                Reach::All => out.push((*name).to_owned()),
                Reach::Some(filters) => out.extend(filters.iter().map(|f| format!("{name}!{f}"))),
            }
        }
        out.sort_unstable();
        out
    }

    fn add_with_contained(&mut self, name: &'static str, filter: Option<Filter>) {
        self.add(name, filter.clone());
        for inner in contained(name) {
            // a server's scope identifies the server's owner
            let filter = match (&filter, *inner) {
                (Some(Filter::Server(user, _)), "read:users:name") => Some(Filter::User(user.clone())),
                _ => filter.clone(),
            };
            self.add_with_contained(inner, filter);
        }
    }

    fn add(&mut self, name: &'static str, filter: Option<Filter>) {
        let reach = self.held.entry(name).or_insert_with(|| Reach::Some(BTreeSet::new()));
        match (reach, filter) {
            (reach, None) => *reach = Reach::All,
            (Reach::All, Some(_)) => {}
            (Reach::Some(filters), Some(filter)) => {
                filters.insert(filter);
            }
        }
    }
}

/// All scopes that exist.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.0)
}

fn known(name: &str) -> Option<&'static str> {
    TABLE.iter().find(|row| row.0 == name).map(|row| row.0)
}

fn contained(name: &str) -> &'static [&'static str] {
    TABLE.iter().find(|row| row.0 == name).map_or(&[], |row| row.1)
}

/// The narrower of two filters, if one lies within the other.
fn meet(a: &Filter, b: &Filter, member: Member<'_>) -> Option<Filter> {
    use Filter as F;
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (F::User(u), s @ F::Server(owner, _)) | (s @ F::Server(owner, _), F::User(u)) => {
            (u == owner).then(|| s.clone())
        }
        (F::Group(g), n @ F::User(u)) | (n @ F::User(u), F::Group(g)) => member(g, u).then(|| n.clone()),
        (F::Group(g), s @ F::Server(u, _)) | (s @ F::Server(u, _), F::Group(g)) => {
            member(g, u).then(|| s.clone())
        }
        _ => None,
    }
}

fn admits(filter: &Filter, target: Target<'_>, member: Member<'_>) -> bool {
    match (filter, target) {
        (Filter::User(u), Target::User(t) | Target::Server(t, _)) => u == t,
        (Filter::Group(g), Target::User(t) | Target::Server(t, _)) => member(g, t),
        (Filter::Group(g), Target::Group(t)) => g == t,
        (Filter::Server(u, s), Target::Server(tu, ts)) => u == tu && s == ts,
        (Filter::Service(s), Target::Service(t)) => s == t,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
