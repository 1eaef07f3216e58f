//! From a request to what exactly will run: pure.

use std::path::{Path, PathBuf};

use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::settings::{Kernelspec, Limits, Settings};
use gateway_spawnd::{Refusal, RelPath, UserName};

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
/// Where an engine is told what to do.
pub(crate) const ENGINE_CONFIG: &str = "/etc/carrel/engine.toml";

/// The kinds of jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Shim and kernel.
    Kernel,
    /// Desk.
    Desk,
    /// Engine.
    Engine,
}

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
}

/// Where things are: fixed inside a private root, host paths in `degraded` mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) home: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) engine: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) broker: PathBuf,
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
            engine_config: settings.engine_config.clone().unwrap_or_default(),
            shim: settings.programs.shim.clone(),
            desk: settings.programs.desk.clone(),
            engine_program: settings.programs.engine.clone().unwrap_or_default(),
        }
    }
}

/// A kernel below its shim.
pub(crate) fn kernel(
    settings: &Settings,
    spec: &Kernelspec,
    places: &Places,
    user: &UserName,
    ids: (u32, u32),
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
        "--".into(),
    ];
    argv.extend(spec.argv.iter().cloned());
    let mut env = common(places, user);
    env.push(("JUPYTER_RUNTIME_DIR".into(), text(&places.kernel)));
    let engine = settings.programs.engine.is_some();
    if engine {
        env.push((
            "CARREL_ENGINE".into(),
            format!("grpc+unix://{}", text(&places.engine.join("engine.sock"))),
        ));
    }
    for (name, value) in &spec.env {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    let limits = settings.kernel_limits.clone();
    Ok(Plan { kind: Kind::Kernel, user: user.clone(), uid: ids.0, gid: ids.1, argv, env, limits, engine })
}

/// A user's desk.
pub(crate) fn desk(settings: &Settings, places: &Places, user: &UserName, ids: (u32, u32)) -> Plan {
    let mut env = common(places, user);
    env.push(("SHELL".into(), "/bin/bash".into()));
    Plan {
        kind: Kind::Desk,
        user: user.clone(),
        uid: ids.0,
        gid: ids.1,
        argv: vec![text(&places.desk)],
        env,
        limits: settings.desk_limits.clone(),
        engine: false,
    }
}

/// A kernel's engine.
pub(crate) fn engine(settings: &Settings, places: &Places, user: &UserName, ids: (u32, u32)) -> Plan {
    let mut argv = vec![
        text(&places.engine_program),
        "serve".into(),
        "--config".into(),
        text(&places.engine_config),
        "--scratch".into(),
        text(&places.scratch),
    ];
    if settings.broker.is_some() {
        argv.extend(["--broker".into(), text(&places.broker.join("broker.sock"))]);
    }
    Plan {
        kind: Kind::Engine,
        user: user.clone(),
        uid: ids.0,
        gid: ids.1,
        argv,
        env: common(places, user),
        limits: settings.engine_limits.clone(),
        engine: false,
    }
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
    use gateway_spawnd::{BrokerSettings, Programs};

    use super::*;

    fn settings() -> Settings {
        let programs =
            Programs { shim: "/p/shim".into(), desk: "/p/desk".into(), engine: Some("/p/engine".into()) };
        Settings::new("/run/x".into(), "/var/x".into(), 1, 1, programs)
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
            paths: vec![],
        };
        let cwd = "a/b".parse().unwrap();
        let plan = kernel(&settings(), &spec, &Places::inside(&user), &user, (5, 6), &cwd).unwrap();
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
        assert!(
            kernel(&settings(), &Kernelspec::default(), &Places::inside(&user), &user, (5, 6), &cwd).is_err()
        );
    }

    #[test]
    fn desk_and_engine_have_their_own_arguments_and_no_kernel_environment() {
        let user: UserName = "ada".parse().unwrap();
        let places = Places::inside(&user);
        let desk = desk(&settings(), &places, &user, (5, 6));
        assert_eq!(desk.argv, ["/opt/carrel/bin/carrel-desk"]);
        assert_eq!(value(&desk, "CARREL_ENGINE"), None);
        let engine = engine(&settings(), &places, &user, (5, 6));
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
        let broker = BrokerSettings { program: "/p/broker".into(), config: "/c".into(), uid: 7, gid: 7 };
        let settings_with = Settings { broker: Some(broker), ..settings() };
        let engine = super::engine(&settings_with, &places, &user, (5, 6));
        assert_eq!(engine.argv[6..], ["--broker", "/run/broker/broker.sock"]);
        let outside = Places::outside(&settings(), &user, Path::new("/run/x/jails/k"), "k");
        assert_eq!(outside.home, Path::new("/var/x/homes/ada"));
    }
}
