//! The cluster: one client per user it is asked as, patience for a name node that comes back, and no longer than the time-out.
//!
//! Everything of the cluster runs in a runtime of its own: a Kerberos server that does not answer holds up the thread that asks it, and
//! must hold up nothing else. A task that panics there is a failed question, no more.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use carrel_source::{Code, Failure, Location};
use hdfs_native::{Client, ClientBuilder, HdfsError};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::failure;
use crate::identity::Identity;

/// A client that nobody used for so long is let go, with its connection.
const IDLE: Duration = Duration::from_secs(600);

/// Between tries while the name node is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Threads that may be held up.
const THREADS: usize = 8;

/// A data node that is silent for so long is left for the next one.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// All clients of the one cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    config: Config,
    /// None once it was taken down.
    runtime: Option<Runtime>,
    /// What the cluster calls itself in `fs.defaultFS`.
    name: String,
    /// Tickets of the broker, shared by all clients of this process.
    tickets: String,
    clients: Mutex<HashMap<String, (Client, Instant)>>,
}

impl Cluster {
    /// The cluster of a configuration; nothing is connected.
    ///
    /// # Errors
    /// When Hadoop's configuration cannot be read or does not name a file system.
    pub(crate) fn new(config: Config) -> Result<Self, String> {
        let name = default_name(&config.hadoop)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("cluster")
            .thread_stack_size(1 << 20)
            .enable_all()
            .build()
            .map_err(|error| format!("no threads for the cluster: {error}"))?;
        let tickets = format!("MEMORY:carrel-broker-{}", std::process::id());
        Ok(Self { config, runtime: Some(runtime), name, tickets, clients: Mutex::default() })
    }

    /// What the cluster calls itself.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long it may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout()
    }

    /// The path, if it is of this cluster.
    ///
    /// # Errors
    /// When it names another one.
    pub(crate) fn path<'a>(&self, at: &'a Location) -> Result<&'a str, Failure> {
        if at.cluster().is_empty() || at.cluster() == self.name {
            return Ok(at.path());
        }
        let text =
            format!("there is no cluster {}; this installation reads hdfs://{}", at.cluster(), self.name);
        Err(Failure::new(Code::NotFound, text).about(at.path()))
    }

    /// Does something as a user. While the name node is away it is tried again, until the time-out.
    pub(crate) async fn ask<T, F>(
        &self,
        who: &Identity,
        path: &str,
        work: impl Fn(Client, String) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, HdfsError>> + Send + 'static,
    {
        let user = who.hdfs_user.as_ref().map_err(Clone::clone)?;
        let client = self.client(user)?;
        let until = Instant::now() + self.timeout();
        let (mut pause, mut cut_off) = (FIRST_PAUSE, 0);
        loop {
            let failed = match timeout_at(until, self.spawn(work(client.clone(), path.to_owned()))).await {
                Ok(Ok(Ok(done))) => return Ok(done),
                Ok(Ok(Err(error))) => {
                    cut_off += usize::from(is_cut_off(&error));
                    failure::of(&error, user, path)
                }
                Ok(Err(_)) => return Err(failure::fault(path)),
                Err(_) => return Err(failure::timed_out(path, self.config.timeout_seconds)),
            };
            // Asked as this user the name node hangs up, asked as ourselves it answers.
            if cut_off == 2 && self.probe().await.is_ok() {
                return Err(failure::no_proxy(user).about(path));
            }
            if failed.code != Code::Unavailable || Instant::now() + pause >= until {
                return Err(failed);
            }
            tracing::warn!(%failed, path, "the cluster is asked again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether the broker itself is let in, and the cluster answers.
    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        let own = self.config.principal.as_deref().unwrap_or("the broker");
        let client = self.connect(None).map_err(|error| failure::of(&error, own, "/"))?;
        let asked = self.spawn(async move { client.get_file_info("/").await });
        match tokio::time::timeout(self.timeout(), asked).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(failure::of(&error, own, "/")),
            Ok(Err(_)) => Err(failure::fault("/")),
            Err(_) => Err(failure::timed_out("/", self.config.timeout_seconds)),
        }
    }

    /// Runs something of the cluster's; it ends when nobody waits for it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        let task = match &self.runtime {
            Some(runtime) => runtime.spawn(work),
            // Only while it is being dropped, when nobody asks.
            None => tokio::spawn(work),
        };
        AbortOnDropHandle::new(task)
    }

    fn client(&self, user: &str) -> Result<Client, Failure> {
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, (_, used)| now.duration_since(*used) < IDLE);
        if let Some((client, used)) = clients.get_mut(user) {
            *used = now;
            return Ok(client.clone());
        }
        let client = self.connect(Some(user)).map_err(|error| failure::of(&error, user, "/"))?;
        clients.insert(user.to_owned(), (client.clone(), now));
        Ok(client)
    }

    fn connect(&self, user: Option<&str>) -> Result<Client, HdfsError> {
        // a silent data node is waited for twice, then the next replica is read
        let silence = (self.timeout() / 6).min(LONGEST_SILENCE).as_millis().to_string();
        let settings = [
            ("dfs.client.socket-timeout", silence.as_str()),
            // a name node that is away is waited for by `ask`, which the asker can stop
            ("dfs.client.failover.max.attempts", "2"),
            ("dfs.client.failover.sleep.base.millis", "50"),
            ("dfs.client.failover.sleep.max.millis", "200"),
        ];
        let mut builder =
            ClientBuilder::new().with_config_dir(self.config.hadoop.to_string_lossy()).with_config(settings);
        if let Some(user) = user {
            builder = builder.with_user(user);
        }
        if let (Some(principal), Some(keytab)) = (&self.config.principal, &self.config.keytab) {
            builder = builder
                .with_kerberos_principal(principal)
                .with_kerberos_keytab(keytab.to_string_lossy())
                .with_kerberos_cache(&self.tickets);
        }
        builder.build()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // waits for no thread that is held up
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connection ended where an answer was expected.
fn is_cut_off(error: &HdfsError) -> bool {
    matches!(error, HdfsError::IOError(error) if error.kind() == std::io::ErrorKind::ConnectionAborted)
}

/// The name in `fs.defaultFS`.
fn default_name(folder: &Path) -> Result<String, String> {
    let path = folder.join("core-site.xml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let xml = roxmltree::Document::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let value = xml.descendants().filter(|node| node.has_tag_name("property")).find_map(|property| {
        let child =
            |tag: &str| property.children().find(|node| node.has_tag_name(tag))?.text().map(str::trim);
        (child("name")? == "fs.defaultFS").then(|| child("value")).flatten()
    });
    let value = value.ok_or_else(|| format!("{} does not set fs.defaultFS", path.display()))?;
    let name = value.strip_prefix("hdfs://").map(|rest| rest.split('/').next().unwrap_or_default());
    name.filter(|name| !name.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| format!("{}: fs.defaultFS is {value}, only hdfs:// is read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(value: &str) -> Result<Cluster, String> {
        let dir = tempfile::tempdir().unwrap();
        let xml = format!(
            "<configuration><property><name>a</name><value>b</value></property>{value}</configuration>"
        );
        std::fs::write(dir.path().join("core-site.xml"), xml).unwrap();
        let text = format!("hadoop = {0:?}\naudit = {0:?}", dir.path());
        let path = dir.path().join("broker.toml");
        std::fs::write(&path, text).unwrap();
        Cluster::new(Config::load(&path).unwrap())
    }

    #[test]
    fn the_cluster_knows_its_name_and_refuses_others() {
        let of = |url: &str| format!("<property><name>fs.defaultFS</name><value>{url}</value></property>");
        let cluster = cluster(&of("hdfs://prod:8020/")).unwrap();
        assert_eq!(cluster.name(), "prod:8020");
        assert_eq!(cluster.path(&"hdfs:///data".parse().unwrap()).unwrap(), "/data");
        assert_eq!(cluster.path(&"hdfs://prod:8020/data".parse().unwrap()).unwrap(), "/data");
        let refused = cluster.path(&"hdfs://other/data".parse().unwrap()).unwrap_err();
        assert!(refused.message.contains("reads hdfs://prod:8020"), "{refused}");
        for bad in [String::new(), of("file:///"), of("hdfs:///")] {
            assert!(super::tests::cluster(&bad).is_err(), "{bad}");
        }
    }
}
