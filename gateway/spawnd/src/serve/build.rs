//! From a request to a running jail: what it needs is made, it is started and written down.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gateway_spawnd::profiles::profile_of;
use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::{
    Exited, KernelProfile, LayerName, LayerReport, LayerState, Mode, Profile, Refusal, Settings, Start,
    Started, UserName,
};
use rustix::fs::{Mode as Bits, OFlags, mkfifoat, openat};
use rustix::io::Errno;
use rustix::net::SocketType;
use serde_json::json;

use super::Server;
use super::aide::{Aide, Door};
use super::engine::Engine;
use super::homes::{self, TOLD};
use super::jails::{Jail, Running, cgroup_leaf};
use super::tail::Tail;
use super::users::User;
use super::watch::MemoryWatch;
use super::workshop::listening;
use crate::host::folders::{make_folder, me, remove_tree};
use crate::host::{home, internal};
use crate::jail::plan::{self, Kind, Whose};
use crate::jail::start::{self, Order, Workshop};
use crate::jail::trees::Tree;
use crate::log;

impl Server {
    /// Starts a jail; the descriptor is a pidfd.
    pub(crate) fn start(&mut self, start: Start) -> Result<(Started, OwnedFd), Refusal> {
        let begun = Instant::now();
        self.admit(&start)?;
        let (id, user) = (start.id.clone(), start.user.clone());
        let made = self.build(start);
        let (started, pidfd) = match made {
            Ok(made) => made,
            Err(refusal) => {
                log::warn("jail.failed", json!({ "id": id, "code": refusal.code, "error": refusal.message }));
                if !self.jails.contains_key(&id) {
                    self.remove_folders(&id);
                    self.forget_kept(&id);
                    self.forget_user(&user);
                }
                return Err(refusal);
            }
        };
        self.exits.forget(&id);
        let took = begun.elapsed().as_micros();
        log::info(
            "jail.start",
            json!({ "id": id, "user": user, "pid": started.pid, "uid": started.uid, "took_us": took, "layers": started.layers }),
        );
        Ok((started, pidfd))
    }

    fn admit(&self, start: &Start) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::new(ErrorCode::Refused, "spawnd is shutting down"));
        }
        if self.jails.contains_key(&start.id) {
            return Err(Refusal::new(ErrorCode::Exists, format!("jail {} runs already", start.id)));
        }
        if self.jails.len() >= self.settings.max_jails {
            let message = format!("{} jails run already; raise max_jails or stop some", self.jails.len());
            return Err(Refusal::new(ErrorCode::Limit, message));
        }
        self.admit_home(&start.user, start.profile)?;
        if self.folders.jail_path(start.id.as_str()).join("main.sock").as_os_str().len() > 107 {
            let message =
                "the runtime folder's path is too long for a socket (107 bytes); choose a shorter one";
            return Err(Refusal::new(ErrorCode::Limit, message));
        }
        match (start.profile, &start.kernelspec) {
            (Profile::Kernel, None) => {
                Err(Refusal::new(ErrorCode::BadRequest, "a kernel needs a kernelspec"))
            }
            (Profile::Desk | Profile::Classic | Profile::Service, Some(_)) => {
                Err(Refusal::new(ErrorCode::BadRequest, "only a kernel takes a kernelspec"))
            }
            // A service's account is nobody else's, and nobody else's is a service's.
            (profile, _)
                if (profile == Profile::Service) != self.settings.services.contains_key(&start.user) =>
            {
                let text = format!("{} is not an account for this profile", start.user);
                Err(Refusal::new(ErrorCode::Refused, text))
            }
            (profile, _) if profile.is_server() => admit_server(&self.shop),
            _ => Ok(()),
        }
    }

    fn build(&mut self, request: Start) -> Result<(Started, OwnedFd), Refusal> {
        let Start { user, id, profile, kernelspec, cwd, groups } = request;
        let os = |doing: &'static str| move |error: Errno| internal(doing, &error);
        let ids = self.ids_of(&user)?;
        self.meet_user(&user, &groups);
        let project = self.quotas.is_ok().then_some(ids.0);
        // What a service keeps is in the place of a home.
        let skeleton = self.settings.skeleton.as_deref().filter(|_| profile != Profile::Service);
        let home = home::ensure(&self.folders.homes, &user, ids, skeleton, project)?;
        self.hold_home(&user, ids.0);
        let Self { settings, shop, views, folders, cgroups, cpus, users, keeper, .. } = self;
        let spec = match &kernelspec {
            Some(name) => Some(settings.kernelspecs.get(name).ok_or_else(|| {
                Refusal::new(ErrorCode::NotFound, format!("no kernelspec {name} in the settings"))
            })?),
            None => None,
        };
        let server = match profile {
            Profile::Classic => Some(settings.classic.as_ref().ok_or_else(no_classic)?),
            Profile::Service => settings.services.get(&user),
            Profile::Kernel | Profile::Desk => None,
        };
        let kernel_profile = match (&kernelspec, spec) {
            (Some(name), Some(spec)) => profile_of(&settings.profiles, (name, spec), &user, &groups),
            _ => KernelProfile::Plain,
        };
        if kernel_profile.devices() {
            admit_devices(settings, shop)?;
        }
        let view = match (shop.mode, &kernelspec) {
            (Mode::Degraded, _) => None,
            _ if profile == Profile::Classic => Some(&views.classic),
            _ if profile == Profile::Service => views.services.get(&user),
            (_, None) => Some(&views.desk),
            (_, Some(name)) if kernel_profile.devices() => views.with_devices.get(name),
            (_, Some(name)) => views.kernels.get(name),
        };
        let view = view.map(Result::as_ref).transpose().map_err(|why| {
            Refusal::new(ErrorCode::Refused, format!("what this jail would see could not be built: {why}"))
        })?;
        remove_tree(&folders.jails, id.as_str());
        let mode = if shop.mode == Mode::Degraded { 0o711 } else { 0o750 };
        let folder_owner = (me().1 != settings.gateway_gid).then_some((me().0, settings.gateway_gid));
        let folder = make_folder(&folders.jails, id.as_str(), mode, folder_owner)
            .map_err(os("making the jail's folder"))?;
        let gateway = (settings.gateway_uid, settings.gateway_gid);
        let listener = listening(&folder, "main.sock", gateway, SocketType::STREAM)
            .map_err(os("listening on main.sock"))?;
        let owner = (ids != me()).then_some(ids);
        if shop.mode == Mode::Degraded {
            make_folder(&folder, "k", 0o700, owner).map_err(os("making the kernel's folder"))?;
        }
        let engine = if profile == Profile::Kernel && settings.programs.engine.is_some() {
            let engine =
                make_folder(&folder, "engine", 0o755, None).map_err(os("making the engine's folder"))?;
            remove_tree(&folders.scratch, id.as_str());
            let scratch = make_folder(&folders.scratch, id.as_str(), 0o700, owner)
                .map_err(os("making the scratch folder"))?;
            let mut engine = Engine::new(engine, scratch);
            engine.listen(ids)?;
            if settings.broker.is_some() {
                engine.door = Some(Door::open(Aide::Broker, &folder, ids, None)?);
            }
            engine.keep(keeper, &id);
            Some(engine)
        } else {
            None
        };
        if profile == Profile::Desk {
            make_folder(&folder, TOLD, 0o755, None).map_err(os("making the desk's folder"))?;
            if let Some(user) = users.get(&user) {
                homes::tell(&folder, user)
                    .map_err(|error| internal("telling the desk its bounds", &error))?;
            }
        }
        let door = if kernel_profile.proxy() {
            admit_proxy(settings, shop)?;
            let door = Door::open(Aide::Proxy, &folder, ids, None)?;
            door.keep(keeper, &id);
            Some(door)
        } else {
            None
        };
        let hub = if profile.is_server() {
            let door = Door::to_gateway(&folder, ids, None)?;
            door.keep(keeper, &id);
            Some(door)
        } else {
            None
        };
        let places = plan::places(shop.mode, settings, &folders.jail_path(id.as_str()), &user, &id);
        let limits = settings.limits.of_jail(Kind::from(profile).of(), &user, &groups);
        let wall = limits.wall_seconds.map(Duration::from_secs);
        let whose = Whose { user: user.clone(), uid: ids.0, gid: ids.1, limits };
        let plan = match (spec, server) {
            (Some(spec), _) => plan::kernel(settings, spec, kernel_profile, &places, whose, &cwd)?,
            (None, Some(server)) => plan::server(Kind::from(profile), server, &places, whose)?,
            (None, None) => plan::desk(&places, whose),
        };
        let mut readable = settings.system.clone();
        readable.extend(["/etc".into(), places.shim.clone(), places.desk.clone()]);
        readable.extend(spec.iter().flat_map(|spec| spec.paths.iter().cloned()));
        let mut trees = Vec::new();
        if let Some(view) = view {
            trees.push(Tree::own(&home, &places.home)?);
            for path in &view.seen.late {
                trees.push(Tree::host(path)?);
            }
            if let Some(engine) = &engine {
                trees.push(Tree::sealed(&engine.folder, &places.engine)?);
            }
            if let Some(door) = &door {
                trees.push(Tree::sealed(&door.folder, &places.proxy)?);
            }
            if let Some(door) = &hub {
                trees.push(Tree::sealed(&door.folder, &places.hub)?);
            }
        }
        if view.is_some() && profile == Profile::Desk {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let told =
                openat(&folder, TOLD, flags, Bits::empty()).map_err(os("opening the desk's folder"))?;
            trees.push(Tree::sealed(&told, &places.told)?);
        }
        let (log, log_in) = log_pipe(&folder, "log")?;
        let bounds = User::part(users, &user, &plan.limits);
        let (group, mut layers) = cgroups.leaf(&user, &cgroup_leaf(&id, "main"), &bounds);
        let disk = users.get(&user).map(User::disk);
        layers.extend(disk.map(|state| (LayerName::Disk, state)));
        let memory = layers.get_mut(&LayerName::Memory);
        let watch = MemoryWatch::needed(memory, plan.limits.memory_bytes, Instant::now());
        let cpus = cpus.pin(layers.get_mut(&LayerName::Cpu), plan.limits.cpu);
        let order = Order {
            plan: &plan,
            places: &places,
            view,
            group: &group,
            layers,
            cpus,
            listener: listener.as_fd(),
            log: log_in.as_fd(),
            trees,
            readable: &readable,
        };
        let mut jail = Jail {
            user,
            groups,
            uid: ids.0,
            gid: ids.1,
            profile,
            kernelspec,
            started_ms: log::now_ms(),
            layers: LayerReport::new(),
            socket: folders.jail_path(id.as_str()).join("main.sock"),
            pid: 0,
            folder,
            main: None,
            engine,
            door,
            hub,
            tail: Tail::default(),
            wall,
            ending: false,
            reason: None,
            exited: Exited::default(),
            graves: Vec::new(),
            dead_since: None,
            waiters: Vec::new(),
        };
        // Written down before it runs: a spawnd that is killed in between leaves no jail that nobody knows.
        let mut ready = |process: &start::Process, layers: &LayerReport| {
            jail.pid = process.pid.as_raw_nonzero().get();
            jail.layers = layers.clone();
            let written = jail.record(Some((process, &group)), None);
            written.map_err(|error| internal("writing jail.json", &error))
        };
        let started = start::start(shop, &order, &mut ready);
        let (process, _) = started.inspect_err(|_| {
            group.kill();
            start::remove_soon(&group);
        })?;
        let for_client = rustix::io::dup(&process.pidfd).map_err(os("copying the pidfd"));
        jail.main = Some(Running::new(process, group, log, watch, Instant::now()));
        let started = Started {
            id: id.clone(),
            pid: jail.pid,
            uid: jail.uid,
            layers: jail.layers.clone(),
            socket: jail.socket.clone(),
        };
        self.jails.insert(id.clone(), jail);
        self.tell(Aide::Proxy, &id);
        match for_client {
            Ok(pidfd) => Ok((started, pidfd)),
            Err(refusal) => {
                if let Some(jail) = self.jails.get_mut(&id) {
                    jail.kill(None);
                }
                Err(refusal)
            }
        }
    }

    /// The uid and gid of a user.
    fn ids_of(&mut self, user: &UserName) -> Result<(u32, u32), Refusal> {
        let Some(table) = &mut self.uids else { return Ok(me()) };
        let uid = table.get(&self.folders.private, user, home::owner(&self.folders.homes, user))?;
        Ok((uid, uid))
    }
}

/// Whether a kernel can see devices here.
fn admit_devices(settings: &Settings, shop: &Workshop) -> Result<(), Refusal> {
    if settings.devices.is_empty() {
        let text = "this kernel has the profile kernel+gpu, but no device is named; an administrator sets devices under [sandbox] in carrel.toml";
        return Err(Refusal::new(ErrorCode::Refused, text));
    }
    if shop.mode == Mode::Degraded {
        let text = "the profile kernel+gpu needs the layer mount, which this host does not give";
        return Err(Refusal::new(ErrorCode::Refused, text));
    }
    Ok(())
}

/// Whether a whole server can run here.
fn admit_server(shop: &Workshop) -> Result<(), Refusal> {
    // Without a loopback of its own everybody on the host could come in by its port.
    if !shop.given.get(&LayerName::Net).is_some_and(LayerState::is_on) {
        let text = "the profiles classic and service need the layer net, which this host does not give";
        return Err(Refusal::new(ErrorCode::Refused, text));
    }
    Ok(())
}

fn no_classic() -> Refusal {
    let text =
        "nobody may have a classic server here; an administrator sets enabled under [classic] in carrel.toml";
    Refusal::new(ErrorCode::Refused, text)
}

/// Whether a kernel can have a way to the proxy here.
fn admit_proxy(settings: &Settings, shop: &Workshop) -> Result<(), Refusal> {
    if settings.proxy.is_none() {
        let text = "this kernel has the profile kernel+proxy, but nothing says what may be reached; an administrator adds [[allow]] to carrel.toml";
        return Err(Refusal::new(ErrorCode::Refused, text));
    }
    // Without a loopback of its own everybody on the host could pass through its port.
    if !shop.given.get(&LayerName::Net).is_some_and(LayerState::is_on) {
        let text = "the profile kernel+proxy needs the layer net, which this host does not give";
        return Err(Refusal::new(ErrorCode::Refused, text));
    }
    Ok(())
}

/// A pipe with a name in the jail's folder, which the next spawnd opens again. Each end can read and write, so that neither side ever finds
/// the other one gone: without a spawnd what is said waits, and then its writer does.
pub(crate) fn log_pipe(folder: &OwnedFd, name: &str) -> Result<(OwnedFd, OwnedFd), Refusal> {
    let os = |error: Errno| internal("making the log pipe", &error);
    match mkfifoat(folder, name, Bits::from_raw_mode(0o600)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(os(error)),
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let ours = openat(folder, name, flags | OFlags::NONBLOCK, Bits::empty()).map_err(os)?;
    let theirs = openat(folder, name, flags, Bits::empty()).map_err(os)?;
    Ok((ours, theirs))
}
