//! The life of services with a command: each in a jail of its own, under an account of its own, started again when it dies, with pauses that grow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carrel_hub::{Secret, ServiceName};
use carrel_spawnd::{JailId, JailInfo, Profile, RelPath, Start};
use carrel_store::ServiceClient;
use sha2::{Digest, Sha256};

use super::environment::{self, Environment, ServiceFacts};
use super::{Jailed, Running, classic, told};
use crate::error::{Error, Result, chain};
use crate::lifecycle::Lifecycle;
use crate::spawnd::SpawndHandle;

/// The pause after a first end, the longest one, and how long a service must live for its ends to be forgotten.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const STABLE: Duration = Duration::from_secs(60);
/// Readable characters of a name in an account's.
const READABLE: usize = 30;

/// A service with a command.
#[derive(Debug, Clone)]
pub struct Managed {
    /// Its name.
    pub name: ServiceName,
    account: carrel_spawnd::UserName,
    jail: JailId,
    environment: Environment,
}

impl Managed {
    /// One that has this token, pages at this port of its own loopback, and this OAuth client.
    ///
    /// # Errors
    /// When the name cannot be an account's; none that was checked is such a one.
    pub fn new(
        name: ServiceName,
        token: &Secret,
        port: Option<u16>,
        client: Option<&ServiceClient>,
    ) -> std::result::Result<Self, String> {
        let environment = environment::service(ServiceFacts { name: &name, token, port, client });
        let account = account(&name)?;
        let jail = jail_id(&name)?;
        Ok(Self { name, account, jail, environment })
    }
}

/// The account that spawnd knows a service by. It ends as no plain user's folder may (`UserName::escaped`), so no user ever has it.
///
/// # Errors
/// Never for a checked name.
pub fn account(name: &ServiceName) -> std::result::Result<carrel_spawnd::UserName, String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let readable: String = name.as_str().chars().map(plain).take(READABLE).collect();
    let digest = digest(name);
    format!("service-{readable}--{}", digest.get(..20).unwrap_or(&digest)).parse().map_err(|e| format!("{e}"))
}

fn jail_id(name: &ServiceName) -> std::result::Result<JailId, String> {
    let digest = digest(name);
    format!("s-{}", digest.get(..40).unwrap_or(&digest)).parse().map_err(|e| format!("{e}"))
}

fn digest(name: &ServiceName) -> String {
    let digest = Sha256::new().chain_update("service\0").chain_update(name.as_str()).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    jailed: Jailed,
    spawnd: SpawndHandle,
    lifecycle: Lifecycle,
    managed: Arc<HashMap<ServiceName, Managed>>,
}

impl Services {
    /// None runs yet.
    #[must_use]
    pub fn new(jailed: Jailed, spawnd: SpawndHandle, lifecycle: Lifecycle, managed: Vec<Managed>) -> Self {
        let managed = managed.into_iter().map(|managed| (managed.name.clone(), managed)).collect();
        Self { jailed, spawnd, lifecycle, managed: Arc::new(managed) }
    }

    /// The jail that answers for a service, if it is one of these.
    #[must_use]
    pub fn jail_of(&self, name: &ServiceName) -> Option<&JailId> {
        self.managed.get(name).map(|managed| &managed.jail)
    }

    /// Takes over those that outlived the gateway before, ends those that are no longer configured, and keeps all running from now on.
    ///
    /// # Errors
    /// When spawnd cannot be asked.
    pub async fn run(&self) -> Result<()> {
        let jails = self.spawnd.list().await?;
        let theirs = jails.into_iter().filter(|jail| jail.profile == Profile::Service);
        let mut found: HashMap<JailId, JailInfo> = theirs.map(|jail| (jail.id.clone(), jail)).collect();
        for managed in self.managed.values() {
            let (me, managed, adopted) = (self.clone(), managed.clone(), found.remove(&managed.jail));
            tokio::spawn(async move { me.keep(&managed, adopted).await });
        }
        for id in found.into_keys() {
            tracing::info!(jail.id = %id, "a service that is no longer configured is ended");
            self.jailed.end(&id).await;
        }
        Ok(())
    }

    /// Ends them with the program. (Those of a gateway that is killed are found again.)
    pub async fn shutdown(&self) {
        let ends = self.managed.values().map(|managed| self.jailed.end(&managed.jail));
        futures::future::join_all(ends).await;
    }

    async fn keep(&self, managed: &Managed, mut adopted: Option<JailInfo>) {
        let mut pause = FIRST;
        loop {
            let begun = Instant::now();
            let started = match adopted.take() {
                Some(jail) => self.jailed.open(jail.id, jail.socket, &speaker(managed)).await,
                None => self.start(managed).await,
            };
            match started {
                Ok(running) => {
                    tracing::info!(service.name = %managed.name, jail.id = %running.id, "service started");
                    tokio::select! {
                        () = classic::over(&running) => {}
                        () = self.lifecycle.token().cancelled() => return,
                    }
                    let exit = self.jailed.end(&managed.jail).await;
                    tracing::warn!(service.name = %managed.name, why = told(exit.as_ref()), "service ended");
                }
                Err(error) => {
                    tracing::warn!(service.name = %managed.name, error = chain(&error), "service cannot be started");
                }
            }
            let wait = pause_after(&mut pause, begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.lifecycle.token().cancelled() => return,
            }
        }
    }

    async fn start(&self, managed: &Managed) -> Result<Running> {
        let start = Start {
            user: managed.account.clone(),
            id: managed.jail.clone(),
            profile: Profile::Service,
            kernelspec: None,
            cwd: RelPath::home(),
            groups: Vec::new(),
        };
        match self.jailed.start(start.clone(), &speaker(managed), &managed.environment).await {
            Err(Error::Conflict(_)) => {
                self.jailed.end(&managed.jail).await;
                self.jailed.start(start, &speaker(managed), &managed.environment).await
            }
            done => done,
        }
    }
}

fn speaker(managed: &Managed) -> String {
    format!("service {}", managed.name)
}

/// How long to wait after an end; twice as long after the next, unless it then lives for a while.
fn pause_after(pause: &mut Duration, lived: Duration) -> Duration {
    if lived >= STABLE {
        *pause = FIRST;
    }
    let now = *pause;
    *pause = (*pause * 2).min(LONGEST);
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_hub::UserName;

    #[test]
    fn pauses_grow_and_are_forgotten_after_a_while_alive() {
        let mut pause = FIRST;
        let short = Duration::from_millis(10);
        let waits: Vec<u64> = (0..8).map(|_| pause_after(&mut pause, short).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause_after(&mut pause, STABLE).as_secs(), 1);
        assert_eq!(pause_after(&mut pause, short).as_secs(), 2);
    }

    #[test]
    fn a_service_s_account_is_no_user_s_folder() {
        let of = |name: &str| account(&ServiceName::parse(name).unwrap()).unwrap().to_string();
        assert!(of("Idle.Culler").starts_with("service-idle-culler--"));
        assert_ne!(of("a.b"), of("a-b"));
        let long = of(&"x".repeat(63));
        assert!(long.len() <= 64, "{long}");
        for name in ["cull", "Idle.Culler"] {
            let account = of(name);
            assert_ne!(
                UserName::parse(&account).unwrap().escaped(),
                account,
                "a user of this name has another folder"
            );
        }
    }
}
