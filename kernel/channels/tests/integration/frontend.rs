//! A scripted front end. Every message of the kernel must be asked for: one that nobody asserted fails the test at its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carrel_wire::{Channel, ConnectionInfo, Header, Message, Signer};
use kernel_channels::{Ended, Handle, Options, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use zeromq::{DealerSocket, ReqSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::echo::Echo;

/// Longer than anything takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Frontend {
    shell: DealerSocket,
    control: DealerSocket,
    stdin: DealerSocket,
    iopub: SubSocket,
    pub(crate) connection: ConnectionInfo,
    pub(crate) handle: Handle,
    pub(crate) server: JoinHandle<Ended>,
    signer: Signer,
    next: u32,
    _folder: TempDir,
}

impl Frontend {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("k");
        let connection = ConnectionInfo::ipc(prefix.to_str().unwrap(), "secret", "echo");
        let handle = Handle::new();
        let (served, stop) = (connection.clone(), handle.clone());
        let server =
            tokio::spawn(
                async move { serve(Arc::new(Echo), &served, Options::default(), stop).await.unwrap() },
            );
        for channel in Channel::ALL {
            let path = format!("{}-{}", prefix.display(), connection.port(channel));
            while !std::path::Path::new(&path).exists() {
                tokio::task::yield_now().await;
            }
        }
        let identity = || {
            let mut options = SocketOptions::default();
            options.peer_identity("front".parse().unwrap());
            options
        };
        let mut shell = DealerSocket::with_options(identity());
        let mut control = DealerSocket::with_options(identity());
        let mut stdin = DealerSocket::with_options(identity());
        let mut iopub = SubSocket::new();
        shell.connect(&connection.endpoint(Channel::Shell)).await.unwrap();
        control.connect(&connection.endpoint(Channel::Control)).await.unwrap();
        stdin.connect(&connection.endpoint(Channel::Stdin)).await.unwrap();
        iopub.connect(&connection.endpoint(Channel::Iopub)).await.unwrap();
        iopub.subscribe("").await.unwrap();
        let signer = connection.signer();
        let mut front = Self {
            shell,
            control,
            stdin,
            iopub,
            connection,
            handle,
            server,
            signer,
            next: 0,
            _folder: folder,
        };
        let (header, content) = front.iopub().await;
        assert_eq!((header.msg_type.as_str(), &content["subscription"]), ("iopub_welcome", &json!("")));
        front
    }

    fn request(&mut self, msg_type: &str, content: &Value) -> (String, ZmqMessage) {
        self.next += 1;
        let id = format!("request-{}", self.next);
        let header = Header::new(&id, msg_type, "front", "ada", SystemTime::now());
        let message = Message::new(&header, None, content).unwrap();
        (id, message.to_zmq(&self.signer).try_into().unwrap())
    }

    pub(crate) async fn send_shell(&mut self, msg_type: &str, content: Value) -> String {
        let (id, message) = self.request(msg_type, &content);
        self.shell.send(message).await.unwrap();
        id
    }

    pub(crate) async fn send_control(&mut self, msg_type: &str, content: Value) -> String {
        let (id, message) = self.request(msg_type, &content);
        self.control.send(message).await.unwrap();
        id
    }

    pub(crate) async fn send_stdin(&mut self, msg_type: &str, content: Value) {
        let (_, message) = self.request(msg_type, &content);
        self.stdin.send(message).await.unwrap();
    }

    pub(crate) async fn send_raw(&mut self, parts: Vec<bytes::Bytes>) {
        self.shell.send(parts.try_into().unwrap()).await.unwrap();
    }

    pub(crate) async fn execute(&mut self, code: &str) -> String {
        self.send_shell("execute_request", json!({"code": code, "allow_stdin": true})).await
    }

    /// The next message on iopub: its header and content.
    pub(crate) async fn iopub(&mut self) -> (Header, Value) {
        let (header, _, content) = Self::read(&mut self.iopub, &self.signer, "iopub").await;
        (header, content)
    }

    /// The next message on iopub must be of this type and answer this request; returns its content.
    pub(crate) async fn published(&mut self, msg_type: &str, parent: &str) -> Value {
        let (header, asked, content) = Self::read(&mut self.iopub, &self.signer, msg_type).await;
        assert_eq!((header.msg_type.as_str(), asked.as_str()), (msg_type, parent), "{content}");
        content
    }

    pub(crate) async fn busy(&mut self, parent: &str) {
        assert_eq!(self.published("status", parent).await["execution_state"], "busy");
    }

    pub(crate) async fn idle(&mut self, parent: &str) {
        assert_eq!(self.published("status", parent).await["execution_state"], "idle");
    }

    pub(crate) async fn stream(&mut self, parent: &str, text: &str) {
        assert_eq!(self.published("stream", parent).await, json!({"name": "stdout", "text": text}));
    }

    /// Busy and the echo of the cell.
    pub(crate) async fn started(&mut self, parent: &str, code: &str) {
        self.busy(parent).await;
        assert_eq!(self.published("execute_input", parent).await["code"], code);
    }

    pub(crate) async fn shell_reply(&mut self, msg_type: &str, parent: &str) -> Value {
        let (header, asked, content) = Self::read(&mut self.shell, &self.signer, msg_type).await;
        assert_eq!((header.msg_type.as_str(), asked.as_str()), (msg_type, parent), "{content}");
        content
    }

    pub(crate) async fn control_reply(&mut self, msg_type: &str, parent: &str) -> Value {
        let (header, asked, content) = Self::read(&mut self.control, &self.signer, msg_type).await;
        assert_eq!((header.msg_type.as_str(), asked.as_str()), (msg_type, parent), "{content}");
        content
    }

    pub(crate) async fn asked(&mut self, parent: &str) -> Value {
        let (header, asked, content) = Self::read(&mut self.stdin, &self.signer, "input_request").await;
        assert_eq!((header.msg_type.as_str(), asked.as_str()), ("input_request", parent), "{content}");
        content
    }

    pub(crate) async fn beat(&self) {
        let mut socket = ReqSocket::new();
        socket.connect(&self.connection.endpoint(Channel::Heartbeat)).await.unwrap();
        socket.send("ping".into()).await.unwrap();
        let pong = tokio::time::timeout(PATIENCE, socket.recv()).await.unwrap().unwrap();
        assert_eq!(pong.get(0).unwrap().as_ref(), b"ping");
    }

    /// Ends the kernel; nothing may be left that the test did not ask for.
    pub(crate) async fn finish(mut self) {
        let id = self.send_control("shutdown_request", json!({"restart": true})).await;
        self.busy(&id).await;
        let reply = self.control_reply("shutdown_reply", &id).await;
        assert_eq!(reply, json!({"status": "ok", "restart": true}));
        self.idle(&id).await;
        self.published("shutdown_reply", &id).await;
        let ended = tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap();
        assert!(ended.restart);
    }

    async fn read<S: SocketRecv>(socket: &mut S, signer: &Signer, wanted: &str) -> (Header, String, Value) {
        let received = tokio::time::timeout(PATIENCE, socket.recv()).await;
        let parts = received.unwrap_or_else(|_| panic!("nothing came, wanted {wanted}")).unwrap().into_vec();
        let message = Message::from_zmq(parts, signer).unwrap();
        let parent = message.parent().map(|parent| parent.msg_id).unwrap_or_default();
        (message.header().unwrap(), parent, message.content().unwrap())
    }
}
