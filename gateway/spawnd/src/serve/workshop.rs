//! What is made once, before the first jail: mode, views, filter, cgroups, control socket.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use gateway_spawnd::settings::{AideSettings, Kernelspec, ServerSpec, Settings};
use gateway_spawnd::{Hello, LayerName, Mode, Refusal, SpecId, UserName};
use rustix::fs::{AtFlags, Mode as Bits, chmodat, chownat, fstat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{DumpableBehavior, Gid, Uid, geteuid, set_dumpable_behavior, umask};
use serde_json::json;

use super::aide::Aides;
use super::store::{Exits, FdStore};
use super::{KEPT_NAMESPACE, Server, bounds, record};
use crate::host::cgroup::Cgroups;
use crate::host::cpus::Cpus;
use crate::host::folders::{Claim, Folders, below, check_trusted, me};
use crate::host::mode::{self, Ids, Living};
use crate::host::uids::UidTable;
use crate::host::{internal, probe, quota, refused};
use crate::jail::filter;
use crate::jail::plan::Kind;
use crate::jail::start::Workshop;
use crate::jail::view::{self, View, Wants};
use crate::keeper::Keeper;
use crate::log;

/// The views by kind; one that could not be built says why when it is wanted.
pub(crate) struct Views {
    pub(crate) desk: Result<View, String>,
    pub(crate) engine: Result<View, String>,
    pub(crate) kernels: BTreeMap<SpecId, Result<View, String>>,
    /// The same with the devices of the settings, if there are any.
    pub(crate) with_devices: BTreeMap<SpecId, Result<View, String>>,
    /// Of a classic server.
    pub(crate) classic: Result<View, String>,
    pub(crate) services: BTreeMap<UserName, Result<View, String>>,
}

/// Builds everything that jails share, takes over those that run, and opens the control socket.
pub(crate) fn open(mut settings: Settings, keeper: Keeper) -> Result<Server, Refusal> {
    umask(Bits::from_raw_mode(0o022));
    let mut held = keeper.held();
    bounds::take_back(&mut settings, &mut held);
    let mode = mode::choose(settings.mode, geteuid().is_root())?;
    // Whose files these are can only be seen from outside a user namespace.
    check(&settings)?;
    let claim = Claim::take(&settings)?;
    let former = record::former(&claim.jails);
    let living = Living {
        namespace: held.remove(KEPT_NAMESPACE).map(|held| held.fd),
        pids: former.iter().flat_map(|jail| jail.main.iter().chain(&jail.engine)).map(|p| p.pid).collect(),
    };
    let range = settings.uid_base..settings.uid_base.saturating_add(settings.uid_count);
    let ids = mode::enter(mode, range, living)?;
    if let Ok(namespace) = fs::File::open("/proc/self/ns/user") {
        keeper.hold(KEPT_NAMESPACE, "", namespace);
    }
    if mode == Mode::Root {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| internal("closing spawnd's memory", &error))?;
    }
    let folders = Folders::open(&settings, claim)?;
    let uids = match &ids {
        Ids::Each(range) => Some(UidTable::open(&folders.private, range.clone())?),
        Ids::Shared(_) => None,
    };
    let filter = filter::compile().map_err(|error| internal("compiling the system call filter", &error))?;
    let disk = fstat(&folders.homes).map_err(|error| internal("looking at the homes", &error))?.st_dev;
    let cgroups = Cgroups::detect(mode, &hash(&settings.runtime), disk);
    let mut given = probe::namespaces(mode);
    given.insert(LayerName::Uid, ids.layer());
    let quotas = quota::detect(mode, &folders.homes);
    let layers = probe::all(mode, &given, &cgroups, &filter, &quotas);
    let views = views(&settings, mode);
    let required = settings.required.clone().unwrap_or_else(|| LayerName::required_by_default(mode));
    let listener = control_socket(&settings)?;
    let signals = super::end_signals().map_err(|error| internal("taking over signals", &error))?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let hello = Hello { version: env!("CARGO_PKG_VERSION").to_owned(), pid, mode, layers };
    log::info(
        "start",
        json!({ "mode": mode, "pid": pid, "layers": hello.layers, "runtime": settings.runtime }),
    );
    let mut server = Server {
        shop: Workshop { mode, required, given, filter, pinned: filter::pinned() },
        settings,
        views,
        folders,
        cgroups,
        cpus: Cpus::default(),
        uids,
        quotas,
        hello,
        listener,
        signals,
        clients: BTreeMap::new(),
        next_client: 0,
        peers: BTreeMap::new(),
        jails: BTreeMap::new(),
        users: BTreeMap::new(),
        aides: Aides::default(),
        turns: super::turns::Turns::default(),
        disk: super::disk::Watch::default(),
        exits: Exits::default(),
        store: FdStore::default(),
        keeper,
        draining: false,
        stopping: false,
    };
    server.adopt(former, &mut held);
    server.take_back(held);
    Ok(server)
}

/// What would only show at the first start otherwise, and what others could use to get into jails.
fn check(settings: &Settings) -> Result<(), Refusal> {
    let Settings { programs, broker, proxy, .. } = settings;
    let aide = |aide: &Option<AideSettings>| aide.as_ref().map(|aide| aide.program.clone());
    let (broker, proxy) = (aide(broker), aide(proxy));
    let all = [
        Some(&programs.shim),
        Some(&programs.desk),
        programs.engine.as_ref(),
        broker.as_ref(),
        proxy.as_ref(),
    ];
    for program in all.into_iter().flatten() {
        if !program.is_absolute() || !program.is_file() {
            return Err(refused(format!("program {} is not there", program.display())));
        }
        check_trusted(program)?;
    }
    let servers = settings.classic.iter().chain(settings.services.values());
    let shown = settings.kernelspecs.values().flat_map(|spec| &spec.paths).chain(&settings.engine_config);
    let shown = shown.chain(servers.flat_map(|spec| &spec.paths));
    shown.filter(|path| path.exists()).try_for_each(|path| check_trusted(path))
}

fn views(settings: &Settings, mode: Mode) -> Views {
    let folder = settings.runtime.join("view");
    let build = |name: &str, wants: Wants<'_>| {
        if mode == Mode::Degraded {
            return Err("mode is degraded".to_owned());
        }
        let made =
            fs::create_dir_all(&folder).map_err(|error| format!("making {}: {error}", folder.display()));
        let built = made.and_then(|()| view::build(&folder, settings, &wants));
        if let Err(why) = &built {
            log::warn("view", json!({ "view": name, "error": why }));
        }
        built
    };
    let programs = &settings.programs;
    let ordinary = mode == Mode::Userns;
    let desk = build("desk", wants(Kind::Desk, ("carrel-desk", &programs.desk), &[], ordinary));
    let engine = match &programs.engine {
        Some(program) => {
            build("engine", wants(Kind::Engine, ("carrel-engine", program), &settings.datasets, ordinary))
        }
        None => Err("the settings name no engine".to_owned()),
    };
    let kernel = |spec: &Kernelspec, devices: &[PathBuf]| {
        let paths = &spec.paths;
        let wants = wants(Kind::Kernel, ("carrel-shim", &programs.shim), paths, ordinary);
        build("kernel", Wants { devices: devices.iter().map(AsRef::as_ref).collect(), ..wants })
    };
    let specs = settings.kernelspecs.iter();
    let kernels = specs.clone().map(|(id, spec)| (id.clone(), kernel(spec, &[]))).collect();
    let those =
        specs.filter(|(id, spec)| !settings.devices.is_empty() && may_have_devices(settings, id, spec));
    let with_devices = those.map(|(id, spec)| (id.clone(), kernel(spec, &settings.devices))).collect();
    let server = |name: &str, kind: Kind, spec: &ServerSpec| {
        build(name, wants(kind, ("carrel-shim", &programs.shim), &spec.paths, ordinary))
    };
    let classic = match &settings.classic {
        Some(spec) => server("classic", Kind::Classic, spec),
        None => Err("the settings name no classic server".to_owned()),
    };
    let services = settings.services.iter();
    let services = services.map(|(id, spec)| (id.clone(), server("service", Kind::Service, spec))).collect();
    Views { desk, engine, kernels, with_devices, classic, services }
}

fn wants<'a>(
    kind: Kind,
    program: (&'static str, &'a Path),
    paths: &'a [PathBuf],
    ordinary: bool,
) -> Wants<'a> {
    let paths = paths.iter().map(AsRef::as_ref).collect();
    Wants { kind, programs: vec![program], paths, devices: Vec::new(), ordinary }
}

/// Whether anybody's kernel of this kind sees the devices.
fn may_have_devices(settings: &Settings, id: &SpecId, spec: &Kernelspec) -> bool {
    let rules = settings.profiles.iter().filter(|rule| rule.profile.devices());
    let mut named = rules.map(|rule| rule.kernelspec.as_ref());
    spec.profile.devices() || named.any(|of| of.is_none_or(|of| of == id))
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
