//! What a jail holds back, in `root` and in `userns` mode: attacks run inside, the verdict is read outside.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::common::{As, Spawnd, id, names, possible, processes};
use gateway_spawnd::{LayerName, LayerState, Mode, Profile, Start};

const MODES: [As; 2] = [As::Root, As::Ordinary];

/// Calls by number, for what Python has no word for.
const CALLS: &str = r#"
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(n, *a):
    r = libc.syscall(ctypes.c_long(n), *[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
    return "GOT" if r >= 0 else ctypes.get_errno()
"#;

#[test]
fn the_report_is_true_and_says_what_is_missing() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::start(who, |_, _| {});
        let mode = if who == As::Root { Mode::Root } else { Mode::Userns };
        assert_eq!(spawnd.hello.mode, mode);
        let started = spawnd.kernel("ada", "k-1");
        for layer in LayerName::REQUIRED {
            assert_eq!(started.layers[&layer], LayerState::On, "{who:?} {layer}");
        }
        let status = spawnd.python("k-1", "print(open('/proc/self/status').read())");
        let field = |name: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap()
                .trim_matches([':', '\t', ' '])
                .to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 0, "{set}");
        }
        assert_eq!(field("SigBlk"), "0000000000000000", "signals must reach what runs here");
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
        assert_eq!(spawnd.python("k-1", "print(os.uname().nodename)"), "carrel");
        match (who, &started.layers[&LayerName::Uid]) {
            (As::Root, LayerState::On) => assert_ne!(started.uid, 0),
            (As::Ordinary, LayerState::Off(why)) => assert!(why.starts_with("shared"), "{why}"),
            (who, state) => panic!("{who:?}: uid {state}"),
        }
        spawnd.finish();
    }
}

#[test]
fn users_have_distinct_uids_that_stay() {
    if !possible(As::Root) {
        return;
    }
    let spawnd = Spawnd::start(As::Root, |_, _| {});
    let (ada, bob) = (spawnd.kernel("ada", "k-ada"), spawnd.kernel("bob", "k-bob"));
    assert_ne!(ada.uid, bob.uid);
    assert_eq!(spawnd.kernel("ada", "k-ada-2").uid, ada.uid);
    assert_eq!(spawnd.python("k-ada", "print(os.getuid())"), ada.uid.to_string());
    let home = fs::metadata(spawnd.settings.state.join("homes/ada")).unwrap();
    assert_eq!((home.uid(), home.mode() & 0o7777), (ada.uid, 0o700));
    // As seen by the host, not only by itself.
    let status = fs::read_to_string(format!("/proc/{}/status", ada.pid)).unwrap();
    assert!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", ada.uid)), "{status}");
    let other = spawnd.python("k-ada", "print([os.setresuid(u,u,u) for u in (0, os.getuid()+1)])");
    assert!(other.starts_with("OSError") || other.starts_with("PermissionError"), "{other}");
    spawnd.finish();
}

#[test]
fn files_of_others_and_of_the_host_are_out_of_reach() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let canary = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        fs::write(canary.path(), "canary").unwrap();
        fs::set_permissions(canary.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let spawnd = Spawnd::start(who, |_, _| {});
        spawnd.kernel("ada", "k-ada");
        spawnd.kernel("bob", "k-bob");
        assert_eq!(
            spawnd.python(
                "k-bob",
                "open('/home/bob/s','w').write('secret'); os.chmod('/home/bob/s', 0o644); print('ok')"
            ),
            "ok"
        );
        let state = spawnd.settings.state.to_str().unwrap().to_owned();
        let runtime = spawnd.settings.runtime.to_str().unwrap().to_owned();
        let paths = [
            canary.path().to_str().unwrap().to_owned(),
            "/home/bob/s".into(),
            format!("{state}/homes/bob/s"),
            format!("{state}/spawnd/uids.json"),
            format!("{runtime}/spawnd.sock"),
            "/etc/shadow".into(),
            "/root/.bashrc".into(),
            "/proc/1/root/etc/shadow".into(),
            "/sys/kernel".into(),
            "/proc/kcore".into(),
        ];
        let probe = format!(
            "print([p for p in {paths:?} if os.path.exists(p) and (os.path.isdir(p) or open(p,'rb').read(1))])"
        );
        assert_eq!(spawnd.python("k-ada", &probe), "[]", "{who:?}");
        assert_eq!(spawnd.python("k-ada", "print(os.listdir('/home'))"), "['ada']");
        let climb = r#"
fd = os.open('.', os.O_RDONLY)
for _ in range(40): fd = os.open('..', os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
print(sorted(os.listdir('/')) == sorted(os.listdir('/proc/self/root')), os.stat(fd := fd).st_ino == os.stat('/').st_ino)"#;
        assert_eq!(spawnd.python("k-ada", climb), "True True");
        let writes = r#"
hits = []
for d in ['/', '/usr', '/usr/bin', '/etc', '/etc/ssl', '/lib', '/opt', '/opt/carrel/bin', '/var', '/dev', '/run', '/home', '/run/engine', '/proc/sys/kernel']:
    try: os.close(os.open(d + '/.probe', os.O_CREAT | os.O_WRONLY)); hits.append(d)
    except OSError: pass
for p in ['/opt/carrel/bin/carrel-shim', '/etc/passwd', '/proc/sys/kernel/hostname', '/proc/self/oom_score_adj', sys.executable]:
    try: os.close(os.open(p, os.O_WRONLY)); hits.append(p)
    except OSError: pass
print(hits)"#;
        assert_eq!(spawnd.python("k-ada", writes), "[]", "{who:?}");
        let own = r#"
for d in ['/home/ada', '/tmp', '/dev/shm', '/run/k']:
    open(d + '/x', 'w').write('x'); os.unlink(d + '/x')
print('ok', os.getcwd(), os.environ['HOME'], sorted(os.environ))"#;
        let own = spawnd.python("k-ada", own);
        assert!(own.starts_with("ok /home/ada /home/ada"), "{own}");
        assert!(
            own.contains("CARREL_ENGINE") && own.contains("JUPYTER_RUNTIME_DIR") && !own.contains("CARGO"),
            "{own}"
        );
        spawnd.finish();
    }
}

#[test]
fn there_is_no_network_and_no_host_socket() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let name = format!("spawnd-test-{}-{who:?}", std::process::id());
        let address =
            <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name)
                .unwrap();
        let abstract_socket = UnixListener::bind_addr(&address).unwrap();
        abstract_socket.set_nonblocking(true).unwrap();
        let spawnd = Spawnd::start(who, |_, _| {});
        spawnd.kernel("ada", "k-1");
        let port = tcp.local_addr().unwrap().port();
        let probe = format!(
            r#"
hits = []
def attempt(what, f):
    try: f(); hits.append(what)
    except OSError: pass
attempt('tcp', lambda: socket.create_connection(('127.0.0.1', {port}), 2))
attempt('abstract', lambda: socket.socket(socket.AF_UNIX).connect('\0{name}'))
attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('8.8.8.8', 53)))
attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW))
for p in (4, 6, 9, 10, 11, 12, 15, 16, 20): attempt('netlink %d' % p, lambda: socket.socket(16, socket.SOCK_RAW, p))
print(hits, [l.split(':')[0].strip() for l in open('/proc/net/dev').read().splitlines()[2:] if 'lo:' in l])
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(1)
c = socket.create_connection(s.getsockname(), 2); print('loopback')"#
        );
        assert_eq!(spawnd.python("k-1", &probe), "[] ['lo']\nloopback", "{who:?}");
        assert!(tcp.accept().is_err() && abstract_socket.accept().is_err());
        spawnd.finish();
    }
}

#[test]
fn only_own_processes_are_seen_and_none_can_be_taken_over() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::start(who, |_, _| {});
        let victim = spawnd.kernel("bob", "k-bob");
        spawnd.kernel("ada", "k-ada");
        assert_eq!(
            spawnd.python("k-ada", "print([p for p in os.listdir('/proc') if p.isdigit()])"),
            "['1']",
            "{who:?}"
        );
        let kill = format!("os.kill({}, 0); print('reached')", victim.pid);
        let answer = spawnd.python("k-ada", &kill);
        assert!(answer.starts_with("ProcessLookupError"), "{answer}");
        spawnd.finish();
    }
}

#[test]
fn dangerous_calls_are_refused() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::start(who, |_, _| {});
        spawnd.kernel("ada", "k-1");
        let probe = format!(
            r#"{CALLS}
EPERM, ENOSYS = 1, 38
calls = dict(mount=(165, b'tmpfs', b'/tmp', b'tmpfs', 0, 0), remount=(165, b'', b'/usr', b'', 32 | 4096, 0), unshare_user=(272, 0x10000000),
  unshare_net=(272, 0x40000000), clone_user=(56, 0x10000000 | 17, 0, 0, 0, 0), ptrace=(101, 0x4206, 1, 0, 0), traceme=(101, 0, 0, 0, 0),
  keyctl=(250, 0, -4, 1), add_key=(248, b'user', b'x', b'x', 1, -4), bpf=(321, 0, 0, 0), perf=(298, 0, 0, -1, -1, 0),
  userfaultfd=(323, 0), io_uring=(425, 4, ctypes.create_string_buffer(120)), setns=(308, 0, 0), pivot=(155, b'/', b'/'), chroot=(161, b'/tmp'),
  modload=(313, -1, b'', 0), kexec=(246, 0, 0, 0, 0), personality=(135, 0x0400000), mknod=(133, b'/tmp/d', 0o020666, 0x103), syslog=(103, 3, 0, 0),
  pidfd_getfd=(438, 3, 0, 0), by_handle=(304, -1, 0, 0), swapon=(167, b'/x', 0), iopl=(172, 3), fanotify=(300, 0, 0), x32=(0x40000000 | 39,), new=(463, 0))
print(dict((n, r) for n, a in calls.items() if (r := call(*a)) not in (EPERM, ENOSYS)))
print(call(435, ctypes.create_string_buffer(64), 64), call(39) == 'GOT')
import fcntl, resource
try: fcntl.ioctl(1, 0x5412, b'x'); print('tiocsti')
except OSError as e: print(e.errno)
for n in ('RLIMIT_NPROC', 'RLIMIT_NOFILE', 'RLIMIT_MEMLOCK', 'RLIMIT_CORE', 'RLIMIT_FSIZE'):
    r = getattr(resource, n); s, h = resource.getrlimit(r)
    try: resource.setrlimit(r, (s, h + 1)); print(n, s, h)
    except (OSError, ValueError): pass"#
        );
        assert_eq!(spawnd.python("k-1", &probe), "{}\n38 True\n1", "{who:?}");
        spawnd.finish();
    }
}

#[test]
fn nothing_outlives_a_stop_and_pid_1_cannot_be_killed_from_inside() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::start(who, |_, _| {});
        spawnd.kernel("ada", "k-1");
        let mark = format!("spawnd-daemon-{}-{who:?}", std::process::id());
        let daemon = format!(
            r#"
import signal, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)
        os.write(w, b'x'); os.close(3)
        os.execv('/usr/bin/python3', ['python3', '-S', '-c', 'import time; time.sleep(600)', '{mark}'])
    os._exit(0)
os.read(r, 1); os.kill(1, 9); os.kill(1, 19); print('alive')"#
        );
        assert_eq!(spawnd.python("k-1", &daemon), "alive");
        crate::common::eventually("the daemon runs", || !processes(&mark).is_empty());
        spawnd.client.stop(id("k-1")).unwrap();
        assert_eq!(processes(&mark), Vec::<String>::new());
        assert_eq!(names(&spawnd.settings.runtime.join("jails")), Vec::<String>::new());
        assert_eq!(spawnd.client.exit(id("k-1")).unwrap().signal, Some(9));
        assert!(spawnd.client.list().unwrap().is_empty());
        spawnd.finish();
    }
}

#[test]
fn memory_and_process_limits_bite() {
    if !possible(As::Root) {
        return;
    }
    let spawnd = Spawnd::start(As::Root, |_, _| {});
    let started = spawnd.kernel("ada", "k-1");
    if !started.layers[&LayerName::Memory].is_on() || !started.layers[&LayerName::Pids].is_on() {
        eprintln!("skipped: {:?}", started.layers);
        return;
    }
    let bomb = r#"
kids, error = [], None
try:
    for _ in range(200):
        p = os.fork()
        if p == 0:
            import time; time.sleep(30); os._exit(0)
        kids.append(p)
except OSError as e: error = e
for k in kids: os.kill(k, 9)
for k in kids: os.waitpid(k, 0)
print(error is not None, len(kids) < 64)"#;
    assert_eq!(spawnd.python("k-1", bomb), "True True");
    let stats = spawnd.client.stats(id("k-1")).unwrap();
    assert_eq!(stats.memory_limit_bytes, Some(256 << 20));
    assert!(stats.memory_bytes.unwrap() > 0 && stats.pids == Some(1), "{stats:?}");
    let eat = r#"
p = os.fork()
if p == 0:
    b = bytearray(600 << 20)
    for i in range(0, len(b), 4096): b[i] = 1
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]))"#;
    assert_eq!(spawnd.python("k-1", eat), "-9");
    assert!(spawnd.client.stats(id("k-1")).unwrap().oom_kills.unwrap() > 0);
    let fill = r#"
try:
    f = open('/tmp/f', 'wb')
    for _ in range(1024): f.write(b'x' * (1 << 20))
    print('filled')
except OSError as e: print(e.errno)"#;
    assert_eq!(spawnd.python("k-1", fill), "28");
    spawnd.finish();
}

#[test]
fn a_desk_runs_below_an_init_and_a_kernelspecs_paths_are_shown() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::start(who, |root, settings| {
            let venv = root.join("venv");
            fs::create_dir(&venv).unwrap();
            fs::write(venv.join("lib.py"), "x").unwrap();
            fs::create_dir(root.join("skel")).unwrap();
            fs::write(root.join("skel/welcome.ipynb"), "{}").unwrap();
            settings.skeleton = Some(root.join("skel"));
            for spec in settings.kernelspecs.values_mut() {
                spec.paths = vec![venv.clone(), "/usr/share".into()];
                spec.env.insert("EXTRA".into(), "1".into());
            }
        });
        let venv = spawnd.root.path().join("venv/lib.py");
        spawnd.kernel("ada", "k-1");
        let look = format!(
            "print(open({venv:?}).read(), os.environ['EXTRA'], open('/home/ada/welcome.ipynb').read(), sys.argv[1:])"
        );
        let expected = "x 1 {} ['--interrupt', 'signal', '--cwd', '', '--', 'true']";
        assert_eq!(spawnd.python("k-1", &look), expected, "{who:?} {}", (spawnd.log)());
        let write = spawnd.python("k-1", &format!("open({venv:?}, 'w')"));
        assert!(write.starts_with("OSError") || write.starts_with("PermissionError"), "{write}");
        let desk = Start { profile: Profile::Desk, kernelspec: None, ..crate::common::kernel("ada", "d-1") };
        let (started, _pidfd) = spawnd.client.start(desk).unwrap();
        assert_eq!(
            crate::common::python(
                &started.socket,
                "print(os.getpid() > 1, os.path.exists('/run/engine'), 'CARREL_ENGINE' in os.environ)"
            ),
            "True False False"
        );
        assert_eq!(
            crate::common::python(&started.socket, "print(os.path.exists('/proc/1/environ'))"),
            "False"
        );
        let blocked = "print([l for l in open('/proc/self/status') if l.startswith('SigBlk')])";
        assert_eq!(crate::common::python(&started.socket, blocked), "['SigBlk:\\t0000000000000000\\n']");
        crate::common::python(&started.socket, "os._exit(7)");
        crate::common::eventually("the desk's end", || spawnd.client.exit(id("d-1")).is_ok());
        assert_eq!(spawnd.client.exit(id("d-1")).unwrap().code, Some(7));
        spawnd.finish();
    }
}

#[test]
fn degraded_only_by_name_and_then_still_without_others_files_or_leftovers() {
    let who = if possible(As::Root) { As::Root } else { As::Ordinary };
    let spawnd = Spawnd::start(who, |root, settings| {
        settings.mode = gateway_spawnd::ModePreference::Degraded;
        // The host's own paths are used: the user must be able to pass them.
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    });
    assert_eq!(spawnd.hello.mode, Mode::Degraded);
    let started = spawnd.kernel("ada", "k-1");
    assert!(matches!(&started.layers[&LayerName::Mount], LayerState::Off(why) if why.contains("degraded")));
    let home = spawnd.settings.state.join("homes/ada");
    assert_eq!(spawnd.python("k-1", "print(os.getcwd())"), home.to_str().unwrap());
    let outside = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let open = spawnd.python("k-1", &format!("open({:?})", outside.path()));
    assert!(open.starts_with("PermissionError"), "{open}");
    let mark = format!("spawnd-orphan-{}", std::process::id());
    let daemon = format!(
        r#"
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, b'x'); os.close(3)
        os.execv('/usr/bin/python3', ['python3', '-S', '-c', 'import time; time.sleep(600)', '{mark}'])
    os._exit(0)
import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.read(r, 1); print('started')"#
    );
    assert_eq!(spawnd.python("k-1", &daemon), "started");
    crate::common::eventually("the daemon runs", || !processes(&mark).is_empty());
    spawnd.client.stop(id("k-1")).unwrap();
    assert_eq!(processes(&mark), Vec::<String>::new());
    spawnd.finish();
}
