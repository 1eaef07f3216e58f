//! The packets as bytes, right, wrong and nearly right.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Request, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn requests_are_the_bytes_of_the_architecture() {
    let cases = [
        (r#"{"op":"hello"}"#, Request::Hello {}),
        (r#"{"op":"list"}"#, Request::List { after: None }),
        (r#"{"op":"listener","id":"c-1"}"#, Request::Listener { id: "c-1".parse().unwrap() }),
        (r#"{"op":"fd_put","tag":"ws/1"}"#, Request::FdPut { tag: "ws/1".into() }),
        (r#"{"op":"fd_take","prefix":"ws/","max":3}"#, Request::FdTake { prefix: "ws/".into(), max: 3 }),
        (r#"{"op":"fd_drop","tag":"x"}"#, Request::FdDrop { tag: "x".into() }),
        (r#"{"op":"shutdown","jails":"keep-if-any"}"#, Request::Shutdown { jails: ShutdownJails::KeepIfAny }),
        (
            r#"{"op":"start","user":"ada","id":"k-1","profile":"kernel","kernelspec":"carrel","cwd":"a/b"}"#,
            Request::Start(Start {
                user: "ada".parse().unwrap(),
                id: "k-1".parse().unwrap(),
                profile: Profile::Kernel,
                kernelspec: Some("carrel".parse().unwrap()),
                cwd: "a/b".parse().unwrap(),
                groups: vec![],
            }),
        ),
    ];
    for (text, request) in cases {
        assert_eq!(parse(text).unwrap(), request);
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}

#[test]
fn what_a_request_must_not_carry_is_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"op":"exec"}"#,
        r#"{"op":"stop"}"#,
        r#"{"op":"stop","id":"../x"}"#,
        r#"{"op":"start","user":"Root","id":"k","profile":"kernel"}"#,
        r#"{"op":"start","user":"ada","id":"k","profile":"engine"}"#,
        r#"{"op":"start","user":"ada","id":"k","profile":"desk","uid":0}"#,
        r#"{"op":"start","user":"ada","id":"c","profile":"classic","env":{"A":"b"}}"#,
        r#"{"op":"listener"}"#,
        r#"{"op":"start","user":"ada","id":"k","profile":"kernel","kernelspec":"a","cwd":"/etc"}"#,
        r#"{"op":"start","user":"ada","id":"k","profile":"kernel","argv":["/bin/sh"]}"#,
        r#"{"op":"stop","id":"k","force":true}"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn replies_and_layers_have_their_shape() {
    let refused: Reply<Done> = Reply::Err(Refusal::new(ErrorCode::NotFound, "no jail k"));
    assert_eq!(
        serde_json::to_string(&refused).unwrap(),
        r#"{"err":{"code":"not_found","message":"no jail k"}}"#
    );
    let mut layers = LayerReport::new();
    layers.insert(LayerName::NoNewPrivs, LayerState::On);
    layers.insert(LayerName::Uid, LayerState::Off("shared".into()));
    let text = serde_json::to_string(&Reply::Ok(&layers)).unwrap();
    assert_eq!(text, r#"{"ok":{"uid":"off: shared","no_new_privs":"on"}}"#);
    let Reply::Ok(back) = serde_json::from_str::<Reply<LayerReport>>(&text).unwrap() else {
        panic!("an error")
    };
    assert_eq!(back, layers);
    assert!(serde_json::from_str::<LayerState>("\"maybe\"").is_err());
}

proptest! {
    /// Bytes from outside are a request or an error, never a panic; and a request survives the way out and back.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = serde_json::from_slice::<Request>(&bytes) {
            let text = serde_json::to_string(&request).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), request);
        }
    }

    /// The same for what almost is a request: bytes of one are changed, left out, doubled, or come from another one. Whatever is taken
    /// still carries names only.
    #[test]
    fn nearly_a_request(
        which in 0..VALID.len(),
        other in 0..VALID.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let mut bytes = VALID[which].as_bytes().to_vec();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, byte),
                _ => { bytes.splice(at.., VALID[other].bytes().skip(at)); }
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        if let Ok(request) = serde_json::from_slice::<Request>(&bytes) {
            if let Request::Start(start) = &request {
                let (user, cwd) = (start.user.to_string(), start.cwd.to_string());
                prop_assert!(!user.contains('/') && !user.starts_with('.'), "{}", user);
                prop_assert!(!cwd.starts_with('/') && !cwd.split('/').any(|part| part == ".."), "{}", cwd);
            }
            let text = serde_json::to_string(&request).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), request);
        }
    }
}

/// One of each.
const VALID: [&str; 8] = [
    r#"{"op":"hello"}"#,
    r#"{"op":"list","after":"k-1"}"#,
    r#"{"op":"start","user":"ada","id":"k-1","profile":"kernel","kernelspec":"carrel","cwd":"a/b","groups":["ml"]}"#,
    r#"{"op":"start","user":"ada","id":"d-1","profile":"desk"}"#,
    r#"{"op":"fd_take","prefix":"ws/","max":3}"#,
    r#"{"op":"fd_put","tag":"ws/1"}"#,
    r#"{"op":"shutdown","jails":"keep-if-any"}"#,
    r#"{"op":"limits","tables":{"rules":[{"who":{"group":"ml"},"of":"kernel","change":{"pids":99}}]}}"#,
];
