//! What every jail of a kind sees: a read-only root, built once at start in spawnd's own mount namespace.
//!
//! A jail's namespace begins as a copy of it; only what is private to the jail is mounted per start (`inside.rs`).

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use gateway_spawnd::Settings;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::MountFlags;

use super::mounts::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use super::plan::{ENGINE_CONFIG, Kind, PROGRAMS, SCRATCH};
use crate::sys;

/// A built view.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Where the root is, in spawnd's mount namespace.
    pub(crate) root: PathBuf,
    /// Host paths below folders that each jail has of its own: bound at start.
    pub(crate) late: Vec<PathBuf>,
    /// What may be read and executed, for Landlock.
    pub(crate) readable: Vec<PathBuf>,
    /// Files of `/proc` to cover.
    pub(crate) masks: Vec<PathBuf>,
}

/// What differs between views.
pub(crate) struct Wants<'a> {
    pub(crate) kind: Kind,
    /// The program of ours that runs here, and its name inside.
    pub(crate) program: (&'static str, &'a Path),
    /// Host paths shown at the same path.
    pub(crate) paths: Vec<&'a Path>,
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
const MASKS: &[&str] =
    &["kcore", "keys", "key-users", "timer_list", "sysrq-trigger", "latency_stats", "sched_debug", "kmsg"];

/// Folders that each jail has of its own, so that nothing of the view shows below them.
const PRIVATE: &[&str] = &["/home", "/tmp", "/run"];

/// Builds a view at `root`; the error says which path was the trouble.
pub(crate) fn build(root: &Path, settings: &Settings, wants: &Wants<'_>) -> Result<View, String> {
    let step = |doing: String| move |error: io::Error| format!("{doing}: {error}");
    fs::create_dir_all(root).map_err(step(format!("making {}", root.display())))?;
    mounts::tmpfs(root, c"mode=0755,size=4m,nr_inodes=4096", MountFlags::empty())
        .map_err(step("mounting the view".into()))?;
    let mut builder = Builder {
        root,
        settings,
        readable: vec!["/etc".into(), "/run".into(), PROGRAMS.into()],
        late: Vec::new(),
    };
    builder.skeleton(wants.kind).map_err(step("making the view's folders".into()))?;
    builder.system()?;
    builder.etc().map_err(step("making /etc".into()))?;
    let (name, program) = wants.program;
    builder
        .show(program, &Path::new(PROGRAMS).join(name))
        .map_err(step(format!("showing {}", program.display())))?;
    for path in &wants.paths {
        builder.extra(path)?;
    }
    if wants.kind == Kind::Engine
        && let Some(config) = &settings.engine_config
    {
        let text = fs::read(config).map_err(step(format!("reading {}", config.display())))?;
        builder.write(Path::new(ENGINE_CONFIG), &text).map_err(step(format!("writing {ENGINE_CONFIG}")))?;
    }
    let (readable, late) = (builder.readable, builder.late);
    finish(root).map_err(step("sealing the view".into()))?;
    let masks = MASKS.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists()).collect();
    Ok(View { root: root.to_owned(), late, readable, masks })
}

/// Read-only all over, then the device nodes, which must not be `nodev`.
fn finish(root: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let whole = openat(CWD, root, flags, Mode::empty())?;
    sys::set_mount_attributes(whole.as_fd(), RDONLY | NOSUID | NODEV)?;
    for name in DEVICES {
        let node = Path::new("/dev").join(name);
        mounts::bind(&node, &inner(root, &node), RDONLY | NOSUID | NOEXEC)?;
    }
    Ok(())
}

struct Builder<'a> {
    root: &'a Path,
    settings: &'a Settings,
    readable: Vec<PathBuf>,
    late: Vec<PathBuf>,
}

impl Builder<'_> {
    fn skeleton(&self, kind: Kind) -> io::Result<()> {
        for folder in ["/proc", "/tmp", "/dev/pts", "/dev/shm", "/home", "/run", "/etc", "/var", PROGRAMS] {
            self.folder(Path::new(folder), 0o755)?;
        }
        if kind == Kind::Engine {
            self.folder(Path::new(SCRATCH), 0o755)?;
        }
        symlink("/tmp", self.at("/var/tmp"))?;
        symlink("/run", self.at("/var/run"))?;
        for name in DEVICES {
            fs::write(self.at("/dev").join(name), b"")?;
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
                Ok(_) => self.show(path, path).map_err(failed)?,
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
                self.show(&host, &host)?;
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
    fn extra(&mut self, path: &Path) -> Result<(), String> {
        if !path.is_absolute()
            || path.components().any(|part| matches!(part, std::path::Component::ParentDir))
        {
            return Err(format!("{} is not an absolute path without ..", path.display()));
        }
        if path == Path::new("/")
            || path.starts_with("/proc")
            || path.starts_with("/sys")
            || path.starts_with("/dev")
        {
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
            self.show(path, path).map_err(|error| format!("showing {}: {error}", path.display()))?;
        }
        self.readable.push(path.to_owned());
        Ok(())
    }

    fn covered(&self, path: &Path) -> bool {
        let shown = self.readable.iter().filter(|shown| shown.as_path() != Path::new("/run"));
        shown.chain(&self.late).any(|shown| path.starts_with(shown))
    }

    fn show(&self, source: &Path, target: &Path) -> io::Result<()> {
        let place = self.at(target);
        mount_point(self.root, target, fs::metadata(source)?.is_dir())?;
        mounts::bind(source, &place, RDONLY | NOSUID | NODEV)
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
