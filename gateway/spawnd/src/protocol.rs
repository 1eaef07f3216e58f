//! The packets of the control socket, as in `docs/architecture.md`, "spawnd: requests".
//!
//! One JSON object a packet. A request carries names only: no paths, no flags, no uids.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::layers::{LayerName, LayerReport, LayerState, Mode};
use crate::limits::LimitTables;
use crate::names::{GroupName, JailId, RelPath, SpecId, UserName};

/// The longest packet either side sends or takes.
pub const MAX_PACKET: usize = 64 * 1024;
/// The most descriptors that one packet carries.
pub const MAX_FDS: usize = 64;
/// The longest tag in the descriptor store.
pub const MAX_TAG: usize = 256;

/// What the gateway may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who is there, and which layers does this host give?
    Hello {},
    /// Start a jail. The reply carries a pidfd of its pid 1.
    Start(Start),
    /// The running jails, in order of id, after the given one; as many as a packet holds.
    List {
        /// Only ids that sort after this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<JailId>,
    },
    /// The listening socket through which what runs in a server's jail speaks to the gateway. The reply carries it.
    Listener {
        /// Which jail.
        id: JailId,
    },
    /// End a jail and all that belongs to it; answered once nothing of it is left.
    Stop {
        /// Which jail.
        id: JailId,
    },
    /// What a running jail uses.
    Stats {
        /// Which jail.
        id: JailId,
    },
    /// How an ended jail ended.
    Exit {
        /// Which jail.
        id: JailId,
    },
    /// Keep the descriptor sent with this packet. A descriptor with the same tag is replaced.
    FdPut {
        /// Its name, at most [`MAX_TAG`] bytes.
        tag: String,
    },
    /// Hand back descriptors whose tag begins with `prefix`, in order of tag, and forget them.
    FdTake {
        /// Beginning of the tag; empty for all.
        prefix: String,
        /// The most to hand back; never more than [`MAX_FDS`].
        max: usize,
    },
    /// Close a kept descriptor. Dropping one that is not there is not an error.
    FdDrop {
        /// Its name.
        tag: String,
    },
    /// Take these bounds from now on, in jails that run too. Only from root or whoever runs spawnd: what the network reaches widens nothing.
    Limits {
        /// All of them.
        tables: Box<LimitTables>,
    },
    /// End once no jail is left.
    Shutdown {
        /// What becomes of the jails that still run.
        jails: ShutdownJails,
    },
}

/// A jail to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Whose jail.
    pub user: UserName,
    /// Its id, unique among running jails.
    pub id: JailId,
    /// Which kind.
    pub profile: Profile,
    /// Which kernel; needed for [`Profile::Kernel`], not taken for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernelspec: Option<SpecId>,
    /// Where the kernel begins, below the home.
    #[serde(default)]
    pub cwd: RelPath,
    /// The user's groups at the Hub, for bounds that groups have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
}

/// The kinds of jail that can be asked for. (A kernel's engine is started by spawnd itself.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// `carrel-shim` and a kernel.
    Kernel,
    /// `carrel-desk`.
    Desk,
    /// `carrel-shim` and a whole Python server of the user's.
    Classic,
    /// `carrel-shim` and a service of the administrator's; its user is the service's account.
    Service,
}

impl Profile {
    /// Whether a whole server runs in it, with a way to the gateway.
    #[must_use]
    pub fn is_server(self) -> bool {
        matches!(self, Self::Classic | Self::Service)
    }
}

/// What becomes of running jails at shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownJails {
    /// Let them run; spawnd ends with the last one, unless somebody says hello before.
    #[serde(rename = "keep-if-any")]
    KeepIfAny,
    /// Stop them all first.
    #[serde(rename = "stop")]
    Stop,
}

/// An answer: `{"ok":…}` or `{"err":{"code","message"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// Done.
    Ok(T),
    /// Not done, and why.
    Err(Refusal),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with a readable message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The packet is not a request.
    BadRequest,
    /// No such jail, kernelspec or record.
    NotFound,
    /// A jail with this id runs already.
    Exists,
    /// A required layer is missing, or the settings forbid it.
    Refused,
    /// A bound is reached.
    Limit,
    /// A fault of the host or of spawnd.
    Internal,
}

/// Answer to [`Request::Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Of the program.
    pub version: String,
    /// Of the program.
    pub pid: i32,
    /// How jails are built.
    pub mode: Mode,
    /// What this host gives.
    pub layers: LayerReport,
}

/// Answer to [`Request::Start`], with a pidfd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The jail.
    pub id: JailId,
    /// Its pid 1, as the host counts.
    pub pid: i32,
    /// The uid that it runs as, as the host counts.
    pub uid: u32,
    /// What is in force.
    pub layers: LayerReport,
    /// Where the program inside listens.
    pub socket: PathBuf,
}

/// One running jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailInfo {
    /// Its id.
    pub id: JailId,
    /// Whose.
    pub user: UserName,
    /// Which kind.
    pub profile: Profile,
    /// Which kernel.
    #[serde(default)]
    pub kernelspec: Option<SpecId>,
    /// Its pid 1, as the host counts.
    pub pid: i32,
    /// Its uid, as the host counts.
    pub uid: u32,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// What is in force.
    pub layers: LayerReport,
    /// Where the program inside listens.
    pub socket: PathBuf,
    /// Whether its engine runs now.
    pub engine: bool,
    /// Whether it has a way to the proxy.
    #[serde(default)]
    pub proxy: bool,
}

/// Answer to [`Request::List`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailList {
    /// In order of id.
    pub jails: Vec<JailInfo>,
    /// Whether there are more after the last of these.
    #[serde(default)]
    pub more: bool,
}

/// What a jail uses (its engine included); a figure is null where the host does not give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Memory now.
    pub memory_bytes: Option<u64>,
    /// Most memory so far.
    pub memory_peak_bytes: Option<u64>,
    /// The limit, of kernel and engine together.
    pub memory_limit_bytes: Option<u64>,
    /// Processor time so far.
    pub cpu_usec: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// How often the limit killed something.
    pub oom_kills: Option<u64>,
    /// Memory of the kernel or desk alone.
    #[serde(default)]
    pub main: Memory,
}

/// Memory of one part of a jail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Most so far.
    pub memory_peak_bytes: Option<u64>,
    /// The limit.
    pub memory_limit_bytes: Option<u64>,
    /// How often the limit killed something.
    pub oom_kills: Option<u64>,
}

impl Stats {
    /// Of two, added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Self {
            memory_bytes: sum(self.memory_bytes, other.memory_bytes),
            memory_peak_bytes: sum(self.memory_peak_bytes, other.memory_peak_bytes),
            memory_limit_bytes: sum(self.memory_limit_bytes, other.memory_limit_bytes),
            cpu_usec: sum(self.cpu_usec, other.cpu_usec),
            pids: sum(self.pids, other.pids),
            oom_kills: sum(self.oom_kills, other.oom_kills),
            main: self.main,
        }
    }
}

/// How a jail ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Exit code of pid 1.
    pub code: Option<i32>,
    /// Signal that ended pid 1.
    pub signal: Option<i32>,
    /// Whether a memory limit killed something in it.
    pub oom: bool,
    /// Why spawnd ended it, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Most memory that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// The memory that it might have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// The last lines that a server wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// How the home stood, if that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<HomeUse>,
}

/// What a home holds, and may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each says what it is")]
pub struct HomeUse {
    pub bytes: u64,
    pub files: u64,
    pub max_bytes: Option<u64>,
    pub max_files: Option<u64>,
}

/// Why spawnd ended a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// It used more memory than it may, where no cgroup holds it back.
    Memory,
    /// It lived for as long as it may.
    Wall,
    /// The user's home grew far beyond what it may be, where no quota holds it back.
    Disk,
}

/// Answer to [`Request::FdTake`]: the tags, in the order of the descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// One per descriptor.
    pub tags: Vec<String>,
}

/// Answer to [`Request::Shutdown`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// How many jails still run.
    pub jails: usize,
}

/// Answer to [`Request::Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded {
    /// Jails whose bounds are other ones now.
    pub changed: usize,
    /// What could not be set, jail by jail; as many as a packet holds.
    pub failed: Vec<String>,
}

/// Answer to requests that have nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

#[cfg(test)]
mod tests;
