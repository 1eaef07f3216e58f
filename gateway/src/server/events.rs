//! `/api/events`: what happens to this server's kernels and files, as a stream of JSON texts.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::upgrade::{self, Stream};
use crate::app::App;
use crate::error::{Error, Result};
use crate::guests::Stay;
use crate::kernels::Owner;
use crate::user::UserServer;

/// A listener has nothing to say.
const LARGEST: usize = 64 * 1024;
const PING: Duration = Duration::from_secs(30);

/// `GET /api/events/subscribe`, a websocket.
pub async fn subscribe(State(app): State<App>, server: UserServer, mut request: Request) -> Result<Response> {
    let asked = upgrade::ask(&mut request)?;
    let answer = asked.answer(None);
    let owner = server.owner();
    // From now on, not from when the client has read our answer.
    let events = app.kernels.events().subscribe();
    let token = app.lifecycle.token().clone();
    let stay = Stay::begin(&app, &server.caller, &server.user, &server.server);
    app.lifecycle.spawn(async move {
        let Ok(upgraded) = asked.upgrade.await else { return };
        let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        match upgrade::stream(upgraded) {
            Stream::Tcp(tcp, read) => {
                let socket =
                    WebSocketStream::from_partially_read(tcp, read.to_vec(), Role::Server, Some(config))
                        .await;
                tell(socket, owner, events, &stay, token).await;
            }
            Stream::Other(io) => {
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                tell(socket, owner, events, &stay, token).await;
            }
        }
    });
    Ok(answer)
}

async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    owner: Owner,
    mut events: tokio::sync::broadcast::Receiver<crate::kernels::events::Event>,
    stay: &Stay,
    token: tokio_util::sync::CancellationToken,
) {
    let mut ping = tokio::time::interval(PING);
    loop {
        let message = tokio::select! {
            event = events.recv() => match event {
                Ok(event) if event.owner == owner => Message::text(&*event.text),
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            heard = socket.next() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // It answers pings itself; anything else is not for us.
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
            () = stay.over() => return end(socket, CloseCode::Policy, "you may not use this server any more").await,
            () = token.cancelled() => return end(socket, CloseCode::Restart, "the gateway is restarting").await,
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn end<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    code: CloseCode,
    why: &'static str,
) {
    let frame = CloseFrame { code, reason: why.into() };
    // It may be gone already.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(Some(frame))).await;
}

/// `POST /api/events`: clients may not add to the bus; it tells what the server did.
pub async fn emit(_server: UserServer) -> Result<StatusCode> {
    Err(Error::Forbidden("events are emitted by the server only".into()))
}
