//! The jail from inside: what the new process does to itself before it becomes the user's program.
//!
//! The numbers are those of `docs/jail.md`. Any step that fails ends the start with its name; nothing is skipped.

use std::convert::Infallible;
use std::ffi::CString;
use std::fmt::Display;
use std::fs;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{
    Gid, Resource, Rlimit, Signal, Uid, chdir, pivot_root, set_child_subreaper,
    set_parent_process_death_signal, setpriority_process, setrlimit, setsid, umask,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::BpfProgram;

use super::mounts;
use super::plan::{BROKER_FOLDER, ENGINE_FOLDER, KERNEL_FOLDER, Kind, Places, Plan, SCRATCH};
use super::view::{View, inner, mount_point};
use super::walls::{self, Use};
use super::{init, start};
use crate::host::mode::unshare;
use crate::sys::{self, Signals};

/// Descriptor numbers after step 1.
pub(crate) const SYNC: RawFd = 4;
/// The first of the detached mounts.
pub(crate) const TREES: RawFd = 5;

/// What the new process needs to know; all of it was prepared by spawnd.
pub(crate) struct Inside<'a> {
    pub(crate) mode: Mode,
    pub(crate) plan: &'a Plan,
    pub(crate) places: &'a Places,
    /// None in `degraded` mode.
    pub(crate) view: Option<&'a View>,
    /// Descriptors in the order of their later numbers.
    pub(crate) fds: Vec<BorrowedFd<'a>>,
    pub(crate) engine_tree: Option<RawFd>,
    pub(crate) scratch_tree: Option<RawFd>,
    pub(crate) broker_tree: Option<RawFd>,
    /// Namespaces of this jail, for the report.
    pub(crate) namespaces: &'a LayerReport,
    pub(crate) rules: Vec<(PathBuf, Use)>,
    pub(crate) filter: &'a BpfProgram,
}

/// Becomes the jail; never returns.
pub(crate) fn run(job: &Inside<'_>) -> ! {
    let Err(why) = steps(job);
    let _ = start::tell(sys::kept(SYNC), start::FAILED, why.as_bytes());
    sys::exit_now(125)
}

/// Scheduling priority of pid 1 of a kernel's jail.
const SHIM_NICE: i32 = -5;

fn steps(job: &Inside<'_>) -> Result<Infallible, String> {
    // 1. Nothing of spawnd's stays open: null, log, log, listener, sync, trees.
    said("keeping descriptors", sys::keep_only(&job.fds, 4))?;
    // 2. Ends with spawnd.
    dies_with_parent(job.mode)?;
    // 3. Waits until it is inside its limits.
    start::wait_for_go(sys::kept(SYNC)).map_err(|error| format!("waiting for spawnd: {error}"))?;
    let mut report = job.namespaces.clone();
    if job.plan.kind == Kind::Kernel && job.mode == Mode::Root {
        // The shim must drain a kernel's output faster than the kernel fills its socket: libzmq drops what nobody takes. It gives the
        // kernel itself the ordinary priority back. Without the right to do so the jail works all the same.
        let _ = setpriority_process(None, SHIM_NICE);
    }
    if let Some(view) = job.view {
        // 4. What is private to this jail is mounted onto the copy of the view.
        private_mounts(job, view)?;
        // 5. The view becomes the root; the host's tree is gone.
        pivot(&view.root)?;
        // 6. Loopback and name.
        if report.get(&LayerName::Net).is_some_and(LayerState::is_on) {
            said("bringing loopback up", sys::loopback_up())?;
        }
        if report.get(&LayerName::Uts).is_some_and(LayerState::is_on) {
            said("setting the host name", rustix::system::sethostname(b"carrel"))?;
        }
        // 7. The jail's group looks like the root of all groups.
        let cgroup = unshare(UnshareFlags::NEWCGROUP);
        report.insert(
            LayerName::Cgroup,
            cgroup.map_or_else(|e| LayerState::Off(e.to_string()), |()| LayerState::On),
        );
        // 8. A user namespace with one id, made late: all that was mounted belongs to the outer one.
        one_id(job, &mut report)?;
    } else {
        become_user(job.plan, job.mode)?;
    }
    // 9. Resource limits of processes.
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    rlimits(job)?;
    report.insert(LayerName::Rlimits, LayerState::On);
    // 10. No capability, now or ever.
    no_capabilities(job.mode)?;
    report.insert(LayerName::Capabilities, LayerState::On);
    said("setting no_new_privs", set_no_new_privs(true))?;
    report.insert(LayerName::NoNewPrivs, LayerState::On);
    // 11. Changing ids cleared it.
    dies_with_parent(job.mode)?;
    said("entering the home", chdir(&job.places.home))?;
    // 12. Desks and engines run below a small init, which stays outside their Landlock domain.
    if job.plan.kind != Kind::Kernel || job.mode == Mode::Degraded {
        below_init(job)?;
    }
    // 13. Landlock, then the filter: the last doors to close.
    let landlock = walls::confine(&job.rules).map_err(|error| format!("applying Landlock: {error}"))?;
    report.insert(LayerName::Landlock, landlock);
    install_filter(job.filter)?;
    report.insert(LayerName::Seccomp, LayerState::On);
    // 14. spawnd looks at the report and gives the last go.
    let text = serde_json::to_vec(&report).map_err(|error| format!("writing the report: {error}"))?;
    said("reporting", start::tell(sys::kept(SYNC), start::REPORT, &text))?;
    start::wait_for_go(sys::kept(SYNC)).map_err(|error| format!("waiting for spawnd: {error}"))?;
    // 15. Becomes the program.
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

/// In a pid namespace the whole jail ends with pid 1; without one the keeper must still end the rest.
fn dies_with_parent(mode: Mode) -> Result<(), String> {
    let signal = if mode == Mode::Degraded { Signal::TERM } else { Signal::KILL };
    said("setting the parent death signal", set_parent_process_death_signal(Some(signal)))
}

fn private_mounts(job: &Inside<'_>, view: &View) -> Result<(), String> {
    let at = |path: &Path| inner(&view.root, path);
    let (plan, limits) = (job.plan, &job.plan.limits);
    let options = |text: String| CString::new(text).map_err(|error| error.to_string());
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Only own processes, nothing writable, some files covered.
    let proc = at(Path::new("/proc"));
    said("mounting /proc", mount(c"proc", &proc, c"proc", quiet | MountFlags::RDONLY, c"hidepid=2"))?;
    for mask in &view.masks {
        said("covering a file of /proc", mounts::bind(&at(Path::new("/dev/null")), &at(mask), 0))?;
    }
    let sized = |bytes| options(format!("mode=1777,size={bytes},nr_inodes={}", limits.tmp_inodes));
    said(
        "mounting /tmp",
        mounts::tmpfs(&at(Path::new("/tmp")), &sized(limits.tmp_bytes)?, MountFlags::empty()),
    )?;
    let shm = at(Path::new("/dev/shm"));
    said("mounting /dev/shm", mounts::tmpfs(&shm, &sized(limits.shm_bytes)?, MountFlags::NOEXEC))?;
    let pts = at(Path::new("/dev/pts"));
    let devpts = c"newinstance,ptmxmode=0666,mode=0620,max=256";
    said(
        "mounting /dev/pts",
        mount(c"devpts", &pts, c"devpts", MountFlags::NOSUID | MountFlags::NOEXEC, devpts),
    )?;
    // Names of users and of other jails are nowhere in the view: these two are the jail's own.
    let small = c"mode=0755,size=1m,nr_inodes=256";
    let (home, run) = (at(Path::new("/home")), at(Path::new("/run")));
    said("mounting /home", mounts::tmpfs(&home, small, MountFlags::empty()))?;
    said("mounting /run", mounts::tmpfs(&run, small, MountFlags::empty()))?;
    said("making the home", mount_point(&view.root, &job.places.home, true))?;
    said("mounting the home", mounts::attach(sys::kept(TREES), &at(&job.places.home)))?;
    names(plan, &run)?;
    if plan.kind == Kind::Kernel {
        let own = options(format!("mode=0700,uid={},gid={},size=4m,nr_inodes=1024", plan.uid, plan.gid))?;
        let kernel = at(Path::new(KERNEL_FOLDER));
        said("making /run/k", folder(&kernel))?;
        said("mounting /run/k", mounts::tmpfs(&kernel, &own, MountFlags::NOEXEC))?;
    }
    for (tree, place) in [(job.engine_tree, ENGINE_FOLDER), (job.broker_tree, BROKER_FOLDER)] {
        let Some(tree) = tree else { continue };
        let below = at(Path::new(place));
        said("making a folder of sockets", folder(&below))?;
        said("mounting a folder of sockets", mounts::attach(sys::kept(tree), &below))?;
    }
    for path in &view.late {
        said("making a mount point", mount_point(&view.root, path, path.is_dir()))?;
        let bound = mounts::bind(path, &at(path), mounts::RDONLY | mounts::NOSUID | mounts::NODEV);
        bound.map_err(|error| format!("showing {}: {error}", path.display()))?;
    }
    said("sealing /home", mounts::seal(&home))?;
    said("sealing /run", mounts::seal(&run))?;
    if let Some(tree) = job.scratch_tree {
        said("mounting /scratch", mounts::attach(sys::kept(tree), &at(Path::new(SCRATCH))))?;
    }
    Ok(())
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

fn pivot(root: &Path) -> Result<(), String> {
    said("entering the view", chdir(root))?;
    said("changing the root", pivot_root(".", "."))?;
    said("leaving the host's tree", unmount(".", UnmountFlags::DETACH))?;
    said("entering the new root", chdir("/"))
}

fn one_id(job: &Inside<'_>, report: &mut LayerReport) -> Result<(), String> {
    if job.mode == Mode::Root {
        said("dropping groups", set_thread_groups(&[]))?;
    }
    said("making the user namespace", unshare(UnshareFlags::NEWUSER))?;
    said("asking for the id map", start::tell(sys::kept(SYNC), start::MAP, b""))?;
    start::wait_for_go(sys::kept(SYNC)).map_err(|error| format!("waiting for the id map: {error}"))?;
    set_ids(job.plan)?;
    report.insert(LayerName::User, LayerState::On);
    Ok(())
}

/// Without namespaces: root still becomes the user.
fn become_user(plan: &Plan, mode: Mode) -> Result<(), String> {
    said("becoming a subreaper", set_child_subreaper(Some(rustix::process::getpid())))?;
    if rustix::process::geteuid().is_root() {
        said("dropping groups", set_thread_groups(&[]))?;
        // While it can: afterwards it is an ordinary user.
        said("emptying the bounding set", sys::drop_bounding_set())?;
        set_ids(plan)?;
    }
    dies_with_parent(mode)
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

fn install_filter(filter: &BpfProgram) -> Result<(), String> {
    said("installing the system call filter", seccompiler::apply_filter(filter))
}

/// Returns in the child only.
fn below_init(job: &Inside<'_>) -> Result<(), String> {
    let signals = said("blocking signals", Signals::block(&init::SIGNALS))?;
    if let Some(main) = said("forking", sys::fork())? {
        if install_filter(job.filter).is_err() {
            sys::kill(main, libc::SIGKILL);
        }
        init::run(main, &signals, job.mode);
    }
    said("starting a session", setsid())?;
    Ok(())
}
