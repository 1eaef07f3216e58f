//! The users' kernels: which run, where their sockets are, and what becomes of them.

use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use carrel_hub::{ServerName, UserName};
use std::sync::Arc;

/// Reaches the kernels. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kernels(());

impl Kernels {
    /// A registry; [`Self::adopt`] fills it.
    pub fn new(_: Arc<Config>, _: StoreHandle, _: SpawndHandle, _: Clock, _: Lifecycle, _: Metrics) -> Self {
        Self(())
    }

    /// Takes over the kernels that ran before a restart; gives how many.
    pub async fn adopt(&self) -> Result<usize> {
        Ok(0)
    }

    /// Lets go of all kernels, which live on; websockets are closed by the lifecycle's token.
    pub async fn shutdown(&self) {}

    /// Ends a user's kernels of one server, or of all.
    pub async fn stop_user(&self, _: &UserName, _: Option<&ServerName>) -> Result<()> {
        Ok(())
    }
}
