//! Services: programs that the hub knows by name, from the configuration or made through the API.

use crate::clients::{self, ClientOf, NewClient};
use crate::tokens::{self, NewToken, TokenOwner};
use crate::{Result, Store, from_micros, micros};
use carrel_hub::oauth::RedirectUri;
use carrel_hub::{SecretHash, ServiceName};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Row number.
    pub id: i64,
    /// Its name.
    pub name: ServiceName,
    /// Whether it comes from the configuration; the API leaves such a one alone.
    pub configured: bool,
    /// Whether it holds the admin role.
    pub admin: bool,
    /// Where its pages are fetched from.
    pub url: Option<String>,
    /// Whether people are shown it.
    pub display: bool,
    /// Whatever its maker wants to be told about it.
    pub info: Map<String, Value>,
    /// When it was made.
    pub created: OffsetDateTime,
}

/// A service to be made.
#[derive(Debug, Clone)]
pub struct NewService {
    /// Its name.
    pub name: ServiceName,
    /// Whether it holds the admin role.
    pub admin: bool,
    /// Where its pages are fetched from.
    pub url: Option<String>,
    /// Whether people are shown it.
    pub display: bool,
    /// Whatever its maker wants to be told about it.
    pub info: Map<String, Value>,
    /// Digest and first characters of its API token.
    pub token: Option<(SecretHash, String)>,
    /// Its OAuth client, whose secret is its API token.
    pub client: Option<ServiceClient>,
}

/// How a service lets people sign in.
#[derive(Debug, Clone)]
pub struct ServiceClient {
    /// The client's id.
    pub id: String,
    /// Where people are sent back to.
    pub redirect_uri: RedirectUri,
    /// Scopes it may ask for.
    pub scopes: Vec<String>,
    /// Whether people are not asked.
    pub no_confirm: bool,
}

const COLUMNS: &str = "id, name, configured, admin, url, display, info, created";

impl Store {
    /// All services, by name.
    pub fn services(&self) -> Result<Vec<Service>> {
        self.read("list services", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM services ORDER BY name"))?
                .query_map([], from_row)?
                .collect()
        })
    }

    /// One service.
    pub fn service(&self, name: &ServiceName) -> Result<Option<Service>> {
        self.read("find a service", |db| find(db, name))
    }

    /// One service by row number.
    pub fn service_by_id(&self, id: i64) -> Result<Option<Service>> {
        self.read("find a service", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM services WHERE id = ?1"))?
                .query_row([id], from_row)
                .optional()
        })
    }

    /// Makes a service with its token and its OAuth client. A taken name, token or client id is [`crate::Error::Conflict`].
    pub fn add_service(&mut self, new: &NewService, now: OffsetDateTime) -> Result<Option<Service>> {
        self.write("make a service", |tx| {
            insert(tx, new, false, now)?;
            find(tx, &new.name)
        })
    }

    /// Makes the configured services what the configuration says: new ones are made, changed ones changed, others removed with their tokens.
    /// A service that was made through the API gives way to a configured one of its name. What stays the same keeps what was issued to it.
    pub fn set_configured_services(&mut self, wanted: &[NewService], now: OffsetDateTime) -> Result<()> {
        self.write("set the configured services", |tx| {
            let names: Vec<&str> = wanted.iter().map(|s| s.name.as_str()).collect();
            for old in all(tx)? {
                let goes = match names.contains(&old.name.as_str()) {
                    true => !old.configured,
                    false => old.configured,
                };
                if goes {
                    tx.execute("DELETE FROM services WHERE id = ?1", [old.id])?;
                }
            }
            // first all old tokens, so that two services may exchange theirs
            tx.execute(
                "DELETE FROM tokens WHERE service_id IN (SELECT id FROM services WHERE configured)",
                [],
            )?;
            wanted.iter().try_for_each(|new| insert(tx, new, true, now))
        })
    }

    /// Removes a service with its tokens and its client.
    pub fn delete_service(&mut self, id: i64) -> Result<bool> {
        self.write("delete a service", |tx| Ok(tx.execute("DELETE FROM services WHERE id = ?1", [id])? > 0))
    }
}

fn insert(
    tx: &Transaction<'_>,
    new: &NewService,
    configured: bool,
    now: OffsetDateTime,
) -> rusqlite::Result<()> {
    let info = Value::Object(new.info.clone()).to_string();
    let update = if configured {
        "ON CONFLICT (name) DO UPDATE SET admin = ?3, url = ?4, display = ?5, info = ?6"
    } else {
        ""
    };
    tx.execute(
        &format!(
            "INSERT INTO services (name, configured, admin, url, display, info, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) {update}"
        ),
        params![new.name.as_str(), configured, new.admin, new.url, new.display, info, micros(now)],
    )?;
    let id: i64 =
        tx.query_row("SELECT id FROM services WHERE name = ?1", [new.name.as_str()], |r| r.get(0))?;
    if let Some((hash, prefix)) = &new.token {
        let token = NewToken {
            owner: TokenOwner::Service(id),
            hash: *hash,
            prefix: prefix.clone(),
            scopes: vec!["inherit".into()],
            note: "the service's own".into(),
            created: now,
            expires: None,
            session_id: None,
            client: "JupyterHub".into(),
            client_id: None,
        };
        tokens::insert(tx, &token)?;
    }
    let kept = new.client.as_ref().map(|c| c.id.as_str());
    tx.execute("DELETE FROM oauth_clients WHERE service_id = ?1 AND id IS NOT ?2", params![id, kept])?;
    let (Some(client), Some((hash, _))) = (&new.client, &new.token) else { return Ok(()) };
    let taken: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM oauth_clients WHERE id = ?1 AND service_id IS NOT ?2)",
        params![client.id, id],
        |r| r.get(0),
    )?;
    if taken {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY),
            Some(format!("the OAuth client {} is another's", client.id)),
        ));
    }
    let client = NewClient {
        id: client.id.clone(),
        hash: *hash,
        redirect_uri: client.redirect_uri.clone(),
        description: format!("JupyterHub service {}", new.name),
        scopes: client.scopes.clone(),
        no_confirm: client.no_confirm,
        of: ClientOf::Service(id),
    };
    clients::put(tx, &client)
}

fn all(db: &Connection) -> rusqlite::Result<Vec<Service>> {
    db.prepare(&format!("SELECT {COLUMNS} FROM services"))?.query_map([], from_row)?.collect()
}

fn find(db: &Connection, name: &ServiceName) -> rusqlite::Result<Option<Service>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM services WHERE name = ?1"))?
        .query_row([name.as_str()], from_row)
        .optional()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Service> {
    let (name, info): (String, String) = (row.get(1)?, row.get(6)?);
    let broken = |column, e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e)
    };
    Ok(Service {
        id: row.get(0)?,
        name: ServiceName::parse(&name).map_err(|e| broken(1, Box::new(e)))?,
        configured: row.get(2)?,
        admin: row.get(3)?,
        url: row.get(4)?,
        display: row.get(5)?,
        info: serde_json::from_str(&info).map_err(|e| broken(6, Box::new(e)))?,
        created: from_micros(row.get(7)?),
    })
}
