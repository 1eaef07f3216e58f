//! The life of a user's classic server: token, jail, first answer, end. What it means for the server's state is in [`crate::servers`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use carrel_hub::oauth::RedirectUri;
use carrel_hub::role::Role;
use carrel_hub::{Secret, ServerName};
use carrel_spawnd::{JailId, JailInfo, Limits, Profile, RelPath, Start};
use carrel_store::{ClientOf, NewClient, NewToken, TokenOwner, User};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::environment::{self, ClassicFacts, base_of};
use super::{Jailed, Running, told, wire};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::settings::CLASSIC_PORT;
use crate::store::StoreHandle;
use crate::user::jail_user;

/// Where it is kept which token a server has.
const KIND: &str = "classic-token";
/// Between two questions whether it answers, and how long an answer may take.
const ASK_EVERY: Duration = Duration::from_millis(150);
const ANSWER: Duration = Duration::from_secs(10);

/// The word in a server's options that asks for one.
pub const OPTION: &str = "profile";
/// Its value.
pub const NAME: &str = "classic";

/// Starts and ends them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Classic {
    config: Arc<Config>,
    store: StoreHandle,
    clock: Clock,
    jailed: Jailed,
}

/// Whether a server's options ask for a classic one.
///
/// # Errors
/// When they ask for something that does not exist.
pub fn is_wanted(options: &Map<String, Value>) -> Result<bool> {
    match options.get(OPTION) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(word)) if word == NAME => Ok(true),
        Some(Value::String(word)) if word.is_empty() || word == "carrel" => Ok(false),
        Some(other) => Err(Error::Malformed(format!("profile is \"carrel\" or \"{NAME}\", not {other}"))),
    }
}

/// Its jail. Two servers never share one, whatever they are called.
pub fn jail_id(folder: &carrel_spawnd::UserName, server: &ServerName) -> Result<JailId> {
    let digest = Sha256::new().chain_update(folder.as_str()).chain_update([0]).chain_update(server.as_str());
    let hex: String = digest.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    format!("c-{hex}").parse().map_err(Error::internal)
}

impl Classic {
    /// None run yet.
    #[must_use]
    pub fn new(config: Arc<Config>, store: StoreHandle, clock: Clock, jailed: Jailed) -> Self {
        Self { config, store, clock, jailed }
    }

    /// Whether this user may have one.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn allows(&self, user: &User) -> Result<bool> {
        if !self.config.classic.enabled {
            return Ok(false);
        }
        let id = user.id;
        let groups = self.store.call(move |s| s.groups_of(id)).await?;
        Ok(self.config.classic.allows(&user.name, &groups))
    }

    /// Demands that this user may have one.
    ///
    /// # Errors
    /// When not.
    pub async fn admit(&self, user: &User) -> Result<()> {
        if self.allows(user).await? {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "{} may not have a server of the profile \"{NAME}\"; an administrator allows it under [classic] in carrel.toml",
            user.name
        )))
    }

    /// The one that runs for this server.
    pub fn find(&self, user: &User, server: &ServerName) -> Result<Option<Running>> {
        Ok(self.jailed.find(&jail_id(&jail_user(user)?, server)?))
    }

    /// Starts one and waits until it answers. A failure leaves nothing.
    ///
    /// # Errors
    /// When it cannot be started or does not answer in time; with what it wrote last.
    pub async fn launch(&self, user: &User, server: &ServerName) -> Result<Running> {
        let done = self.try_to(user, server).await;
        if done.is_err() {
            self.finish(user, server).await?;
        }
        done
    }

    async fn try_to(&self, user: &User, server: &ServerName) -> Result<Running> {
        let folder = jail_user(user)?;
        let id = jail_id(&folder, server)?;
        let groups = crate::kernels::groups::of(&self.store, &folder).await?;
        let limits = self.limits(&folder, &groups);
        let token = self.new_token(user, server).await?;
        let environment = environment::classic(ClassicFacts {
            user: &user.name,
            server,
            token: &token,
            port: CLASSIC_PORT,
            default_path: &self.config.hub.default_path,
            activity_seconds: self.config.classic.activity_seconds,
            limits: &limits,
        });
        let start = Start {
            user: folder,
            id: id.clone(),
            profile: Profile::Classic,
            kernelspec: None,
            cwd: RelPath::home(),
            groups,
        };
        let running = match self.jailed.start(start.clone(), &speaker(user, server), &environment).await {
            // One that a gateway before this one had begun and nobody knows.
            Err(Error::Conflict(_)) => {
                self.jailed.end(&id).await;
                self.jailed.start(start, &speaker(user, server), &environment).await?
            }
            done => done?,
        };
        self.until_it_answers(&running, &base_of(&user.name, server)).await?;
        Ok(running)
    }

    async fn until_it_answers(&self, running: &Running, base: &str) -> Result<()> {
        let patience = Duration::from_secs(self.config.classic.start_seconds);
        let begun = Instant::now();
        let path = format!("{base}api");
        let over = wire::watch(&running.socket);
        let mut over = std::pin::pin!(over);
        let failed = |why: String| Error::Upstream {
            outside: format!("the server did not start: {why}"),
            inside: format!("classic server {}: {why}", running.id),
        };
        loop {
            let asked = tokio::time::timeout(ANSWER, self.jailed.forwarder().answers(&running.id, &path));
            tokio::select! {
                _ = over.as_mut() => {
                    let exit = self.jailed.end(&running.id).await;
                    return Err(failed(told(exit.as_ref())));
                }
                answered = asked => if answered.unwrap_or(false) {
                    return Ok(());
                },
            }
            if begun.elapsed() >= patience {
                let exit = self.jailed.end(&running.id).await;
                let lines = exit.map(|exit| exit.lines.join("\n")).unwrap_or_default();
                let seconds = patience.as_secs();
                return Err(failed(format!("it did not answer within {seconds} s; it wrote last:\n{lines}")));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Ends one, and what was made for it. Gives why it had ended, for people.
    ///
    /// # Errors
    /// When its token cannot be revoked.
    pub async fn finish(&self, user: &User, server: &ServerName) -> Result<String> {
        let exit = self.jailed.end(&jail_id(&jail_user(user)?, server)?).await;
        self.revoke(user, server).await?;
        Ok(told(exit.as_ref()))
    }

    /// Takes over one that outlived the gateway before.
    ///
    /// # Errors
    /// When its socket cannot be had.
    pub async fn adopt(&self, user: &User, server: &ServerName, jail: JailInfo) -> Result<Running> {
        self.jailed.open(jail.id, jail.socket, &speaker(user, server)).await
    }

    /// Ends a jail that belongs to no server.
    pub async fn discard(&self, id: &JailId) {
        self.jailed.end(id).await;
    }

    async fn new_token(&self, user: &User, server: &ServerName) -> Result<Secret> {
        self.revoke(user, server).await?;
        let secret = Secret::from_random(rand::random());
        let now = self.clock.now();
        let base = base_of(&user.name, server);
        let client = NewClient {
            id: environment::client_id(&user.name, server),
            // Its own token is its secret.
            hash: secret.hash(),
            redirect_uri: RedirectUri::parse(&format!("{base}oauth_callback")).map_err(Error::internal)?,
            description: format!("Server at {base}"),
            scopes: Vec::new(),
            no_confirm: false,
            of: ClientOf::Server { user_id: user.id, server: server.clone() },
        };
        let new = NewToken {
            owner: TokenOwner::User(user.id),
            hash: secret.hash(),
            prefix: secret.prefix(),
            scopes: Role::of_server(user.name.as_str(), server.as_str()),
            note: format!("Server at {base}"),
            created: now,
            expires: None,
            session_id: None,
            client: "JupyterHub".into(),
            client_id: None,
        };
        let (name, key) = (user.name.clone(), key_of(server));
        self.store
            .call(move |s| {
                s.put_client(&client)?;
                let token = s.add_token(&new)?;
                s.kv_put(&name, KIND, &key, &token.id.to_string(), now)
            })
            .await?;
        Ok(secret)
    }

    async fn revoke(&self, user: &User, server: &ServerName) -> Result<()> {
        let (id, name, key) = (user.id, user.name.clone(), key_of(server));
        let client = environment::client_id(&user.name, server);
        self.store
            .call(move |s| {
                s.delete_client(&client)?;
                let kept = s.kv_get(&name, KIND, &key)?;
                if let Some(token) = kept.and_then(|entry| entry.value.parse().ok()) {
                    s.delete_token(id, token)?;
                }
                s.kv_delete(&name, KIND, &key).map(|_| ())
            })
            .await
    }

    fn limits(&self, user: &carrel_spawnd::UserName, groups: &[carrel_spawnd::GroupName]) -> Limits {
        // It was checked when the configuration was read.
        let tables = crate::config::limits::tables(&self.config.limits, &self.config.limit_rules);
        tables.unwrap_or_default().of_jail(carrel_spawnd::limits::JailKind::Classic, user, groups)
    }
}

/// Returns when the server is over.
pub async fn over(running: &Running) {
    tokio::select! {
        _ = wire::watch(&running.socket) => {}
        () = running.over.cancelled() => {}
    }
}

fn speaker(user: &User, server: &ServerName) -> String {
    format!("{}/{server}", user.name)
}

fn key_of(server: &ServerName) -> String {
    format!("/{server}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_ask_for_one_or_not_or_for_nonsense() {
        let wanted = |value: Value| is_wanted(value.as_object().unwrap());
        assert!(wanted(json!({"profile": "classic", "other": 1})).unwrap());
        for ours in
            [json!({}), json!({"profile": "carrel"}), json!({"profile": ""}), json!({"profile": null})]
        {
            assert!(!wanted(ours).unwrap());
        }
        assert!(wanted(json!({"profile": "docker"})).unwrap_err().to_string().contains("\"docker\""));
        assert!(wanted(json!({"profile": 1})).is_err());
    }

    #[test]
    fn every_server_has_a_jail_of_its_own() {
        let id = |user: &str, server: &str| {
            jail_id(&user.parse().unwrap(), &ServerName::parse(server).unwrap()).unwrap()
        };
        assert_eq!(id("ada", ""), id("ada", ""));
        assert_ne!(id("ada", "b"), id("adab", ""));
        assert!(id("ada", "gpu").as_str().len() <= 64);
    }
}
