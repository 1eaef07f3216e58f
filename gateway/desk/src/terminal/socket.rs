//! One tab: a websocket speaking terminado's JSON.
//!
//! To the tab `["setup", {}]`, `["stdout", text]`, `["disconnect", 1]`; from it `["stdin", text]`,
//! `["set_size", rows, columns, …]`.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::body::{self, Answer};
use crate::error::Error;
use crate::terminal::actor::Command;
use crate::terminal::{Handle, Terminals};

/// The largest message a tab may send: a big paste.
const MAX_MESSAGE: usize = 1 << 20;
/// Pieces of output that wait for the tab.
const QUEUE: usize = 32;
/// A tab that answers no ping for two rounds is gone.
const PING: Duration = Duration::from_secs(30);

/// Answers the upgrade; what follows runs by itself.
pub(crate) fn accept(terminals: &Terminals, name: &str, mut request: Request<Incoming>) -> Answer {
    let handle = terminals.handle(name)?;
    let key = key(request.headers())?;
    let mut response = body::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    body::set(headers, header::SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // An error here is the tab's connection breaking: it comes back by itself and gets the scrollback.
        let _ = serve(upgrade, handle).await;
    });
    Ok(response)
}

fn key(headers: &HeaderMap) -> Result<String, Error> {
    let holds = |name, token: &str| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
            .is_some_and(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !holds(header::UPGRADE, "websocket") || !holds(header::CONNECTION, "upgrade") {
        return Err(Error::bad("can \"Upgrade\" only to \"WebSocket\""));
    }
    if !holds(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Error::bad("unsupported websocket version, only 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|v| v.to_str().ok());
    key.map(str::to_owned).ok_or_else(|| Error::bad("the websocket key is missing"))
}

async fn serve(upgrade: OnUpgrade, handle: Handle) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(upgrade.await?);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(8 << 10)
        .write_buffer_size(8 << 10);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    socket.send(Message::text(json!(["setup", {}]).to_string())).await?;
    let (output, mut shown) = mpsc::channel::<Arc<str>>(QUEUE);
    let (reply, tab) = oneshot::channel();
    let attached = handle.commands.send(Command::Attach { output, reply }).await.is_ok();
    let tab = if attached { tab.await.ok().flatten() } else { None };
    if let Some(tab) = tab {
        let done = talk(&mut socket, &mut shown, &handle, tab).await;
        let _ = handle.commands.send(Command::Detach(tab)).await;
        done?;
    }
    let code = if *handle.ended.borrow() || handle.commands.is_closed() {
        socket.send(Message::text(json!(["disconnect", 1]).to_string())).await?;
        CloseCode::Normal
    } else {
        // Too slow, or too many: the tab comes back and gets the scrollback.
        CloseCode::Again
    };
    socket.close(Some(CloseFrame { code, reason: "".into() })).await?;
    Ok(())
}

/// Passes both ways until either side ends.
async fn talk<S>(
    socket: &mut WebSocketStream<S>,
    shown: &mut mpsc::Receiver<Arc<str>>,
    handle: &Handle,
    tab: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    let mut unanswered = 0;
    let mut typed: Option<Vec<u8>> = None;
    loop {
        tokio::select! {
            text = shown.recv() => match text {
                Some(text) => socket.send(Message::text(serde_json::to_string(&("stdout", &*text))?)).await?,
                None => return Ok(()),
            },
            room = handle.input.reserve(), if typed.is_some() => match (room, typed.take()) {
                (Ok(room), Some(bytes)) => room.send(bytes),
                _ => return Ok(()),
            },
            message = socket.next(), if typed.is_none() => match message.transpose()? {
                Some(Message::Text(text)) => match read(text.as_str()) {
                    Some(Said::Typed(bytes)) => typed = Some(bytes),
                    Some(Said::Size { rows, columns }) => {
                        handle.commands.send(Command::Resize { tab, rows, columns }).await?;
                    }
                    None => {}
                },
                Some(Message::Pong(_)) => unanswered = 0,
                Some(Message::Close(_)) | None => return Err("the tab has gone".into()),
                Some(_) => {}
            },
            _ = ping.tick() => {
                unanswered += 1;
                if unanswered > 2 {
                    return Err("the tab does not answer".into());
                }
                socket.send(Message::Ping(Bytes::new())).await?;
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Typed(Vec<u8>),
    Size { rows: u16, columns: u16 },
}

/// Reads a message of the tab; what makes no sense is passed over, as terminado's clients expect.
fn read(text: &str) -> Option<Said> {
    let message: Vec<Value> = serde_json::from_str(text).ok()?;
    match message.first()?.as_str()? {
        "stdin" => Some(Said::Typed(message.get(1)?.as_str()?.as_bytes().to_vec())),
        "set_size" => {
            let size = |at: usize| {
                let cells = message.get(at)?.as_f64()?;
                // A hidden tab says 0 or null; a hostile one anything.
                (1.0..=10_000.0).contains(&cells).then_some(cells as u16)
            };
            Some(Said::Size { rows: size(1)?, columns: size(2)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(read(r#"["stdin","ls\r"]"#), Some(Said::Typed(b"ls\r".to_vec())));
        assert_eq!(read(r#"["set_size",24,80,300,400]"#), Some(Said::Size { rows: 24, columns: 80 }));
        for odd in [
            r#"["set_size",0,80]"#,
            r#"["set_size",null,null]"#,
            r#"["set_size",1e9,1]"#,
            "[]",
            "{}",
            "x",
            r#"["stdin"]"#,
            r#"["rm"]"#,
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
