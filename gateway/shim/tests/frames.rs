//! The frame codec: round trips, any cutting of the stream, garbage.
#![expect(clippy::unwrap_used, reason = "tests: what fails here is the finding")]

use bytes::{BufMut, Bytes};
use carrel_wire::{Channel, Message};
use gateway_shim::protocol::*;
use proptest::prelude::*;

fn blob() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
}

prop_compose! {
    fn message()(header in blob(), parent_header in blob(), metadata in blob(), content in blob(),
                 buffers in proptest::collection::vec(blob(), 0..4)) -> Message {
        Message { idents: Vec::new(), header, parent_header, metadata, content, buffers }
    }
}

fn exit() -> impl Strategy<Value = Exit> {
    (any::<Option<i32>>(), any::<Option<i32>>()).prop_map(|(code, signal)| Exit { code, signal })
}

prop_compose! {
    fn kernel()(state in prop_oneof![Just(State::Starting), Just(State::Alive), Just(State::Restarting), Just(State::Dead)],
                pid in any::<Option<u32>>(), restarts in any::<u32>(), execution_state in "[a-z]{0,8}",
                exit in proptest::option::of(exit()), why in proptest::option::of("[a-z ]{0,8}")) -> Kernel {
        Kernel { state, pid, restarts, execution_state, exit, why }
    }
}

fn frame() -> impl Strategy<Value = Frame> {
    let channel = || (0u8..4).prop_map(|code| Channel::from_code(code).unwrap());
    let from = prop_oneof![
        Just(From::Now),
        any::<u64>().prop_map(From::Seq),
        any::<Option<u64>>().prop_map(|written| From::Resume { written })
    ];
    let role = prop_oneof![Just(Role::Control), Just(Role::Client)];
    let cmd = prop_oneof![
        Just(Cmd::Interrupt),
        Just(Cmd::Restart),
        Just(Cmd::Shutdown),
        Just(Cmd::Forget),
        Just(Cmd::Status)
    ];
    let event = prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(pid, restarts)| Event::Started { pid, restarts }),
        (exit(), any::<bool>()).prop_map(|(exit, expected)| Event::Exited { exit, expected }),
        any::<u32>().prop_map(|attempt| Event::Restarting { attempt }),
        ".{0,9}".prop_map(|reason| Event::Dead { reason }),
        (any::<u64>(), any::<u64>()).prop_map(|(first, last)| Event::Lost { first, last }),
    ];
    prop_oneof![
        (role, ".{0,20}", from).prop_map(|(role, session, from)| Frame::Hello(Hello { role, session, from })),
        (channel(), message()).prop_map(|(channel, message)| Frame::Send(channel, message)),
        any::<u64>().prop_map(Frame::Ack),
        proptest::collection::vec(any::<(u64, u64)>(), 0..9).prop_map(Frame::Offsets),
        (any::<u64>(), cmd).prop_map(|(id, cmd)| Frame::Command(Command { id, cmd })),
        (any::<[u64; 4]>(), any::<bool>(), kernel()).prop_map(
            |([first, next, at, lost], resumed, kernel)| {
                Frame::Welcome(Welcome { first, next, at, lost, resumed, kernel })
            }
        ),
        (any::<u64>(), channel(), message())
            .prop_map(|(seq, channel, message)| Frame::Message(seq, channel, message)),
        (any::<u64>(), event).prop_map(|(seq, event)| Frame::Event(seq, event)),
        (
            any::<u64>(),
            any::<bool>(),
            proptest::option::of(".{0,9}"),
            proptest::option::of(kernel()),
            any::<Option<bool>>()
        )
            .prop_map(|(id, ok, error, kernel, responsive)| Frame::Reply(Reply {
                id,
                ok,
                error,
                kernel,
                responsive
            })),
    ]
}

proptest! {
    /// However the stream is cut into reads, the same frames come out.
    #[test]
    fn frames_survive_any_cutting(frames in proptest::collection::vec(frame(), 1..6), cut in 1usize..40) {
        let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.to_bytes().to_vec()).collect();
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in stream.chunks(cut) {
            decoder.space().put_slice(piece);
            while let Some(frame) = decoder.next().unwrap() {
                out.push(frame);
            }
        }
        prop_assert_eq!(out, frames);
        prop_assert!(decoder.is_empty());
    }

    /// What is long loses its contents and stays a frame; all else stays as it is.
    #[test]
    fn outlines_are_frames(frame in frame(), long in 0usize..40_000) {
        let long = match frame {
            Frame::Message(seq, channel, message) => Frame::Message(seq, channel, Message { content: vec![b'x'; long].into(), ..message }),
            other => other,
        };
        let outline = Frame::outline(&long.to_bytes());
        prop_assert!(outline.len() < 17_000);
        let decoded = Frame::decode(outline.slice(4..)).unwrap();
        match (&decoded, &long) {
            (Frame::Message(seq, channel, short), Frame::Message(seq_long, channel_long, long)) if short != long => {
                prop_assert_eq!((seq, channel, &short.header, &short.parent_header), (seq_long, channel_long, &long.header, &long.parent_header));
                prop_assert!(long.content.len() > 16_000 && short.buffers.is_empty());
                prop_assert_eq!(&short.content[..], b"{}");
            }
            (decoded, long) => prop_assert_eq!(decoded, long),
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Frame::decode(Bytes::from(bytes.clone()));
        let mut decoder = Decoder::default();
        decoder.space().put_slice(&bytes);
        while let Ok(Some(_)) = decoder.next() {}
    }

    #[test]
    fn damaged_frames_never_panic(frame in frame(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = frame.to_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = Frame::decode(Bytes::from(bytes.split_off(4.min(bytes.len()))));
    }
}

/// The shapes written in docs/architecture.md.
#[test]
fn json_bodies_are_as_documented() {
    let body = |frame: Frame| String::from_utf8(frame.to_bytes()[5..].to_vec()).unwrap();
    let hello = |from| body(Frame::Hello(Hello { role: Role::Client, session: "s".to_owned(), from }));
    assert_eq!(hello(From::Now), r#"{"role":"client","session":"s","from":"now"}"#);
    assert_eq!(hello(From::Seq(7)), r#"{"role":"client","session":"s","from":{"seq":7}}"#);
    let resume = hello(From::Resume { written: None });
    assert_eq!(resume, r#"{"role":"client","session":"s","from":{"resume":{"written":null}}}"#);
    let command = body(Frame::Command(Command { id: 3, cmd: Cmd::Interrupt }));
    assert_eq!(command, r#"{"id":3,"cmd":"interrupt"}"#);
    let event =
        Frame::Event(9, Event::Exited { exit: Exit { code: None, signal: Some(9) }, expected: false });
    assert_eq!(&event.to_bytes()[13..], br#"{"event":"exited","code":null,"signal":9,"expected":false}"#);
}

#[test]
fn a_message_frame_has_the_documented_bytes() {
    let part = |text: &'static str| Bytes::from_static(text.as_bytes());
    let message = Message {
        idents: Vec::new(),
        header: part("h"),
        parent_header: part("pp"),
        metadata: part(""),
        content: part("c"),
        buffers: vec![part("b")],
    };
    let frame = Frame::Message(0x0102, Channel::Iopub, message).to_bytes();
    let expected = b"\x27\0\0\0\x11\x02\x01\0\0\0\0\0\0\x03\x05\0\0\0\x01\0\0\0h\x02\0\0\0pp\0\0\0\0\x01\0\0\0c\x01\0\0\0b";
    assert_eq!(&frame[..], &expected[..]);
}

#[test]
fn lengths_are_bounded_before_anything_is_kept() {
    let mut decoder = Decoder::default();
    decoder.space().put_u32_le(MAX_FRAME as u32 + 1);
    assert!(matches!(decoder.next(), Err(FrameError::TooLarge { .. })));
    let mut decoder = Decoder::default();
    decoder.space().put_u32_le(MAX_FRAME as u32);
    assert!(matches!(decoder.next(), Ok(None)));
    assert!(decoder.space().capacity() < 64 * 1024);
}
