//! A thousand jails come and go, each with something that wants to stay: afterwards all is as before.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::{As, Spawnd, eventually, id, names, processes};

/// How many.
const JAILS: usize = 1000;
/// So many run at once, of so many users.
const AT_ONCE: usize = 20;
const USERS: usize = 7;

/// Hides as well as it can: a daemon of its own session, files in all that it may write to, segments, open descriptors.
const HIDE: &str = r#"
import ctypes
for folder in ('/tmp', '/dev/shm', '/home/USER', '/run/k'):
    open(f'{folder}/left-ID', 'w').write('x')
ctypes.CDLL(None).shmget(0, 4096, 0o1600)
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, b'x'); os.close(3)
        os.execv('/usr/bin/python3', ['python3', '-S', '-c', 'import time; time.sleep(3600)', 'MARK'])
    os._exit(0)
os.read(r, 1); print('hidden')"#;

/// What may be left, as the host sees it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    descriptors: usize,
    keepers: usize,
    mounts: usize,
    children: Vec<String>,
    groups: BTreeSet<String>,
    segments: usize,
    jails: Vec<String>,
    scratch: Vec<String>,
    sockets: usize,
}

fn seen(spawnd: &Spawnd) -> Seen {
    let pid = spawnd.hello.pid;
    let lines = |path: &str| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let open = |pid: i32| names(Path::new(&format!("/proc/{pid}/fd"))).len();
    Seen {
        descriptors: open(pid),
        keepers: open(parent(pid)),
        mounts: lines(&format!("/proc/{pid}/mountinfo")) + lines("/proc/self/mountinfo"),
        children: fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        groups: groups(Path::new("/sys/fs/cgroup"), 0),
        segments: lines("/proc/sysvipc/shm"),
        jails: names(&spawnd.settings.runtime.join("jails")),
        scratch: names(&spawnd.settings.state.join("scratch")),
        sockets: fs::read_to_string("/proc/net/unix")
            .unwrap()
            .lines()
            .filter(|line| line.contains(spawnd.root.path().to_str().unwrap()))
            .count(),
    }
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Jails' groups, of this spawnd and all others.
fn groups(folder: &Path, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|_| depth < 8) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("u-left") || name.starts_with("left-") {
                found.insert(entry.path().to_string_lossy().into_owned());
            }
            found.extend(groups(&entry.path(), depth + 1));
        }
    }
    found
}

#[test]
fn a_thousand_jails_leave_nothing() {
    let who = if rustix::process::geteuid().is_root() { As::Root } else { As::Ordinary };
    let spawnd = Spawnd::detached(who, |_, _| {});
    let mark = format!("spawnd-left-{}", std::process::id());
    let user = |n: usize| format!("left{}", n % USERS);
    let name = |n: usize| format!("left-{n}");
    // Once before, so that what is made once is there.
    spawnd.kernel("left0", "left-warm");
    spawnd.client.stop(id("left-warm")).unwrap();
    let before = seen(&spawnd);
    let begun = std::time::Instant::now();
    for first in (0..JAILS).step_by(AT_ONCE) {
        for n in first..first + AT_ONCE {
            spawnd.kernel(&user(n), &name(n));
        }
        // Some of them hide something, some end by themselves, the rest are stopped.
        let hide = HIDE.replace("USER", &user(first)).replace("ID", &name(first)).replace("MARK", &mark);
        assert_eq!(spawnd.python(&name(first), &hide), "hidden");
        eventually("the daemon runs", || !processes(&mark).is_empty());
        assert_eq!(spawnd.python(&name(first + 1), "os._exit(3)"), "");
        for n in (first..first + AT_ONCE).filter(|n| *n != first + 1) {
            spawnd.client.stop(id(&name(n))).unwrap();
        }
        eventually("the end of the one that ended by itself", || {
            spawnd.client.exit(id(&name(first + 1))).is_ok()
        });
        assert_eq!(processes(&mark), Vec::<String>::new(), "after jail {first}");
    }
    eprintln!("{JAILS} jails in {:?}", begun.elapsed());
    for _ in 0..100 {
        if seen(&spawnd) == before {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(seen(&spawnd), before);
    // What a user wrote into the own home is the user's.
    assert!(spawnd.settings.state.join("homes/left0/left-left-0").exists());
    spawnd.finish();
}
