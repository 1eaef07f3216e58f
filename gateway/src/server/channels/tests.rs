//! A websocket client on one side, a scripted shim on the other.

use super::end::End;
use super::frames::Framing;
use super::relay::{self, Context, Progress};
use crate::kernels::kernel::{Kernel, Notice, tests::kernel};
use crate::kernels::tcp::TcpWatch;
use bytes::Bytes;
use carrel_shim::client::ShimConn;
use carrel_shim::protocol::{
    Event, Frame, FrameReader, From, Hello, Kernel as ShimKernel, Role, State, Welcome,
};
use carrel_wire::websocket::{json, v1};
use carrel_wire::{Channel, Header, Message};
use futures::{SinkExt, StreamExt};
use std::time::UNIX_EPOCH;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::tungstenite::protocol::Role as WsRole;
use tokio_util::sync::CancellationToken;

/// Everything that a test moves.
struct Bench {
    kernel: Kernel,
    shutdown: CancellationToken,
    client: WebSocketStream<TcpStream>,
    shim: Shim,
    relay: JoinHandle<Progress>,
}

struct Shim {
    frames: FrameReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Shim {
    async fn send(&mut self, frame: Frame) {
        self.write.write_all(&frame.to_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Frame {
        self.frames.next().await.unwrap().expect("a frame")
    }

    /// The next frame that is not an acknowledgement.
    async fn next_but_ack(&mut self) -> Frame {
        loop {
            let frame = self.next().await;
            if !matches!(frame, Frame::Ack(_)) {
                return frame;
            }
        }
    }
}

fn message(msg_type: &str, text: &str) -> Message {
    let header = Header::new("1", msg_type, "s", "u", UNIX_EPOCH);
    Message::new(&header, None, &serde_json::json!({"text": text})).unwrap()
}

async fn bench(framing: Framing) -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let client = WebSocketStream::from_raw_socket(client, WsRole::Client, None).await;

    let (ours, theirs) = UnixStream::pair().unwrap();
    let (read, write) = theirs.into_split();
    let mut shim = Shim { frames: FrameReader::new(read), write };
    let hello = Hello { role: Role::Client, session: "s".into(), from: From::Resume { written: Some(5) } };
    let (conn, ()) = tokio::join!(ShimConn::over(ours, hello.clone()), async {
        assert_eq!(shim.next().await, Frame::Hello(hello.clone()));
        let kernel = ShimKernel {
            state: State::Alive,
            pid: Some(2),
            restarts: 0,
            execution_state: "idle".into(),
            exit: None,
            why: None,
        };
        shim.send(Frame::Welcome(Welcome { first: 1, next: 1, at: 1, lost: 0, resumed: true, kernel })).await;
    });

    let (kernel, _orders) = kernel("/nowhere".into());
    let shutdown = CancellationToken::new();
    let context = Context {
        kernel: kernel.clone(),
        stop: kernel.ended.child_token(),
        stay: crate::guests::Stay::unlimited(),
        shutdown: shutdown.clone(),
        kernels: None,
        framing,
        notices: kernel.notices(),
    };
    let relay = tokio::spawn(async move {
        let watch = TcpWatch::new(&server).unwrap();
        let (reader, writer) = server.into_split();
        relay::run(context, conn.unwrap(), reader, Bytes::new(), writer, Some(&watch)).await
    });
    Bench { kernel, shutdown, client, shim, relay }
}

async fn received(bench: &mut Bench) -> Ws {
    bench.client.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn v1_messages_pass_both_ways_with_their_offsets_announced() {
    let mut bench = bench(Framing::V1).await;
    let request = message("execute_request", "SELECT 1");
    bench.client.send(Ws::binary(v1::encode(Channel::Shell, &request))).await.unwrap();
    assert_eq!(bench.shim.next_but_ack().await, Frame::Send(Channel::Shell, request));

    let mut position = 0;
    for (seq, size) in [(1_u64, 10), (2, 100_000)] {
        let output = message("stream", &"x".repeat(size));
        bench.shim.send(Frame::Message(seq, Channel::Iopub, output.clone())).await;
        let Frame::Offsets(pairs) = bench.shim.next_but_ack().await else { panic!("no offsets") };
        let Ws::Binary(frame) = received(&mut bench).await else { panic!("not binary") };
        assert_eq!(v1::decode(&frame).unwrap(), (Channel::Iopub, output));
        let header = if frame.len() < 126 {
            2
        } else if frame.len() < 65_536 {
            4
        } else {
            10
        };
        position += header + frame.len() as u64;
        assert_eq!(pairs, vec![(seq, position)]);
    }
    // What is delivered is acknowledged, without another message pushing it.
    loop {
        if bench.shim.next().await == Frame::Ack(2) {
            break;
        }
    }
    bench.client.close(None).await.unwrap();
    while bench.client.next().await.is_some() {}
    let progress = bench.relay.await.unwrap();
    assert_eq!((progress.end, progress.position), (End::Client, position + 2));
}

#[tokio::test]
async fn json_is_spoken_to_those_who_asked_for_nothing() {
    let mut bench = bench(Framing::Json).await;
    let text =
        r#"{"header":{"msg_id":"a","msg_type":"kernel_info_request"},"content":{},"channel":"control"}"#;
    bench.client.send(Ws::text(text)).await.unwrap();
    let Frame::Send(Channel::Control, message) = bench.shim.next_but_ack().await else {
        panic!("no message")
    };
    assert_eq!(message.header().unwrap().msg_id, "a");
    bench
        .client
        .send(Ws::text(r#"{"header":{"msg_id":"b","msg_type":"x"},"content":{},"channel":"nonsense"}"#))
        .await
        .unwrap();
    bench.shim.send(Frame::Message(1, Channel::Shell, message)).await;
    assert!(
        matches!(bench.shim.next_but_ack().await, Frame::Offsets(_)),
        "an unknown channel is no message and no end"
    );
    let Ws::Text(answer) = received(&mut bench).await else { panic!("not a text") };
    let answer = json::decode(&json::Frame::Text(answer.into())).unwrap();
    assert_eq!(answer.0, Channel::Shell);
}

#[tokio::test]
async fn pongs_do_not_move_the_offsets_astray() {
    let mut bench = bench(Framing::V1).await;
    bench.client.send(Ws::Ping(Bytes::from_static(b"abc"))).await.unwrap();
    assert_eq!(received(&mut bench).await, Ws::Pong(Bytes::from_static(b"abc")));
    bench.shim.send(Frame::Message(1, Channel::Iopub, message("stream", "x"))).await;
    let Frame::Offsets(pairs) = bench.shim.next_but_ack().await else { panic!("no offsets") };
    let Ws::Binary(frame) = received(&mut bench).await else { panic!("not binary") };
    let header = if frame.len() < 126 { 2 } else { 4 };
    assert_eq!(pairs, vec![(1, 5 + header + frame.len() as u64)]);
}

fn states(ws: &Ws) -> Option<String> {
    let Ws::Binary(frame) = ws else { return None };
    let (_, message) = v1::decode(frame).unwrap();
    let content: serde_json::Value = message.content().unwrap();
    content["execution_state"].as_str().or(content["text"].as_str()).map(str::to_owned)
}

#[tokio::test]
async fn a_kernels_life_and_death_are_told() {
    let mut bench = bench(Framing::V1).await;
    bench.shim.send(Frame::Event(1, Event::Restarting { attempt: 0 })).await;
    bench.shim.send(Frame::Event(2, Event::Restarting { attempt: 1 })).await;
    assert_eq!(states(&received(&mut bench).await).as_deref(), Some("restarting"));
    bench.shim.send(Frame::Event(3, Event::Lost { first: 4, last: 6 })).await;
    let lost = states(&received(&mut bench).await).unwrap();
    assert!(lost.starts_with("3 messages"), "{lost}");
    bench.kernel.notify(Notice { text: "memory".into() });
    assert_eq!(states(&received(&mut bench).await).as_deref(), Some("memory"));
    bench.shim.send(Frame::Event(7, Event::Dead { reason: "x".into() })).await;
    assert_eq!(states(&received(&mut bench).await).as_deref(), Some("dead"));
}

#[tokio::test]
async fn endings_say_why() {
    let mut ended = bench(Framing::V1).await;
    ended.shutdown.cancel();
    let Ws::Close(Some(frame)) = received(&mut ended).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1012);
    assert_eq!(ended.relay.await.unwrap().end, End::Shutdown);

    let mut replaced = bench(Framing::V1).await;
    replaced.kernel.ended.cancel();
    let Ws::Close(Some(frame)) = received(&mut replaced).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1000);
    assert_eq!(replaced.relay.await.unwrap().end, End::Kernel);

    let mut garbled = bench(Framing::V1).await;
    garbled.client.send(Ws::binary(vec![1, 2, 3])).await.unwrap();
    let Ws::Close(Some(frame)) = received(&mut garbled).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1003);
}

#[tokio::test]
async fn what_was_acknowledged_late_is_confirmed_at_the_end() {
    let mut bench = bench(Framing::V1).await;
    bench.shim.send(Frame::Message(1, Channel::Iopub, message("stream", "x"))).await;
    let Ws::Binary(_) = received(&mut bench).await else { panic!("not binary") };
    bench.shutdown.cancel();
    let progress = bench.relay.await.unwrap();
    let position = progress.position;
    progress.confirm(Some(position)).await;
    // Either the clock was faster, or the end confirms it; once in any case.
    loop {
        match bench.shim.next().await {
            Frame::Ack(seq) => {
                assert_eq!(seq, 1);
                break;
            }
            Frame::Offsets(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
