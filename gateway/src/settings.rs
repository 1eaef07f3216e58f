//! What spawnd and the engine are told: made from the configuration, once, before privileges are dropped.

use crate::config::{Config, limits, network};
use crate::start::Fatal;
use carrel_hub::UserName;
use carrel_spawnd::settings::{Interrupt, Kernelspec};
use carrel_spawnd::{AideSettings, KernelProfile, Programs, ServerSpec, Settings, SpecId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who the gateway is after it dropped privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its uid.
    pub uid: u32,
    /// Its gid.
    pub gid: u32,
}

/// Where sockets and jails live: the configured folder, else the usual one for this caller.
pub fn runtime_dir(config: &Config, root: bool, uid: u32) -> PathBuf {
    if let Some(path) = &config.paths.runtime {
        return path.clone();
    }
    let key = short_key(&config.state);
    if root {
        return PathBuf::from("/run/carrel").join(key);
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("carrel").join(key),
        None => PathBuf::from(format!("/tmp/carrel-{uid}")).join(key),
    }
}

/// Eight hex digits of a path, so that two states never share a runtime folder.
fn short_key(path: &Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(4).map(|b| format!("{b:02x}")).collect()
}

/// spawnd's settings.
pub fn spawnd(
    config: &Config,
    runtime: &Path,
    gateway: Identity,
    broker: Option<Identity>,
    proxy: Option<Identity>,
) -> Settings {
    let prefix = config.prefix();
    let bin = prefix.join("bin");
    let engine = bin.join("carrel-engine");
    let programs = Programs {
        shim: bin.join("carrel-shim"),
        desk: bin.join("carrel-desk"),
        engine: engine.exists().then_some(engine),
    };
    let mut settings =
        Settings::new(runtime.to_owned(), config.state.clone(), gateway.uid, gateway.gid, programs);
    settings.mode = config.sandbox.mode;
    settings.required = (!config.sandbox.required.is_empty()).then(|| config.sandbox.required.clone());
    settings.uid_base = config.sandbox.uid_base;
    settings.uid_count = config.sandbox.uid_count;
    settings.max_jails = config.sandbox.max_jails;
    settings.kernelspecs = kernelspecs(&prefix);
    settings.services = crate::services::managed::programs(config);
    settings.classic = config.classic.enabled.then(|| classic(config));
    settings.datasets = datasets(config);
    settings.engine_config = Some(engine_config_path(config));
    settings.broker = broker.map(|id| AideSettings {
        program: bin.join("carrel-broker"),
        config: broker_config_path(config),
        uid: id.uid,
        gid: id.gid,
    });
    settings.proxy = proxy.map(|id| AideSettings {
        program: bin.join("carrel-proxy"),
        config: proxy_config_path(config),
        uid: id.uid,
        gid: id.gid,
    });
    settings.devices.clone_from(&config.sandbox.devices);
    // It was checked when the configuration was read.
    settings.profiles = network::profiles(&config.profiles).unwrap_or_default();
    let skeleton = prefix.join("share/skeleton");
    settings.skeleton = skeleton.is_dir().then_some(skeleton);
    // It was checked when the configuration was read.
    settings.limits = limits::tables(&config.limits, &config.limit_rules).unwrap_or_default();
    settings
}

/// The kernels of the prefix: `share/kernels/*/kernel.json`. The prefix's own programs and Python are shown to each.
pub fn kernelspecs(prefix: &Path) -> BTreeMap<SpecId, Kernelspec> {
    let Ok(folders) = fs::read_dir(prefix.join("share/kernels")) else { return BTreeMap::new() };
    folders
        .filter_map(Result::ok)
        .filter_map(|folder| {
            let id: SpecId = folder.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(folder.path().join("kernel.json")).ok()?;
            let spec = kernelspec(prefix, &text);
            if spec.is_none() {
                tracing::warn!(kernelspec = %id, "this kernel.json is not understood (argv, or metadata.carrel.profile); the kernel is left out");
            }
            Some((id, spec?))
        })
        .collect()
}

fn kernelspec(prefix: &Path, text: &str) -> Option<Kernelspec> {
    let json: Value = serde_json::from_str(text).ok()?;
    let fill = |s: &str| s.replace("{prefix}", &prefix.to_string_lossy());
    let argv: Vec<String> =
        json.get("argv")?.as_array()?.iter().map(|a| a.as_str().map(fill)).collect::<Option<_>>()?;
    let program = argv.first()?;
    // a bare name of ours is meant in our bin
    let own = prefix.join("bin").join(program);
    let argv: Vec<String> = if !program.contains('/') && own.is_file() {
        std::iter::once(own.to_string_lossy().into_owned()).chain(argv.iter().skip(1).cloned()).collect()
    } else {
        argv
    };
    let env = json.get("env").and_then(Value::as_object).map(|map| {
        map.iter().filter_map(|(k, v)| Some((k.clone(), fill(v.as_str()?)))).collect::<BTreeMap<_, _>>()
    });
    let message = json.get("interrupt_mode").and_then(Value::as_str) == Some("message");
    let named = json.pointer("/metadata/carrel/paths").and_then(Value::as_array);
    let mut paths: Vec<PathBuf> = named
        .map(|p| p.iter().filter_map(|p| Some(PathBuf::from(fill(p.as_str()?)))).collect())
        .unwrap_or_default();
    if paths.is_empty() {
        paths = own_paths(prefix, argv.first().map_or("", String::as_str));
    }
    let profile = match json.pointer("/metadata/carrel/profile") {
        Some(named) => serde_json::from_value(named.clone()).ok()?,
        None => KernelProfile::Plain,
    };
    Some(Kernelspec {
        argv,
        env: env.unwrap_or_default(),
        interrupt: if message { Interrupt::Message } else { Interrupt::Signal },
        paths,
        profile,
    })
}

/// What a kernel needs of the prefix: its program, and for Python the environment that it lies in.
fn own_paths(prefix: &Path, program: &str) -> Vec<PathBuf> {
    let program = Path::new(program);
    if !program.starts_with(prefix) {
        return Vec::new();
    }
    match program.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent) {
        Some(environment) if environment.join("pyvenv.cfg").is_file() => vec![environment.to_owned()],
        _ => vec![program.to_owned()],
    }
}

/// Where a classic server listens on its own loopback.
pub const CLASSIC_PORT: u16 = 8888;

fn classic(config: &Config) -> ServerSpec {
    let environment = config.classic.environment(&config.prefix());
    let bin = environment.join("bin");
    let argv = std::iter::once(bin.join("jupyterhub-singleuser").to_string_lossy().into_owned());
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    ServerSpec {
        argv: argv.chain(config.classic.arguments.iter().cloned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), path)]),
        paths: std::iter::once(environment).chain(config.classic.paths.iter().cloned()).collect(),
        port: Some(CLASSIC_PORT),
    }
}

/// The folder of the demo and whatever else is put below `<state>/datasets`, and those that are named.
fn datasets(config: &Config) -> Vec<PathBuf> {
    let own = config.state.join("datasets");
    let named = config.catalogs.iter().chain(&config.datasets);
    let named = named.filter_map(|t| t.get("path")).filter_map(toml::Value::as_str);
    let named = named.filter(|path| !path.contains("://")).map(PathBuf::from);
    std::iter::once(own).chain(named).filter(|p| p.exists()).collect()
}

/// Where the broker's configuration is written.
pub fn broker_config_path(config: &Config) -> PathBuf {
    config.state.join("broker.toml")
}

/// Where the broker's own `krb5.conf` is written.
pub fn krb5_config_path(config: &Config) -> PathBuf {
    config.state.join("broker-krb5.conf")
}

/// What the broker's Kerberos does otherwise than the rest of the machine: a ticket that could be forwarded would be handed to the name
/// node at every login, since the client library asks for that.
pub const KRB5_CONFIG: &str = "# Made by carrel; read before the krb5.conf that carrel.toml names.\n[libdefaults]\n  forwardable = false\n  proxiable = false\n";

/// Where the broker writes down what it read.
pub fn audit_path(config: &Config) -> PathBuf {
    config.state.join("audit")
}

/// The broker's configuration. Users are named as the sandbox knows them.
pub fn broker_config(config: &Config) -> Option<String> {
    let hdfs = &config.hdfs;
    let path = |p: &Path| toml::Value::from(p.to_string_lossy().as_ref());
    let mut out = toml::Table::new();
    out.insert("hadoop".into(), path(hdfs.config.as_ref()?));
    out.insert("audit".into(), path(&audit_path(config)));
    out.insert("timeout_seconds".into(), i64::try_from(hdfs.timeout_seconds).ok()?.into());
    out.insert("never".into(), hdfs.never.clone().into());
    if let Some(keytab) = &hdfs.keytab {
        out.insert("keytab".into(), path(keytab));
    }
    // the first of two files that say something counts
    let krb5 = hdfs.krb5.as_deref().unwrap_or(Path::new("/etc/krb5.conf"));
    let krb5 = format!("{}:{}", krb5_config_path(config).display(), krb5.display());
    if hdfs.principal.is_some() {
        out.insert("krb5".into(), krb5.into());
    }
    if let Some(principal) = &hdfs.principal {
        out.insert("principal".into(), principal.clone().into());
    }
    let users = hdfs.users.iter().filter_map(|(user, name)| {
        Some((UserName::parse(user).ok()?.escaped(), toml::Value::from(name.clone())))
    });
    out.insert("users".into(), toml::Table::from_iter(users).into());
    Some(format!("# Made by carrel from carrel.toml at every start; edit that file instead.\n{out}"))
}

/// Where the proxy's configuration is written.
pub fn proxy_config_path(config: &Config) -> PathBuf {
    config.state.join("proxy.toml")
}

/// Where the proxy writes down who reached what.
pub fn journal_path(config: &Config) -> PathBuf {
    config.state.join("network")
}

/// The proxy's configuration; none where nothing may be reached.
pub fn proxy_config(config: &Config) -> Result<Option<String>, Fatal> {
    if config.allow.is_empty() {
        return Ok(None);
    }
    let network = &config.network;
    let mut out = toml::Table::new();
    let number = |n: u64| toml::Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    out.insert("journal".into(), journal_path(config).to_string_lossy().as_ref().into());
    out.insert("ask".into(), network.ask.clone().into());
    out.insert("connections".into(), network.connections.into());
    out.insert("requests_per_minute".into(), network.requests_per_minute.into());
    out.insert("traffic_per_hour".into(), number(network.traffic_per_hour));
    out.insert("idle_seconds".into(), number(network.idle_seconds));
    out.insert("connection_seconds".into(), number(network.connection_seconds));
    let hosts = network.hosts.iter().map(|(name, addresses)| {
        let addresses = addresses.iter().map(|address| address.to_string().into()).collect();
        (name.clone(), toml::Value::Array(addresses))
    });
    out.insert("hosts".into(), toml::Table::from_iter(hosts).into());
    out.insert("allow".into(), network::allow(&config.allow).map_err(Fatal::usage)?.into());
    Ok(Some(format!("# Made by carrel from carrel.toml at every start; edit that file instead.\n{out}")))
}

/// Where the engine's configuration is written.
pub fn engine_config_path(config: &Config) -> PathBuf {
    config.state.join("engine.toml")
}

/// The engine's configuration: its tables of ours, and a catalog for every folder below `<state>/datasets`.
pub fn engine_config(config: &Config) -> String {
    let mut out = toml::Table::new();
    if !config.engine.is_empty() {
        out.insert("engine".into(), config.engine.clone().into());
    }
    let mut catalogs = config.catalogs.clone();
    let named = |c: &[toml::Table], name: &str| {
        c.iter().any(|t| t.get("name").and_then(toml::Value::as_str) == Some(name))
    };
    let own = config.state.join("datasets");
    let mut folders: Vec<_> =
        fs::read_dir(&own).map(|d| d.filter_map(Result::ok).collect()).unwrap_or_default();
    folders.sort_by_key(fs::DirEntry::file_name);
    for folder in folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        if folder.path().is_dir() && is_word(&name) && !named(&catalogs, &name) {
            let path = folder.path().to_string_lossy().into_owned();
            catalogs.push(toml::Table::from_iter([
                ("name".to_owned(), name.into()),
                ("path".to_owned(), path.into()),
            ]));
        }
    }
    for (key, tables) in [("catalog", catalogs), ("dataset", config.datasets.clone())] {
        if !tables.is_empty() {
            let tables: Vec<toml::Value> = tables.into_iter().map(Into::into).collect();
            out.insert(key.into(), tables.into());
        }
    }
    format!("# Made by carrel from carrel.toml at every start; edit that file instead.\n{out}")
}

/// A catalog's name as the engine takes it.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !matches!(name, "session" | "information_schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_its_tables_and_the_state_s_datasets() {
        let state = tempfile::tempdir().unwrap();
        for folder in ["ads", "tpch", "Not A Word", "session"] {
            fs::create_dir_all(state.path().join("datasets").join(folder)).unwrap();
        }
        let text = "[engine]\nmemory_limit = \"64MiB\"\n[[catalog]]\nname = \"tpch\"\npath = \"/srv/tpch\"\n[[dataset]]\nname = \"a.b\"\npath = \"/srv/b.csv\"";
        let config = Config::parse(text, state.path()).unwrap();
        let table: toml::Table = engine_config(&config).parse().unwrap();
        assert_eq!(table["engine"]["memory_limit"].as_str(), Some("64MiB"));
        let names: Vec<_> =
            table["catalog"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["tpch", "ads"]);
        assert_eq!(table["dataset"][0]["path"].as_str(), Some("/srv/b.csv"));
    }

    #[test]
    fn kernelspecs_are_found_and_filled() {
        let prefix = tempfile::tempdir().unwrap();
        let folder = prefix.path().join("share/kernels/carrel");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(prefix.path().join("bin")).unwrap();
        fs::write(prefix.path().join("bin/carrel-kernel"), "").unwrap();
        let json = r#"{"argv":["carrel-kernel","-f","{connection_file}"],"interrupt_mode":"message","env":{"A":"{prefix}/x"}}"#;
        fs::write(folder.join("kernel.json"), json).unwrap();
        fs::create_dir_all(prefix.path().join("share/kernels/broken")).unwrap();
        let specs = kernelspecs(prefix.path());
        assert_eq!(specs.len(), 1);
        let spec = &specs[&"carrel".parse().unwrap()];
        let program = prefix.path().join("bin/carrel-kernel");
        assert_eq!(spec.argv[0], program.to_string_lossy());
        assert_eq!((spec.interrupt, &spec.paths), (Interrupt::Message, &vec![program]));
        assert_eq!(spec.env["A"], prefix.path().join("x").to_string_lossy());
    }

    #[test]
    fn two_states_have_two_runtime_folders() {
        let a = runtime_dir(&Config::defaults(Path::new("/a")), true, 0);
        let b = runtime_dir(&Config::defaults(Path::new("/b")), true, 0);
        assert!(a.starts_with("/run/carrel") && a != b);
        assert_eq!(a.file_name().unwrap().len(), 8);
    }
}
