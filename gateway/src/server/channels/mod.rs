//! `/api/kernels/{id}/channels`: a browser's websocket joined to a kernel's shim.
//!
//! * [`relay`]: the two directions and how they end
//! * [`frames`]: kernel messages as websocket frames at known positions of the stream
//! * [`tap`]: the reading side
//!
//! Each websocket has its own connection to the shim with its own cursor in the log, so a slow browser delays nobody. How far it came is
//! known to the byte, also after the gateway was killed: see "Exactly once over a killed gateway" in docs/architecture.md.

mod end;
mod frames;
mod inward;
mod outward;
mod relay;
mod tap;

#[cfg(test)]
mod tests;

use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use carrel_shim::client::ShimConn;
use carrel_shim::protocol::{From, Hello, Role};
use carrel_wire::websocket::V1_SUBPROTOCOL;
use serde::Deserialize;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::time::Instant;

use super::upgrade::{self, Stream};
use crate::app::App;
use crate::error::{Error, Result, chain};
use crate::guests::Stay;
use crate::kernels::kernel::Attachment;
use crate::kernels::resume;
use crate::kernels::tcp::TcpWatch;
use crate::user::UserServer;
use frames::Framing;
use relay::{Context, Progress};

/// How long what was written may take to be acknowledged after the websocket ended.
const DRAIN: Duration = Duration::from_millis(500);

/// The query of the address.
#[derive(Debug, Deserialize)]
pub struct ChannelsQuery {
    session_id: Option<String>,
}

/// `GET /api/kernels/{id}/channels`, a websocket.
pub async fn open(
    State(app): State<App>,
    server: UserServer,
    Path(id): Path<String>,
    Query(query): Query<ChannelsQuery>,
    mut request: Request,
) -> Result<Response> {
    let kernel = app.kernels.get(&server.owner(), &id)?;
    let asked = upgrade::ask(&mut request)?;
    let v1 = asked.protocols.iter().any(|protocol| protocol == V1_SUBPROTOCOL);
    let framing = if v1 { Framing::V1 } else { Framing::Json };
    let attached = kernel.attach(query.session_id.as_deref().filter(|id| !id.is_empty())).await?;
    let from = if attached.named { From::Resume { written: attached.written } } else { From::Now };
    let hello = Hello { role: Role::Client, session: attached.session.clone(), from };
    let shim = ShimConn::connect(&kernel.socket, hello)
        .await
        .map_err(|error| Error::upstream("the kernel does not answer", &error))?;
    let stay = Stay::begin(&app, &server.caller, &server.user, &server.server);
    let answer = asked.answer(v1.then_some(V1_SUBPROTOCOL));
    let tracked = app.clone();
    tracked.lifecycle.spawn(async move {
        match asked.upgrade.await {
            Ok(upgraded) => serve(&app, attached, shim, framing, stay, upgrade::stream(upgraded)).await,
            Err(error) => {
                tracing::debug!(error = chain(&error), "a client went away before its websocket was open");
            }
        }
    });
    Ok(answer)
}

/// One websocket from its opening to its end.
async fn serve(
    app: &App,
    attached: Attachment,
    shim: ShimConn,
    framing: Framing,
    stay: Stay,
    stream: Stream,
) {
    let (kernel, session) = (attached.kernel.clone(), attached.session.clone());
    tracing::info!(kernel.id = %kernel.id, session = session, resumed = shim.welcome.resumed, at = shim.welcome.at, "websocket opened");
    if shim.welcome.lost > 0 {
        tracing::warn!(kernel.id = %kernel.id, lost = shim.welcome.lost, "messages were dropped before the client came back");
    }
    let context = Context {
        kernel: kernel.clone(),
        stop: attached.stop().clone(),
        stay,
        shutdown: app.lifecycle.token().clone(),
        kernels: Some(app.kernels.clone()),
        framing,
        notices: kernel.notices(),
    };
    let (progress, written) = match stream {
        Stream::Tcp(tcp, read) => {
            // Small messages must not wait for each other.
            let _ = tcp.set_nodelay(true);
            let watch = match TcpWatch::new(&tcp) {
                Ok(watch) => Some(watch),
                Err(error) => {
                    tracing::warn!(%error, "this connection's progress cannot be seen");
                    None
                }
            };
            let tag = keep(app, &attached, watch.as_ref()).await;
            let (reader, writer) = tcp.into_split();
            let progress = relay::run(context, shim, reader, read, writer, watch.as_ref()).await;
            let written = match &watch {
                Some(watch) => resume::drain(watch, Instant::now() + DRAIN).await,
                None => None,
            };
            if let Some(tag) = tag
                && let Err(error) = app.spawnd.fd_drop(tag).await
            {
                tracing::debug!(%error, "cannot forget a websocket's descriptor");
            }
            (progress, written)
        }
        Stream::Other(io) => {
            let (reader, writer) = tokio::io::split(io);
            let progress = relay::run(context, shim, reader, bytes::Bytes::new(), writer, None).await;
            let written = progress.position;
            (progress, Some(written))
        }
    };
    let Progress { end, position, .. } = &progress;
    tracing::info!(kernel.id = %kernel.id, session, end = %end, position, written, "websocket closed");
    if attached.named {
        progress.confirm(written).await;
        kernel.remember(&attached.session, written);
    }
}

/// Has spawnd keep a duplicate of the socket, so that the next gateway learns how much the browser got from this one.
async fn keep(app: &App, attached: &Attachment, watch: Option<&TcpWatch>) -> Option<String> {
    let watch = watch.filter(|_| attached.named)?;
    let tag = resume::tag(attached.kernel.id, &attached.session, watch.base());
    let duplicate = watch.socket().as_fd().try_clone_to_owned().ok()?;
    match app.spawnd.fd_put(tag.clone(), duplicate).await {
        Ok(()) => Some(tag),
        Err(error) => {
            tracing::warn!(%error, "a websocket's descriptor is not kept: after a crash its client may see messages twice");
            None
        }
    }
}
