//! The users' desks: started when first needed, reached by HTTP over their unix socket, started again after they ended.
//!
//! Starting is part of connecting: a request never knows whether its desk ran already, and its body is not touched before the
//! connection stands.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use carrel_spawnd::protocol::HomeUse;
use carrel_spawnd::{JailId, Profile, RelPath, Start, UserName};
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;

use crate::error::{Error, Result, chain};
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;

use super::groups;

/// Idle connections kept per desk.
const IDLE: usize = 4;
/// How long an idle connection is kept; a desk ends by itself later than that.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// Told to whoever wanted to save something when the desk was ended. (The next desk names the largest files, too.)
fn full(home: HomeUse) -> String {
    let mib = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
    let of = |bound: Option<String>| bound.map_or_else(String::new, |bound| format!(" of {bound}"));
    format!(
        "your home is full: this was not saved. It holds {}{} in {} files{}: something in it, a terminal perhaps, wrote on beyond the bound, until your file service and its terminals were ended. Delete something first; files can still be browsed",
        mib(home.bytes),
        of(home.max_bytes.map(mib)),
        home.files,
        of(home.max_files.map(|files| files.to_string())),
    )
}

/// The same request for the next desk, if it only looks at something.
fn again(request: &Request<Body>) -> Option<Request<Body>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut again = Request::new(Body::empty());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// All desks. Cheap to clone.
#[derive(Clone)]
pub struct Desks {
    starter: Starter,
    client: Client<Starter, Body>,
}

impl std::fmt::Debug for Desks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desks")
    }
}

impl Desks {
    /// No desk is started yet.
    #[must_use]
    pub fn new(spawnd: SpawndHandle, store: StoreHandle) -> Self {
        let starter = Starter { spawnd, store, sockets: Arc::default() };
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(starter.clone());
        Self { starter, client }
    }

    /// Sends a request (its address is a path) to a user's desk.
    ///
    /// # Errors
    /// When the desk cannot be started, or ends before it answers.
    pub async fn send(&self, user: &UserName, mut request: Request<Body>) -> Result<Response<Incoming>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://{user}{path}");
        *request.uri_mut() = uri.parse().map_err(|e| Error::Malformed(format!("address: {e}")))?;
        let again = again(&request);
        let error = match self.client.request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => explain(&error),
        };
        if !matches!(error, Error::Upstream { .. }) {
            return Err(error);
        }
        // A desk that has just ended is gone when this is known.
        match (self.ended_for_space(user).await, again) {
            (_, Some(again)) => self.client.request(again).await.map_err(|error| explain(&error)),
            (Some(home), None) => Err(Error::NoSpace(full(home))),
            (None, None) => Err(error),
        }
    }

    /// How the home stood, if spawnd has ended the desk because that had grown far beyond its bound.
    async fn ended_for_space(&self, user: &UserName) -> Option<HomeUse> {
        let id = jail_id(user).ok()?;
        // Until it is buried there is nothing to be told.
        for _ in 0..20 {
            match self.starter.spawnd.exit(id.clone()).await {
                Ok(exit) => return exit.home,
                Err(Error::NotFound(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(_) => return None,
            }
        }
        None
    }

    /// A connection of one's own, for a websocket.
    ///
    /// # Errors
    /// When the desk cannot be started.
    pub async fn connect(&self, user: &UserName) -> Result<UnixStream> {
        self.starter.connect(user).await
    }

    /// Ends a user's desk; one that does not run is no failure.
    ///
    /// # Errors
    /// When spawnd cannot end it.
    pub async fn stop(&self, user: &UserName) -> Result<()> {
        self.starter.forget(user);
        match self.starter.spawnd.stop(jail_id(user)?).await {
            Err(Error::NotFound(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Connects to a desk and starts it if need be.
#[derive(Clone)]
struct Starter {
    spawnd: SpawndHandle,
    store: StoreHandle,
    /// Where desks listen that were reached before. The inner lock makes two first requests start one desk.
    sockets: Arc<Mutex<HashMap<UserName, Known>>>,
}

/// One desk's socket, once it is known.
type Known = Arc<tokio::sync::Mutex<Option<PathBuf>>>;

impl Starter {
    async fn connect(&self, user: &UserName) -> Result<UnixStream> {
        let known = {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sockets.entry(user.clone()).or_default())
        };
        let mut socket = known.lock().await;
        if let Some(path) = socket.as_ref()
            && let Ok(stream) = UnixStream::connect(path).await
        {
            return Ok(stream);
        }
        // It never ran, or it ended: its socket is gone then.
        let path = self.start(user).await?;
        let stream = UnixStream::connect(&path).await.map_err(|error| Error::Upstream {
            outside: "your file service does not accept connections; try again".into(),
            inside: format!("desk of {user} at {}: {error}", path.display()),
        })?;
        *socket = Some(path);
        Ok(stream)
    }

    async fn start(&self, user: &UserName) -> Result<PathBuf> {
        let id = jail_id(user)?;
        let start = Start {
            user: user.clone(),
            id: id.clone(),
            profile: Profile::Desk,
            kernelspec: None,
            cwd: RelPath::home(),
            groups: groups::of(&self.store, user).await?,
        };
        match self.spawnd.start(start).await {
            Ok((started, _pidfd)) => {
                tracing::info!(jail.user = %user, jail.id = %id, pid = started.pid, "desk started");
                Ok(started.socket)
            }
            // From before this gateway was started.
            Err(Error::Conflict(_)) => {
                let jails = self.spawnd.list().await?;
                let found = jails.into_iter().find(|jail| jail.id == id);
                let ours = found.filter(|jail| jail.user == *user && jail.profile == Profile::Desk);
                ours.map(|jail| jail.socket)
                    .ok_or_else(|| Error::NotReady("your file service is ending; try again".into()))
            }
            Err(error) => Err(error),
        }
    }

    fn forget(&self, user: &UserName) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).remove(user);
    }
}

impl tower::Service<Uri> for Starter {
    type Response = TokioIo<UnixStream>;
    type Error = NoDesk;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoDesk>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoDesk>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let starter = self.clone();
        Box::pin(async move {
            let user: UserName = uri
                .host()
                .unwrap_or("")
                .parse()
                .map_err(|error| NoDesk(Error::internal(format!("desk address {uri}: {error}"))))?;
            starter.connect(&user).await.map(TokioIo::new).map_err(NoDesk)
        })
    }
}

/// A desk could not be reached. Carries the reason through hyper's error.
#[derive(Debug, thiserror::Error)]
#[error("the desk could not be reached")]
struct NoDesk(#[source] Error);

/// hyper's error as ours; what the starter said is found again inside it.
fn explain(error: &ClientError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = cause {
        if let Some(NoDesk(reason)) = at.downcast_ref() {
            return match reason {
                Error::NotReady(text) => Error::NotReady(text.clone()),
                Error::TooMany { message, retry_after } => {
                    Error::TooMany { message: message.clone(), retry_after: *retry_after }
                }
                Error::Upstream { outside, inside } => {
                    Error::Upstream { outside: outside.clone(), inside: inside.clone() }
                }
                other => Error::internal(chain(other)),
            };
        }
        if let Some(io) = at.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::InvalidInput
        {
            return Error::Malformed(io.to_string());
        }
        cause = at.source();
    }
    Error::Upstream {
        outside: "your file service ended while it answered; try again".into(),
        inside: chain(error),
    }
}

/// `desk-<user>`, or, where a jail's id cannot hold that name, `deskx-<hash>`: two users never share one.
fn jail_id(user: &UserName) -> Result<JailId> {
    let plain: std::result::Result<JailId, _> = format!("desk-{user}").parse();
    plain.or_else(|_| {
        let digest = Sha256::digest(user.as_str().as_bytes());
        let hex: String = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        format!("deskx-{hex}").parse().map_err(Error::internal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_home_is_told_with_its_figures() {
        let home = HomeUse { bytes: 17 << 19, files: 3, max_bytes: Some(8 << 20), max_files: None };
        let text = full(home);
        assert!(
            text.starts_with(
                "your home is full: this was not saved. It holds 8.5 MiB of 8.0 MiB in 3 files: "
            ),
            "{text}"
        );
    }

    #[test]
    fn every_user_has_one_desk() {
        let id = |name: &str| jail_id(&name.parse().unwrap()).unwrap().to_string();
        assert_eq!(id("ada"), "desk-ada");
        assert!(id("ada.b").starts_with("deskx-"));
        assert_ne!(id("ada.b"), id("ada_b"));
        assert!(id(&"a".repeat(64)).len() <= 64);
    }
}
