//! What every jail of a kind sees: a read-only root, built once at start in a mount namespace of its own.
//!
//! A jail's namespace begins as a copy of that one; only what is private to the jail is mounted per start (`inside.rs`).

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use gateway_spawnd::Settings;
use gateway_spawnd::packet::{self, Received};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, UnmountFlags, unmount};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions, chdir, pivot_root, waitid};
use serde::{Deserialize, Serialize};

use super::mounts::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use super::plan::{ENGINE_CONFIG, Kind, PROGRAMS, SCRATCH};
use crate::sys::{self, Forked, Propagation};

/// A built view.
#[derive(Debug)]
pub(crate) struct View {
    /// The mount namespace that it is the root of.
    pub(crate) namespace: OwnedFd,
    pub(crate) seen: Seen,
}

/// What is in a view.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Host paths below folders that each jail has of its own: shown at start.
    pub(crate) late: Vec<PathBuf>,
    /// What may be read and executed, for Landlock.
    pub(crate) readable: Vec<PathBuf>,
    /// What of `/proc` is covered, and whether it is a folder.
    pub(crate) masks: Vec<(PathBuf, bool)>,
}

/// What differs between views.
pub(crate) struct Wants<'a> {
    pub(crate) kind: Kind,
    /// The programs of ours that run here, and their names inside.
    pub(crate) programs: Vec<(&'static str, &'a Path)>,
    /// Host paths shown at the same path.
    pub(crate) paths: Vec<&'a Path>,
    /// Device nodes of the host that are shown too.
    pub(crate) devices: Vec<&'a Path>,
    /// Built by an ordinary user.
    pub(crate) ordinary: bool,
}

/// Files of `/etc` that programs expect; copied, so that the host's other files stay unknown.
const ETC_FILES: &[&str] = &[
    "nsswitch.conf",
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "timezone",
    "mime.types",
    "protocols",
    "services",
    "inputrc",
    "bash.bashrc",
    "profile",
    "gai.conf",
    "locale.alias",
    "debian_version",
    "os-release",
    "magic",
    "papersize",
    "environment",
    "login.defs",
    "shells",
    "ca-certificates.conf",
    "vconsole.conf",
    "locale.conf",
    "redhat-release",
];
/// Folders of `/etc` that programs expect; bound.
const ETC_FOLDERS: &[&str] = &[
    "ssl/certs",
    "fonts",
    "alternatives",
    "ld.so.conf.d",
    "terminfo",
    "pki/tls/certs",
    "pki/ca-trust",
    "ca-certificates",
    "R",
    "texmf",
    "java-17-openjdk",
    "java-21-openjdk",
    "ImageMagick-6",
    "bash_completion.d",
    "profile.d",
    "vim",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "jupyter",
    "ipython",
    "OpenCL",
    "xdg",
    "dictionaries-common",
    "emacs",
];
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
/// Readable by everybody on common kernels, and nobody's business.
const MASKS: &[&str] = &[
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sysrq-trigger",
    "latency_stats",
    "sched_debug",
    "kmsg",
    "kallsyms",
    "modules",
    // How the host was started and built, and the beat of others' keys and packets.
    "cmdline",
    "config.gz",
    "interrupts",
    "softirqs",
    "acpi",
    "asound",
    "bus",
    "irq",
    "scsi",
];
/// Covers folders of `/proc`.
pub(crate) const EMPTY: &str = "/var/empty";

/// Folders that each jail has of its own, so that nothing of the view shows below them.
const PRIVATE: &[&str] = &["/home", "/tmp", "/run"];

/// Builds a view in a mount namespace of its own, where it is the root and nothing of the host's tree is left. `root` is an empty folder to
/// build it on; the error says which path was the trouble.
pub(crate) fn build(root: &Path, settings: &Settings, wants: &Wants<'_>) -> Result<View, String> {
    let failed = |error: io::Error| format!("building a view: {error}");
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|error| failed(error.into()))?;
    let (pid, pidfd) = match sys::fork_into(libc::CLONE_NEWNS, None).map_err(failed)? {
        Forked::Child => {
            drop(ours);
            let built = build_here(root, settings, wants);
            let told = serde_json::to_vec(&built).map_err(io::Error::from);
            let told = told.and_then(|text| Ok(packet::send(&theirs, &text, &[], false)?));
            // Stays until its namespace has been taken up.
            let _ = packet::receive(&theirs);
            sys::exit_now(i32::from(told.is_err()));
        }
        Forked::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(theirs);
    let told = packet::receive(&ours).map_err(io::Error::from);
    let namespace = fs::File::open(format!("/proc/{pid}/ns/mnt"));
    drop(ours);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    let Received::Packet(text, _) = told.map_err(failed)? else {
        return Err("building a view: it ended without a word".into());
    };
    let seen = serde_json::from_slice::<Result<Seen, String>>(&text).map_err(|e| failed(e.into()))??;
    Ok(View { namespace: namespace.map_err(failed)?.into(), seen })
}

fn build_here(root: &Path, settings: &Settings, wants: &Wants<'_>) -> Result<Seen, String> {
    let step = |doing: String| move |error: io::Error| format!("{doing}: {error}");
    mounts::tmpfs(root, c"mode=0755,size=4m,nr_inodes=4096", MountFlags::empty())
        .map_err(step("mounting the view".into()))?;
    let mut builder = Builder {
        root,
        settings,
        readable: vec!["/etc".into(), "/run".into(), PROGRAMS.into()],
        late: Vec::new(),
    };
    builder.skeleton(wants).map_err(step("making the view's folders".into()))?;
    builder.system()?;
    builder.etc().map_err(step("making /etc".into()))?;
    for (name, program) in &wants.programs {
        builder
            .show(program, &Path::new(PROGRAMS).join(name), Propagation::Private)
            .map_err(step(format!("showing {}", program.display())))?;
    }
    for path in &wants.paths {
        builder.extra(path, wants.kind)?;
    }
    if wants.ordinary {
        // Linux lets a user namespace have a new /proc only where one can be seen already; each jail exchanges it.
        mounts::bind(Path::new("/proc"), &inner(root, Path::new("/proc")), 0, Propagation::Private)
            .map_err(step("taking up /proc".into()))?;
    }
    if wants.kind == Kind::Engine
        && let Some(config) = &settings.engine_config
    {
        let text = fs::read(config).map_err(step(format!("reading {}", config.display())))?;
        builder.write(Path::new(ENGINE_CONFIG), &text).map_err(step(format!("writing {ENGINE_CONFIG}")))?;
    }
    let (readable, late) = (builder.readable, builder.late);
    finish(root, wants).map_err(step("sealing the view".into()))?;
    let masks = MASKS.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists());
    let masks = masks.map(|path| (path.clone(), path.is_dir())).collect();
    pivot(root).map_err(step("changing the root".into()))?;
    Ok(Seen { late, readable, masks })
}

/// Read-only all over, then the device nodes, which must not be `nodev`.
fn finish(root: &Path, wants: &Wants<'_>) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let whole = openat(CWD, root, flags, Mode::empty())?;
    sys::set_mount_attributes(whole.as_fd(), RDONLY | NOSUID | NODEV, Propagation::Kept)?;
    for node in devices(wants) {
        mounts::bind(&node, &inner(root, &node), RDONLY | NOSUID | NOEXEC, Propagation::Private)?;
    }
    Ok(())
}

/// The usual nodes, and those that the admin named.
fn devices(wants: &Wants<'_>) -> Vec<PathBuf> {
    let usual = DEVICES.iter().map(|name| Path::new("/dev").join(name));
    usual.chain(wants.devices.iter().map(|node| (*node).to_owned())).collect()
}

/// The view becomes the root; the host's tree is gone from this namespace.
fn pivot(root: &Path) -> io::Result<()> {
    chdir(root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

struct Builder<'a> {
    root: &'a Path,
    settings: &'a Settings,
    readable: Vec<PathBuf>,
    late: Vec<PathBuf>,
}

impl Builder<'_> {
    fn skeleton(&self, wants: &Wants<'_>) -> io::Result<()> {
        for folder in ["/proc", "/tmp", "/dev/pts", "/dev/shm", "/home", "/run", "/etc", EMPTY, PROGRAMS] {
            self.folder(Path::new(folder), 0o755)?;
        }
        if wants.kind == Kind::Engine {
            self.folder(Path::new(SCRATCH), 0o755)?;
        }
        symlink("/tmp", self.at("/var/tmp"))?;
        symlink("/run", self.at("/var/run"))?;
        for node in devices(wants) {
            let device = fs::symlink_metadata(&node).is_ok_and(|meta| meta.file_type().is_char_device());
            if !device || !node.starts_with("/dev") || node.components().any(|c| c == Component::ParentDir) {
                let text = format!("{} is not a character device below /dev", node.display());
                return Err(io::Error::other(text));
            }
            mount_point(self.root, &node, false)?;
        }
        symlink("pts/ptmx", self.at("/dev/ptmx"))?;
        symlink("/proc/self/fd", self.at("/dev/fd"))?;
        for (number, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
            symlink(format!("/proc/self/fd/{number}"), self.at("/dev").join(name))?;
        }
        Ok(())
    }

    /// The host's programs and libraries. A link (`/bin` on a merged-usr system) stays a link.
    fn system(&mut self) -> Result<(), String> {
        for path in &self.settings.system {
            let failed = |error: io::Error| format!("showing {}: {error}", path.display());
            match fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
                Ok(meta) if meta.is_symlink() => {
                    let target = fs::read_link(path).map_err(failed)?;
                    symlink(target, self.at(path)).map_err(failed)?;
                }
                Ok(_) => self.show(path, path, Propagation::Private).map_err(failed)?,
            }
            self.readable.push(path.clone());
        }
        Ok(())
    }

    fn etc(&self) -> io::Result<()> {
        for name in ETC_FILES {
            let host = Path::new("/etc").join(name);
            match fs::read_link(&host) {
                // A link into the system view works as it is (localtime, os-release).
                Ok(target) if fs::canonicalize(&host).is_ok_and(|real| self.covered(&real)) => {
                    symlink(target, self.at(&host))?;
                }
                _ => {
                    if let Ok(text) = fs::read(&host) {
                        self.write(&host, &text)?;
                    }
                }
            }
        }
        for name in ETC_FOLDERS {
            let host = Path::new("/etc").join(name);
            if fs::symlink_metadata(&host).is_ok_and(|meta| meta.is_dir()) {
                self.show(&host, &host, Propagation::Private)?;
            }
        }
        self.write(Path::new("/etc/hosts"), b"127.0.0.1 localhost carrel\n::1 localhost ip6-localhost\n")?;
        self.write(Path::new("/etc/hostname"), b"carrel\n")?;
        for name in ["passwd", "group"] {
            symlink(Path::new("/run").join(name), self.at("/etc").join(name))?;
        }
        symlink("/proc/self/mounts", self.at("/etc/mtab"))
    }

    /// A path of a kernelspec or a dataset, at its own place.
    fn extra(&mut self, path: &Path, kind: Kind) -> Result<(), String> {
        if !path.is_absolute()
            || path.components().any(|part| matches!(part, std::path::Component::ParentDir))
        {
            return Err(format!("{} is not an absolute path without ..", path.display()));
        }
        if path == Path::new("/") || ["/proc", "/sys", "/dev"].iter().any(|its| path.starts_with(its)) {
            return Err(format!("{} may not be shown in a jail", path.display()));
        }
        if path.starts_with("/var/tmp") || path.starts_with("/var/run") {
            return Err(format!(
                "{} cannot be shown: below /var/tmp and /var/run a jail has folders of its own; move it elsewhere",
                path.display()
            ));
        }
        if !path.exists() {
            return Err(format!("{} is not there; correct the path or create it", path.display()));
        }
        if self.covered(path) {
            return Ok(());
        }
        if PRIVATE.iter().any(|private| path.starts_with(private)) {
            self.late.push(path.to_owned());
        } else {
            // A share of data that the host mounts again is seen again.
            let propagation = if kind == Kind::Engine { Propagation::Kept } else { Propagation::Private };
            self.show(path, path, propagation)
                .map_err(|error| format!("showing {}: {error}", path.display()))?;
        }
        self.readable.push(path.to_owned());
        Ok(())
    }

    fn covered(&self, path: &Path) -> bool {
        // Two are the jail's own: what the host has there (a prefix /opt/carrel) is not in them.
        let shown = self
            .readable
            .iter()
            .filter(|shown| ![Path::new("/run"), Path::new(PROGRAMS)].contains(&shown.as_path()));
        shown.chain(&self.late).any(|shown| path.starts_with(shown))
    }

    fn show(&self, source: &Path, target: &Path, propagation: Propagation) -> io::Result<()> {
        let place = self.at(target);
        mount_point(self.root, target, fs::metadata(source)?.is_dir())?;
        mounts::bind(source, &place, RDONLY | NOSUID | NODEV, propagation)
    }

    fn write(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.folder(parent, 0o755)?;
        }
        fs::write(self.at(path), text)?;
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o444))
    }

    fn folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(mode).create(self.at(path))
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        inner(self.root, path.as_ref())
    }
}

/// Makes what is needed to mount at a path: folders on the way may be passed but not listed.
pub(crate) fn mount_point(root: &Path, path: &Path, folder: bool) -> io::Result<()> {
    let place = inner(root, path);
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o111).create(inner(root, parent))?;
    }
    if folder {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(place)
    } else if place.exists() {
        Ok(())
    } else {
        fs::write(place, b"")
    }
}

/// A path of the inside, seen from outside.
pub(crate) fn inner(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
