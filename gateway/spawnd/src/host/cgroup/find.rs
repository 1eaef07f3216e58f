//! Where this host's groups are: mounts, spawnd's own place in them, and which of them are ours to divide.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gateway_spawnd::Mode;
use serde_json::json;

use crate::log;

use super::Base;

/// One line of `/proc/self/mountinfo` that is a cgroup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    root: String,
    point: PathBuf,
    version: u8,
    options: Vec<String>,
}

impl Mount {
    /// Whether it is a version 1 tree with this controller.
    fn gives(&self, controller: &str) -> bool {
        self.version == 1 && self.options.iter().any(|option| option == controller)
    }
}

pub(super) fn parse_mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let version = match *right.first()? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        Some(Mount {
            root: (*left.get(3)?).to_owned(),
            point: PathBuf::from(left.get(4)?),
            version,
            options: right.get(2)?.split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// Where version 2 is mounted.
pub(super) fn top(mounts: &[Mount]) -> Option<&Path> {
    mounts.iter().find(|mount| mount.version == 2).map(|mount| mount.point.as_path())
}

/// Controller (empty for version 2) to spawnd's own path.
pub(super) fn parse_own(text: &str) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(path)) = (parts.next(), parts.next()) {
            own.extend(controllers.split(',').map(|controller| (controller.to_owned(), path.to_owned())));
        }
    }
    own
}

/// Where spawnd's own group is in the file system, if it is visible there.
fn own_folder(mount: &Mount, own: &str) -> PathBuf {
    let below = if mount.root == "/" { Some(own) } else { own.strip_prefix(mount.root.as_str()) };
    let folder = below.map(|below| mount.point.join(below.trim_start_matches('/')));
    folder.filter(|folder| folder.is_dir()).unwrap_or_else(|| mount.point.clone())
}

/// How our users' groups lie in spawnd's own group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In one folder of ours.
    Below,
    /// Beside everything else.
    Beside,
}

/// Where users' groups go below spawnd's own group of a version 1 controller; none if the host has no such controller there.
pub(super) fn find_v1(
    mounts: &[Mount],
    own: &BTreeMap<String, String>,
    controller: &str,
    name: &str,
    place: Place,
) -> Option<Result<Base, String>> {
    let mount = mounts.iter().find(|mount| mount.gives(controller))?;
    let mine = own_folder(mount, own.get(controller).map_or("/", String::as_str));
    let folder = mine.join(name);
    let made = make(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()));
    Some(made.map(|()| match place {
        Place::Below => Base::below(folder),
        Place::Beside => {
            // It was to see whether we may; an older spawnd may have had its users in it.
            let _ = fs::remove_dir(&folder);
            Base { folder: mine, prefix: format!("{name}-") }
        }
    }))
}

/// Whether version 1 has two controllers in one tree.
pub(super) fn together(mounts: &[Mount], one: &str, other: &str) -> bool {
    mounts.iter().any(|mount| mount.gives(one) && mount.gives(other))
}

/// Our folder of version 2 and the controllers that work in it.
pub(super) fn find_v2(
    mounts: &[Mount],
    own: &BTreeMap<String, String>,
    mode: Mode,
    name: &str,
    wanted: &[&'static str],
) -> Result<(PathBuf, Vec<&'static str>), String> {
    let mount = mounts.iter().find(|mount| mount.version == 2).ok_or("no cgroup file system is mounted")?;
    let path = own.get("").map_or("/", String::as_str);
    let mine = own_folder(mount, path);
    let delegated = ["user.delegate", "trusted.delegate"].iter().any(|attribute| {
        let mut value = [0u8; 8];
        rustix::fs::getxattr(&mine, *attribute, &mut value[..])
            .is_ok_and(|length| value.get(..length) == Some(b"1"))
    });
    // A spawnd that was started again may find itself in the leaf that its predecessor stepped into.
    let base = match (mine.file_name().is_some_and(|leaf| leaf == ASIDE), mine.parent()) {
        (true, Some(parent)) => parent.to_owned(),
        _ => mine,
    };
    let may_step_aside = delegated || path == "/" || base.join(ASIDE).is_dir();
    let base = match (may_step_aside, mode) {
        (true, _) => base,
        (false, Mode::Root) => mount.point.clone(),
        (false, _) => {
            return Err(format!(
                "cgroup {path} is not delegated to this user; start under systemd-run --user --scope -p Delegate=yes"
            ));
        }
    };
    let available = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let there = |wanted: &&&'static str| available.split_whitespace().any(|name| name == **wanted);
    let mut enabled: Vec<&'static str> = Vec::new();
    let mut why = String::from("the cgroup has no such controller");
    for controller in wanted.iter().filter(there) {
        match enable(&base, controller, may_step_aside) {
            Ok(()) => enabled.push(controller),
            Err(error) => why = format!("cannot enable {controller} in {}: {error}", base.display()),
        }
    }
    if enabled.is_empty() {
        return Err(why);
    }
    if path.ends_with(".service") && base.join(ASIDE).is_dir() {
        // Seen with systemd 252: "Failed to attach to cgroup …: Device or resource busy".
        log::warn("cgroup.unit", json!({ "unit": path, "note": UNIT }));
    }
    let folder = base.join(name);
    make(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    enabled.retain(|controller| enable(&folder, controller, false).is_ok());
    Ok((folder, enabled))
}

/// Our folder of a version 2 that has no controllers, where the kernel counts in it how long processes wait (`CONFIG_PSI`).
pub(super) fn find_pressure(mounts: &[Mount], own: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    let mount = mounts.iter().find(|mount| mount.version == 2)?;
    let folder = own_folder(mount, own.get("").map_or("/", String::as_str)).join(name);
    make(&folder).ok()?;
    let counted = folder.join("cpu.pressure").exists();
    if !counted {
        let _ = fs::remove_dir(&folder);
    }
    counted.then_some(folder)
}

/// A group that is divided takes no process, and systemd puts a unit's first one into the unit's own group.
const UNIT: &str = "systemd cannot start this unit again while kernels run: add DelegateSubgroup=carrel-main (systemd 254 or newer), or take Delegate= out";

/// Where processes of a group go that is to hand out controllers.
const ASIDE: &str = "carrel-main";

/// Hands a controller on to a group's own groups.
pub(super) fn enable(folder: &Path, controller: &str, step_aside: bool) -> io::Result<()> {
    let file = folder.join("cgroup.subtree_control");
    match fs::write(&file, format!("+{controller}")) {
        Err(error) if step_aside && error.raw_os_error() == Some(libc::EBUSY) => {
            let leaf = folder.join(ASIDE);
            make(&leaf)?;
            for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
                // A process that has just ended is no matter.
                let _ = fs::write(leaf.join("cgroup.procs"), pid);
            }
            fs::write(&file, format!("+{controller}"))
        }
        written => written,
    }
}

pub(super) fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_own_groups_are_read() {
        let mounts = parse_mounts(
            "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             33 30 0:29 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             34 30 0:30 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[1].root.as_str(), mounts[2].version), ("/docker/abc", 2));
        assert!(together(&mounts, "cpu", "cpuacct") && !together(&mounts, "cpu", "memory"));
        assert!(mounts[1].options.contains(&"cpuacct".to_owned()));
        let own = parse_own("4:memory:/a/b\n3:cpu,cpuacct:/docker/abc\n0::/x:y\n");
        assert_eq!(own["memory"], "/a/b");
        assert_eq!(own["cpuacct"], "/docker/abc");
        assert_eq!(own[""], "/x:y");
    }

    #[test]
    fn users_groups_lie_in_a_folder_of_ours_or_beside_others() {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().to_owned();
        let mounts = [Mount { root: "/".into(), point, version: 1, options: vec!["cpu".into()] }];
        let find = |place| find_v1(&mounts, &BTreeMap::new(), "cpu", "carrel-x", place).unwrap().unwrap();
        let ada = "ada".parse().unwrap();
        let (beside, below) = (find(Place::Beside), find(Place::Below));
        assert_eq!(beside.of(&ada), dir.path().join("carrel-x-u-ada"));
        assert_eq!(below.of(&ada), dir.path().join("carrel-x/u-ada"));
        for name in ["carrel-x-u-ada", "carrel-y-u-ada", "system.slice", "carrel-x/u-bob"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(beside.users().collect::<Vec<_>>(), [dir.path().join("carrel-x-u-ada")]);
        assert_eq!(below.users().collect::<Vec<_>>(), [dir.path().join("carrel-x/u-bob")]);
        assert!(find_v1(&mounts, &BTreeMap::new(), "memory", "carrel-x", Place::Below).is_none());
    }

    #[test]
    fn the_own_group_is_found_below_the_mount_or_is_the_mount() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let mount =
            |root: &str| Mount { root: root.into(), point: dir.path().into(), version: 1, options: vec![] };
        assert_eq!(own_folder(&mount("/"), "/a/b"), dir.path().join("a/b"));
        assert_eq!(own_folder(&mount("/docker/x"), "/docker/x/a"), dir.path().join("a"));
        assert_eq!(own_folder(&mount("/docker/x"), "/elsewhere"), dir.path());
        assert_eq!(own_folder(&mount("/"), "/gone"), dir.path());
    }
}
