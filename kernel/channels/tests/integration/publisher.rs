//! The publisher alone: nothing is lost, the slow are waited for, the dead are not.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kernel_channels::publish::{Bounds, PubSocket, zmtp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeromq::{Socket, SocketRecv, SubSocket};

use crate::frontend::PATIENCE;

async fn publisher(bounds: Bounds) -> PubSocket {
    PubSocket::bind("tcp://127.0.0.1:0", bounds, None).await.unwrap()
}

async fn subscriber(publisher: &PubSocket, prefix: &str) -> SubSocket {
    let mut socket = SubSocket::new();
    socket.connect(publisher.address()).await.unwrap();
    socket.subscribe(prefix).await.unwrap();
    assert!(publisher.subscribed(PATIENCE).await);
    socket
}

/// A subscriber that speaks the handshake and then reads nothing.
async fn deaf_subscriber(publisher: &PubSocket) -> TcpStream {
    let mut stream = TcpStream::connect(publisher.address().trim_start_matches("tcp://")).await.unwrap();
    stream.write_all(&zmtp::greeting()).await.unwrap();
    let mut greeting = [0; zmtp::GREETING];
    stream.read_exact(&mut greeting).await.unwrap();
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB";
    let mut bytes = BytesMut::new();
    zmtp::head(&mut bytes, true, false, ready.len());
    bytes.extend_from_slice(ready);
    bytes.extend_from_slice(b"\0\x01\x01");
    stream.write_all(&bytes).await.unwrap();
    assert!(publisher.subscribed(PATIENCE).await);
    stream
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    let publisher = publisher(Bounds::default()).await;
    let mut socket = subscriber(&publisher, "").await;
    let reader = tokio::spawn(async move {
        for n in 0..100_000_u32 {
            let message = tokio::time::timeout(PATIENCE, socket.recv()).await.unwrap().unwrap();
            assert_eq!(message.get(1).unwrap().as_ref(), n.to_be_bytes());
            assert_eq!(message.get(2).unwrap().len(), 300);
        }
    });
    let body = Bytes::from(vec![7; 300]);
    for n in 0..100_000_u32 {
        publisher
            .publish(&[Bytes::from_static(b"topic"), Bytes::copy_from_slice(&n.to_be_bytes()), body.clone()])
            .await;
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn prefixes_choose_and_can_be_taken_back() {
    let publisher = publisher(Bounds::default()).await;
    let mut socket = subscriber(&publisher, "b").await;
    for topic in ["a", "b", "bc", "c"] {
        publisher.publish(&[Bytes::from_static(topic.as_bytes())]).await;
    }
    for topic in ["b", "bc"] {
        let message = tokio::time::timeout(PATIENCE, socket.recv()).await.unwrap().unwrap();
        assert_eq!(message.get(0).unwrap().as_ref(), topic.as_bytes());
    }
}

#[tokio::test]
async fn whoever_publishes_waits_for_the_slow_and_gives_up_the_dead() {
    let bounds = Bounds { queued: 100_000, stalled: Duration::from_millis(200), ..Bounds::default() };
    let publisher = publisher(bounds).await;
    let mut dead = deaf_subscriber(&publisher).await;
    let body = Bytes::from(vec![7; 50_000]);
    // More than any socket buffer holds: this can only end because the subscriber is given up.
    let all = async {
        for _ in 0..1_000 {
            publisher.publish(std::slice::from_ref(&body)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, dead.read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err() || rest.len() < 50_000_000, "the connection is closed before everything was sent");
    // And the publisher serves others.
    let mut socket = subscriber(&publisher, "").await;
    publisher.publish(&[Bytes::from_static(b"next")]).await;
    let message = tokio::time::timeout(PATIENCE, socket.recv()).await.unwrap().unwrap();
    assert_eq!(message.get(0).unwrap().as_ref(), b"next");
}

#[tokio::test]
async fn strangers_do_no_harm() {
    let publisher = publisher(Bounds::default()).await;
    let address = publisher.address().trim_start_matches("tcp://");
    for nonsense in [
        &b"GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nUser-Agent: somebody-long-enough\r\n\r\n"[..],
        &[0; 64],
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest.get(..10), Some(&zmtp::greeting()[..10]));
    }
}
