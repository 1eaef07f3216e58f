//! The ids that an ordinary user was granted besides the own one: `/etc/subuid`, `/etc/subgid`, and the helpers that map them.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, getpid, waitpid};

use crate::sys;

/// The smallest range worth using: that many users.
const LEAST: u32 = 64;

/// The numbers that this user may map as uids and as gids, or what is missing and the line to add.
pub(crate) fn granted(uid: u32) -> Result<Range<u32>, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = name_of(&read("/etc/passwd"), uid).unwrap_or_else(|| uid.to_string());
    let range = common(&read("/etc/subuid"), &read("/etc/subgid"), &name, uid).ok_or_else(|| {
        format!("no range of {LEAST} or more ids is granted to {name} in both /etc/subuid and /etc/subgid; add to both the line {name}:100000:65536")
    })?;
    for program in ["newuidmap", "newgidmap"] {
        find(program).ok_or_else(|| format!("{program} is not installed; install the package uidmap"))?;
    }
    Ok(range)
}

/// The largest range that both files grant.
fn common(subuid: &str, subgid: &str, name: &str, uid: u32) -> Option<Range<u32>> {
    let ranges = |text: &str| -> Vec<Range<u32>> {
        let parse = |line: &str| {
            let mut fields = line.trim().split(':');
            let (who, start, count) = (fields.next()?, fields.next()?, fields.next()?);
            let ours = who == name || who == uid.to_string();
            let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
            ours.then(|| start..start.saturating_add(count))
        };
        text.lines().filter_map(parse).collect()
    };
    let (uids, gids) = (ranges(subuid), ranges(subgid));
    let both = uids.iter().flat_map(|u| gids.iter().map(move |g| u.start.max(g.start)..u.end.min(g.end)));
    // Below 1000 are the system's own.
    both.filter(|range| range.start >= 1000 && range.end.saturating_sub(range.start) >= LEAST)
        .filter(|range| !range.contains(&uid))
        .max_by_key(|range| range.end - range.start)
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entries.find_map(|fields| match fields.as_slice() {
        [name, _, id, ..] if id.parse() == Ok(uid) => Some((*name).to_owned()),
        _ => None,
    })
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
        .find(|path| path.is_file())
}

/// A child that stayed outside the user namespace, where the set-uid helpers have their rights.
pub(crate) struct Mapper {
    child: Pid,
    start: OwnedFd,
    outcome: OwnedFd,
}

impl Mapper {
    /// Forks it; call before the user namespace is made.
    pub(crate) fn fork(range: &Range<u32>) -> io::Result<Self> {
        let target = getpid();
        let (started, start) = pipe_with(PipeFlags::CLOEXEC)?;
        let (outcome, said) = pipe_with(PipeFlags::CLOEXEC)?;
        match sys::fork()? {
            Some(child) => Ok(Self { child, start, outcome }),
            None => {
                drop((start, outcome));
                let mut word = [0u8; 1];
                let told = rustix::io::read(&started, &mut word) == Ok(1);
                let text = if told { map(target, range).err().unwrap_or_default() } else { String::new() };
                let _ = rustix::io::write(&said, text.as_bytes());
                sys::exit_now(0);
            }
        }
    }

    /// Maps this process's ids; call after the user namespace was made.
    pub(crate) fn map(self) -> Result<(), String> {
        let failed = |error: io::Error| format!("mapping ids: {error}");
        rustix::io::write(&self.start, b"m").map_err(|error| failed(error.into()))?;
        drop(self.start);
        let mut text = String::new();
        fs::File::from(self.outcome).take(4096).read_to_string(&mut text).map_err(failed)?;
        let _ = waitpid(Some(self.child), WaitOptions::empty());
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

/// Every id stays the number that it is.
fn map(target: Pid, range: &Range<u32>) -> Result<(), String> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    for (program, own) in [("newuidmap", uid), ("newgidmap", gid)] {
        let path = find(program).ok_or_else(|| format!("{program} is not installed"))?;
        let (own, start, count) = (own.to_string(), range.start.to_string(), range.len().to_string());
        let done = Command::new(path)
            .arg(target.as_raw_nonzero().get().to_string())
            .args([&own, &own, "1", &start, &start, &count])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("running {program}: {error}"))?;
        if !done.status.success() {
            return Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()));
        }
    }
    Ok(())
}

/// The range of `/proc/self/uid_map` besides the own id, if there is one.
pub(crate) fn mapped(uid_map: &str) -> Option<Range<u32>> {
    let parse = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        (inside == outside && count >= LEAST).then(|| inside..inside.saturating_add(count))
    };
    uid_map.lines().find_map(parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_what_both_files_grant() {
        let common = |subuid: &str, subgid: &str| common(subuid, subgid, "ada", 1000);
        assert_eq!(common("ada:100000:65536\n", "ada:100000:65536\n"), Some(100_000..165_536));
        assert_eq!(common("1000:200000:1000\n", "ada:200500:1000\n"), Some(200_500..201_000));
        assert_eq!(
            common("ada:1:9\nada:300000:100\nada:400000:5000", "ada:0:999999999"),
            Some(400_000..405_000)
        );
        assert_eq!(common("bob:100000:65536", "ada:100000:65536"), None);
        assert_eq!(common("ada:100000:10", "ada:100000:10"), None);
        assert_eq!(common("ada:500:5000", "ada:500:5000"), None, "the system's own ids");
        assert_eq!(common("ada:x:y\n\n::", "ada"), None);
    }

    #[test]
    fn names_and_maps_are_read() {
        assert_eq!(
            name_of("root:x:0:0::/:/bin/sh\nada:x:1000:1000::/:/bin/sh\n", 1000).as_deref(),
            Some("ada")
        );
        assert_eq!(name_of("junk\n", 1000), None);
        let map = "      1000       1000          1\n    100000     100000      65536\n";
        assert_eq!(mapped(map), Some(100_000..165_536));
        assert_eq!(mapped("      1000       1000          1\n"), None);
        assert_eq!(mapped("         0          0 4294967295\n"), Some(0..u32::MAX));
    }
}
