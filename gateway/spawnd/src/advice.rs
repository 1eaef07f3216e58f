//! What to do about a layer that a host does not give: the exact command, line or key. Pure; told by `carrel check` and wherever a start is refused.

use crate::layers::{LayerName, LayerReport, LayerState, Mode};

/// Why a layer of bounds is off though the host could give it.
pub const NO_LIMIT: &str = "no limit is set";

/// What brings this layer about; nothing where it is in force.
#[must_use]
pub fn advice(layer: LayerName, state: &LayerState, mode: Mode) -> Option<String> {
    let why = match state {
        LayerState::On | LayerState::By(_) => return None,
        LayerState::Partly(why) | LayerState::Off(why) => why.as_str(),
    };
    Some(match layer {
        LayerName::Mount
        | LayerName::Pid
        | LayerName::Net
        | LayerName::Ipc
        | LayerName::Uts
        | LayerName::User
        | LayerName::Cgroup => namespace(layer, why, mode),
        LayerName::Uid => uid(why, mode),
        LayerName::Memory | LayerName::Pids | LayerName::Cpu | LayerName::Io => bound(layer, why, mode),
        LayerName::Disk => disk(why, mode),
        LayerName::Landlock => landlock(),
        LayerName::Seccomp => "run a Linux kernel that is built with CONFIG_SECCOMP_FILTER=y, on x86_64 or aarch64; in a container, one whose own filter allows seccomp(2) (docker run --security-opt seccomp=unconfined)".into(),
        LayerName::NoNewPrivs | LayerName::Capabilities | LayerName::Rlimits => {
            format!("no kernel that Carrel runs on lacks this: look at what intercepts system calls here ({why}), a container's filter for instance")
        }
    })
}

/// Why no jail is started: the layers that are required and not in force, each with what to do, and the line to start without them.
#[must_use]
pub fn refusal(missing: &LayerReport, required: &[LayerName], mode: Mode) -> String {
    let mut text = String::from("refused: this host does not give the required layers");
    for (layer, state) in missing {
        let what = advice(*layer, state, mode).unwrap_or_default();
        text.push_str(&format!("\n  {layer} ({}): {what}", why(state)));
    }
    let names: Vec<LayerName> = missing.keys().copied().collect();
    text.push_str(&format!("\n  or start without: {}", without(&names, required)));
    text
}

/// The line that makes these layers optional.
#[must_use]
pub fn without(these: &[LayerName], required: &[LayerName]) -> String {
    let left = required.iter().filter(|layer| !these.contains(layer));
    let left: Vec<String> = left.map(|layer| format!("\"{layer}\"")).collect();
    format!("required = [{}] under [sandbox] in carrel.toml, then `carrel stop`", left.join(", "))
}

/// The part of a state that says why.
fn why(state: &LayerState) -> &str {
    match state {
        LayerState::On => "on",
        LayerState::By(why) | LayerState::Partly(why) | LayerState::Off(why) => why,
    }
}

/// What the host's settings say about namespaces of ordinary users; each as its file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsernsSettings {
    /// `user.max_user_namespaces`.
    pub max: Option<u64>,
    /// Debian's `kernel.unprivileged_userns_clone`.
    pub clone: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    pub apparmor: Option<u64>,
}

/// What lets an ordinary user make namespaces here.
#[must_use]
pub fn user_namespaces(settings: &UsernsSettings) -> String {
    let mut lines = Vec::new();
    if settings.max == Some(0) {
        lines.push("user.max_user_namespaces=28633");
    }
    if settings.clone == Some(0) {
        lines.push("kernel.unprivileged_userns_clone=1");
    }
    if settings.apparmor.is_some_and(|restricted| restricted > 0) {
        lines.push("kernel.apparmor_restrict_unprivileged_userns=0");
    }
    if lines.is_empty() {
        return "in a container, let it make namespaces (docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined; Kubernetes: hostUsers: false) or start Carrel on the host; where one user only is in the container, set mode = \"degraded\" under [sandbox]".into();
    }
    let set: Vec<String> = lines.iter().map(|line| format!("sysctl -w {line}")).collect();
    format!(
        "as root: {} (and the same in /etc/sysctl.d/60-carrel.conf); or start Carrel as root",
        set.join(" && ")
    )
}

fn namespace(layer: LayerName, why: &str, mode: Mode) -> String {
    if mode == Mode::Degraded {
        return "set mode = \"auto\" under [sandbox] in carrel.toml: mode \"degraded\" makes no namespaces"
            .into();
    }
    let (kind, option) = match layer {
        LayerName::Mount => ("mnt", "CONFIG_NAMESPACES"),
        LayerName::Pid => ("pid", "CONFIG_PID_NS"),
        LayerName::Net => ("net", "CONFIG_NET_NS"),
        LayerName::Ipc => ("ipc", "CONFIG_IPC_NS"),
        LayerName::Uts => ("uts", "CONFIG_UTS_NS"),
        LayerName::User => ("user", "CONFIG_USER_NS"),
        _ => ("cgroup", "CONFIG_CGROUPS"),
    };
    match (errno(why), mode) {
        (Some(ENOSPC | EUSERS), _) => format!(
            "as root: sysctl -w user.max_{kind}_namespaces=28633 (and the same in /etc/sysctl.d/60-carrel.conf)"
        ),
        (Some(EINVAL | ENOSYS), _) => format!("run a Linux kernel that is built with {option}=y"),
        (Some(EPERM | EACCES), Mode::Root) => "this root may not make namespaces: start Carrel outside the container, or give it the right (docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined; Kubernetes: capabilities.add: [SYS_ADMIN]; systemd: no RestrictNamespaces= in the unit)".into(),
        (Some(EPERM | EACCES), _) => user_namespaces(&UsernsSettings { apparmor: Some(1), ..UsernsSettings::default() }),
        _ => format!("run a Linux kernel with {option}=y and user.max_{kind}_namespaces above 0 (sysctl)"),
    }
}

fn uid(why: &str, mode: Mode) -> String {
    match mode {
        Mode::Degraded => "start Carrel as root: each user then has a uid of their own".into(),
        Mode::Root | Mode::Userns if why.contains("not installed") => {
            "as root: apt-get install uidmap (dnf install shadow-utils); then `carrel stop` and start again; or start Carrel as root".into()
        }
        Mode::Root | Mode::Userns => {
            "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER (the user that starts Carrel) && apt-get install uidmap; then `carrel stop` and start again; or start Carrel as root".into()
        }
    }
}

fn bound(layer: LayerName, why: &str, mode: Mode) -> String {
    let (key, controller, boot) = match layer {
        LayerName::Memory => ("memory = \"2GiB\"", "memory", "cgroup_enable=memory"),
        LayerName::Pids => ("processes = 256", "pids", "CONFIG_CGROUP_PIDS=y"),
        LayerName::Cpu => ("cpus = 2", "cpu", "CONFIG_CFS_BANDWIDTH=y"),
        _ => ("io_weight = 100", "io", "CONFIG_BLK_CGROUP=y"),
    };
    if why == NO_LIMIT {
        return format!("set {key} under [limits.kernel] in carrel.toml, then `carrel limits apply`");
    }
    if layer == LayerName::Io && (why.contains("weight") || why.contains("No such file")) {
        return "the disk's scheduler knows no weights; as root: echo bfq > /sys/block/DISK/queue/scheduler (the disk of the homes), then `carrel limits apply`".into();
    }
    if mode != Mode::Root {
        return format!(
            "start Carrel in a group of its own: systemd-run --user --scope -p Delegate=yes carrel serve; if that has no {controller} controller, as root: systemctl edit user@.service with [Service] Delegate=cpu io memory pids, and sign in again; on a host with version 1 groups boot with systemd.unified_cgroup_hierarchy=1, or start Carrel as root"
        );
    }
    if why.contains("no cgroup file system") {
        return "as root: mount -t cgroup2 none /sys/fs/cgroup".into();
    }
    if why.contains("no such controller") || why.contains(&format!("no {controller} controller")) {
        return format!(
            "boot a Linux kernel that has the {controller} controller ({boot}) and hands it to version 2 groups (cat /sys/fs/cgroup/cgroup.controllers); in a container or unit, delegate it (systemd: Delegate=yes)"
        );
    }
    "make the cgroup file system writable for Carrel: systemd: Delegate=yes in the unit; docker run --cgroupns=private -v /sys/fs/cgroup:/sys/fs/cgroup:rw; Kubernetes: a privileged container".into()
}

fn disk(why: &str, mode: Mode) -> String {
    if why == NO_LIMIT {
        return "set disk = \"10GiB\" under [limits.together] in carrel.toml, then `carrel limits apply`"
            .into();
    }
    if mode != Mode::Root {
        return "start Carrel as root: only root may set quotas; until then homes are counted".into();
    }
    if why.contains("ext4") {
        return "unmount the file system of the homes, tune2fs -O project,quota DEVICE (-Q prjquota), mount it with the option prjquota (in /etc/fstab too), then `carrel stop`; until then homes are counted".into();
    }
    if why.contains("xfs") {
        return "mount the file system of the homes with the option prjquota (in /etc/fstab too; rootflags=prjquota on the kernel's command line if it is the root), then `carrel stop`; until then homes are counted".into();
    }
    "put the homes on ext4 or xfs with project quotas: mkfs.ext4 -O project,quota DEVICE, mount -o prjquota DEVICE STATE/homes, then `carrel stop`; until then homes are counted".into()
}

fn landlock() -> String {
    "run Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y and name it at boot: lsm=landlock, in front of what /sys/kernel/security/lsm lists (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub and reboot); in a container, a filter that allows landlock_create_ruleset(2)".into()
}

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
const EUSERS: i32 = 87;

/// The number in "… (os error 28)".
fn errno(why: &str) -> Option<i32> {
    why.split_once("(os error ")?.1.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
