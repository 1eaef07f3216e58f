//! A scripted kernel for the shim's tests: real ZeroMQ sockets, no language. The code of an execute_request is its script:
//!
//! `lines N` publishes N stream messages, `long N` one with N letters; `exit N` ends the process; `ask` asks on stdin and publishes the
//! answer; `sleep` waits for an interrupt; `bytes N` publishes a display with a buffer of N bytes; `orphan` leaves a process behind; `forge`
//! publishes a message with a wrong signature; `spin` ignores everything until killed.

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use carrel_wire::{Channel, ConnectionInfo, Header, Message, Signer};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeromq::{PubSocket, RepSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

type Failure = Box<dyn Error>;

struct Kernel {
    signer: Signer,
    shell: RouterSocket,
    control: RouterSocket,
    stdin: RouterSocket,
    iopub: PubSocket,
    heartbeat: RepSocket,
    interrupt: Signal,
    count: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let file = std::env::args().nth(1).ok_or("no connection file")?;
    // A kernel that is told to fail before it speaks.
    if file == "fail" {
        std::process::exit(3);
    }
    let info = ConnectionInfo::parse(&std::fs::read(file)?)?;
    let mut kernel = Kernel {
        signer: info.signer(),
        shell: RouterSocket::new(),
        control: RouterSocket::new(),
        stdin: RouterSocket::new(),
        iopub: PubSocket::new(),
        heartbeat: RepSocket::new(),
        interrupt: signal(SignalKind::interrupt())?,
        count: 0,
    };
    kernel.heartbeat.bind(&info.endpoint(Channel::Heartbeat)).await?;
    kernel.stdin.bind(&info.endpoint(Channel::Stdin)).await?;
    kernel.control.bind(&info.endpoint(Channel::Control)).await?;
    kernel.iopub.bind(&info.endpoint(Channel::Iopub)).await?;
    kernel.shell.bind(&info.endpoint(Channel::Shell)).await?;
    println!("fake kernel is up");
    kernel.run().await
}

impl Kernel {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                request = self.shell.recv() => self.request(request?, Channel::Shell).await?,
                request = self.control.recv() => self.request(request?, Channel::Control).await?,
                ping = self.heartbeat.recv() => self.heartbeat.send(ping?).await?,
                _ = self.interrupt.recv() => {}
            }
        }
    }

    async fn request(&mut self, request: ZmqMessage, channel: Channel) -> Result<(), Failure> {
        let request = Message::from_zmq(request.into_vec(), &self.signer)?;
        let kind = request.header()?.msg_type;
        self.publish(&request, "status", json!({"execution_state": "busy"})).await?;
        let mut reply = json!({"status": "ok"});
        match kind.as_str() {
            "execute_request" => {
                let content: Value = request.content()?;
                self.execute(&request, content["code"].as_str().unwrap_or_default(), &mut reply).await?;
            }
            "kernel_info_request" => reply["protocol_version"] = json!("5.4"),
            _ => {}
        }
        let message = self.message(&request, &kind.replace("request", "reply"), &reply)?;
        let message = Message { idents: request.idents.clone(), ..message };
        let socket = if channel == Channel::Shell { &mut self.shell } else { &mut self.control };
        socket.send(parts(&message, &self.signer)?).await?;
        self.publish(&request, "status", json!({"execution_state": "idle"})).await?;
        if kind == "shutdown_request" {
            // What was queued goes out before the process ends.
            tokio::time::sleep(Duration::from_millis(20)).await;
            std::process::exit(0);
        }
        Ok(())
    }

    async fn execute(&mut self, request: &Message, code: &str, reply: &mut Value) -> Result<(), Failure> {
        let (verb, number) = code.split_once(' ').unwrap_or((code, "0"));
        let number: usize = number.parse().unwrap_or(0);
        match verb {
            "lines" => {
                for line in 0..number {
                    let text = format!("{line}\n");
                    self.publish(request, "stream", json!({"name": "stdout", "text": text})).await?;
                    if line % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            "long" => {
                let text = "x".repeat(number);
                self.publish(request, "stream", json!({"name": "stdout", "text": text})).await?;
            }
            "exit" => std::process::exit(i32::try_from(number)?),
            "ask" => {
                let question =
                    self.message(request, "input_request", &json!({"prompt": "?", "password": false}))?;
                let question = Message { idents: request.idents.clone(), ..question };
                self.stdin.send(parts(&question, &self.signer)?).await?;
                let answer = Message::from_zmq(self.stdin.recv().await?.into_vec(), &self.signer)?;
                let answer: Value = answer.content()?;
                self.publish(request, "stream", json!({"name": "stdout", "text": answer["value"]})).await?;
            }
            "sleep" => {
                self.publish(request, "stream", json!({"name": "stdout", "text": "sleeping"})).await?;
                let how = tokio::select! {
                    _ = self.interrupt.recv() => "SIGINT".to_owned(),
                    request = self.control.recv() => {
                        let request = Message::from_zmq(request?.into_vec(), &self.signer)?;
                        request.header()?.msg_type
                    }
                };
                *reply = json!({"status": "error", "ename": "Interrupted", "evalue": how, "traceback": []});
            }
            "bytes" => {
                let mut display =
                    self.message(request, "display_data", &json!({"data": {}, "metadata": {}}))?;
                display.buffers = vec![Bytes::from(vec![7; number])];
                self.iopub.send(parts(&display, &self.signer)?).await?;
            }
            "orphan" => {
                let script = "sleep 0.1 >/dev/null 2>&1 & echo $!";
                let output = std::process::Command::new("sh").args(["-c", script]).output()?;
                let pid = String::from_utf8(output.stdout)?;
                self.publish(request, "stream", json!({"name": "stdout", "text": pid.trim()})).await?;
            }
            "where" => {
                let here = std::env::current_dir()?;
                self.publish(request, "stream", json!({"name": "stdout", "text": here.to_string_lossy()}))
                    .await?;
            }
            "forge" => {
                let forged = self.message(request, "stream", &json!({"name": "stdout", "text": "forged"}))?;
                self.iopub.send(parts(&forged, &Signer::new("another key"))?).await?;
            }
            "spin" => loop {
                // The busy status goes out first.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                std::thread::sleep(Duration::from_secs(3600));
            },
            _ => {}
        }
        Ok(())
    }

    async fn publish(&mut self, parent: &Message, kind: &str, content: Value) -> Result<(), Failure> {
        let message = self.message(parent, kind, &content)?;
        self.iopub.send(parts(&message, &self.signer)?).await?;
        Ok(())
    }

    fn message(&mut self, parent: &Message, kind: &str, content: &Value) -> Result<Message, Failure> {
        self.count += 1;
        let header = Header::new(&format!("fake-{}", self.count), kind, "fake", "kernel", UNIX_EPOCH);
        Ok(Message::new(&header, Some(parent), content)?)
    }
}

fn parts(message: &Message, signer: &Signer) -> Result<ZmqMessage, Failure> {
    ZmqMessage::try_from(message.to_zmq(signer)).map_err(|_| "empty message".into())
}
