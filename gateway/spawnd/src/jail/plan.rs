//! From a request to what exactly will run: pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::settings::{HUB_PORT, Kernelspec, ServerSpec, Settings};
use gateway_spawnd::{JailId, KernelProfile, Limits, Mode, Refusal, RelPath, UserName};

pub(crate) use super::kind::Kind;

/// Where our programs lie inside.
pub(crate) const PROGRAMS: &str = "/opt/carrel/bin";
/// Where a kernel finds its engine.
pub(crate) const ENGINE_FOLDER: &str = "/run/engine";
/// Where a kernel keeps its connection file and ZeroMQ sockets.
pub(crate) const KERNEL_FOLDER: &str = "/run/k";
/// Where an engine spills.
pub(crate) const SCRATCH: &str = "/scratch";
/// Where an engine finds the broker.
pub(crate) const BROKER_FOLDER: &str = "/run/broker";
/// Where a desk is told how its home stands.
pub(crate) const TOLD_FOLDER: &str = "/run/told";
/// Where a kernel finds the proxy, and the port of its own loopback that leads there.
pub(crate) const PROXY_FOLDER: &str = "/run/proxy";
const PROXY_PORT: u16 = 3128;
/// Where a server finds the gateway.
pub(crate) const HUB_FOLDER: &str = "/run/hub";
/// Where an engine is told what to do.
pub(crate) const ENGINE_CONFIG: &str = "/etc/carrel/engine.toml";

/// What will run, in words of the inside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) user: UserName,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Program and arguments; the program is a path inside.
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) limits: Limits,
    /// Whether a kernel has an engine to talk to.
    pub(crate) engine: bool,
    /// Whether an engine has a broker to ask.
    pub(crate) broker: bool,
    /// Whether a kernel has a way to the proxy.
    pub(crate) proxy: bool,
    /// Whether it has a way to the gateway.
    pub(crate) hub: bool,
}

/// Where things are: fixed inside a private root, host paths in `degraded` mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) home: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) engine: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) broker: PathBuf,
    pub(crate) told: PathBuf,
    pub(crate) proxy: PathBuf,
    pub(crate) hub: PathBuf,
    pub(crate) engine_config: PathBuf,
    pub(crate) shim: PathBuf,
    pub(crate) desk: PathBuf,
    pub(crate) engine_program: PathBuf,
}

impl Places {
    /// Inside a private root.
    pub(crate) fn inside(user: &UserName) -> Self {
        let program = |name: &str| Path::new(PROGRAMS).join(name);
        Self {
            home: Path::new("/home").join(user.as_str()),
            kernel: KERNEL_FOLDER.into(),
            engine: ENGINE_FOLDER.into(),
            scratch: SCRATCH.into(),
            broker: BROKER_FOLDER.into(),
            told: TOLD_FOLDER.into(),
            proxy: PROXY_FOLDER.into(),
            hub: HUB_FOLDER.into(),
            engine_config: ENGINE_CONFIG.into(),
            shim: program("carrel-shim"),
            desk: program("carrel-desk"),
            engine_program: program("carrel-engine"),
        }
    }

    /// Without one: the host's own paths.
    pub(crate) fn outside(settings: &Settings, user: &UserName, jail: &Path, id: &str) -> Self {
        Self {
            home: settings.state.join("homes").join(user.as_str()),
            kernel: jail.join("k"),
            engine: jail.join("engine"),
            scratch: settings.state.join("scratch").join(id),
            broker: jail.join("broker"),
            told: jail.join("told"),
            proxy: jail.join("proxy"),
            hub: jail.join("hub"),
            engine_config: settings.engine_config.clone().unwrap_or_default(),
            shim: settings.programs.shim.clone(),
            desk: settings.programs.desk.clone(),
            engine_program: settings.programs.engine.clone().unwrap_or_default(),
        }
    }
}

/// Where things are in this mode.
pub(crate) fn places(mode: Mode, settings: &Settings, jail: &Path, user: &UserName, id: &JailId) -> Places {
    match mode {
        Mode::Root | Mode::Userns => Places::inside(user),
        Mode::Degraded => Places::outside(settings, user, jail, id.as_str()),
    }
}

/// Whose jail, and within which bounds.
#[derive(Clone, Debug)]
pub(crate) struct Whose {
    pub(crate) user: UserName,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) limits: Limits,
}

/// A kernel below its shim.
pub(crate) fn kernel(
    settings: &Settings,
    spec: &Kernelspec,
    profile: KernelProfile,
    places: &Places,
    whose: Whose,
    cwd: &RelPath,
) -> Result<Plan, Refusal> {
    if spec.argv.is_empty() {
        return Err(Refusal::new(ErrorCode::Refused, "the kernelspec has an empty argv"));
    }
    let mut argv = vec![
        text(&places.shim),
        "--interrupt".into(),
        spec.interrupt.as_str().into(),
        "--cwd".into(),
        cwd.to_string(),
    ];
    let mut env = common(places, &whose.user);
    let proxy = profile.proxy();
    if proxy {
        let socket = text(&places.proxy.join("proxy.sock"));
        argv.extend(["--relay".into(), format!("{PROXY_PORT}:{socket}")]);
        env.extend(proxy_environment());
    }
    argv.push("--".into());
    argv.extend(spec.argv.iter().cloned());
    env.push(("JUPYTER_RUNTIME_DIR".into(), text(&places.kernel)));
    let engine = settings.programs.engine.is_some();
    if engine {
        env.push((
            "CARREL_ENGINE".into(),
            format!("grpc+unix://{}", text(&places.engine.join("engine.sock"))),
        ));
    }
    set(&mut env, &spec.env);
    Ok(Plan { engine, proxy, ..plan(Kind::Kernel, whose, argv, env) })
}

/// A user's desk.
pub(crate) fn desk(places: &Places, whose: Whose) -> Plan {
    let mut env = common(places, &whose.user);
    env.push(("SHELL".into(), "/bin/bash".into()));
    let argv = vec![text(&places.desk), "--bound".into(), text(&places.told)];
    plan(Kind::Desk, whose, argv, env)
}

/// A whole server: a user's, or a service.
pub(crate) fn server(kind: Kind, spec: &ServerSpec, places: &Places, whose: Whose) -> Result<Plan, Refusal> {
    if spec.argv.is_empty() {
        return Err(Refusal::new(ErrorCode::Refused, "the server has an empty command"));
    }
    let relay = format!("{HUB_PORT}:{}", text(&places.hub.join("hub.sock")));
    let mut argv = vec![text(&places.shim), "serve".into(), "--relay".into(), relay];
    argv.extend(spec.port.into_iter().flat_map(|port| ["--port".to_owned(), port.to_string()]));
    argv.push("--".into());
    argv.extend(spec.argv.iter().cloned());
    let mut env = common(places, &whose.user);
    env.push(("SHELL".into(), "/bin/bash".into()));
    if kind.has_runtime() {
        env.push(("JUPYTER_RUNTIME_DIR".into(), text(&places.kernel)));
    }
    set(&mut env, &spec.env);
    Ok(Plan { hub: true, ..plan(kind, whose, argv, env) })
}

/// A kernel's engine.
pub(crate) fn engine(settings: &Settings, places: &Places, whose: Whose) -> Plan {
    let mut argv = vec![
        text(&places.engine_program),
        "serve".into(),
        "--config".into(),
        text(&places.engine_config),
        "--scratch".into(),
        text(&places.scratch),
    ];
    let broker = settings.broker.is_some();
    if broker {
        argv.extend(["--broker".into(), text(&places.broker.join("broker.sock"))]);
    }
    let env = common(places, &whose.user);
    Plan { broker, ..plan(Kind::Engine, whose, argv, env) }
}

fn set(env: &mut Vec<(String, String)>, more: &BTreeMap<String, String>) {
    for (name, value) in more {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
}

fn plan(kind: Kind, whose: Whose, argv: Vec<String>, env: Vec<(String, String)>) -> Plan {
    let Whose { user, uid, gid, limits } = whose;
    Plan { kind, user, uid, gid, argv, env, limits, engine: false, broker: false, proxy: false, hub: false }
}

/// As programs look for it: curl takes some names in small letters only, others take the large ones.
fn proxy_environment() -> impl Iterator<Item = (String, String)> {
    let address = format!("http://127.0.0.1:{PROXY_PORT}");
    let own = "localhost,127.0.0.1,::1".to_owned();
    let with =
        [("HTTP_PROXY", &address), ("HTTPS_PROXY", &address), ("ALL_PROXY", &address), ("NO_PROXY", &own)];
    let both =
        with.map(|(name, value)| [(name.to_owned(), value.clone()), (name.to_lowercase(), value.clone())]);
    both.into_iter().flatten()
}

fn common(places: &Places, user: &UserName) -> Vec<(String, String)> {
    [
        ("HOME", text(&places.home)),
        ("USER", user.to_string()),
        ("LOGNAME", user.to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("TERM", "xterm-256color".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use gateway_spawnd::settings::Interrupt;
    use gateway_spawnd::{AideSettings, Programs};

    use super::*;

    fn settings() -> Settings {
        let programs =
            Programs { shim: "/p/shim".into(), desk: "/p/desk".into(), engine: Some("/p/engine".into()) };
        Settings::new("/run/x".into(), "/var/x".into(), 1, 1, programs)
    }

    fn whose(user: &UserName) -> Whose {
        Whose { user: user.clone(), uid: 5, gid: 6, limits: Limits::kernel() }
    }

    fn value<'a>(plan: &'a Plan, name: &str) -> Option<&'a str> {
        plan.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_kernel_is_the_shim_with_the_specs_argv_after_a_double_dash() {
        let user: UserName = "ada".parse().unwrap();
        let spec = Kernelspec {
            argv: vec!["python3".into(), "--cwd".into(), "{connection_file}".into()],
            env: [("LANG".to_owned(), "de_DE.UTF-8".to_owned())].into(),
            interrupt: Interrupt::Message,
            ..Kernelspec::default()
        };
        let cwd = "a/b".parse().unwrap();
        let start = |spec: &Kernelspec, profile| {
            kernel(&settings(), spec, profile, &Places::inside(&user), whose(&user), &cwd)
        };
        let plan = start(&spec, KernelProfile::Plain).unwrap();
        assert_eq!(
            plan.argv,
            [
                "/opt/carrel/bin/carrel-shim",
                "--interrupt",
                "message",
                "--cwd",
                "a/b",
                "--",
                "python3",
                "--cwd",
                "{connection_file}"
            ]
        );
        assert_eq!(value(&plan, "HOME"), Some("/home/ada"));
        assert_eq!(value(&plan, "LANG"), Some("de_DE.UTF-8"));
        assert_eq!(value(&plan, "CARREL_ENGINE"), Some("grpc+unix:///run/engine/engine.sock"));
        assert_eq!(plan.env.iter().filter(|(name, _)| name == "LANG").count(), 1);
        assert_eq!((value(&plan, "HTTPS_PROXY"), plan.proxy), (None, false));
        assert!(start(&Kernelspec::default(), KernelProfile::Plain).is_err());
        let plan = start(&spec, KernelProfile::Proxy).unwrap();
        assert_eq!(plan.argv[5..8], ["--relay", "3128:/run/proxy/proxy.sock", "--"]);
        for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
            assert_eq!(value(&plan, name), Some("http://127.0.0.1:3128"), "{name}");
        }
        assert_eq!(value(&plan, "no_proxy"), Some("localhost,127.0.0.1,::1"));
    }

    #[test]
    fn a_server_is_the_shim_with_a_way_in_and_a_way_to_the_hub() {
        let user: UserName = "ada".parse().unwrap();
        let places = Places::inside(&user);
        let spec = ServerSpec {
            argv: vec!["/env/bin/serve".into(), "--x".into()],
            env: [("PATH".to_owned(), "/env/bin".to_owned())].into(),
            port: Some(8888),
            ..ServerSpec::default()
        };
        let plan = server(Kind::Classic, &spec, &places, whose(&user)).unwrap();
        let words =
            ["serve", "--relay", "8081:/run/hub/hub.sock", "--port", "8888", "--", "/env/bin/serve", "--x"];
        assert_eq!(plan.argv[1..], words);
        assert_eq!(
            (value(&plan, "PATH"), value(&plan, "JUPYTER_RUNTIME_DIR")),
            (Some("/env/bin"), Some("/run/k"))
        );
        assert!(plan.hub && !plan.engine && !plan.proxy);
        let plan = server(Kind::Service, &ServerSpec { port: None, ..spec }, &places, whose(&user)).unwrap();
        assert_eq!((plan.argv[4].as_str(), value(&plan, "JUPYTER_RUNTIME_DIR")), ("--", None));
        assert!(server(Kind::Service, &ServerSpec::default(), &places, whose(&user)).is_err());
    }

    #[test]
    fn desk_and_engine_have_their_own_arguments_and_no_kernel_environment() {
        let user: UserName = "ada".parse().unwrap();
        let places = Places::inside(&user);
        let desk = desk(&places, whose(&user));
        assert_eq!(desk.argv, ["/opt/carrel/bin/carrel-desk", "--bound", "/run/told"]);
        assert_eq!(value(&desk, "CARREL_ENGINE"), None);
        let engine = engine(&settings(), &places, whose(&user));
        assert_eq!(
            engine.argv,
            [
                "/opt/carrel/bin/carrel-engine",
                "serve",
                "--config",
                "/etc/carrel/engine.toml",
                "--scratch",
                "/scratch"
            ]
        );
        let broker = AideSettings { program: "/p/broker".into(), config: "/c".into(), uid: 7, gid: 7 };
        let settings_with = Settings { broker: Some(broker), ..settings() };
        let engine = super::engine(&settings_with, &places, whose(&user));
        assert_eq!(engine.argv[6..], ["--broker", "/run/broker/broker.sock"]);
        let outside = Places::outside(&settings(), &user, Path::new("/run/x/jails/k"), "k");
        assert_eq!(outside.home, Path::new("/var/x/homes/ada"));
    }
}
