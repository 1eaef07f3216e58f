//! The jail from inside: what the new process does to itself before it becomes the user's program.
//!
//! The numbers are those of `docs/jail.md`. Any step that fails ends the start with its name; nothing is skipped.

use std::convert::Infallible;
use std::ffi::CString;
use std::fmt::Display;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode};
use rustix::fs::{CWD, FileType, Mode as Bits, OFlags, fstat, openat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, chdir, set_child_subreaper, set_dumpable_behavior,
    setpriority_process, setrlimit, setsid, umask,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, capabilities,
    clear_ambient_capability_set, move_into_link_name_space, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::BpfProgram;

use super::mounts;
use super::plan::{KERNEL_FOLDER, Kind, Places, Plan};
use super::view::{EMPTY, Seen, mount_point};
use super::walls::{self, Use};
use super::{init, start};
use crate::host::cpus::hold;
use crate::host::folders::below;
use crate::host::mode::unshare;
use crate::sys::{self, Signals};

/// Descriptor numbers after step 2.
pub(crate) const SYNC: RawFd = 4;
/// The view's mount namespace, then the detached mounts.
const VIEW: RawFd = 5;
const TREES: RawFd = 6;

/// What the new process needs to know; all of it was prepared by spawnd.
pub(crate) struct Inside<'a> {
    pub(crate) mode: Mode,
    pub(crate) plan: &'a Plan,
    pub(crate) places: &'a Places,
    /// None in `degraded` mode.
    pub(crate) view: Option<&'a Seen>,
    /// Descriptors in the order of their later numbers.
    pub(crate) fds: Vec<BorrowedFd<'a>>,
    /// Of version 1 groups.
    pub(crate) doors: Vec<OwnedFd>,
    pub(crate) cpus: Option<&'a [usize]>,
    /// Where the detached mounts go, in the order of their descriptors.
    pub(crate) trees: Vec<&'a Path>,
    /// Namespaces of this jail, for the report.
    pub(crate) given: &'a LayerReport,
    pub(crate) rules: Vec<(PathBuf, Use)>,
    pub(crate) filter: &'a BpfProgram,
    pub(crate) pinned: &'a BpfProgram,
}

/// Becomes the jail; never returns.
pub(crate) fn run(job: &Inside<'_>) -> ! {
    let Err(why) = join(job).and_then(|()| steps(job));
    let _ = start::tell(sys::kept(SYNC), start::FAILED, why.as_bytes());
    sys::exit_now(125)
}

/// Scheduling priority of pid 1 of a kernel's jail.
const SHIM_NICE: i32 = -5;
/// A host short of memory ends a jail first.
const OOM_SCORE: &str = "300";

/// What the jail's user namespace may have: no namespaces below it, whatever the filter lets through, and not all of what users share.
const NAMESPACE_LIMITS: [(&str, &str); 2] =
    [("sys/user/max_user_namespaces", "0"), ("sys/user/max_inotify_instances", "64")];

fn join(job: &Inside<'_>) -> Result<(), String> {
    // 1. Within its limits before anything else. (On version 2 it was born in its group.)
    let doors = job.doors.iter().map(|door| rustix::io::write(door, b"0").map(|_| ()));
    let joined = doors.collect::<Result<(), _>>();
    // 2. Nothing of spawnd's stays open: null, log, log, listener, sync, view, trees.
    said("keeping descriptors", sys::keep_only(&job.fds, 4))?;
    said("joining the jail's cgroup", joined)
}

fn steps(job: &Inside<'_>) -> Result<Infallible, String> {
    // Not being allowed to is no danger.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let proc = said("opening /proc", openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Bits::empty()))?;
    let mut report = job.given.clone();
    if job.plan.kind == Kind::Kernel && job.mode == Mode::Root {
        // The shim must drain a kernel's output faster than the kernel fills its socket: libzmq drops what nobody takes. It gives the
        // kernel itself the ordinary priority back. Without the right to do so the jail works all the same.
        let _ = setpriority_process(None, SHIM_NICE);
    }
    if let Some(view) = job.view {
        // 3. A copy of the view's mount namespace, whose root is the view. The host's tree is not in it.
        let namespace = move_into_link_name_space(sys::kept(VIEW), Some(LinkNameSpaceType::Mount));
        said("entering the view", namespace)?;
        said("copying the view", unshare(UnshareFlags::NEWNS))?;
        // 4. What is private to this jail is mounted.
        private_mounts(job, view)?;
        // 5. Loopback and name.
        if report.get(&LayerName::Net).is_some_and(LayerState::is_on) {
            said("bringing loopback up", sys::loopback_up())?;
        }
        if report.get(&LayerName::Uts).is_some_and(LayerState::is_on) {
            said("setting the host name", rustix::system::sethostname(b"carrel"))?;
        }
        // 6. The jail's group looks like the root of all groups.
        let cgroup = unshare(UnshareFlags::NEWCGROUP);
        report.insert(
            LayerName::Cgroup,
            cgroup.map_or_else(|e| LayerState::Off(e.to_string()), |()| LayerState::On),
        );
        // 7. The user's ids, then a user namespace with these alone, made late: all that was mounted belongs to the outer one.
        one_id(job, &mut report)?;
        for (file, value) in NAMESPACE_LIMITS {
            // Older kernels lack some of them.
            let _ = fs::write(below(&proc, file), value);
        }
    } else {
        become_user(job.plan)?;
    }
    // 8. Resource limits of processes.
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    rlimits(job)?;
    if let Some(cpus) = job.cpus {
        said("choosing processors", hold(cpus))?;
    }
    report.insert(LayerName::Rlimits, LayerState::On);
    // 9. No capability, now or ever; its memory is a copy of spawnd's, which nobody inside may read before exec replaces it.
    no_capabilities(job.mode)?;
    report.insert(LayerName::Capabilities, LayerState::On);
    said("setting no_new_privs", set_no_new_privs(true))?;
    report.insert(LayerName::NoNewPrivs, LayerState::On);
    said("closing its memory", set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    said("entering the home", chdir(&job.places.home))?;
    // 10. All but kernels and servers run below a small init, which stays outside their Landlock domain.
    if !job.plan.kind.has_shim() || job.mode == Mode::Degraded {
        below_init(job)?;
    }
    // 11. Landlock, then the filter: the last doors to close.
    let landlock = walls::confine(&job.rules).map_err(|error| format!("applying Landlock: {error}"))?;
    report.insert(LayerName::Landlock, landlock);
    install_filter(job)?;
    report.insert(LayerName::Seccomp, LayerState::On);
    // 12. spawnd looks at the report, writes down who this is, and gives the last go.
    let text = serde_json::to_vec(&report).map_err(|error| format!("writing the report: {error}"))?;
    said("reporting", start::tell(sys::kept(SYNC), start::REPORT, &text))?;
    start::wait_for_go(sys::kept(SYNC)).map_err(|error| format!("waiting for spawnd: {error}"))?;
    // 13. Becomes the program.
    said("unblocking signals", sys::unblock_signals())?;
    let (program, arguments) = job.plan.argv.split_first().ok_or("there is no program to run")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(job.plan.env.iter().map(|(name, value)| (name, value)));
    Err(format!("running {program}: {}", command.exec()))
}

/// What was being done, and why it failed.
pub(crate) fn said<T, E: Display>(doing: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{doing}: {error}"))
}

fn private_mounts(job: &Inside<'_>, view: &Seen) -> Result<(), String> {
    let (plan, limits) = (job.plan, &job.plan.limits);
    let options = |text: String| CString::new(text).map_err(|error| error.to_string());
    // Only own processes, nothing writable, some files covered.
    let proc = said("making a /proc", mounts::own_proc())?;
    if job.mode == Mode::Userns {
        said("leaving the host's /proc", unmount("/proc", UnmountFlags::DETACH))?;
    }
    said("mounting /proc", mounts::attach(proc, Path::new("/proc")))?;
    for (mask, folder) in &view.masks {
        let with = Path::new(if *folder { EMPTY } else { "/dev/null" });
        said("covering a part of /proc", mounts::cover(with, mask))?;
    }
    let sized = |bytes| options(format!("mode=1777,size={bytes},nr_inodes={}", limits.tmp_inodes));
    let (tmp, shm) = (Path::new("/tmp"), Path::new("/dev/shm"));
    said("mounting /tmp", mounts::tmpfs(tmp, &sized(limits.tmp_bytes)?, MountFlags::empty()))?;
    said("mounting /dev/shm", mounts::tmpfs(shm, &sized(limits.shm_bytes)?, MountFlags::NOEXEC))?;
    let devpts = options(format!("newinstance,ptmxmode=0666,mode=0620,max={}", plan.kind.ptys()))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    said("mounting /dev/pts", mount(c"devpts", "/dev/pts", c"devpts", flags, devpts.as_c_str()))?;
    // Names of users and of other jails are nowhere in the view: these two are the jail's own.
    let small = c"mode=0755,size=1m,nr_inodes=256";
    let (home, run) = (Path::new("/home"), Path::new("/run"));
    said("mounting /home", mounts::tmpfs(home, small, MountFlags::empty()))?;
    said("mounting /run", mounts::tmpfs(run, small, MountFlags::empty()))?;
    names(plan, run)?;
    if plan.kind.has_runtime() {
        let own = options(format!("mode=0700,uid={},gid={},size=4m,nr_inodes=1024", plan.uid, plan.gid))?;
        said("making /run/k", folder(Path::new(KERNEL_FOLDER)))?;
        said("mounting /run/k", mounts::tmpfs(Path::new(KERNEL_FOLDER), &own, MountFlags::NOEXEC))?;
    }
    for (number, target) in (TREES..).zip(&job.trees) {
        let tree = sys::kept(number);
        let stat = said("looking at a mount", fstat(tree))?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let ready = mount_point(Path::new("/"), target, is_folder);
        ready
            .and_then(|()| mounts::attach(tree, target))
            .map_err(|error| format!("mounting {}: {error}", target.display()))?;
    }
    said("sealing /home", mounts::seal(home))?;
    said("sealing /run", mounts::seal(run))
}

/// `passwd` and `group` know this user and nobody.
fn names(plan: &Plan, run: &Path) -> Result<(), String> {
    let Plan { user, uid, gid, .. } = plan;
    let passwd = format!(
        "{user}:x:{uid}:{gid}:{user}:/home/{user}:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    said("writing passwd", fs::write(run.join("passwd"), passwd))?;
    said("writing group", fs::write(run.join("group"), format!("{user}:x:{gid}:\nnogroup:x:65534:\n")))
}

fn folder(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

fn one_id(job: &Inside<'_>, report: &mut LayerReport) -> Result<(), String> {
    if job.plan.uid != rustix::process::geteuid().as_raw() {
        // The user, not spawnd, is then the one who made the namespace: what is counted per user in the outer one (inotify, keys,
        // pending signals) is counted for this user alone. The rights to make it must outlast the change.
        said("dropping groups", set_thread_groups(&[]))?;
        said("keeping capabilities", set_keep_capabilities(true))?;
        set_ids(job.plan)?;
        let mut sets = said("reading capabilities", capabilities(None))?;
        sets.effective = sets.permitted;
        said("raising capabilities", set_capabilities(None, sets))?;
    }
    said("making the user namespace", unshare(UnshareFlags::NEWUSER))?;
    // Whoever changes ids is closed to all but the host's root: an ordinary spawnd could not write the map. Nobody else sees this process yet.
    if job.mode == Mode::Userns {
        said("opening the id map", set_dumpable_behavior(DumpableBehavior::Dumpable))?;
    }
    said("asking for the id map", start::tell(sys::kept(SYNC), start::MAP, b""))?;
    start::wait_for_go(sys::kept(SYNC)).map_err(|error| format!("waiting for the id map: {error}"))?;
    said("closing the id map", set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    set_ids(job.plan)?;
    report.insert(LayerName::User, LayerState::On);
    Ok(())
}

/// Without namespaces: root still becomes the user.
fn become_user(plan: &Plan) -> Result<(), String> {
    said("becoming a subreaper", set_child_subreaper(Some(rustix::process::getpid())))?;
    if rustix::process::geteuid().is_root() {
        said("dropping groups", set_thread_groups(&[]))?;
        // While it can: afterwards it is an ordinary user.
        said("emptying the bounding set", sys::drop_bounding_set())?;
        set_ids(plan)?;
    }
    Ok(())
}

fn set_ids(plan: &Plan) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(plan.uid), Gid::from_raw(plan.gid));
    said("changing the group", set_thread_res_gid(gid, gid, gid))?;
    said("changing the user", set_thread_res_uid(uid, uid, uid))
}

fn rlimits(job: &Inside<'_>) -> Result<(), String> {
    let limits = &job.plan.limits;
    let mut wanted = vec![
        (Resource::Nofile, limits.fds),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Core, 0),
        (Resource::Memlock, 8 << 20),
        (Resource::Msgqueue, 819_200),
        (Resource::Sigpending, 4096),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    // Counted per user namespace; without one it would count the user's other jails too.
    let processes = if job.mode == Mode::Degraded { 4096 } else { limits.pids.unwrap_or(4096) };
    wanted.push((Resource::Nproc, processes));
    for (resource, value) in wanted {
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(value);
        let limit = Rlimit { current: Some(hard), maximum: Some(hard) };
        setrlimit(resource, limit).map_err(|error| format!("setting {resource:?}: {error}"))?;
    }
    Ok(())
}

fn no_capabilities(mode: Mode) -> Result<(), String> {
    if mode != Mode::Degraded {
        said("emptying the bounding set", sys::drop_bounding_set())?;
    }
    said("emptying the ambient set", clear_ambient_capability_set())?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    said("dropping capabilities", set_capabilities(None, none))
}

fn install_filter(job: &Inside<'_>) -> Result<(), String> {
    if job.cpus.is_some() {
        said("installing the filter on processors", seccompiler::apply_filter(job.pinned))?;
    }
    said("installing the system call filter", seccompiler::apply_filter(job.filter))
}

/// Returns in the child only.
fn below_init(job: &Inside<'_>) -> Result<(), String> {
    let signals = said("blocking signals", Signals::block(&init::SIGNALS))?;
    if let Some(main) = said("forking", sys::fork())? {
        if install_filter(job).is_err() {
            sys::kill(main, libc::SIGKILL);
        }
        init::run(main, &signals, job.mode);
    }
    said("starting a session", setsid())?;
    Ok(())
}
