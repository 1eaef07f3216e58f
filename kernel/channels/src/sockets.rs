//! The ROUTER and REP sockets of the `zeromq` crate, with signatures checked at the door.

use bytes::Bytes;
use carrel_wire::{Header, Message, Signer};
use zeromq::{
    RepSocket, RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend, ZmqError,
    ZmqMessage,
};

use crate::ChannelsError;

/// Where requests come in.
pub(crate) struct Inbox {
    socket: RouterRecvHalf,
    signer: Signer,
    channel: &'static str,
}

/// Where replies go out.
#[derive(Clone)]
pub(crate) struct Outbox {
    socket: RouterSendHalf,
    signer: Signer,
}

/// Binds a ROUTER socket.
pub(crate) async fn router(
    endpoint: &str,
    channel: &'static str,
    signer: &Signer,
) -> Result<(Inbox, Outbox), ChannelsError> {
    let mut socket = RouterSocket::new();
    bind(&mut socket, endpoint).await?;
    let (send, receive) = socket.split();
    let inbox = Inbox { socket: receive, signer: signer.clone(), channel };
    Ok((inbox, Outbox { socket: send, signer: signer.clone() }))
}

/// Binds the heartbeat and answers it for as long as the runtime lives.
pub(crate) async fn heartbeat(endpoint: &str) -> Result<(), ChannelsError> {
    let mut socket = RepSocket::new();
    bind(&mut socket, endpoint).await?;
    tokio::spawn(async move {
        loop {
            match socket.recv().await {
                Ok(beat) => drop(socket.send(beat).await),
                Err(ZmqError::NoMessage) => return,
                // A peer that left or sent nonsense.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    Ok(())
}

async fn bind<S: Socket>(socket: &mut S, endpoint: &str) -> Result<(), ChannelsError> {
    if let Some(path) = endpoint.strip_prefix("ipc://")
        && tokio::net::UnixStream::connect(path).await.is_err()
    {
        // Nobody answers there: what a killed kernel left behind must not stop the next one.
        let _ = std::fs::remove_file(path);
    }
    match socket.bind(endpoint).await {
        Ok(_) => Ok(()),
        Err(source) => Err(ChannelsError::Bind { endpoint: endpoint.to_owned(), source }),
    }
}

impl Inbox {
    /// The next good message. Bad ones are logged and dropped; `None` when the socket is gone.
    pub(crate) async fn next(&mut self) -> Option<(Header, Message)> {
        loop {
            let parts: Vec<Bytes> = match self.socket.recv().await {
                Ok(message) => message.into_vec(),
                Err(ZmqError::NoMessage) => return None,
                Err(error) => {
                    tracing::warn!(channel = self.channel, %error, "cannot receive");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let read =
                Message::from_zmq(parts, &self.signer).and_then(|message| Ok((message.header()?, message)));
            match read {
                Ok(read) => return Some(read),
                Err(error) => tracing::warn!(channel = self.channel, %error, "a bad message was dropped"),
            }
        }
    }
}

impl Outbox {
    /// Sends to whoever the message's identities name; false if that one is gone.
    pub(crate) async fn send(&self, message: &Message) -> bool {
        let Ok(message) = ZmqMessage::try_from(message.to_zmq(&self.signer)) else { return false };
        match self.socket.clone().send(message).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a reply could not be delivered");
                false
            }
        }
    }
}
