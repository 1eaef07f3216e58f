//! How much memory a jail has, where no group counts it: looked up process by process.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::param::page_size;
use rustix::process::Pid;

/// What a socket may hold unread, in each direction. (The default of Linux; nobody inside can raise it.)
const SOCKET: u64 = 208 << 10;

/// A jail's memory, and the process that has most of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) bytes: u64,
    pub(crate) largest: Option<Pid>,
}

/// Of a process and all that came of it. The first process itself is never the largest: it is ours.
pub(crate) fn used(first: Pid, enough: u64) -> Used {
    let tree = tree(first);
    // Pages that processes share are counted in each: if even that is little, nobody needs to look closer.
    let rough: u64 = tree.iter().map(|pid| resident(*pid)).sum();
    let beside = anonymous_files(&tree).saturating_add(sockets(first).saturating_mul(SOCKET));
    if rough.saturating_add(beside) <= enough {
        return Used { bytes: rough.saturating_add(beside), largest: None };
    }
    let exact: Vec<(Pid, u64)> = tree.iter().map(|pid| (*pid, proportional(*pid))).collect();
    let bytes = exact.iter().map(|(_, bytes)| bytes).sum::<u64>().saturating_add(beside);
    let others = exact.iter().filter(|(pid, _)| *pid != first);
    Used { bytes, largest: others.max_by_key(|(_, bytes)| *bytes).map(|(pid, _)| *pid) }
}

fn tree(first: Pid) -> Vec<Pid> {
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        }
    }
    found
}

fn resident(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(page_size() as u64)
}

fn proportional(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    parse_pss(&text).unwrap_or_else(|| resident(pid))
}

fn parse_pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// What lies in files that have no name, mapped or not, each counted once.
fn anonymous_files(tree: &[Pid]) -> u64 {
    let mut files = BTreeMap::new();
    for pid in tree {
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let memory = fs::read_link(fd.path())
                .is_ok_and(|name| name.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
            if memory && let Ok(meta) = fs::metadata(fd.path()) {
                files.insert((meta.dev(), meta.ino()), meta.blocks() * 512);
            }
        }
    }
    files.values().sum()
}

/// Of its network namespace, which is its own.
fn sockets(first: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{first}/net/sockstat")).unwrap_or_default();
    parse_sockets(&text)
}

fn parse_sockets(sockstat: &str) -> u64 {
    let used = sockstat.lines().find_map(|line| line.strip_prefix("sockets: used "));
    used.and_then(|used| used.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let rollup =
            "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss:     1000 kB\nPss:      700 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(parse_pss(rollup), Some(700 << 10));
        assert_eq!(parse_pss(""), None);
        assert_eq!(parse_sockets("sockets: used 42\nTCP: inuse 1 orphan 0\n"), 42);
        assert_eq!(parse_sockets("x"), 0);
    }

    #[test]
    fn children_and_files_without_a_name_count() {
        use std::io::{Read, Write};
        let mut child = std::process::Command::new("python3")
            .args(["-S", "-c", "import os\nfd = os.memfd_create('x'); os.write(fd, b'x' * (40 << 20))\nb = bytearray(b'y' * (30 << 20))\nos.write(1, b'r'); os.read(0, 1)"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let me = rustix::process::getpid();
        let exact = used(me, 0);
        assert!(exact.bytes > 70 << 20, "{exact:?}");
        assert_eq!(exact.largest, Some(Pid::from_child(&child)));
        assert_eq!(used(me, u64::MAX).largest, None);
        let before = used(me, 0).bytes;
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.wait().unwrap();
        assert!(used(me, 0).bytes < before - (60 << 20));
    }
}
