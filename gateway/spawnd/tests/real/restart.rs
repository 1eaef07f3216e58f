//! spawnd is killed and started again while jails run: they live on, are found, and can be used and ended as before.

use std::fs;
use std::os::unix::net::UnixStream;

use crate::common::{As, Spawnd, eventually, id, names, possible, processes};
use gateway_spawnd::{AideSettings, ErrorCode, LayerName, LayerState, Profile, Start};

const MODES: [As; 2] = [As::Root, As::Ordinary];

#[test]
fn jails_outlive_a_killed_spawnd_and_its_successor_rules_them() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let mut spawnd = Spawnd::start(who, |_, _| {});
        let started = spawnd.kernel("ada", "k-1");
        let gone = spawnd.kernel("bob", "k-2");
        let desk = Start { profile: Profile::Desk, kernelspec: None, ..crate::common::kernel("ada", "d-1") };
        spawnd.client.start(desk).unwrap();
        assert_eq!(
            spawnd.python("k-1", "open('/home/ada/kept', 'w').write('x'); os.environ['A'] = 'b'; print(1)"),
            "1"
        );
        let before = spawnd.client.list().unwrap();
        spawnd.kill();
        // It works while there is no spawnd, and one that ends now is not forgotten.
        assert_eq!(spawnd.python("k-1", "print(os.environ['A'])"), "b", "{who:?}");
        assert_eq!(unsafe_kill(gone.pid), 0);
        eventually("its end", || !alive(gone.pid));
        spawnd.again();
        assert_eq!(spawnd.hello.layers[&LayerName::Mount], LayerState::On);
        // The client finds the successor by itself.
        let after = spawnd.client.list().unwrap();
        let kept: Vec<_> = before.into_iter().filter(|jail| jail.id != id("k-2")).collect();
        assert_eq!(after, kept, "{who:?}");
        assert_eq!(spawnd.client.exit(id("k-2")).unwrap().code, None);
        assert_eq!(names(&spawnd.settings.runtime.join("jails")).len(), 2);
        assert_eq!(spawnd.python("k-1", "print(os.environ['A'], os.listdir('/home/ada'))"), "b ['kept']");
        let stats = spawnd.client.stats(id("k-1")).unwrap();
        if started.layers[&LayerName::Memory].is_on() {
            assert_eq!(stats.memory_limit_bytes, Some(256 << 20));
            assert!(stats.memory_bytes.unwrap() > 0, "{stats:?}");
        }
        // Same id, same uid; a name that runs is taken.
        assert_eq!(spawnd.kernel("ada", "k-3").uid, started.uid);
        let taken = spawnd.client.start(crate::common::kernel("ada", "k-1")).unwrap_err();
        assert!(taken.to_string().contains("runs already"), "{taken}");
        spawnd.client.stop(id("k-1")).unwrap();
        assert!(!alive(started.pid));
        // Killed once more, with one of its own and one of its predecessor's.
        spawnd.kill();
        spawnd.again();
        let left: Vec<_> = spawnd.client.list().unwrap().into_iter().map(|jail| jail.id).collect();
        assert_eq!(left, [id("d-1"), id("k-3")]);
        spawnd.finish();
    }
}

#[test]
fn how_an_adopted_jail_ended_is_known_where_the_kernel_tells() {
    // The keeper takes orphans over and reaps them at once; without one that is up to the host's pid 1.
    let spawnd = Spawnd::detached(who(), |_, _| {});
    spawnd.kernel("ada", "k-1");
    assert_eq!(unsafe_kill(spawnd.hello.pid), 0);
    let client = spawnd.connect_again();
    spawnd.python("k-1", "os._exit(7)");
    eventually("its end", || client.exit(id("k-1")).is_ok());
    let exited = client.exit(id("k-1")).unwrap();
    // Linux 6.15 and newer tell it to others than the parent.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    assert_eq!(exited.code, if version >= (6, 15) { Some(7) } else { None }, "{exited:?} {release}");
    spawnd.finish();
}

#[test]
fn daemons_of_an_adopted_jail_end_with_it() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let mut spawnd = Spawnd::start(who, |_, _| {});
        spawnd.kernel("ada", "k-1");
        let mark = format!("spawnd-adopted-{}-{who:?}", std::process::id());
        let daemon = format!(
            r#"
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, b'x'); os.close(3)
        os.execv('/usr/bin/python3', ['python3', '-S', '-c', 'import time; time.sleep(600)', '{mark}'])
    os._exit(0)
os.read(r, 1); print('started')"#
        );
        assert_eq!(spawnd.python("k-1", &daemon), "started");
        eventually("the daemon runs", || !processes(&mark).is_empty());
        spawnd.kill();
        spawnd.again();
        spawnd.client.stop(id("k-1")).unwrap();
        assert_eq!(processes(&mark), Vec::<String>::new(), "{who:?}");
        spawnd.finish();
    }
}

#[test]
fn an_engine_is_woken_by_the_successor_and_a_running_one_is_kept() {
    let mut spawnd = Spawnd::start(who(), |root, _| {
        // Answers each connection, until it is told to end.
        let engine = r#"#!/usr/bin/python3 -S
import os, socket
server = socket.socket(fileno=3); server.setblocking(True)
while True:
    c, _ = server.accept()
    word = c.makefile("rb").readline()
    c.sendall(str(os.getpid()).encode()); c.close()
    if word == b"end\n": break
"#;
        fs::write(root.join("bin/engine"), engine).unwrap();
    });
    spawnd.kernel("ada", "k-1");
    let ask = |spawnd: &Spawnd, word: &str| {
        let code = format!(
            "s = socket.socket(socket.AF_UNIX); s.connect('/run/engine/engine.sock'); s.settimeout(30)\ns.sendall(b'{word}\\n'); print(s.makefile('rb').read().decode())"
        );
        spawnd.python("k-1", &code)
    };
    // Asleep while spawnd is away.
    spawnd.kill();
    spawnd.again();
    assert_eq!(ask(&spawnd, "stay"), "2");
    assert!(spawnd.client.list().unwrap()[0].engine);
    // Awake while spawnd is away.
    spawnd.kill();
    assert_eq!(ask(&spawnd, "stay"), "2");
    spawnd.again();
    assert!(spawnd.client.list().unwrap()[0].engine);
    assert_eq!(ask(&spawnd, "end"), "2");
    eventually("its end", || !spawnd.client.list().unwrap()[0].engine);
    assert_eq!(ask(&spawnd, "stay"), "2");
    spawnd.client.stop(id("k-1")).unwrap();
    spawnd.finish();
}

#[test]
fn what_was_half_made_is_swept_and_an_end_in_between_is_noticed() {
    let mut spawnd = Spawnd::start(who(), |_, _| {});
    let started = spawnd.kernel("ada", "k-1");
    let jails = spawnd.settings.runtime.join("jails");
    spawnd.kill();
    assert_eq!(unsafe_kill(started.pid), 0);
    eventually("its end", || !alive(started.pid));
    fs::create_dir(jails.join("half")).unwrap();
    fs::write(jails.join("half/main.sock"), "").unwrap();
    fs::create_dir(spawnd.settings.state.join("scratch/half")).unwrap();
    spawnd.again();
    assert!(spawnd.client.list().unwrap().is_empty());
    eventually("the sweep", || names(&jails).is_empty());
    assert!(names(&spawnd.settings.state.join("scratch")).is_empty());
    let again = spawnd.client.start(crate::common::kernel("ada", "k-1")).unwrap().0;
    assert_eq!(again.uid, started.uid);
    spawnd.finish();
}

#[test]
fn what_jails_say_is_heard_by_the_successor_and_blocks_nobody() {
    let mut spawnd = Spawnd::start(who(), |_, _| {});
    spawnd.kernel("ada", "k-1");
    spawnd.kill();
    assert_eq!(spawnd.python("k-1", "os.write(2, b'said without a keeper\\n'); print(1)"), "1");
    spawnd.again();
    eventually("the line", || (spawnd.log)().contains("said without a keeper"));
    assert_eq!(code(spawnd.client.stop(id("none")).unwrap_err()), ErrorCode::NotFound);
    // Pid 1 holds a socket and no more of spawnd's than before.
    let _reached = UnixStream::connect(spawnd.settings.runtime.join("jails/k-1/main.sock")).unwrap();
    spawnd.finish();
}

#[test]
fn the_keeper_starts_it_again_and_nothing_that_was_left_with_it_is_lost() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::detached(who, |_, _| {});
        spawnd.kernel("ada", "k-1");
        let (near, far) = UnixStream::pair().unwrap();
        spawnd.client.fd_put("ws/1", &far).unwrap();
        spawnd.client.fd_put("ws/2", &far).unwrap();
        spawnd.client.fd_drop("ws/2").unwrap();
        drop(far);
        // Connects to a sleeping engine in the moment in which nobody can wake it.
        assert_eq!(unsafe_kill(spawnd.hello.pid), 0);
        let query = r#"
s = socket.socket(socket.AF_UNIX); s.connect('/run/engine/engine.sock'); s.settimeout(30)
print(s.makefile('rb').read().decode()[:8])"#;
        assert_eq!(spawnd.python("k-1", query), "engine 1", "{who:?} {}", (spawnd.log)());
        let client = spawnd.connect_again();
        let hello = client.hello().unwrap();
        assert_ne!(hello.pid, spawnd.hello.pid);
        assert_eq!(hello.layers, spawnd.hello.layers);
        let taken = client.fd_take("", 64).unwrap();
        assert_eq!(taken.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["ws/1"]);
        UnixStream::from(taken.into_iter().next().unwrap().1).shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(std::io::Read::read(&mut &near, &mut [0]).unwrap(), 0, "the very socket");
        // Without its keeper it serves on, and its successor, started by hand, is none the wiser.
        let keeper = fs::read_to_string(format!("/proc/{}/stat", hello.pid)).unwrap();
        let keeper: i32 =
            keeper.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap().trim(), "spawnd-keeper");
        assert_eq!(unsafe_kill(keeper), 0);
        assert_eq!(client.list().unwrap().len(), 1);
        assert_eq!(unsafe_kill(hello.pid), 0);
        eventually("both are gone", || !alive(hello.pid) && !alive(keeper));
        let mut spawnd = spawnd;
        spawnd.again();
        assert_eq!(spawnd.client.list().unwrap().len(), 1);
        spawnd.finish();
    }
}

#[test]
fn sweep_ends_what_a_killed_spawnd_left_and_a_start_that_fails_is_not_tried_for_ever() {
    let mut spawnd = Spawnd::start(who(), |_, _| {});
    let started = spawnd.kernel("ada", "k-1");
    spawnd.kill();
    let (mut sweep, hello) = crate::common::run_with(who(), &spawnd.settings, &["sweep"]);
    hello.unwrap();
    assert!(sweep.wait().unwrap().success());
    assert!(!alive(started.pid));
    assert!(names(&spawnd.settings.runtime.join("jails")).is_empty());
    // A keeper passes a refusal on and ends.
    let mut settings = spawnd.settings.clone();
    settings.uid_base = 3;
    if who() == As::Root {
        let (mut child, answer) = crate::common::run_with(who(), &settings, &["serve", "--detach"]);
        assert!(answer.unwrap_err().message.contains("below 1000"));
        assert_eq!(child.wait().unwrap().code(), Some(69));
    }
    spawnd.again();
    spawnd.finish();
}

fn who() -> As {
    if rustix::process::geteuid().is_root() { As::Root } else { As::Ordinary }
}

fn code(error: gateway_spawnd::ClientError) -> ErrorCode {
    match error {
        gateway_spawnd::ClientError::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

/// As an operator would: `kill -9`.
pub(crate) fn unsafe_kill(pid: i32) -> i32 {
    let done = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    done.code().unwrap()
}

/// Runs, and is not just waiting to be reaped.
pub(crate) fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with(['Z', 'X']))
}

#[test]
fn an_engine_finds_its_broker_again_whoever_of_the_three_was_killed() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let mut spawnd = Spawnd::detached(who, |root, settings| {
            fs::write(root.join("bin/engine"), ASKING_ENGINE).unwrap();
            fs::write(root.join("bin/broker"), BROKER).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(root.join("bin/broker"), mode).unwrap();
            // Who it is may pass the folders down to it.
            fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let (uid, gid) = (crate::common::ORDINARY, crate::common::ORDINARY);
            let (program, config) = (root.join("bin/broker"), root.join("engine.toml"));
            settings.broker = Some(AideSettings { program, config, uid, gid });
        });
        spawnd.kernel("ada", "k-1");
        spawnd.kernel("bob", "k-2");
        let ask = |spawnd: &Spawnd, id: &str| {
            let code = "s = socket.socket(socket.AF_UNIX); s.connect('/run/engine/engine.sock'); s.settimeout(30)\nprint(s.makefile('rb').read().decode())";
            spawnd.python(id, code)
        };
        let broker = |answer: &str| answer.rsplit(' ').next().unwrap().parse::<i32>().unwrap();
        let first = ask(&spawnd, "k-1");
        assert!(first.starts_with("k-1 ada "), "{who:?} {first} {}", (spawnd.log)());
        assert!(ask(&spawnd, "k-2").starts_with("k-2 bob "), "{who:?}");
        // The broker: another one knows all engines.
        assert_eq!(unsafe_kill(broker(&first)), 0);
        let second = ask(&spawnd, "k-1");
        assert!(second.starts_with("k-1 ada "), "{who:?} {second}");
        assert_ne!(broker(&first), broker(&second));
        // spawnd: the engine that runs asks on; the old broker ends with it.
        assert_eq!(unsafe_kill(spawnd.hello.pid), 0);
        let third = ask(&spawnd, "k-1");
        assert!(third.starts_with("k-1 ada "), "{who:?} {third}");
        spawnd.client = spawnd.connect_again();
        eventually("the end of the old broker", || !alive(broker(&second)));
        assert!(ask(&spawnd, "k-2").starts_with("k-2 bob "), "{who:?}");
        // A jail that ends is forgotten, and its socket with it.
        spawnd.client.stop(id("k-1")).unwrap();
        assert!(ask(&spawnd, "k-2").starts_with("k-2 bob "), "{who:?}");
        spawnd.finish();
    }
}

/// Passes each question on to the broker, for as long as it takes to find one.
const ASKING_ENGINE: &str = r#"#!/usr/bin/python3 -S
import socket, sys, time
path = sys.argv[sys.argv.index("--broker") + 1]
server = socket.socket(fileno=3); server.setblocking(True)
while True:
    c, _ = server.accept()
    for _ in range(600):
        s = socket.socket(socket.AF_UNIX); s.settimeout(20)
        try:
            s.connect(path); told = s.makefile("rb").read()
            if told: break
        except OSError: pass
        time.sleep(0.05)
    c.sendall(told); c.close()
"#;

/// Says whose engine asks, and who answers as the host counts; ends with spawnd.
const BROKER: &str = r#"#!/usr/bin/python3 -S
import json, os, socket, select, array
control = socket.socket(fileno=3)
engines = {}
while True:
    for ready in select.select([control, *engines], [], [])[0]:
        if ready is control:
            data, rights, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(4))
            if not data: os._exit(0)
            word = json.loads(data)
            for kept in [s for s, w in engines.items() if w["id"] == word["id"]]: del engines[kept]
            if word["op"] == "engine":
                fds = array.array("i"); fds.frombytes(rights[0][2])
                engines[socket.socket(fileno=fds[0])] = word
        else:
            try: c, _ = ready.accept()
            except BlockingIOError: continue
            c.setblocking(True)
            word = engines[ready]
            c.sendall(f"{word['id']} {word['user']} {os.getpid()}".encode()); c.close()
"#;
