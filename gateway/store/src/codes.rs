//! Authorization codes: digests that may be exchanged for a token once, soon, by the client that asked.

use crate::tokens::{self, NewToken, Token, TokenOwner};
use crate::{Result, Store, from_micros, micros, words};
use carrel_hub::SecretHash;
use carrel_hub::oauth::Challenge;
use rusqlite::{OptionalExtension, Row, params};
use time::OffsetDateTime;

/// Codes of one login that are kept.
const CODES_PER_LOGIN: i64 = 64;
/// Tokens of one login and one client that are kept; an application that signs in again and again loses its oldest.
const TOKENS_PER_LOGIN: i64 = 64;

/// A code as it was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthCode {
    /// Digest of the code.
    pub hash: SecretHash,
    /// The client that asked.
    pub client_id: String,
    /// Who said yes.
    pub user_id: i64,
    /// In which login.
    pub session_id: String,
    /// What the client gets.
    pub scopes: Vec<String>,
    /// The client's proof key, if it sent one.
    pub challenge: Option<Challenge>,
    /// Whether the request named the redirect address, so that the exchange must name it too.
    pub named_address: bool,
    /// Until when it may be exchanged.
    pub expires: OffsetDateTime,
    /// Until when the token holds: as long as the login.
    pub token_ends: OffsetDateTime,
}

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeState {
    /// It may be exchanged.
    Fresh(AuthCode),
    /// It was exchanged before. Whoever comes second may have stolen it (RFC 6749 §4.1.2).
    Used,
    /// Nobody gave it out, or its time is over, or the login it belongs to has ended.
    Unknown,
}

const COLUMNS: &str =
    "hash, client_id, user_id, session_id, scopes, challenge, named_address, expires, token_ends";

impl Store {
    /// Keeps a code; of one login only the latest few.
    pub fn add_code(&mut self, new: &AuthCode) -> Result<()> {
        self.write("keep an authorization code", |tx| {
            tx.execute(
                "DELETE FROM oauth_codes WHERE session_id = ?1 AND hash NOT IN
                 (SELECT hash FROM oauth_codes WHERE session_id = ?1 ORDER BY expires DESC LIMIT ?2)",
                params![new.session_id, CODES_PER_LOGIN - 1],
            )?;
            tx.execute(
                &format!("INSERT INTO oauth_codes ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
                params![
                    new.hash.as_bytes().as_slice(),
                    new.client_id,
                    new.user_id,
                    new.session_id,
                    new.scopes.join(" "),
                    new.challenge.as_ref().map(Challenge::as_str),
                    new.named_address,
                    micros(new.expires),
                    micros(new.token_ends)
                ],
            )
            .map(|_| ())
        })
    }

    /// Looks at a code of a client; another client's code is unknown.
    pub fn code(&self, hash: &SecretHash, client_id: &str, now: OffsetDateTime) -> Result<CodeState> {
        let found = self.read("find an authorization code", |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS}, token_id FROM oauth_codes WHERE hash = ?1 AND client_id = ?2 AND expires > ?3"
            ))?
            .query_row(params![hash.as_bytes().as_slice(), client_id, micros(now)], |row| {
                Ok((from_row(row)?, row.get::<_, Option<i64>>(9)?))
            })
            .optional()
        })?;
        Ok(match found {
            None => CodeState::Unknown,
            Some((_, Some(_))) => CodeState::Used,
            Some((code, None)) => CodeState::Fresh(code),
        })
    }

    /// Exchanges a code for a token. Of two that try, one gets it. Of one login and one client the latest few tokens are kept.
    pub fn redeem_code(
        &mut self,
        code: &AuthCode,
        (hash, prefix): (SecretHash, String),
        client: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Token>> {
        self.write("exchange an authorization code", |tx| {
            let new = NewToken {
                owner: TokenOwner::User(code.user_id),
                hash,
                prefix,
                scopes: code.scopes.clone(),
                note: String::new(),
                created: now,
                expires: Some(code.token_ends),
                session_id: Some(code.session_id.clone()),
                client: client.to_owned(),
                client_id: Some(code.client_id.clone()),
            };
            let token = tokens::insert(tx, &new)?;
            let marked = tx.execute(
                "UPDATE oauth_codes SET token_id = ?2 WHERE hash = ?1 AND token_id IS NULL AND expires > ?3",
                params![code.hash.as_bytes().as_slice(), token.id, micros(now)],
            )?;
            if marked == 1 {
                tx.execute(
                    "DELETE FROM tokens WHERE session_id = ?1 AND client_id = ?2 AND id NOT IN
                     (SELECT id FROM tokens WHERE session_id = ?1 AND client_id = ?2 ORDER BY id DESC LIMIT ?3)",
                    params![code.session_id, code.client_id, TOKENS_PER_LOGIN],
                )?;
                return Ok(Some(token));
            }
            tx.execute("DELETE FROM tokens WHERE id = ?1", [token.id])?;
            Ok(None)
        })
    }

    /// Revokes the token that a used code was exchanged for, and forgets the code.
    pub fn revoke_code(&mut self, hash: &SecretHash) -> Result<()> {
        self.write("revoke what a code was exchanged for", |tx| {
            let key = hash.as_bytes().as_slice();
            tx.execute(
                "DELETE FROM tokens WHERE id = (SELECT token_id FROM oauth_codes WHERE hash = ?1)",
                [key],
            )?;
            tx.execute("DELETE FROM oauth_codes WHERE hash = ?1", [key]).map(|_| ())
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AuthCode> {
    let (hash, scopes): ([u8; 32], String) = (row.get(0)?, row.get(4)?);
    Ok(AuthCode {
        hash: SecretHash::from_bytes(hash),
        client_id: row.get(1)?,
        user_id: row.get(2)?,
        session_id: row.get(3)?,
        scopes: words(&scopes),
        challenge: row.get::<_, Option<String>>(5)?.map(Challenge::kept),
        named_address: row.get(6)?,
        expires: from_micros(row.get(7)?),
        token_ends: from_micros(row.get(8)?),
    })
}
