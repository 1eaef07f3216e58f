//! OAuth clients: who may send people here to sign in, and what that gives them.

use crate::{Result, Store};
use carrel_hub::oauth::RedirectUri;
use carrel_hub::{Issuer, SecretHash, ServerName, ServiceName, UserName};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// A client to be registered, or to take the place of the one with its id.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// `service-{name}`, `jupyterhub-user-{name}` or `jupyterhub-user-{name}-{server}`.
    pub id: String,
    /// Digest of its secret: a service's API token, a server's API token.
    pub hash: SecretHash,
    /// Where people are sent back to.
    pub redirect_uri: RedirectUri,
    /// For people: "Server at /user/ada/".
    pub description: String,
    /// Scopes it may ask for besides who the person is and access to itself.
    pub scopes: Vec<String>,
    /// Whether people are not asked.
    pub no_confirm: bool,
    /// What it stands for.
    pub of: ClientOf,
}

/// What a client stands for, by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientOf {
    /// A user's server. Its owner is not asked; others who may use it are.
    Server {
        /// The user's row.
        user_id: i64,
        /// The server.
        server: ServerName,
    },
    /// A service's row.
    Service(i64),
}

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// Its id.
    pub id: String,
    /// Digest of its secret; compared in constant time.
    pub hash: SecretHash,
    /// Where people are sent back to.
    pub redirect_uri: RedirectUri,
    /// For people.
    pub description: String,
    /// Scopes it may ask for.
    pub scopes: Vec<String>,
    /// Whether people are not asked.
    pub no_confirm: bool,
    /// What it stands for.
    pub stands_for: StandsFor,
}

/// What a client stands for, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandsFor {
    /// A user's server.
    Server {
        /// The user's row.
        user_id: i64,
        /// The user.
        user: UserName,
        /// The server.
        server: ServerName,
    },
    /// A service.
    Service(ServiceName),
}

impl StandsFor {
    /// The same, as scopes are resolved with it.
    pub fn issuer(&self) -> Issuer<'_> {
        match self {
            Self::Server { user, server, .. } => Issuer::Server(user.as_str(), server.as_str()),
            Self::Service(name) => Issuer::Service(name.as_str()),
        }
    }
}

impl Store {
    /// Registers a client. One with its id is replaced; tokens that were issued to that one stay as they are.
    pub fn put_client(&mut self, new: &NewClient) -> Result<()> {
        self.write("register an OAuth client", |tx| put(tx, new))
    }

    /// Removes a client with its codes and all tokens that were issued to it.
    pub fn delete_client(&mut self, id: &str) -> Result<bool> {
        self.write("remove an OAuth client", |tx| {
            Ok(tx.execute("DELETE FROM oauth_clients WHERE id = ?1", [id])? > 0)
        })
    }

    /// One client.
    pub fn client(&self, id: &str) -> Result<Option<OAuthClient>> {
        self.read("find an OAuth client", |db| {
            db.prepare_cached(
                "SELECT c.id, c.hash, c.redirect_uri, c.description, c.scopes, c.no_confirm, c.user_id, u.name, c.server, s.name
                 FROM oauth_clients c LEFT JOIN users u ON u.id = c.user_id LEFT JOIN services s ON s.id = c.service_id
                 WHERE c.id = ?1",
            )?
            .query_row([id], from_row)
            .optional()
        })
    }
}

pub(crate) fn put(tx: &Transaction<'_>, new: &NewClient) -> rusqlite::Result<()> {
    let (user_id, server, service_id) = match &new.of {
        ClientOf::Server { user_id, server } => (Some(*user_id), Some(server.as_str()), None),
        ClientOf::Service(id) => (None, None, Some(*id)),
    };
    // a code was asked for with the address that was registered then
    tx.execute(
        "DELETE FROM oauth_codes WHERE client_id = (SELECT id FROM oauth_clients WHERE id = ?1 AND redirect_uri <> ?2)",
        params![new.id, new.redirect_uri.as_str()],
    )?;
    tx.execute(
        "INSERT INTO oauth_clients (id, hash, redirect_uri, description, scopes, no_confirm, user_id, server, service_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET hash = ?2, redirect_uri = ?3, description = ?4, scopes = ?5, no_confirm = ?6,
           user_id = ?7, server = ?8, service_id = ?9",
        params![
            new.id,
            new.hash.as_bytes().as_slice(),
            new.redirect_uri.as_str(),
            new.description,
            new.scopes.join(" "),
            new.no_confirm,
            user_id,
            server,
            service_id
        ],
    )
    .map(|_| ())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<OAuthClient> {
    let hash: [u8; 32] = row.get(1)?;
    let uri: String = row.get(2)?;
    let scopes: String = row.get(4)?;
    let service: Option<String> = row.get(9)?;
    let stands_for = match service {
        Some(name) => StandsFor::Service(ServiceName::parse(&name).map_err(|e| broken(9, e))?),
        None => {
            let (user, server): (String, String) = (row.get(7)?, row.get(8)?);
            StandsFor::Server {
                user_id: row.get(6)?,
                user: UserName::parse(&user).map_err(|e| broken(7, e))?,
                server: ServerName::parse(&server).map_err(|e| broken(8, e))?,
            }
        }
    };
    Ok(OAuthClient {
        id: row.get(0)?,
        hash: SecretHash::from_bytes(hash),
        redirect_uri: RedirectUri::parse(&uri).map_err(|e| broken(2, e))?,
        description: row.get(3)?,
        scopes: crate::words(&scopes),
        no_confirm: row.get(5)?,
        stands_for,
    })
}

fn broken(column: usize, e: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e))
}
