//! One running kernel: what is known of it, and who is attached to it.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrel_shim::protocol::Cmd;
use carrel_spawnd::JailId;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Owner;
use crate::clock::iso;
use crate::error::{Error, Result};

/// Websockets of one kernel at once.
const MOST_SOCKETS: usize = 64;
/// Sessions whose last position is remembered.
const MOST_RESUMES: usize = 256;
/// How long a new websocket waits for the one it replaces to let go.
const LET_GO: Duration = Duration::from_secs(5);

/// A running kernel. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kernel(Arc<Inner>);

/// What does not change, and the locks around what does.
#[derive(Debug)]
pub struct Inner {
    /// Jupyter's id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: Owner,
    /// The kernelspec.
    pub spec: String,
    /// The sandbox's id.
    pub jail: JailId,
    /// Where its shim listens.
    pub socket: PathBuf,
    /// When it was started.
    pub created: OffsetDateTime,
    /// Cancelled once it is gone, or about to be ended on purpose.
    pub ended: CancellationToken,
    state: Mutex<State>,
    orders: mpsc::Sender<Order>,
    notices: broadcast::Sender<Notice>,
    sockets: Mutex<Sockets>,
    connections: watch::Sender<usize>,
}

/// What changes all the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// As on iopub: `starting`, `idle`, `busy`, `restarting`, `dead` …
    pub execution_state: String,
    /// The last message on iopub.
    pub last_activity: OffsetDateTime,
}

/// Something that everybody attached shall read, from the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Shown as the kernel's standard error.
    pub text: String,
}

/// A command for the shim and where its answer goes.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub cmd: Cmd,
    /// Whether it was done.
    pub answer: oneshot::Sender<std::result::Result<(), String>>,
}

#[derive(Debug, Default)]
struct Sockets {
    /// By session; the number tells a websocket from its successor of the same session.
    open: HashMap<String, Open>,
    next: u64,
    resumes: HashMap<String, Option<u64>>,
}

#[derive(Debug, Clone)]
struct Open {
    number: u64,
    stop: CancellationToken,
    gone: CancellationToken,
}

impl Deref for Kernel {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What a kernel is made of.
#[derive(Debug)]
pub struct Parts {
    /// Jupyter's id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: Owner,
    /// The kernelspec.
    pub spec: String,
    /// The sandbox's id.
    pub jail: JailId,
    /// Where its shim listens.
    pub socket: PathBuf,
    /// When it was started.
    pub created: OffsetDateTime,
}

impl Kernel {
    /// A kernel, and the queue of orders that its task shall carry out.
    #[must_use]
    pub fn new(parts: Parts, execution_state: String) -> (Self, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(16);
        let Parts { id, owner, spec, jail, socket, created } = parts;
        let kernel = Self(Arc::new(Inner {
            id,
            owner,
            spec,
            jail,
            socket,
            created,
            ended: CancellationToken::new(),
            state: Mutex::new(State { execution_state, last_activity: created }),
            orders,
            notices: broadcast::Sender::new(16),
            sockets: Mutex::default(),
            connections: watch::Sender::new(0),
        }));
        (kernel, queue)
    }

    /// The kernel as Jupyter describes it.
    #[must_use]
    pub fn model(&self) -> Value {
        let state = self.state();
        json!({
            "id": self.id,
            "name": self.spec,
            "last_activity": iso(state.last_activity),
            "execution_state": state.execution_state,
            "connections": self.connections(),
        })
    }

    /// State and activity now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock_state().clone()
    }

    /// Notes a sign of life and, if it tells one, the state.
    pub fn observe(&self, at: OffsetDateTime, execution_state: Option<&str>) {
        let mut state = self.lock_state();
        state.last_activity = state.last_activity.max(at);
        if let Some(new) = execution_state
            && state.execution_state != new
        {
            new.clone_into(&mut state.execution_state);
        }
    }

    /// Tells everybody attached something.
    pub fn notify(&self, notice: Notice) {
        // Nobody attached is not a failure: it is in the log, too.
        let _ = self.notices.send(notice);
    }

    /// What everybody attached shall read, from now on.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Has the shim do something and waits until it is done.
    pub(super) async fn order(&self, cmd: Cmd, within: Duration) -> Result<()> {
        let (answer, wait) = oneshot::channel();
        let gone = || Error::NotFound(format!("Kernel does not exist: {}", self.id));
        self.orders.try_send(Order { cmd, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::NotReady("the kernel is busy with other commands".into())
            }
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        match tokio::time::timeout(within, wait).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(why))) => {
                Err(Error::Upstream { outside: why.clone(), inside: format!("kernel {}: {why}", self.id) })
            }
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(Error::Upstream {
                outside: "the kernel does not answer".into(),
                inside: format!("kernel {}: no answer to {cmd:?} within {within:?}", self.id),
            }),
        }
    }

    /// Attaches a websocket. One of the same session that is still open is ended first and has let go when this returns.
    ///
    /// # Errors
    /// When there are too many, or the old one does not let go.
    pub async fn attach(&self, session: Option<&str>) -> Result<Attachment> {
        let name = session.map_or_else(|| format!("anonymous-{}", Uuid::new_v4()), session_name);
        loop {
            let old = {
                let mut sockets = self.lock_sockets();
                match sockets.open.get(&name).cloned() {
                    Some(old) => old,
                    None if sockets.open.len() >= MOST_SOCKETS => {
                        return Err(Error::TooMany {
                            message: format!("a kernel takes {MOST_SOCKETS} websockets"),
                            retry_after: 10,
                        });
                    }
                    None => {
                        sockets.next += 1;
                        let open = Open {
                            number: sockets.next,
                            stop: self.ended.child_token(),
                            gone: CancellationToken::new(),
                        };
                        sockets.open.insert(name.clone(), open.clone());
                        let written = sockets.resumes.remove(&name).flatten();
                        self.connections.send_replace(sockets.open.len());
                        drop(sockets);
                        return Ok(Attachment {
                            kernel: self.clone(),
                            session: name,
                            named: session.is_some(),
                            written,
                            open,
                        });
                    }
                }
            };
            old.stop.cancel();
            if tokio::time::timeout(LET_GO, old.gone.cancelled()).await.is_err() {
                return Err(Error::Conflict("another websocket of this session is still closing".into()));
            }
        }
    }

    /// Remembers how much of its stream a session's last websocket took.
    pub fn remember(&self, session: &str, written: Option<u64>) {
        let mut sockets = self.lock_sockets();
        if sockets.resumes.len() < MOST_RESUMES || sockets.resumes.contains_key(session) {
            sockets.resumes.insert(session.to_owned(), written);
        }
    }

    /// How many websockets are attached.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until no websocket is attached.
    pub async fn deserted(&self) {
        let mut connections = self.connections.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = connections.wait_for(|count| *count == 0).await;
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_sockets(&self) -> MutexGuard<'_, Sockets> {
        self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A websocket's place at a kernel; dropping it gives the place back.
#[derive(Debug)]
pub struct Attachment {
    /// The kernel.
    pub kernel: Kernel,
    /// The session's name towards the shim.
    pub session: String,
    /// Whether the client named it (and may come back with that name).
    pub named: bool,
    /// How much of the last websocket's stream this session took, if known.
    pub written: Option<u64>,
    open: Open,
}

impl Attachment {
    /// Cancelled when the websocket shall end: replaced, or the kernel is gone.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.open.stop
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut sockets = self.kernel.lock_sockets();
        if sockets.open.get(&self.session).is_some_and(|open| open.number == self.open.number) {
            sockets.open.remove(&self.session);
        }
        self.kernel.connections.send_replace(sockets.open.len());
        self.open.gone.cancel();
    }
}

/// A client's session id as the shim and the descriptor store may hold it: short and plain, different for different ids.
fn session_name(id: &str) -> String {
    let plain = id.len() <= 100
        && !id.is_empty()
        && !id.starts_with("x-")
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    if plain { id.to_owned() } else { format!("x-{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes())) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn kernel(socket: PathBuf) -> (Kernel, mpsc::Receiver<Order>) {
        let parts = Parts {
            id: Uuid::from_u128(7),
            owner: Owner::of("ada", ""),
            spec: "carrel".into(),
            jail: "k-7".parse().unwrap(),
            socket,
            created: OffsetDateTime::UNIX_EPOCH,
        };
        Kernel::new(parts, "starting".into())
    }

    #[test]
    fn the_model_has_jupyters_keys() {
        let (kernel, _orders) = kernel("/nowhere".into());
        kernel.observe(OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(1), Some("busy"));
        kernel.observe(OffsetDateTime::UNIX_EPOCH, None);
        assert_eq!(
            kernel.model(),
            json!({"id": "00000000-0000-0000-0000-000000000007", "name": "carrel", "execution_state": "busy",
                   "last_activity": "1970-01-01T00:00:01.000000Z", "connections": 0})
        );
    }

    #[tokio::test]
    async fn a_second_websocket_of_a_session_replaces_the_first() {
        let (kernel, _orders) = kernel("/nowhere".into());
        let first = kernel.attach(Some("s")).await.unwrap();
        assert_eq!((first.session.as_str(), first.named, first.written), ("s", true, None));
        let other = kernel.attach(None).await.unwrap();
        assert_eq!(kernel.connections(), 2);
        let (second, ()) = tokio::join!(kernel.attach(Some("s")), async {
            first.stop().cancelled().await;
            first.kernel.remember(&first.session, Some(42));
            drop(first);
        });
        let second = second.unwrap();
        assert_eq!(second.written, Some(42));
        assert!(!second.stop().is_cancelled() && !other.stop().is_cancelled());
        drop(other);
        drop(second);
        kernel.deserted().await;
        assert_eq!(kernel.attach(Some("s")).await.unwrap().written, None);
    }

    #[tokio::test]
    async fn an_ended_kernel_ends_its_websockets() {
        let (kernel, orders) = kernel("/nowhere".into());
        let attached = kernel.attach(None).await.unwrap();
        kernel.ended.cancel();
        assert!(attached.stop().is_cancelled());
        drop(orders);
        assert!(matches!(
            kernel.order(Cmd::Interrupt, Duration::from_secs(1)).await,
            Err(Error::NotFound(_))
        ));
    }

    #[test]
    fn session_names_are_short_and_distinct() {
        assert_eq!(session_name("0a1b-c"), "0a1b-c");
        let odd = session_name("a/b");
        assert!(odd.starts_with("x-") && odd != session_name("a b"), "{odd}");
        assert!(session_name(&"y".repeat(5000)).len() < 64);
        assert_ne!(session_name("x-1"), "x-1");
    }
}
