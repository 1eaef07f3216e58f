//! What spawnd is told once, at start, on descriptor 0. No later request can widen it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::LimitTables;
use crate::names::{SpecId, UserName};
use crate::profiles::{KernelProfile, ProfileRule};
use crate::protocol::LayerName;

/// Everything that spawnd needs to know. Start from [`Settings::new`]; the rest has working defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Sockets and jail folders; made if missing, must belong to whoever runs spawnd.
    pub runtime: PathBuf,
    /// Holds `homes/`, `spawnd/` (uid table) and `scratch/`, which spawnd makes and owns.
    pub state: PathBuf,
    /// Who may speak to the control socket (besides uid 0).
    pub gateway_uid: u32,
    /// Group of the gateway, which may enter the jails' runtime folders.
    pub gateway_gid: u32,
    /// The first uid given to a user in `root` mode.
    #[serde(default = "default_uid_base")]
    pub uid_base: u32,
    /// How many uids may be given out.
    #[serde(default = "default_uid_count")]
    pub uid_count: u32,
    /// How to build jails.
    #[serde(default)]
    pub mode: ModePreference,
    /// Layers without which no jail is started; `None` for [`LayerName::REQUIRED`] (in `degraded` mode: landlock and seccomp).
    #[serde(default)]
    pub required: Option<Vec<LayerName>>,
    /// Our programs.
    pub programs: Programs,
    /// The kernels that may be started.
    #[serde(default)]
    pub kernelspecs: BTreeMap<SpecId, Kernelspec>,
    /// The whole Python server of users who want one; without it nobody has one.
    #[serde(default)]
    pub classic: Option<ServerSpec>,
    /// The administrator's services, by the accounts that they run as; no user may have such a name.
    #[serde(default)]
    pub services: BTreeMap<UserName, ServerSpec>,
    /// Folders of the host that every jail sees, read-only, at the same path. Links among them are kept as links.
    #[serde(default = "default_system")]
    pub system: Vec<PathBuf>,
    /// Folders that engines see, read-only, at the same path.
    #[serde(default)]
    pub datasets: Vec<PathBuf>,
    /// Shown to engines as `/etc/carrel/engine.toml`.
    #[serde(default)]
    pub engine_config: Option<PathBuf>,
    /// Reads the cluster for engines; without it they have no such socket.
    #[serde(default)]
    pub broker: Option<AideSettings>,
    /// Takes kernels of the profile `kernel+proxy` to the network; without it none of that profile starts.
    #[serde(default)]
    pub proxy: Option<AideSettings>,
    /// Device nodes that kernels of the profile `kernel+gpu` see; without any none of that profile starts.
    #[serde(default)]
    pub devices: Vec<PathBuf>,
    /// Which kernels have which profile; the first rule that fits counts, before what the kernelspec says.
    #[serde(default)]
    pub profiles: Vec<ProfileRule>,
    /// Copied into a home when it is made.
    #[serde(default)]
    pub skeleton: Option<PathBuf>,
    /// Bounds of jails.
    #[serde(default)]
    pub limits: LimitTables,
    /// The most jails at once, engines not counted.
    #[serde(default = "default_max_jails")]
    pub max_jails: usize,
}

impl Settings {
    /// Settings with defaults for all that can have one.
    #[must_use]
    pub fn new(
        runtime: PathBuf,
        state: PathBuf,
        gateway_uid: u32,
        gateway_gid: u32,
        programs: Programs,
    ) -> Self {
        Self {
            runtime,
            state,
            gateway_uid,
            gateway_gid,
            uid_base: default_uid_base(),
            uid_count: default_uid_count(),
            mode: ModePreference::Auto,
            required: None,
            programs,
            kernelspecs: BTreeMap::new(),
            classic: None,
            services: BTreeMap::new(),
            system: default_system(),
            datasets: Vec::new(),
            engine_config: None,
            broker: None,
            proxy: None,
            devices: Vec::new(),
            profiles: Vec::new(),
            skeleton: None,
            limits: LimitTables::default(),
            max_jails: default_max_jails(),
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("spawnd.sock")
    }
}

/// How the host's mode is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModePreference {
    /// `root` for root, `userns` for anybody else; never `degraded`.
    #[default]
    Auto,
    /// `root` or nothing.
    Root,
    /// `userns` or nothing.
    Userns,
    /// No namespaces, for a container that has one user and nothing else in it.
    Degraded,
}

/// Paths of our programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programs {
    /// `carrel-shim`.
    pub shim: PathBuf,
    /// `carrel-desk`.
    pub desk: PathBuf,
    /// `carrel-engine`; without it kernels have no engine socket.
    #[serde(default)]
    pub engine: Option<PathBuf>,
}

/// How the broker or the proxy is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AideSettings {
    /// `carrel-broker`, `carrel-proxy`.
    pub program: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Who it is, where spawnd is root.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A kernel that may be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernelspec {
    /// As in `kernel.json`, with `{connection_file}`; resolved inside the jail.
    pub argv: Vec<String>,
    /// Added to the jail's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How the kernel is interrupted.
    #[serde(default)]
    pub interrupt: Interrupt,
    /// Folders (or files) of the host that this kernel sees, read-only, at the same path.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// Which profile it has where no rule says otherwise.
    #[serde(default)]
    pub profile: KernelProfile,
}

/// A whole server that may be started in a jail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Program and arguments; resolved inside the jail.
    pub argv: Vec<String>,
    /// Added to the jail's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Folders (or files) of the host that it sees, read-only, at the same path.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// Where it listens on its own loopback, if it does.
    #[serde(default)]
    pub port: Option<u16>,
}

/// The port of a server's own loopback that leads to the gateway.
pub const HUB_PORT: u16 = 8081;

/// Jupyter's two ways of interrupting a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interrupt {
    /// SIGINT.
    #[default]
    Signal,
    /// `interrupt_request` on the control channel.
    Message,
}

impl Interrupt {
    /// The word for `carrel-shim --interrupt`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Message => "message",
        }
    }
}

fn default_uid_base() -> u32 {
    200_000
}

fn default_uid_count() -> u32 {
    60_000
}

fn default_max_jails() -> usize {
    2000
}

fn default_system() -> Vec<PathBuf> {
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"].map(PathBuf::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_settings_text_is_enough_and_survives_the_way() {
        let text = r#"{"runtime":"/run/carrel/x","state":"/var/lib/carrel","gateway_uid":990,"gateway_gid":990,
            "programs":{"shim":"/opt/carrel/bin/carrel-shim","desk":"/opt/carrel/bin/carrel-desk"},
            "kernelspecs":{"carrel":{"argv":["carrel-kernel","-f","{connection_file}"],"interrupt":"message"}}}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.mode, ModePreference::Auto);
        assert_eq!(settings.limits, LimitTables::default());
        assert_eq!(settings.socket(), PathBuf::from("/run/carrel/x/spawnd.sock"));
        let again: Settings = serde_json::from_slice(&serde_json::to_vec(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
    }

    #[test]
    fn a_misspelled_setting_is_an_error() {
        let text = r#"{"runtime":"/r","state":"/s","gateway_uid":1,"gateway_gid":1,"programs":{"shim":"/a","desk":"/b"},"requird":[]}"#;
        assert!(serde_json::from_str::<Settings>(text).unwrap_err().to_string().contains("requird"));
    }
}
