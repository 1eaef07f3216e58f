//! Classic servers in the table of servers: a start that takes seconds, an end that nobody asked for, a restart of the gateway, idleness.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use carrel_hub::server::Event;
use carrel_hub::{ServerName, ServerState};
use carrel_spawnd::{JailInfo, Profile};
use carrel_store::{Server, User};
use percent_encoding::percent_decode_str;

use super::{Key, ServersHandle};
use crate::error::{Result, chain};
use crate::jailed::Running;
use crate::jailed::classic;
use crate::user::jail_user;

impl ServersHandle {
    /// Whether a server is, or was when it ran last, a whole one in a jail.
    pub fn is_classic(&self, user_id: i64, name: &ServerName) -> bool {
        self.lock().get(&(user_id, name.clone())).is_some_and(|entry| entry.classic)
    }

    /// Whether an address below `/user/{name}/` belongs to an active one.
    pub fn classic_at(&self, user_id: i64, path: &str) -> bool {
        let first = path.split('?').next().unwrap_or("").split('/').nth(3).unwrap_or("");
        let first = percent_decode_str(first).decode_utf8_lossy();
        let named =
            ServerName::parse(&first).ok().filter(|name| !name.is_default() && self.exists(user_id, name));
        let name = named.unwrap_or_default();
        self.is_classic(user_id, &name) && self.state(user_id, &name).is_active()
    }

    /// Why a server did not start, or ended by itself.
    pub fn failure(&self, user_id: i64, name: &ServerName) -> Option<String> {
        self.failures().get(&(user_id, name.clone())).cloned()
    }

    /// Begins a start; the rest goes on by itself.
    pub(super) async fn start_whole(&self, user: &User, row: Server) -> Result<()> {
        let name = row.name.clone();
        self.begin(user, &name, true)?;
        // Not running for whoever comes after a gateway that is killed now.
        let row = Server { started: None, ..row };
        let copy = row.clone();
        if let Err(error) = self.0.store.call(move |s| s.put_server(&copy)).await {
            self.step(user, &name, Event::StartFailed(error.to_string()))?;
            return Err(error);
        }
        let (me, user) = (self.clone(), user.clone());
        tokio::spawn(async move { me.finish_start(&user, row).await });
        Ok(())
    }

    async fn finish_start(&self, user: &User, row: Server) {
        let (begun, name) = (Instant::now(), row.name.clone());
        let launched = match self.0.classic.launch(user, &name).await {
            Ok(running) => {
                let row = Server { started: Some(self.0.clock.now()), ..row };
                let written = self.0.store.call(move |s| s.put_server(&row)).await;
                match written {
                    Ok(()) => Ok(running),
                    Err(error) => self.0.classic.finish(user, &name).await.and(Err(error)),
                }
            }
            Err(error) => Err(error),
        };
        let (event, status) = match &launched {
            Ok(_) => (Event::Started, "success"),
            Err(error) => {
                tracing::warn!(user.name = %user.name, server.name = %name, error = chain(error), "classic server did not start");
                self.failures().insert((user.id, name.clone()), error.to_string());
                (Event::StartFailed(error.to_string()), "failure")
            }
        };
        if let Err(error) = self.step(user, &name, event) {
            tracing::error!(%error, "a classic server's start");
        }
        let took = begun.elapsed();
        self.0.metrics.observe(
            "jupyterhub_server_spawn_duration_seconds",
            "Time taken for server spawning operation",
            &[("status", status)],
            took,
        );
        if let Ok(running) = launched {
            tracing::info!(user.name = %user.name, server.name = %name, jail.id = %running.id, took_ms = took.as_millis(), "classic server started");
            self.watch(user, &name, running);
        }
    }

    /// Notices when it ends by itself.
    fn watch(&self, user: &User, name: &ServerName, running: Running) {
        let (me, user, name) = (self.clone(), user.clone(), name.clone());
        tokio::spawn(async move {
            classic::over(&running).await;
            // Somebody asked for its end, who sees to the rest.
            if running.over.is_cancelled() || me.step(&user, &name, Event::Stop).is_err() {
                return;
            }
            let why = match me.0.classic.finish(&user, &name).await {
                Ok(why) => why,
                Err(error) => chain(&error),
            };
            tracing::warn!(user.name = %user.name, server.name = %name, why, "classic server ended by itself");
            me.failures().insert((user.id, name.clone()), why);
            if let Err(error) = me.finish_stop(&user, &name).await {
                tracing::warn!(%error, "a classic server that ended");
            }
        });
    }

    /// Takes over those that outlived the gateway before, notes those that did not, and ends what belongs to nobody.
    pub async fn adopt(&self) -> Result<()> {
        let (users, rows) = self.0.store.call(|s| Ok((s.users()?, s.servers()?))).await?;
        let jails = self.0.spawnd.list().await?;
        let mut jails: HashMap<String, JailInfo> = jails
            .into_iter()
            .filter(|jail| jail.profile == Profile::Classic)
            .map(|jail| (jail.id.to_string(), jail))
            .collect();
        let mut count = 0;
        for row in rows.into_iter().filter(|row| row.started.is_some()) {
            let Some(user) = users.iter().find(|user| user.id == row.user_id) else { continue };
            if !self.is_classic(user.id, &row.name) {
                continue;
            }
            let jail = jails.remove(classic::jail_id(&jail_user(user)?, &row.name)?.as_str());
            let adopted = match jail {
                Some(jail) => self.0.classic.adopt(user, &row.name, jail).await.map(Some),
                None => Ok(None),
            };
            match adopted {
                Ok(Some(running)) => {
                    count += 1;
                    self.watch(user, &row.name, running);
                }
                gone => {
                    let why = gone.err().map_or_else(|| "its jail is gone".to_owned(), |error| chain(&error));
                    tracing::warn!(user.name = %user.name, server.name = %row.name, why, "classic server did not outlive the restart");
                    self.stop(user, &row.name).await?;
                    self.failures()
                        .insert((user.id, row.name.clone()), format!("it did not outlive a restart: {why}"));
                }
            }
        }
        for jail in jails.into_values() {
            tracing::warn!(jail.id = %jail.id, jail.user = %jail.user, "a classic server's jail without an owner is ended");
            self.0.classic.discard(&jail.id).await;
        }
        tracing::info!(servers = count, "classic servers adopted");
        Ok(())
    }

    /// Ends those that were not used for so many seconds.
    pub async fn cull(&self, idle_seconds: u64) -> Result<()> {
        self.flush().await?;
        let now = self.0.clock.now();
        let (users, rows) = self.0.store.call(|s| Ok((s.users()?, s.servers()?))).await?;
        for row in rows {
            let started = match self.state(row.user_id, &row.name) {
                ServerState::Ready { started } if self.is_classic(row.user_id, &row.name) => started,
                _ => continue,
            };
            let last = row.last_activity.map_or(started, |at| at.max(started));
            let idle = (now - last).whole_seconds();
            if idle < i64::try_from(idle_seconds).unwrap_or(i64::MAX) {
                continue;
            }
            let Some(user) = users.iter().find(|user| user.id == row.user_id) else { continue };
            tracing::info!(user.name = %user.name, server.name = %row.name, idle_seconds = idle, "classic server ended for idleness");
            self.stop(user, &row.name).await?;
        }
        Ok(())
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
