//! What holds a home to its bounds: a project quota where the file system has them, else counts; and what a desk is told of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use gateway_spawnd::advice::NO_LIMIT;
use gateway_spawnd::{LayerName, LayerState, Profile, Together, UserName};
use rustix::fs::{Mode, OFlags, openat, renameat};
use serde_json::{Value, json};

use super::Server;
use super::users::User;
use crate::host::quota;
use crate::host::usage::Usage;
use crate::log;

/// In a desk's folder, where it can only look.
pub(crate) const TOLD: &str = "told";

/// What holds a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nobody has looked yet.
    Unknown,
    /// The file system, in the project of this number.
    Quota(u32),
    /// A desk's account and counts, and why no quota does.
    Counted(String),
    /// The same until the next count has taken it into the project of this number.
    ToBeTaken(u32),
}

/// What was counted, and when that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) usage: Usage,
    /// Nanoseconds of the monotonic clock.
    pub(crate) begun_ns: u64,
}

impl Held {
    /// As a layer.
    pub(crate) fn layer(&self, together: &Together) -> LayerState {
        if together.disk_bytes.is_none() && together.disk_files.is_none() {
            return LayerState::Off(NO_LIMIT.into());
        }
        let why = match self {
            Self::Quota(_) => return LayerState::By("project quota".into()),
            Self::Counted(why) => why.as_str(),
            Self::ToBeTaken(_) => "its files are being taken into its project quota",
            Self::Unknown => "not looked at yet",
        };
        LayerState::Partly(format!(
            "watched: the desk stops before the limit; what kernels and terminals write is counted every few seconds, and what writes far beyond the limit is ended ({why}); files that are open but deleted are not seen"
        ))
    }
}

impl Server {
    /// Sets a home's quota where that is possible; a home that was there before projects were is taken into its own by the next count.
    pub(crate) fn hold_home(&mut self, name: &UserName, project: u32) {
        let Some(user) = self.users.get_mut(name) else { return };
        user.held = match &self.quotas {
            Err(why) => Held::Counted(why.clone()),
            Ok(()) => {
                let held = open(&self.folders.homes, name).and_then(|home| {
                    if !quota::whole(&home, project) {
                        return Ok(Held::ToBeTaken(project));
                    }
                    quota::bound(&home, project, &user.together).map(|()| Held::Quota(project))
                });
                held.unwrap_or_else(|error| {
                    log::warn("disk.quota", json!({ "user": name, "error": error.to_string() }));
                    Held::Counted(format!("setting the project quota: {error}"))
                })
            }
        };
        if user.count.is_none() && matches!(user.held.layer(&user.together), LayerState::Partly(_)) {
            // A desk waits for the first one.
            self.disk.hurry();
        }
    }

    /// A home's files are in its project now, or could not be brought there.
    pub(crate) fn taken_in(&mut self, name: &UserName, project: u32, failed: Option<String>) {
        match failed {
            None => self.hold_home(name, project),
            Some(why) => {
                if let Some(user) = self.users.get_mut(name) {
                    user.held = Held::Counted(format!("taking its files into a project quota: {why}"));
                }
            }
        }
        let Some(layer) = self.users.get(name).map(User::disk) else { return };
        for (id, jail) in self.jails.iter_mut().filter(|(_, jail)| jail.user == *name) {
            jail.layers.insert(LayerName::Disk, layer.clone());
            if let Err(error) = jail.record(None, None) {
                log::warn("record", json!({ "id": id, "error": error.to_string() }));
            }
        }
    }

    /// Tells a user's desks how the home stands.
    pub(crate) fn tell_desks(&self, name: &UserName) {
        let Some(user) = self.users.get(name) else { return };
        let desks = self.jails.values().filter(|jail| jail.user == *name && jail.profile == Profile::Desk);
        for jail in desks {
            if let Err(error) = tell(&jail.folder, user) {
                log::warn("disk.tell", json!({ "user": name, "error": error.to_string() }));
            }
        }
    }
}

/// Writes down in a desk's folder how the home stands: whole, by its name, so that the desk never sees half of it.
pub(crate) fn tell(jail: &OwnedFd, user: &User) -> io::Result<()> {
    let folder = openat(
        jail,
        TOLD,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&folder, "new", flags, Mode::from_raw_mode(0o644))?;
    File::from(file).write_all(told(user).to_string().as_bytes())?;
    Ok(renameat(&folder, "new", &folder, "home.json")?)
}

fn told(user: &User) -> Value {
    let held = match user.disk() {
        LayerState::Off(_) => "nothing",
        LayerState::On | LayerState::By(_) => "quota",
        LayerState::Partly(_) => "counted",
    };
    let used = user.count.map(|Count { usage, begun_ns }| {
        json!({ "bytes": usage.bytes, "files": usage.files, "begun_ns": begun_ns })
    });
    json!({ "held": held, "bytes": user.together.disk_bytes, "files": user.together.disk_files, "used": used })
}

fn open(homes: &OwnedFd, name: &UserName) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(homes, name.as_str(), flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_held_by_a_quota_or_watched_or_not_bounded() {
        let bounded = Together { disk_bytes: Some(1), ..Together::default() };
        assert_eq!(Held::Quota(5).layer(&bounded).to_string(), "on: project quota");
        for held in [Held::Counted("ext4 at /".into()), Held::ToBeTaken(5), Held::Unknown] {
            assert!(held.layer(&bounded).to_string().starts_with("partly: watched"), "{held:?}");
        }
        assert_eq!(Held::Quota(5).layer(&Together::default()), LayerState::Off(NO_LIMIT.into()));
    }
}
