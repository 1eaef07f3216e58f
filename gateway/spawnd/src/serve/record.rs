//! What is written down of a jail, so that the next spawnd finds it: `jail.json` in the jail's folder, which only spawnd can read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use gateway_spawnd::{GroupName, JailId, LayerReport, Profile, SpecId, UserName};
use rustix::fs::{Mode, OFlags, openat, renameat};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::host::cgroup::Group;
use crate::host::folders::below;
use crate::host::process;
use crate::jail::start::Process;
use crate::log;

const FILE: &str = "jail.json";
const NEW: &str = "jail.json.new";

/// A jail, as it is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The host's start that the pids belong to.
    pub(crate) boot: String,
    pub(crate) user: UserName,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) profile: Profile,
    pub(crate) kernelspec: Option<SpecId>,
    pub(crate) started_ms: u64,
    pub(crate) layers: LayerReport,
    pub(crate) socket: PathBuf,
    pub(crate) main: Recorded,
    pub(crate) engine: Option<Recorded>,
}

/// One of its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    pub(crate) pid: i32,
    pub(crate) birth: u64,
    pub(crate) keeper: bool,
    pub(crate) group: Group,
}

impl Recorded {
    pub(crate) fn new(process: &Process, group: &Group) -> Self {
        let pid = process.pid.as_raw_nonzero().get();
        Self { pid, birth: process.birth, keeper: process.keeper, group: group.clone() }
    }

    /// The process, if it still lives.
    pub(crate) fn find(&self) -> Option<Process> {
        let pid = Pid::from_raw(self.pid).filter(|_| self.birth > 0)?;
        let pidfd = process::find(pid, self.birth)?;
        Some(Process { pid, birth: self.birth, pidfd, keeper: self.keeper })
    }
}

impl Record {
    /// Writes it into the jail's folder, whole or not at all. (No sync: after a crash of the host there is no jail to be found.)
    pub(crate) fn write(&self, folder: &OwnedFd) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(folder, NEW, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(renameat(folder, NEW, folder, FILE)?)
    }

    fn read(jails: &OwnedFd, id: &JailId) -> io::Result<Self> {
        let file = below(jails.as_fd(), id.as_str()).join(FILE);
        serde_json::from_slice(&fs::read(file)?).map_err(io::Error::from)
    }

    /// Whether its pids mean anything now.
    fn of_this_boot(&self) -> bool {
        self.boot == process::boot()
    }
}

/// A jail of an earlier spawnd.
pub(crate) struct Former {
    pub(crate) id: JailId,
    pub(crate) record: Record,
    /// What of it lives.
    pub(crate) main: Option<Process>,
    pub(crate) engine: Option<Process>,
}

/// All that is written down in the folder of jails. What cannot be read is left for the sweep.
pub(crate) fn former(jails: &OwnedFd) -> Vec<Former> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below(jails, "")).into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<JailId>().ok()) else {
            continue;
        };
        match Record::read(jails, &id) {
            Ok(record) if record.of_this_boot() => {
                let main = record.main.find();
                let engine = record.engine.as_ref().and_then(Recorded::find);
                found.push(Former { id, record, main, engine });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn("record", json!({ "id": id, "error": error.to_string() })),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let me = rustix::process::getpid();
        Record {
            boot: process::boot(),
            user: "ada".parse().unwrap(),
            groups: vec!["ml".parse().unwrap()],
            uid: 200_000,
            gid: 200_000,
            profile: Profile::Kernel,
            kernelspec: Some("carrel".parse().unwrap()),
            started_ms: 1,
            layers: LayerReport::new(),
            socket: "/run/x/main.sock".into(),
            main: Recorded {
                pid: me.as_raw_nonzero().get(),
                birth: process::birth(me),
                keeper: false,
                group: Group::default(),
            },
            engine: None,
        }
    }

    fn keep(jails: &tempfile::TempDir, id: &str, record: &Record) {
        fs::create_dir(jails.path().join(id)).unwrap();
        record.write(&File::open(jails.path().join(id)).unwrap().into()).unwrap();
    }

    #[test]
    fn the_living_are_found_and_the_dead_the_reborn_and_those_of_another_boot_are_not() {
        let jails = tempfile::tempdir().unwrap();
        let alive = record();
        let mut gone = record();
        gone.main.birth += 1;
        let old = Record { boot: "another".into(), ..record() };
        for (id, record) in [("alive", &alive), ("gone", &gone), ("old", &old)] {
            keep(&jails, id, record);
        }
        fs::create_dir(jails.path().join("half-made")).unwrap();
        fs::create_dir(jails.path().join("damaged")).unwrap();
        fs::write(jails.path().join("damaged/jail.json"), "{").unwrap();
        fs::write(jails.path().join("Not an id"), "").unwrap();
        let folder = OwnedFd::from(File::open(jails.path()).unwrap());
        let mut found = former(&folder);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let living: Vec<_> = found.iter().map(|f| (f.id.as_str(), f.main.is_some())).collect();
        assert_eq!(living, [("alive", true), ("gone", false)]);
        assert_eq!(found[0].record, alive);
    }
}
