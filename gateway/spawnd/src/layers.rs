//! What a jail is made of, and whether each part is in force.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How jails are built on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By root: a distinct uid per user.
    Root,
    /// By an ordinary user, inside a user namespace; all jails share that user's uid.
    Userns,
    /// Without namespaces; only where the settings name it.
    Degraded,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Userns => "userns",
            Self::Degraded => "degraded",
        })
    }
}

/// The layers of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerName {
    /// A private read-only root.
    Mount,
    /// Own processes only.
    Pid,
    /// No network.
    Net,
    /// Own System V and POSIX IPC.
    Ipc,
    /// Own host name.
    Uts,
    /// An own user namespace with one id.
    User,
    /// A uid that no other user has.
    Uid,
    /// Own cgroup view.
    Cgroup,
    /// A memory limit.
    Memory,
    /// A limit on processes.
    Pids,
    /// A limit on processor time.
    Cpu,
    /// A share of a busy disk.
    Io,
    /// A limit on the size of the home.
    Disk,
    /// File rules as a second wall.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// No set-uid programs.
    NoNewPrivs,
    /// No capabilities.
    Capabilities,
    /// Descriptors, file size, locked memory, core dumps.
    Rlimits,
}

impl LayerName {
    /// Every layer.
    pub const ALL: [Self; 18] = [
        Self::Mount,
        Self::Pid,
        Self::Net,
        Self::Ipc,
        Self::Uts,
        Self::User,
        Self::Uid,
        Self::Cgroup,
        Self::Memory,
        Self::Pids,
        Self::Cpu,
        Self::Io,
        Self::Disk,
        Self::Landlock,
        Self::Seccomp,
        Self::NoNewPrivs,
        Self::Capabilities,
        Self::Rlimits,
    ];

    /// The layers without which no jail is started in `root` and `userns` mode unless the settings say otherwise.
    pub const REQUIRED: [Self; 11] = [
        Self::Mount,
        Self::Pid,
        Self::Net,
        Self::Ipc,
        Self::Uts,
        Self::User,
        Self::Landlock,
        Self::Seccomp,
        Self::NoNewPrivs,
        Self::Capabilities,
        Self::Rlimits,
    ];

    /// What is required where the settings name nothing.
    #[must_use]
    pub fn required_by_default(mode: Mode) -> Vec<Self> {
        match mode {
            Mode::Root | Mode::Userns => Self::REQUIRED.to_vec(),
            Mode::Degraded => vec![Self::Landlock, Self::Seccomp, Self::NoNewPrivs],
        }
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Uid => "uid",
            Self::Cgroup => "cgroup",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Disk => "disk",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::NoNewPrivs => "no_new_privs",
            Self::Capabilities => "capabilities",
            Self::Rlimits => "rlimits",
        })
    }
}

/// Whether a layer is in force: `"on"`, `"on: by what"`, `"partly: how"` or `"off: why"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// In force.
    On,
    /// In force, where there is more than one way, and by which.
    By(String),
    /// In force by something weaker, and by what. Where the layer is required, this is not enough.
    Partly(String),
    /// Not, and why.
    Off(String),
}

impl LayerState {
    /// Whether it is in force.
    #[must_use]
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On | Self::By(_))
    }
}

impl fmt::Display for LayerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::By(what) => write!(f, "on: {what}"),
            Self::Partly(how) => write!(f, "partly: {how}"),
            Self::Off(why) => write!(f, "off: {why}"),
        }
    }
}

impl Serialize for LayerState {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LayerState {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        match text.split_once(": ") {
            Some(("on", what)) => Ok(Self::By(what.to_owned())),
            Some(("off", why)) => Ok(Self::Off(why.to_owned())),
            Some(("partly", how)) => Ok(Self::Partly(how.to_owned())),
            None if text == "on" => Ok(Self::On),
            _ => Err(serde::de::Error::custom(format!(
                "expected \"on\", \"on: by what\", \"partly: how\" or \"off: why\", not {text:?}"
            ))),
        }
    }
}

/// Every layer and whether it is in force.
pub type LayerReport = BTreeMap<LayerName, LayerState>;
