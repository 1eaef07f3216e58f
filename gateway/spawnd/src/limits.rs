//! Bounds of jails: per kind of jail, for all jails of a user together, and what a user or a group has instead. Pure.
//!
//! The tables come with the settings; [`crate::Request::Limits`] replaces them while jails run.

use serde::{Deserialize, Serialize};

use crate::names::{GroupName, UserName};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bounds of one jail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of the whole jail, its temporary files included.
    pub memory_bytes: Option<u64>,
    /// Swap on top of that.
    #[serde(default)]
    pub swap_bytes: u64,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processors (1.5 is one and a half).
    pub cpu: Option<f64>,
    /// Share of a busy disk, 1 to 10000; 100 is everybody's.
    #[serde(default)]
    pub io_weight: Option<u32>,
    /// Descriptors a process may hold.
    pub fds: u64,
    /// Size of `/tmp`.
    pub tmp_bytes: u64,
    /// Size of `/dev/shm`.
    pub shm_bytes: u64,
    /// Files in `/tmp`, and in `/dev/shm`.
    pub tmp_inodes: u64,
    /// Largest file a process may write.
    pub file_bytes: u64,
    /// How long the jail may live.
    #[serde(default)]
    pub wall_seconds: Option<u64>,
}

impl Limits {
    /// Defaults for kernels: 2 GiB, 256 processes.
    #[must_use]
    pub fn kernel() -> Self {
        Self {
            memory_bytes: Some(2 * GIB),
            swap_bytes: 0,
            pids: Some(256),
            cpu: None,
            io_weight: None,
            fds: 4096,
            tmp_bytes: 512 * MIB,
            shm_bytes: 256 * MIB,
            tmp_inodes: 65536,
            file_bytes: 64 * GIB,
            wall_seconds: None,
        }
    }

    /// Defaults for desks: 1 GiB, 512 processes (terminals run programs).
    #[must_use]
    pub fn desk() -> Self {
        Self { memory_bytes: Some(GIB), pids: Some(512), ..Self::kernel() }
    }

    /// Defaults for engines: 4 GiB, 512 threads.
    #[must_use]
    pub fn engine() -> Self {
        Self { memory_bytes: Some(4 * GIB), pids: Some(512), ..Self::kernel() }
    }

    /// Defaults for classic servers: 4 GiB and 1024 processes, for the server and all its kernels together.
    #[must_use]
    pub fn classic() -> Self {
        Self { memory_bytes: Some(4 * GIB), pids: Some(1024), ..Self::kernel() }
    }

    /// Defaults for services: 512 MiB, 128 processes.
    #[must_use]
    pub fn service() -> Self {
        Self { memory_bytes: Some(512 * MIB), pids: Some(128), ..Self::kernel() }
    }

    /// With what somebody has instead. Zero lifts a bound that may be lifted.
    #[must_use]
    pub fn with(mut self, change: &Change) -> Self {
        lift(&mut self.memory_bytes, change.memory_bytes);
        lift(&mut self.pids, change.pids);
        lift(&mut self.wall_seconds, change.wall_seconds);
        if let Some(cpu) = change.cpu {
            self.cpu = (cpu > 0.0).then_some(cpu);
        }
        self.io_weight = change.io_weight.or(self.io_weight);
        for (field, new) in [
            (&mut self.swap_bytes, change.swap_bytes),
            (&mut self.fds, change.fds),
            (&mut self.tmp_bytes, change.tmp_bytes),
            (&mut self.shm_bytes, change.shm_bytes),
            (&mut self.tmp_inodes, change.tmp_inodes),
            (&mut self.file_bytes, change.file_bytes),
        ] {
            *field = new.unwrap_or(*field);
        }
        self
    }
}

/// Bounds of all jails of one user together, and of the user's home.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Together {
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processors.
    pub cpu: Option<f64>,
    /// Share of a busy disk.
    pub io_weight: Option<u32>,
    /// Disk space of the home.
    pub disk_bytes: Option<u64>,
    /// Files in the home.
    pub disk_files: Option<u64>,
}

impl Together {
    /// With what somebody has instead. Zero lifts a bound.
    #[must_use]
    pub fn with(mut self, change: &Change) -> Self {
        lift(&mut self.memory_bytes, change.memory_bytes);
        lift(&mut self.pids, change.pids);
        lift(&mut self.disk_bytes, change.disk_bytes);
        lift(&mut self.disk_files, change.disk_files);
        if let Some(cpu) = change.cpu {
            self.cpu = (cpu > 0.0).then_some(cpu);
        }
        self.io_weight = change.io_weight.or(self.io_weight);
        self
    }
}

fn lift(bound: &mut Option<u64>, new: Option<u64>) {
    if let Some(new) = new {
        *bound = (new > 0).then_some(new);
    }
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Kernels' jails.
    Kernel,
    /// Desks' jails.
    Desk,
    /// Engines' jails.
    Engine,
    /// Classic servers' jails.
    Classic,
    /// All of a user's jails together, and the home.
    Together,
}

/// The kinds of jail, each with bounds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JailKind {
    /// A kernel's.
    Kernel,
    /// A desk's.
    Desk,
    /// An engine's.
    Engine,
    /// A classic server's.
    Classic,
    /// A service's.
    Service,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// One user.
    User(UserName),
    /// Whoever is in this group.
    Group(GroupName),
}

/// Bounds that a user or a group has instead of the usual ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whom it is about.
    pub who: Who,
    /// What it is about.
    pub of: Of,
    /// The bounds.
    pub change: Change,
}

/// Some bounds; what is not named stays. Zero is no bound, where there may be none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each is the field of the same name of Limits or Together")]
pub struct Change {
    pub memory_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub pids: Option<u64>,
    pub cpu: Option<f64>,
    pub io_weight: Option<u32>,
    pub fds: Option<u64>,
    pub tmp_bytes: Option<u64>,
    pub shm_bytes: Option<u64>,
    pub tmp_inodes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub wall_seconds: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub disk_files: Option<u64>,
}

impl Change {
    /// The more generous of each bound: a user of two groups has the better of both.
    fn or_more(self, other: &Self) -> Self {
        // No bound, where zero says so, is the most.
        let lifted = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(0), _) | (_, Some(0)) => Some(0),
            (a, b) => a.max(b),
        };
        let cpu = match (self.cpu, other.cpu) {
            (Some(a), Some(b)) if a > 0.0 && b > 0.0 => Some(a.max(b)),
            (Some(_), Some(_)) => Some(0.0),
            (a, b) => a.or(b),
        };
        Self {
            memory_bytes: lifted(self.memory_bytes, other.memory_bytes),
            swap_bytes: self.swap_bytes.max(other.swap_bytes),
            pids: lifted(self.pids, other.pids),
            cpu,
            io_weight: self.io_weight.max(other.io_weight),
            fds: self.fds.max(other.fds),
            tmp_bytes: self.tmp_bytes.max(other.tmp_bytes),
            shm_bytes: self.shm_bytes.max(other.shm_bytes),
            tmp_inodes: self.tmp_inodes.max(other.tmp_inodes),
            file_bytes: self.file_bytes.max(other.file_bytes),
            wall_seconds: lifted(self.wall_seconds, other.wall_seconds),
            disk_bytes: lifted(self.disk_bytes, other.disk_bytes),
            disk_files: lifted(self.disk_files, other.disk_files),
        }
    }
}

/// All bounds of this Carrel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitTables {
    /// Of kernels' jails.
    pub kernel: Limits,
    /// Of desks' jails.
    pub desk: Limits,
    /// Of engines' jails.
    pub engine: Limits,
    /// Of classic servers' jails.
    pub classic: Limits,
    /// Of services' jails.
    pub service: Limits,
    /// Of all jails of a user together.
    pub together: Together,
    /// What users and groups have instead.
    pub rules: Vec<Rule>,
}

impl Default for LimitTables {
    fn default() -> Self {
        Self {
            kernel: Limits::kernel(),
            desk: Limits::desk(),
            engine: Limits::engine(),
            classic: Limits::classic(),
            service: Limits::service(),
            together: Together::default(),
            rules: Vec::new(),
        }
    }
}

impl LimitTables {
    /// Of one jail of this user: the kind's, then the best of the user's groups', then the user's own.
    #[must_use]
    pub fn of_jail(&self, kind: JailKind, user: &UserName, groups: &[GroupName]) -> Limits {
        let (base, of) = match kind {
            JailKind::Kernel => (&self.kernel, Of::Kernel),
            JailKind::Desk => (&self.desk, Of::Desk),
            JailKind::Engine => (&self.engine, Of::Engine),
            JailKind::Classic => (&self.classic, Of::Classic),
            // A service is nobody's and in no group.
            JailKind::Service => return self.service.clone(),
        };
        base.clone().with(&self.of_groups(of, groups)).with(&self.of_user(of, user))
    }

    /// Of all jails of this user together.
    #[must_use]
    pub fn together(&self, user: &UserName, groups: &[GroupName]) -> Together {
        let of = Of::Together;
        self.together.clone().with(&self.of_groups(of, groups)).with(&self.of_user(of, user))
    }

    fn of_groups(&self, of: Of, groups: &[GroupName]) -> Change {
        let theirs = self
            .rules
            .iter()
            .filter(|rule| rule.of == of)
            .filter(|rule| matches!(&rule.who, Who::Group(group) if groups.contains(group)));
        theirs.fold(Change::default(), |best, rule| best.or_more(&rule.change))
    }

    fn of_user(&self, of: Of, user: &UserName) -> Change {
        let own = self
            .rules
            .iter()
            .filter(|rule| rule.of == of && matches!(&rule.who, Who::User(name) if name == user));
        own.fold(Change::default(), |best, rule| best.or_more(&rule.change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(who: Who, of: Of, change: Change) -> Rule {
        Rule { who, of, change }
    }

    #[test]
    fn the_kind_s_then_the_best_group_s_then_the_user_s_own() {
        let ada: UserName = "ada".parse().unwrap();
        let group = |name: &str| Who::Group(name.parse().unwrap());
        let memory = |bytes| Change { memory_bytes: Some(bytes), ..Change::default() };
        let tables = LimitTables {
            rules: vec![
                rule(group("ml"), Of::Kernel, Change { cpu: Some(2.0), ..memory(8 * GIB) }),
                rule(group("big"), Of::Kernel, Change { fds: Some(9), ..memory(16 * GIB) }),
                rule(group("free"), Of::Kernel, memory(0)),
                rule(group("ml"), Of::Together, Change { disk_bytes: Some(5), ..Change::default() }),
                rule(Who::User(ada.clone()), Of::Kernel, Change { pids: Some(7), ..Change::default() }),
                rule(Who::User(ada.clone()), Of::Desk, memory(1)),
            ],
            ..LimitTables::default()
        };
        let groups = |names: &[&str]| names.iter().map(|n| n.parse().unwrap()).collect::<Vec<GroupName>>();
        let of = |kind, names: &[&str]| tables.of_jail(kind, &ada, &groups(names));
        assert_eq!(of(JailKind::Kernel, &[]), Limits { pids: Some(7), ..Limits::kernel() });
        let both = of(JailKind::Kernel, &["ml", "big", "other"]);
        assert_eq!((both.memory_bytes, both.cpu, both.fds), (Some(16 * GIB), Some(2.0), 9));
        assert_eq!(of(JailKind::Kernel, &["big", "free"]).memory_bytes, None);
        assert_eq!(of(JailKind::Desk, &["ml"]).memory_bytes, Some(1));
        assert_eq!(of(JailKind::Engine, &["ml", "big"]), Limits::engine());
        assert_eq!(of(JailKind::Classic, &["big"]), Limits::classic());
        assert_eq!(of(JailKind::Service, &["big"]), Limits::service());
        let bob = "bob".parse().unwrap();
        assert_eq!(tables.together(&bob, &groups(&["ml"])).disk_bytes, Some(5));
        assert_eq!(tables.together(&bob, &[]), Together::default());
        assert_eq!(tables.of_jail(JailKind::Kernel, &bob, &[]), Limits::kernel());
    }

    #[test]
    fn the_tables_survive_the_way_and_may_be_left_out() {
        let tables: LimitTables = serde_json::from_str("{}").unwrap();
        assert_eq!(tables, LimitTables::default());
        let text = r#"{"rules":[{"who":{"group":"ml"},"of":"kernel","change":{"cpu":1.5}}]}"#;
        let tables: LimitTables = serde_json::from_str(text).unwrap();
        let again: LimitTables = serde_json::from_slice(&serde_json::to_vec(&tables).unwrap()).unwrap();
        assert_eq!(again, tables);
        assert!(serde_json::from_str::<LimitTables>(r#"{"kernle":{}}"#).is_err());
    }
}
