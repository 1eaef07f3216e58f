//! Whose a token is and who asked for it: what bare filters (`!user`, `!server`, `!service`) mean.

use super::Filter;

/// Whose scopes are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose<'a> {
    /// The owner.
    pub owner: Owner<'a>,
    /// The OAuth client that asked for the token, if one did.
    pub issuer: Option<Issuer<'a>>,
}

/// Who owns a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A user, by name.
    User(&'a str),
    /// A service, by name.
    Service(&'a str),
}

/// What an OAuth client stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer<'a> {
    /// A user's server: the user's name and the server's.
    Server(&'a str, &'a str),
    /// A service.
    Service(&'a str),
}

impl<'a> Whose<'a> {
    /// A user's, asked for by no client.
    pub fn of_user(name: &'a str) -> Self {
        Self { owner: Owner::User(name), issuer: None }
    }

    /// A service's own.
    pub fn of_service(name: &'a str) -> Self {
        Self { owner: Owner::Service(name), issuer: None }
    }

    /// What `!user` means.
    pub(super) fn user(&self) -> Option<Filter> {
        match self.owner {
            Owner::User(name) => Some(Filter::User(name.to_owned())),
            Owner::Service(_) => None,
        }
    }

    /// What `!server` means.
    pub(super) fn server(&self) -> Option<Filter> {
        match self.issuer {
            Some(Issuer::Server(user, server)) => Some(Filter::Server(user.to_owned(), server.to_owned())),
            _ => None,
        }
    }

    /// What `!service` means: the service that asked for the token, else the one that owns it.
    pub(super) fn service(&self) -> Option<Filter> {
        match (self.issuer, self.owner) {
            (Some(Issuer::Service(name)), _) | (None, Owner::Service(name)) => {
                Some(Filter::Service(name.to_owned()))
            }
            _ => None,
        }
    }
}

impl Issuer<'_> {
    /// The scope that opens what the client stands for.
    pub fn access_scope(&self) -> String {
        match self {
            Self::Server(user, server) => format!("access:servers!server={user}/{server}"),
            Self::Service(name) => format!("access:services!service={name}"),
        }
    }
}
