//! Every long-lived handle, built once, in order.

use crate::accounts::Accounts;
use crate::clock::Clock;
use crate::config::Config;
use crate::cookies::Keys;
use crate::guests::Guests;
use crate::jailed::Jailed;
use crate::jailed::classic::Classic;
use crate::kernels::Kernels;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::servers::ServersHandle;
use crate::services::proxy::Services;
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use carrel_hub::Roles;
use std::ops::Deref;
use std::sync::Arc;

/// What every handler may reach. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Handles>);

/// The handles behind an [`App`].
pub struct Handles {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// The default roles and the configured ones.
    pub roles: Roles,
    /// The database.
    pub store: StoreHandle,
    /// The privileged helper.
    pub spawnd: SpawndHandle,
    /// The users' servers.
    pub servers: ServersHandle,
    /// Servers that run whole in a jail.
    pub jailed: Jailed,
    /// Those of them that are users'.
    pub classic: Classic,
    /// The users' kernels.
    pub kernels: Kernels,
    /// Services with a command.
    pub managed: crate::jailed::service::Services,
    /// The way to services' pages.
    pub services: Services,
    /// Local accounts: passwords and their throttle.
    pub accounts: Accounts,
    /// Looks after those who are at others' servers.
    pub guests: Guests,
    /// Signs cookies and form tokens.
    pub keys: Keys,
    /// The time.
    pub clock: Clock,
    /// How the program ends.
    pub lifecycle: Lifecycle,
    /// Figures.
    pub metrics: Metrics,
}

impl App {
    /// Builds the handles that depend on others.
    pub fn new(config: Config, store: StoreHandle, spawnd: SpawndHandle, keys: Keys, clock: Clock) -> Self {
        let config = Arc::new(config);
        let lifecycle = Lifecycle::default();
        let metrics = Metrics::default();
        let kernels = Kernels::new(
            Arc::clone(&config),
            store.clone(),
            spawnd.clone(),
            clock.clone(),
            lifecycle.clone(),
            metrics.clone(),
        );
        let jailed = Jailed::new(spawnd.clone(), lifecycle.clone());
        let classic = Classic::new(Arc::clone(&config), store.clone(), clock.clone(), jailed.clone());
        let managed = crate::jailed::service::Services::new(
            jailed.clone(),
            spawnd.clone(),
            lifecycle.clone(),
            crate::services::managed::managed(&config, &keys),
        );
        let servers = ServersHandle::new(
            store.clone(),
            spawnd.clone(),
            kernels.clone(),
            classic.clone(),
            clock.clone(),
            metrics.clone(),
        );
        let accounts = Accounts::new(store.clone(), clock.clone(), &config.auth);
        let roles = config.roles();
        Self(Arc::new(Handles {
            config,
            roles,
            store,
            spawnd,
            servers,
            jailed,
            classic,
            kernels,
            managed,
            services: Services::default(),
            accounts,
            guests: Guests::default(),
            keys,
            clock,
            lifecycle,
            metrics,
        }))
    }
}

impl Deref for App {
    type Target = Handles;
    fn deref(&self) -> &Handles {
        &self.0
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}
