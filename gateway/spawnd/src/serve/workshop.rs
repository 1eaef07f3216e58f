//! What is made once, before the first jail: mode, views, filter, cgroups, control socket.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::path::Path;

use gateway_spawnd::settings::Settings;
use gateway_spawnd::{Hello, LayerName, Mode, Refusal, SpecId};
use rustix::fs::{AtFlags, Mode as Bits, chmodat, chownat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, geteuid, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use serde_json::json;

use super::Server;
use super::broker::Broker;
use super::store::{Exits, FdStore};
use crate::host::cgroup::Cgroups;
use crate::host::folders::{Folders, below, me};
use crate::host::uids::UidTable;
use crate::host::{internal, mode, probe, refused};
use crate::jail::filter;
use crate::jail::plan::Kind;
use crate::jail::start::Workshop;
use crate::jail::view::{self, View, Wants};
use crate::log;

/// The views by kind; one that could not be built says why when it is wanted.
pub(crate) struct Views {
    pub(crate) desk: Result<View, String>,
    pub(crate) engine: Result<View, String>,
    pub(crate) kernels: BTreeMap<SpecId, Result<View, String>>,
}

/// Builds everything that jails share and opens the control socket.
pub(crate) fn open(settings: Settings) -> Result<Server, Refusal> {
    umask(Bits::from_raw_mode(0o022));
    let many = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: many, maximum: many });
    let mode = mode::choose(settings.mode, geteuid().is_root())?;
    mode::enter(mode)?;
    if mode == Mode::Root {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| internal("closing spawnd's memory", &error))?;
    }
    check(&settings)?;
    let folders = Folders::open(&settings, mode)?;
    let uids = match mode != Mode::Userns && geteuid().is_root() {
        true => Some(UidTable::open(&folders.private, settings.uid_base, settings.uid_count)?),
        false => None,
    };
    let filter = filter::compile().map_err(|error| internal("compiling the system call filter", &error))?;
    let cgroups = Cgroups::detect(mode, &hash(&settings.runtime));
    let namespaces = probe::namespaces(mode);
    let layers = probe::all(mode, &namespaces, &cgroups, &filter);
    let views = views(&settings, mode);
    let required = settings.required.clone().unwrap_or_else(|| match mode {
        Mode::Root | Mode::Userns => LayerName::REQUIRED.to_vec(),
        Mode::Degraded => vec![LayerName::Landlock, LayerName::Seccomp, LayerName::NoNewPrivs],
    });
    let listener = control_socket(&settings)?;
    let signals = super::end_signals().map_err(|error| internal("taking over signals", &error))?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let hello = Hello { version: env!("CARGO_PKG_VERSION").to_owned(), pid, mode, layers };
    log::info(
        "start",
        json!({ "mode": mode, "pid": pid, "layers": hello.layers, "runtime": settings.runtime }),
    );
    Ok(Server {
        shop: Workshop { mode, required, namespaces, cgroups, filter },
        settings,
        views,
        folders,
        uids,
        hello,
        listener,
        signals,
        clients: BTreeMap::new(),
        next_client: 0,
        peers: BTreeMap::new(),
        jails: BTreeMap::new(),
        broker: Broker::default(),
        exits: Exits::default(),
        store: FdStore::default(),
        draining: false,
        stopping: false,
    })
}

/// What would only show at the first start otherwise.
fn check(settings: &Settings) -> Result<(), Refusal> {
    let Settings { programs, broker, .. } = settings;
    let broker = broker.as_ref().map(|broker| &broker.program);
    let all = [Some(&programs.shim), Some(&programs.desk), programs.engine.as_ref(), broker];
    for program in all.into_iter().flatten() {
        if !program.is_absolute() || !program.is_file() {
            return Err(refused(format!("program {} is not there", program.display())));
        }
    }
    Ok(())
}

fn views(settings: &Settings, mode: Mode) -> Views {
    let folder = settings.runtime.join("view");
    let build = |name: &str, wants: Wants<'_>| {
        if mode == Mode::Degraded {
            return Err("mode is degraded".to_owned());
        }
        let built = view::build(&folder.join(name), settings, &wants);
        if let Err(why) = &built {
            log::warn("view", json!({ "view": name, "error": why }));
        }
        built
    };
    let programs = &settings.programs;
    let desk =
        build("desk", Wants { kind: Kind::Desk, program: ("carrel-desk", &programs.desk), paths: vec![] });
    let engine = match &programs.engine {
        Some(program) => {
            let paths = settings.datasets.iter().map(AsRef::as_ref).collect();
            build("engine", Wants { kind: Kind::Engine, program: ("carrel-engine", program), paths })
        }
        None => Err("the settings name no engine".to_owned()),
    };
    let kernels = settings.kernelspecs.iter().enumerate().map(|(n, (id, spec))| {
        let paths = spec.paths.iter().map(AsRef::as_ref).collect();
        let wants = Wants { kind: Kind::Kernel, program: ("carrel-shim", &programs.shim), paths };
        (id.clone(), build(&format!("kernel-{n}"), wants))
    });
    Views { desk, engine, kernels: kernels.collect() }
}

fn control_socket(settings: &Settings) -> Result<OwnedFd, Refusal> {
    let folder =
        fs::File::open(&settings.runtime).map_err(|error| internal("opening the runtime folder", &error))?;
    let owner = (settings.gateway_uid, settings.gateway_gid);
    listening(&folder.into(), "spawnd.sock", owner, SocketType::SEQPACKET)
        .map_err(|error| internal(&format!("listening on {}", settings.socket().display()), &error))
}

/// A listening socket in an open folder, for one owner only.
pub(crate) fn listening(
    folder: &OwnedFd,
    name: &str,
    owner: (u32, u32),
    kind: SocketType,
) -> Result<OwnedFd, Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // By descriptor: a socket's path may have 107 bytes only, and the folder cannot be swapped meanwhile.
    bind(&socket, &SocketAddrUnix::new(below(folder, name))?)?;
    chmodat(folder, name, Bits::from_raw_mode(0o600), AtFlags::empty())?;
    if me() != owner {
        chownat(
            folder,
            name,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    listen(&socket, 128)?;
    Ok(socket)
}

fn hash(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
