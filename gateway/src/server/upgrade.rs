//! From an HTTP request to a websocket or a raw stream: the handshake's answer, and the TCP socket under the upgraded connection.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::guests::Stay;
use crate::lifecycle::Lifecycle;

/// What a request to become a websocket asks for.
#[derive(Debug)]
pub struct Asked {
    /// Resolves once the answer is written.
    pub upgrade: OnUpgrade,
    /// `Sec-WebSocket-Accept`.
    accept: String,
    /// Subprotocols in the client's order.
    pub protocols: Vec<String>,
}

/// Checks a websocket's handshake.
///
/// # Errors
/// When it is none, or the connection cannot be upgraded.
pub fn ask(request: &mut Request) -> Result<Asked> {
    let headers = request.headers();
    let is = |name: header::HeaderName, value: &str| {
        let found = headers.get(name).and_then(|found| found.to_str().ok());
        found.is_some_and(|found| found.split(',').any(|word| word.trim().eq_ignore_ascii_case(value)))
    };
    if !is(header::UPGRADE, "websocket") || !is(header::CONNECTION, "upgrade") {
        return Err(Error::Malformed("Can \"Upgrade\" only to \"WebSocket\".".into()));
    }
    if !is(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Error::Malformed("only version 13 of the websocket protocol is spoken".into()));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| Error::Malformed("Sec-WebSocket-Key is missing".into()))?;
    let accept = derive_accept_key(key.as_bytes());
    let protocols = protocols(headers);
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Error::Malformed("this connection cannot be upgraded".into()))?;
    Ok(Asked { upgrade, accept, protocols })
}

fn protocols(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect()
}

impl Asked {
    /// The answer that makes it a websocket.
    #[must_use]
    pub fn answer(&self, protocol: Option<&'static str>) -> Response {
        let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::try_from(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        response
    }
}

/// Joins a browser's upgraded connection with that of the server which took the upgrade, until either side ends or the program does. `sender`
/// is what keeps the connection to the server open until then. A guest's ends with the `stay`.
pub fn bridge(
    lifecycle: &Lifecycle,
    browser: OnUpgrade,
    server: OnUpgrade,
    stay: Stay,
    sender: impl Send + 'static,
) {
    let token = lifecycle.token().clone();
    lifecycle.spawn(async move {
        // Dropping it earlier would end the connection.
        let _sender = sender;
        let (Ok(browser), Ok(server)) = tokio::join!(browser, server) else { return };
        let mut server = TokioIo::new(server);
        match stream(browser) {
            Stream::Tcp(mut tcp, read) => {
                // Keys are sent one by one.
                let _ = tcp.set_nodelay(true);
                if server.write_all(&read).await.is_ok() {
                    join(&mut tcp, &mut server, &stay, &token).await;
                }
            }
            Stream::Other(mut io) => join(&mut io, &mut server, &stay, &token).await,
        }
    });
}

async fn join<A, B>(browser: &mut A, server: &mut B, stay: &Stay, token: &CancellationToken)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        // Either side's end is the end; which failure it was does not matter.
        _ = tokio::io::copy_bidirectional(browser, server) => {}
        () = stay.over() => {}
        () = token.cancelled() => {}
    }
}

/// What is under an upgraded connection.
#[derive(Debug)]
pub enum Stream {
    /// The socket itself, and what was read from it beyond the request.
    Tcp(TcpStream, Bytes),
    /// Something else (a test's, or a layer's).
    Other(TokioIo<Upgraded>),
}

/// Takes the stream out of hyper.
#[must_use]
pub fn stream(upgraded: Upgraded) -> Stream {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Stream::Tcp(parts.io.into_inner(), parts.read_buf),
        Err(upgraded) => Stream::Other(TokioIo::new(upgraded)),
    }
}
