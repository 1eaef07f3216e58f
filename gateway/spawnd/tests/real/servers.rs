//! The profiles of whole servers: who may have which, the way to the gateway, and that it is found again; last words.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use gateway_spawnd::{Client, ClientError, ErrorCode, Profile, ServerSpec, Start};

use crate::common::{As, Spawnd, eventually, id, kernel, possible};
use crate::restart::unsafe_kill;

const MODES: [As; 2] = [As::Root, As::Ordinary];
/// What runs in a jail asks whoever is at the other end.
const ASK: &str = "s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect('/run/hub/hub.sock'); s.sendall(b'hello'); s.shutdown(1); print(s.makefile('rb').read().decode())";

fn spawnd(who: As) -> Spawnd {
    Spawnd::detached(who, |_, settings| {
        let spec = |port| ServerSpec { argv: vec!["true".into()], port, ..ServerSpec::default() };
        settings.classic = Some(spec(Some(8888)));
        settings.services.insert("service-culler".parse().unwrap(), spec(None));
    })
}

fn server(user: &str, jail: &str, profile: Profile) -> Start {
    Start { profile, kernelspec: None, ..kernel(user, jail) }
}

fn refused(client: &Client, start: Start) -> ErrorCode {
    match client.start(start).unwrap_err() {
        ClientError::Refused(refusal) => refusal.code,
        other => panic!("{other}"),
    }
}

/// As the gateway does: answers one that asks.
fn answer(listener: OwnedFd, word: &'static str) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(word.as_bytes()).unwrap();
        heard
    })
}

#[test]
fn a_server_reaches_the_gateway_by_a_socket_of_its_own_whoever_was_killed() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let mut spawnd = spawnd(who);
        let (classic, _) = spawnd.client.start(server("ada", "c-1", Profile::Classic)).unwrap();
        let (service, _) = spawnd.client.start(server("service-culler", "s-1", Profile::Service)).unwrap();
        let plain = spawnd.kernel("ada", "k-1");
        assert_eq!(classic.uid, plain.uid);
        assert!(who == As::Ordinary || service.uid != plain.uid, "a service has a uid of its own");
        for (jail, word) in [("c-1", "ada's"), ("s-1", "the service's")] {
            let asked = answer(spawnd.client.listener(id(jail)).unwrap(), word);
            assert_eq!(spawnd.python(jail, ASK), word, "{who:?} {}", (spawnd.log)());
            assert_eq!(asked.join().unwrap(), "hello");
            let seen = spawnd.python(
                jail,
                "print(os.listdir('/run/hub'), os.access('/run/hub', os.W_OK), os.listdir('/home'), sys.argv[1:])",
            );
            let user = if jail == "c-1" { "ada" } else { "service-culler" };
            assert!(
                seen.starts_with(&format!("['hub.sock'] False ['{user}'] ['serve', '--relay',")),
                "{seen}"
            );
        }
        // A kernel has no such way, neither asked from inside nor from outside.
        assert!(spawnd.python("k-1", ASK).starts_with("FileNotFoundError"));
        let ClientError::Refused(none) = spawnd.client.listener(id("k-1")).unwrap_err() else { panic!() };
        assert_eq!(none.code, ErrorCode::NotFound);
        // A killed spawnd: the socket is the same, and its successor hands it out too.
        let before = spawnd.client.listener(id("c-1")).unwrap();
        assert_eq!(unsafe_kill(spawnd.hello.pid), 0);
        let asked = answer(before, "before");
        assert_eq!(spawnd.python("c-1", ASK), "before");
        asked.join().unwrap();
        spawnd.client = spawnd.connect_again();
        let asked = answer(spawnd.client.listener(id("c-1")).unwrap(), "after");
        assert_eq!(spawnd.python("c-1", ASK), "after", "{who:?}");
        asked.join().unwrap();
        spawnd.client.stop(id("c-1")).unwrap();
        assert!(spawnd.client.listener(id("c-1")).is_err());
        spawnd.finish();
    }
}

#[test]
fn an_account_of_a_service_is_nobody_else_s() {
    let who = MODES.into_iter().rfind(|who| possible(*who)).unwrap();
    let spawnd = spawnd(who);
    for (user, profile) in [
        ("service-culler", Profile::Classic),
        ("service-culler", Profile::Desk),
        ("ada", Profile::Service),
        ("service-other", Profile::Service),
    ] {
        assert_eq!(
            refused(&spawnd.client, server(user, "x-1", profile)),
            ErrorCode::Refused,
            "{user} {profile:?}"
        );
    }
    assert_eq!(refused(&spawnd.client, kernel("service-culler", "x-1")), ErrorCode::Refused);
    let odd = Start { profile: Profile::Classic, ..kernel("ada", "x-1") };
    assert_eq!(refused(&spawnd.client, odd), ErrorCode::BadRequest);
    spawnd.finish();
    let without = Spawnd::detached(who, |_, _| {});
    assert_eq!(refused(&without.client, server("ada", "x-1", Profile::Classic)), ErrorCode::Refused);
    without.finish();
}

#[test]
fn the_last_lines_of_a_server_are_kept_and_bounded() {
    let who = MODES.into_iter().rfind(|who| possible(*who)).unwrap();
    let spawnd = spawnd(who);
    spawnd.client.start(server("ada", "c-1", Profile::Classic)).unwrap();
    spawnd.python("c-1", "for n in range(50): sys.stderr.write(f'line {n} ' + 'x' * 600 + '\\n')\nsys.stderr.flush(); os._exit(3)");
    eventually("its end", || spawnd.client.exit(id("c-1")).is_ok());
    let exited = spawnd.client.exit(id("c-1")).unwrap();
    assert_eq!((exited.code, exited.lines.len()), (Some(3), 20), "{exited:?}");
    assert!(exited.lines.last().unwrap().starts_with("line 49 x"));
    assert!(exited.lines.iter().all(|line| line.len() <= 400));
    spawnd.finish();
}
