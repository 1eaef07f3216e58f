//! Who computes much stands behind who computes little, for as long as that matters.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{As, Spawnd, eventually, possible};

/// Four processes that compute until they are ended.
const COMPUTE: &str = r#"
for _ in range(4):
    if os.fork() == 0:
        os.closerange(3, 64)
        while True: pass
print('computing')"#;

/// One that computes for a third of the time.
const NOW_AND_THEN: &str = r#"
if os.fork() == 0:
    import time
    os.closerange(3, 64)
    while True:
        until = time.monotonic() + 0.01
        while time.monotonic() < until: pass
        time.sleep(0.02)
print('computing')"#;

/// The weight of a user's processors, where groups have one.
fn weight(user: &str) -> Option<String> {
    fn find(folder: &Path, name: &str, depth: usize) -> Option<PathBuf> {
        let folders = fs::read_dir(folder)
            .ok()?
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut folders = folders.map(|entry| entry.path());
        folders.find_map(|folder| {
            let named = folder.to_str().is_some_and(|path| path.ends_with(name));
            let file = ["cpu.weight", "cpu.shares"]
                .map(|file| folder.join(file))
                .into_iter()
                .find(|file| named && file.exists());
            file.or_else(|| (depth < 6).then(|| find(&folder, name, depth + 1))?)
        })
    }
    let file = find(Path::new("/sys/fs/cgroup"), &format!("u-{user}"), 0)?;
    Some(fs::read_to_string(file).unwrap().trim().to_owned())
}

/// The process with which this spawnd beats.
fn beat(spawnd: i32) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{spawnd}/task/{spawnd}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .find(|pid| name(pid).is_some_and(|name| name == "spawnd-beat"))
        .map(str::to_owned)
}

fn name(pid: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

#[test]
fn who_computes_much_stands_behind_until_it_no_longer_does() {
    if !possible(As::Root) {
        return;
    }
    let spawnd = Spawnd::detached(As::Root, |_, _| {});
    for (user, id) in [("turn-much", "k-1"), ("turn-more", "k-2"), ("turn-little", "k-3")] {
        spawnd.kernel(user, id);
    }
    let Some(equal) = weight("turn-much") else {
        eprintln!("not judged: this host's groups have no weights for us");
        return;
    };
    if fs::read_to_string("/proc/pressure/cpu").is_err() {
        eprintln!("not judged: this host does not count how long processes wait");
        return;
    }
    assert_eq!(spawnd.python("k-3", NOW_AND_THEN), "computing");
    assert_eq!(spawnd.python("k-1", COMPUTE), "computing");
    assert_eq!(spawnd.python("k-2", COMPUTE), "computing");
    let behind = |user| {
        weight(user).is_some_and(|weight| weight.parse::<u64>().unwrap() * 10 < equal.parse().unwrap())
    };
    eventually("both stand behind, and the third does not", || {
        behind("turn-much") && behind("turn-more") && !behind("turn-little")
    });
    eventually("a beat", || beat(spawnd.hello.pid).is_some());
    let first = beat(spawnd.hello.pid).unwrap();

    // The next spawnd knows nothing of this, and finds out.
    let killed = std::process::Command::new("kill").args(["-9", &spawnd.hello.pid.to_string()]).status();
    assert!(killed.unwrap().success());
    let client = spawnd.connect_again();
    eventually("the beat ends with its spawnd", || name(&first).is_none_or(|name| name != "spawnd-beat"));
    let pid = client.hello().unwrap().pid;
    eventually("both stand behind again", || behind("turn-much") && behind("turn-more"));
    eventually("another beat", || beat(pid).is_some());

    client.stop("k-2".parse().unwrap()).unwrap();
    assert_eq!(spawnd.python("k-1", "import signal\n[os.kill(int(pid), signal.SIGKILL) for pid in os.listdir('/proc') if pid.isdigit() and pid != '1']\nprint('quiet')"), "quiet");
    eventually("it stands beside the others again", || weight("turn-much").as_ref() == Some(&equal));
    eventually("no beat", || beat(pid).is_none());
    spawnd.finish();
}
