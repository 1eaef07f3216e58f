//! The control socket as a client sees it: errors, engines, descriptors, restarts, refusals, leaks.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::common::{As, Spawnd, eventually, id, names, possible};
use gateway_spawnd::packet::{self, Received};
use gateway_spawnd::{Client, ClientError, ErrorCode, LayerName, ShutdownJails};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

fn who() -> As {
    if rustix::process::geteuid().is_root() { As::Root } else { As::Ordinary }
}

fn code(error: ClientError) -> ErrorCode {
    match error {
        ClientError::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_packets_get_a_clear_error_and_the_connection_lives() {
    let spawnd = Spawnd::start(who(), |_, _| {});
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(spawnd.settings.socket()).unwrap()).unwrap();
    let ask = |bytes: &[u8], fds: &[_]| {
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 1 << 20).unwrap();
        if fds.is_empty() {
            rustix::net::send(&socket, bytes, rustix::net::SendFlags::empty()).unwrap();
        } else {
            packet::send(&socket, bytes, fds, false).unwrap();
        }
        let Received::Packet(answer, _) = packet::receive(&socket).unwrap() else { panic!("no answer") };
        String::from_utf8(answer).unwrap()
    };
    for bad in [
        "x",
        "{}",
        "[1]",
        r#"{"op":"start","user":"../x"}"#,
        r#"{"op":"stop","id":"A"}"#,
        r#"{"op":"fd_put","tag":"t"}"#,
    ] {
        let answer = ask(bad.as_bytes(), &[]);
        assert!(answer.starts_with(r#"{"err":{"code":"bad_request""#), "{bad}: {answer}");
    }
    assert!(ask(&vec![b' '; 100_000], &[]).contains("64 KiB"));
    let null = fs::File::open("/dev/null").unwrap();
    assert!(ask(br#"{"op":"hello"}"#, &[null.as_fd()]).contains("descriptors"));
    assert!(ask(br#"{"op":"hello"}"#, &[]).starts_with(r#"{"ok":{"version""#));
    assert_eq!(code(spawnd.client.stop(id("none")).unwrap_err()), ErrorCode::NotFound);
    assert_eq!(code(spawnd.client.stats(id("none")).unwrap_err()), ErrorCode::NotFound);
    assert_eq!(code(spawnd.client.exit(id("none")).unwrap_err()), ErrorCode::NotFound);
    let mut unknown = crate::common::kernel("ada", "k-1");
    unknown.kernelspec = Some("nope".parse().unwrap());
    assert_eq!(code(spawnd.client.start(unknown).unwrap_err()), ErrorCode::NotFound);
    spawnd.kernel("ada", "k-1");
    assert_eq!(
        code(spawnd.client.start(crate::common::kernel("ada", "k-1")).unwrap_err()),
        ErrorCode::Exists
    );
    spawnd.finish();
}

#[test]
fn an_engine_comes_with_the_first_connection_and_again_after_its_end() {
    let spawnd = Spawnd::start(who(), |_, _| {});
    spawnd.kernel("ada", "k-1");
    assert!(!spawnd.client.list().unwrap()[0].engine);
    let query = r#"
s = socket.socket(socket.AF_UNIX); s.connect('/run/engine/engine.sock'); s.settimeout(30)
print(s.makefile('rb').read().decode())"#;
    for n in 1..=3 {
        let answer = spawnd.python("k-1", query);
        let expected = format!(
            "engine {n} ['serve', '--config', '/etc/carrel/engine.toml', '--scratch', '/scratch'] test = 1"
        );
        assert_eq!(answer, expected, "{}", (spawnd.log)());
    }
    assert_eq!(names(&spawnd.settings.state.join("scratch")), ["k-1"]);
    spawnd.client.stop(id("k-1")).unwrap();
    assert!(names(&spawnd.settings.state.join("scratch")).is_empty());
    spawnd.finish();
}

#[test]
fn an_engine_that_cannot_live_is_not_started_without_end() {
    let spawnd = Spawnd::start(who(), |root, _| {
        fs::write(root.join("bin/engine"), "#!/bin/sh\nexit 3\n").unwrap();
        fs::set_permissions(root.join("bin/engine"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    spawnd.kernel("ada", "k-1");
    let _waits = UnixStream::connect(spawnd.settings.runtime.join("jails/k-1/engine/engine.sock")).unwrap();
    eventually("it rests", || (spawnd.log)().contains("engine.rests"));
    assert_eq!((spawnd.log)().matches("\"engine.end\"").count(), 5);
    spawnd.client.hello().unwrap();
    spawnd.finish();
}

#[test]
fn descriptors_survive_their_owner() {
    let spawnd = Spawnd::start(who(), |_, _| {});
    let (mut near, far) = UnixStream::pair().unwrap();
    spawnd.client.fd_put("ws/1", &far).unwrap();
    spawnd.client.fd_put("other", &far).unwrap();
    drop(far);
    let next = Client::connect(spawnd.settings.socket()).unwrap();
    let mut taken = next.fd_take("ws/", 64).unwrap();
    assert_eq!(taken.len(), 1);
    let (tag, fd) = taken.remove(0);
    assert_eq!(tag, "ws/1");
    near.write_all(b"hello").unwrap();
    let mut far = UnixStream::from(fd);
    let mut bytes = [0; 5];
    far.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    assert!(next.fd_take("ws/", 64).unwrap().is_empty());
    drop(far);
    next.fd_drop("other").unwrap();
    assert_eq!(near.read(&mut bytes).unwrap(), 0, "the last copy is closed");
    for n in 0..1024 {
        next.fd_put(&format!("{n}"), &near).unwrap();
    }
    assert_eq!(code(next.fd_put("one-more", &near).unwrap_err()), ErrorCode::Limit);
    assert_eq!(next.fd_take("", 1000).unwrap().len(), 64);
    spawnd.finish();
}

#[test]
fn fifty_jails_come_and_go_without_a_leak() {
    let spawnd = Spawnd::start(who(), |_, _| {});
    let pid = spawnd.hello.pid;
    let open = || {
        let links = names(std::path::Path::new(&format!("/proc/{pid}/fd"))).into_iter();
        links.map(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap()).collect::<Vec<_>>()
    };
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let round = || {
        let begun = Instant::now();
        for n in 0..50 {
            spawnd.kernel(&format!("user{}", n % 7), &format!("k-{n}"));
        }
        let took = begun.elapsed();
        let list = spawnd.client.list().unwrap();
        assert_eq!(list.len(), 50);
        for jail in list {
            spawnd.client.stop(jail.id).unwrap();
        }
        took
    };
    round();
    let (fds, before) = (open(), memory());
    let took = round();
    eprintln!("50 starts: {took:?}");
    assert_eq!(open().len(), fds.len(), "{fds:?} became {:?}", open());
    assert!(memory() < before + 512, "{} KiB grew to {} KiB", before, memory());
    assert!(names(&spawnd.settings.runtime.join("jails")).is_empty());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(!groups.contains("k-0"), "{groups}");
    spawnd.finish();
}

#[test]
fn the_jails_outlive_their_client_and_shutdown_keeps_them() {
    let spawnd = Spawnd::start(who(), |_, _| {});
    {
        let passing = Client::connect(spawnd.settings.socket()).unwrap();
        passing.start(crate::common::kernel("ada", "k-1")).unwrap();
        assert_eq!(passing.shutdown(ShutdownJails::KeepIfAny).unwrap(), 1);
    }
    assert_eq!(spawnd.python("k-1", "print(6*7)"), "42");
    // Somebody is back: it does not end with the last jail.
    spawnd.client.hello().unwrap();
    spawnd.client.stop(id("k-1")).unwrap();
    assert_eq!(spawnd.client.list().unwrap().len(), 0);
    spawnd.finish();
}

#[test]
fn unsafe_folders_wrong_settings_and_a_second_one_are_refused() {
    let refused = |change: &dyn Fn(&std::path::Path, &mut gateway_spawnd::Settings)| {
        let (root, mut settings) = crate::common::prepare(who());
        change(root.path(), &mut settings);
        let (mut child, answer) = crate::common::run(who(), &settings);
        let refusal = answer.expect_err("it started");
        let code = child.wait().unwrap().code();
        (refusal.message, code)
    };
    let open = |folder: &'static str| {
        move |root: &std::path::Path, _: &mut gateway_spawnd::Settings| {
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o777)).unwrap();
        }
    };
    let (message, code) = refused(&open("run"));
    assert!(message.contains("writable by nobody else") && code == Some(69), "{message} {code:?}");
    let (message, _) = refused(&open("state"));
    assert!(message.contains("writable by nobody else"), "{message}");
    let (message, _) = refused(&|_, settings| settings.programs.shim = "/nowhere/shim".into());
    assert!(message.contains("/nowhere/shim is not there"), "{message}");
    let (message, _) = refused(&|root, settings| {
        fs::create_dir(root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.join("elsewhere"), root.join("link")).unwrap();
        settings.runtime = root.join("link");
    });
    assert!(message.contains("not a folder that spawnd can use"), "{message}");

    let spawnd = Spawnd::start(who(), |_, _| {});
    let (_, second) = crate::common::run(who(), &spawnd.settings);
    assert!(second.unwrap_err().message.contains("another spawnd"));
    spawnd.client.hello().unwrap();
    spawnd.finish();
}

#[test]
fn a_required_layer_that_is_missing_refuses_the_start() {
    // Processor time is not limited unless the settings say so: a layer that is off on every host.
    let spawnd =
        Spawnd::start(who(), |_, settings| settings.required = Some(vec![LayerName::Mount, LayerName::Cpu]));
    let error = spawnd.client.start(crate::common::kernel("ada", "k-1")).unwrap_err();
    let ClientError::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!(refusal.code, ErrorCode::Refused);
    assert!(refusal.message.contains("cpu") && refusal.message.contains("required"), "{}", refusal.message);
    assert!(names(&spawnd.settings.runtime.join("jails")).is_empty());
    spawnd.finish();
}

#[test]
fn launch_detaches_and_reports_and_an_unnamed_peer_is_refused() {
    if !possible(As::Root) {
        return;
    }
    let (root, settings) = crate::common::prepare(As::Root);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_carrel-spawnd"));
    let log = root.path().join("spawnd.log");
    let hello = gateway_spawnd::launch(program, &settings, Some(&log)).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", hello.pid)).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_ne!(fields[1], std::process::id().to_string(), "it is still our child");
    assert_eq!(fields[3], hello.pid.to_string(), "it has no session of its own");
    assert!(fs::read_to_string(&log).unwrap().contains("\"event\":\"start\""));
    let again = gateway_spawnd::launch(program, &settings, Some(&log)).unwrap_err();
    assert!(format!("{:?}", again).contains("another spawnd"), "{again:?}");
    // The socket is the gateway's; even with its mode opened up, others are turned away.
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(settings.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let script = format!(
        "import socket\ns=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect({:?})\nprint(s.recv(9999).decode())",
        settings.socket()
    );
    let uid = crate::common::ORDINARY.to_string();
    let out = std::process::Command::new("setpriv")
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "/usr/bin/python3", "-S", "-c", &script])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("may not speak to spawnd"), "{out:?}");
    let client = Client::connect(settings.socket()).unwrap();
    client.shutdown(ShutdownJails::Stop).unwrap();
    eventually("its end", || !std::path::Path::new(&format!("/proc/{}", hello.pid)).exists());
}
