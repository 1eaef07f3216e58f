//! After a start of the gateway: which kernels outlived the one before, and what to do with jails that nobody knows.

use std::collections::HashMap;

use carrel_hub::{ServerName, UserName};
use carrel_spawnd::{JailInfo, Profile};
use carrel_store::KernelRow;
use uuid::Uuid;

use super::kernel::Parts;
use super::{Kernels, Owner, resume};
use crate::error::Result;

impl Kernels {
    /// Finds the kernels that outlived the gateway before, and ends jails that nobody knows. Call once, before requests are answered.
    ///
    /// # Errors
    /// When store or spawnd cannot be asked.
    pub async fn adopt(&self) -> Result<usize> {
        let rows = self.0.store.call(|s| s.kernels()).await?;
        let mut jails: HashMap<String, JailInfo> = self
            .0
            .spawnd
            .list()
            .await?
            .into_iter()
            .filter(|jail| jail.profile == Profile::Kernel)
            .map(|jail| (jail.id.to_string(), jail))
            .collect();
        let pairs: Vec<_> = rows.into_iter().map(|row| (jails.remove(&row.jail_id), row)).collect();
        let adopted =
            futures::future::join_all(pairs.into_iter().map(|(jail, row)| self.adopt_one(row, jail))).await;
        for (id, jail) in jails {
            tracing::warn!(jail.id = id, jail.user = %jail.user, "a kernel's jail without an owner is ended");
            if let Err(error) = self.0.spawnd.stop(jail.id).await {
                tracing::warn!(jail.id = id, %error, "cannot end a jail");
            }
        }
        self.0.sessions.load(|id| self.find(id).is_some()).await?;
        let sockets = resume::take_back(self).await?;
        let count = adopted.into_iter().filter(|adopted| *adopted).count();
        tracing::info!(kernels = count, websockets = sockets, "kernels adopted");
        Ok(count)
    }

    async fn adopt_one(&self, row: KernelRow, jail: Option<JailInfo>) -> bool {
        let names = (row.id.parse::<Uuid>(), UserName::parse(&row.user), ServerName::parse(&row.server));
        let found = match (names, jail) {
            ((Ok(id), Ok(user), Ok(server)), Some(jail)) => {
                let parts = Parts {
                    id,
                    owner: Owner { user, server },
                    spec: row.name,
                    jail: jail.id.clone(),
                    socket: jail.socket,
                    created: row.created,
                };
                match self.watch(parts).await {
                    Ok(kernel) => {
                        kernel.observe(row.last_activity, None);
                        return true;
                    }
                    Err(error) => {
                        tracing::warn!(kernel.id = %id, %error, "kernel cannot be adopted and is ended");
                        Some(jail.id)
                    }
                }
            }
            (_, jail) => jail.map(|jail| jail.id),
        };
        if let Some(jail) = found
            && let Err(error) = self.0.spawnd.stop(jail).await
        {
            tracing::warn!(kernel.id = row.id, %error, "cannot end a jail");
        }
        tracing::info!(kernel.id = row.id, "kernel did not outlive the restart");
        let id = row.id;
        if let Err(error) = self.0.store.call(move |s| s.delete_kernel(&id)).await {
            tracing::warn!(%error, "cannot forget a kernel");
        }
        false
    }
}
