//! Local accounts: passwords as argon2id hashes, the same work for names that exist and names that do not, and a throttle.

use crate::clock::Clock;
use crate::config::AuthSettings;
use crate::error::{Error, Result};
use crate::store::StoreHandle;
use crate::throttle::{Rules, Throttle};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use carrel_hub::UserName;
use carrel_store::User;
use std::sync::{Arc, OnceLock};
use time::Duration;
use tokio::sync::Semaphore;

/// One hash takes this much memory, in KiB (OWASP's second choice: 19 MiB, two passes).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes computed at once; more logins wait for their turn.
const AT_ONCE: usize = 4;
/// Longer passwords are refused before any work.
pub const MAX_PASSWORD: usize = 1024;

/// Checks passwords. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts {
    store: StoreHandle,
    clock: Clock,
    throttle: Arc<Throttle>,
    turns: Arc<Semaphore>,
}

impl Accounts {
    /// Accounts of this store.
    pub fn new(store: StoreHandle, clock: Clock, settings: &AuthSettings) -> Self {
        let throttle = Throttle::new(Rules {
            per_name: settings.tries_per_name,
            per_address: settings.tries_per_address,
            wait: Duration::seconds(i64::try_from(settings.wait_seconds).unwrap_or(60)),
        });
        Self { store, clock, throttle: Arc::new(throttle), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The user with this name and password, or `None`. Too many failures are [`Error::TooMany`].
    pub async fn check(&self, name: &str, password: &str, address: &str) -> Result<Option<User>> {
        let now = self.clock.now();
        if let Some(wait) = self.throttle.wait(name, address, now) {
            let seconds = u64::try_from(wait.whole_seconds().max(0)).unwrap_or(0) + 1;
            let message = format!("Too many failed attempts. Try again in {seconds} seconds.");
            return Err(Error::TooMany { message, retry_after: seconds });
        }
        self.throttle.count(name, address, now);
        let wanted = UserName::parse(name).ok();
        let found = match wanted {
            Some(wanted) => {
                self.store
                    .call(move |s| match s.user(&wanted)? {
                        Some(user) => Ok(s.password_hash(user.id)?.map(|hash| (user, hash))),
                        None => Ok(None),
                    })
                    .await?
            }
            None => None,
        };
        let (user, hash) = found.unzip();
        let too_long = password.len() > MAX_PASSWORD;
        let password = if too_long { String::new() } else { password.to_owned() };
        let right = self.on_the_side(move || verify(&password, hash.as_deref())).await?;
        match user {
            Some(user) if right && !too_long => {
                self.throttle.forgive(name, address);
                Ok(Some(user))
            }
            _ => Ok(None),
        }
    }

    async fn on_the_side<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Error::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let value = work();
            drop(turn);
            value
        });
        done.await.map_err(|e| Error::internal(format!("hashing a password panicked: {e}")))
    }
}

/// Hashes a password for the store.
pub fn hash(password: &str) -> std::result::Result<String, String> {
    hasher()
        .and_then(|h| h.hash_password(password.as_bytes()).map_err(|e| e.to_string()))
        .map(|h: PasswordHash| h.to_string())
}

/// Why a password may not be set; `None` if it may.
pub fn objection(password: &str, min: usize) -> Option<String> {
    if password.chars().count() < min {
        return Some(format!("the password must have at least {min} characters"));
    }
    (password.len() > MAX_PASSWORD).then(|| format!("the password must have at most {MAX_PASSWORD} bytes"))
}

/// A password that a person can type.
pub fn random_password() -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random: [u8; 16] = rand::random();
    // 32 letters: five bits of each byte, no bias
    let text: Vec<char> =
        random.iter().filter_map(|b| LETTERS.get(usize::from(b & 31))).map(|b| char::from(*b)).collect();
    text.chunks(4).map(|c| c.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

fn verify(password: &str, hash: Option<&str>) -> bool {
    let hash = match hash {
        Some(hash) => hash,
        None => dummy_hash(),
    };
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    hasher().is_ok_and(|h| h.verify_password(password.as_bytes(), &parsed).is_ok())
}

fn hasher() -> std::result::Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|e| e.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A hash that no password fits, so that unknown names cost the same time.
fn dummy_hash() -> &'static str {
    static DUMMY: OnceLock<String> = OnceLock::new();
    DUMMY.get_or_init(|| hash(&format!("{:032x}", rand::random::<u128>())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_store::Store;
    use time::macros::datetime;

    async fn accounts() -> Accounts {
        let clock = Clock::held(datetime!(2026-01-01 00:00 UTC));
        let store = StoreHandle::start(Store::in_memory().unwrap()).unwrap();
        let now = clock.now();
        let hash = hash("right password").unwrap();
        store
            .call(move |s| {
                let user = s.add_users(&[UserName::parse("ada").unwrap()], false, now)?.remove(0);
                s.add_users(&[UserName::parse("nopass").unwrap()], false, now)?;
                s.set_password_hash(user.id, &hash, now)
            })
            .await
            .unwrap();
        Accounts::new(store, clock, &AuthSettings { tries_per_name: 3, ..AuthSettings::default() })
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_is_taken() {
        let a = accounts().await;
        for (name, password, right) in [
            ("ada", "right password", true),
            ("Ada", "right password", true),
            ("ada", "wrong", false),
            ("bob", "right password", false),
            ("nopass", "", false),
            ("", "", false),
            ("a/b", "right password", false),
            ("ada", &"x".repeat(2000), false),
        ] {
            assert_eq!(a.check(name, password, "::1").await.unwrap().is_some(), right, "{name:?}");
        }
    }

    #[tokio::test]
    async fn after_too_many_failures_even_the_right_password_must_wait() {
        let a = accounts().await;
        for _ in 0..3 {
            assert!(a.check("ada", "guess", "::1").await.unwrap().is_none());
        }
        let Err(Error::TooMany { message, retry_after }) = a.check("ada", "right password", "::1").await
        else {
            panic!("not throttled")
        };
        assert!(message.contains("seconds") && retry_after > 0);
        a.clock.advance(Duration::seconds(61));
        assert!(a.check("ada", "right password", "::1").await.unwrap().is_some());
    }

    #[test]
    fn passwords_are_random_and_long() {
        let (a, b) = (random_password(), random_password());
        assert!(a != b && a.len() == 19 && a.matches('-').count() == 3, "{a}");
        assert!(objection(&a, 8).is_none() && objection("short", 8).is_some());
    }
}
