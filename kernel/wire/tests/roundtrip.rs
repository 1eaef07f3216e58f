//! Every framing leads back to the message that went in, agrees with the reference bytes, and survives any bytes.
#![expect(clippy::unwrap_used, reason = "tests: what fails here is the finding")]

use bytes::Bytes;
use kernel_wire::websocket::{json, v1};
use kernel_wire::{Channel, ConnectionInfo, Header, Message, Signer, WireError};
use proptest::prelude::*;

/// JSON as kernels send it: escapes, unicode and odd spacing must survive.
fn object() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::from_static(b"{}")),
        Just(Bytes::from_static(b"{ \"a\" : [1.0, 1e3, \"\\u00e9\\n\"] }")),
        ".{0,40}".prop_map(|text| serde_json::to_vec(&serde_json::json!({"text": text})).unwrap().into()),
    ]
}

fn blobs(most: usize) -> impl Strategy<Value = Vec<Bytes>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from), 0..most)
}

prop_compose! {
    fn message()(
        idents in blobs(4), header in object(), parent_header in object(),
        metadata in object(), content in object(), buffers in blobs(4),
    ) -> Message {
        // An identity that is the delimiter itself could not be told apart; no socket makes one.
        Message { idents, header, parent_header, metadata, content, buffers }
    }
}

fn websocket_channel() -> impl Strategy<Value = Channel> {
    prop_oneof![Just(Channel::Shell), Just(Channel::Control), Just(Channel::Stdin), Just(Channel::Iopub)]
}

proptest! {
    #[test]
    fn zmq(message in message(), key in "[a-f0-9]{0,8}") {
        let signer = Signer::new(&key);
        prop_assert_eq!(Message::from_zmq(message.to_zmq(&signer), &signer).unwrap(), message);
    }

    #[test]
    fn websocket_v1(message in message(), channel in websocket_channel()) {
        let bare = Message { idents: Vec::new(), ..message.clone() };
        prop_assert_eq!(v1::decode(&v1::encode(channel, &message)).unwrap(), (channel, bare));
    }

    #[test]
    fn websocket_json(message in message(), channel in websocket_channel()) {
        let bare = Message { idents: Vec::new(), ..message.clone() };
        let frame = json::encode(channel, &message).unwrap();
        prop_assert_eq!(matches!(frame, json::Frame::Text(_)), message.buffers.is_empty());
        prop_assert_eq!(json::decode(&frame).unwrap(), (channel, bare));
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let frame = Bytes::from(bytes);
        let _ = Header::parse(&frame);
        let _ = ConnectionInfo::parse(&frame);
        let _ = v1::decode(&frame);
        let _ = json::decode(&json::Frame::Text(frame.clone()));
        let _ = json::decode(&json::Frame::Binary(frame.clone()));
        let parts: Vec<Bytes> = frame.chunks(9).map(Bytes::copy_from_slice).collect();
        prop_assert!(Message::from_zmq(parts, &Signer::new("k")).is_err());
    }

    /// Garbage that begins well: real frames with bytes changed or cut off reach the deeper branches.
    #[test]
    fn damaged_frames_never_panic(
        message in message(), channel in websocket_channel(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let damage = |frame: Bytes| {
            let mut frame = frame.to_vec();
            for (at, byte) in &changes {
                let at = at.index(frame.len());
                frame[at] = *byte;
            }
            frame.truncate(cut.index(frame.len()) + 1);
            Bytes::from(frame)
        };
        let _ = v1::decode(&damage(v1::encode(channel, &message)));
        let _ = match json::encode(channel, &message).unwrap() {
            json::Frame::Text(text) => json::decode(&json::Frame::Text(damage(text))),
            json::Frame::Binary(binary) => json::decode(&json::Frame::Binary(damage(binary))),
        };
    }
}

fn sample() -> Message {
    let part = |text: &'static str| Bytes::from_static(text.as_bytes());
    Message {
        idents: Vec::new(),
        header: part(r#"{"msg_id":"1","msg_type":"status"}"#),
        parent_header: part("{}"),
        metadata: part("{}"),
        content: part(r#"{"execution_state":"idle"}"#),
        buffers: vec![Bytes::from_static(b"xyz")],
    }
}

/// The bytes that jupyter_server 2.21.1 makes of the same message.
#[test]
fn v1_agrees_with_jupyter_server() {
    let frame = v1::encode(Channel::Iopub, &sample());
    assert_eq!(frame, Bytes::from_static(include_bytes!("data/v1.bin")));
}

/// The binary frame of jupyter_server 2.21.1 for the same message decodes to it.
#[test]
fn json_agrees_with_jupyter_server() {
    let theirs = json::Frame::Binary(Bytes::from_static(include_bytes!("data/json.bin")));
    let (channel, message) = json::decode(&theirs).unwrap();
    assert_eq!((channel, &message.buffers), (Channel::Iopub, &sample().buffers));
    let value = |bytes: &Bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(value(&message.content), value(&sample().content));
    assert_eq!(value(&message.header), value(&sample().header));
}

#[test]
fn json_takes_what_clients_leave_out() {
    let text = |text: &'static str| json::decode(&json::Frame::Text(Bytes::from_static(text.as_bytes())));
    let (channel, message) =
        text(r#"{"header":{"msg_id":"1"},"channel":null,"buffers":[],"extra":1}"#).unwrap();
    assert_eq!(
        (channel, &message.content[..], &message.metadata[..]),
        (Channel::Shell, &b"{}"[..], &b"{}"[..])
    );
    assert!(matches!(text(r#"{"header":{},"channel":"hb"}"#), Err(WireError::UnknownChannel { .. })));
    assert!(text(r#"{"header":"no object"}"#).is_err());
    assert!(text(r#"{"channel":"shell"}"#).is_err());
}

#[test]
fn json_never_inlines_what_is_not_one_json_value() {
    for bad in ["{} ,\"channel\":\"shell\"", "{", "NaN", ""] {
        let message = Message { content: Bytes::copy_from_slice(bad.as_bytes()), ..sample() };
        assert!(matches!(
            json::encode(Channel::Iopub, &message),
            Err(WireError::Json { part: "content", .. })
        ));
    }
}

/// A count or offset near the top of its range must be refused without arithmetic going wrong.
#[test]
fn huge_numbers_are_refused() {
    for count in [u64::MAX, u64::MAX / 8, 1 << 40, 5, 0] {
        let mut frame = v1::encode(Channel::Iopub, &sample()).to_vec();
        frame[..8].copy_from_slice(&count.to_le_bytes());
        assert!(v1::decode(&Bytes::from(frame)).is_err(), "{count}");
    }
    for count in [u32::MAX, u32::MAX / 4, 1_000_000, 0] {
        let json::Frame::Binary(frame) = json::encode(Channel::Iopub, &sample()).unwrap() else {
            panic!("a message with buffers is a binary frame");
        };
        let mut frame = frame.to_vec();
        frame[..4].copy_from_slice(&count.to_be_bytes());
        assert!(json::decode(&json::Frame::Binary(Bytes::from(frame))).is_err(), "{count}");
    }
}
