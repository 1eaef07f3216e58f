//! Which uid each user has, for ever: `<state>/spawnd/uids.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;

use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::{Refusal, UserName};
use rustix::fs::{Mode, OFlags, fsync, openat, renameat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::internal;

/// The table, as it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uids {
    users: BTreeMap<UserName, u32>,
}

impl Uids {
    /// The uid of a user; `None` if the range is used up. A home that exists already keeps its owner if nobody else has it.
    fn assign(&self, user: &UserName, range: &Range<u32>, home_owner: Option<u32>) -> Option<u32> {
        if let Some(uid) = self.users.get(user) {
            return Some(*uid);
        }
        let taken: BTreeSet<u32> = self.users.values().copied().collect();
        if let Some(owner) = home_owner.filter(|owner| range.contains(owner) && !taken.contains(owner)) {
            return Some(owner);
        }
        // Never hand out again what lies below the highest: a removed entry may still own files somewhere.
        let next = taken.range(range.clone()).next_back().map_or(range.start, |last| last.saturating_add(1));
        range.contains(&next).then_some(next)
    }
}

/// The table and where it is kept.
pub(crate) struct UidTable {
    uids: Uids,
    range: Range<u32>,
}

const FILE: &str = "uids.json";
const NEW: &str = "uids.json.new";

impl UidTable {
    /// Reads the table; a table that cannot be read is an error, not a fresh start.
    pub(crate) fn open(folder: &OwnedFd, range: Range<u32>) -> Result<Self, Refusal> {
        if range.start < 1000 {
            return Err(super::refused(format!(
                "uid_base {} is below 1000, among the system's own uids",
                range.start
            )));
        }
        let uids =
            match openat(folder, FILE, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => {
                    let mut text = String::new();
                    File::from(file)
                        .read_to_string(&mut text)
                        .map_err(|error| internal("reading uids.json", &error))?;
                    serde_json::from_str(&text).map_err(|error| {
                        internal(
                            "uids.json is damaged (put back a copy; homes carry their owners' uids)",
                            &error,
                        )
                    })?
                }
                Err(Errno::NOENT) => Uids::default(),
                Err(error) => return Err(internal("opening uids.json", &error)),
            };
        Ok(Self { uids, range })
    }

    /// The uid of a user, given and written down if there is none yet.
    pub(crate) fn get(
        &mut self,
        folder: &OwnedFd,
        user: &UserName,
        home_owner: Option<u32>,
    ) -> Result<u32, Refusal> {
        if let Some(uid) = self.uids.users.get(user) {
            return match self.range.contains(uid) {
                true => Ok(*uid),
                // Written down under another range: by root, or before the grant was changed.
                false => Err(super::refused(format!(
                    "user {user} has uid {uid}, which is outside {}..{}; change the range back, or remove the user from uids.json and chown the home",
                    self.range.start, self.range.end
                ))),
            };
        }
        let uid = self.uids.assign(user, &self.range, home_owner).ok_or_else(|| {
            Refusal::new(
                ErrorCode::Limit,
                format!(
                    "all {} uids from {} on are given out; raise uid_count",
                    self.range.len(),
                    self.range.start
                ),
            )
        })?;
        let mut next = self.uids.clone();
        next.users.insert(user.clone(), uid);
        write(folder, &next).map_err(|error| internal("writing uids.json", &error))?;
        self.uids = next;
        Ok(uid)
    }
}

fn write(folder: &OwnedFd, uids: &Uids) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, NEW, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(&serde_json::to_vec(uids)?)?;
    file.sync_all()?;
    renameat(folder, NEW, folder, FILE)?;
    fsync(folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        name.parse().unwrap()
    }

    #[test]
    fn uids_are_distinct_stable_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let folder = OwnedFd::from(File::open(dir.path()).unwrap());
        let mut table = UidTable::open(&folder, 200_000..200_003).unwrap();
        assert_eq!(table.get(&folder, &user("ada"), None).unwrap(), 200_000);
        assert_eq!(table.get(&folder, &user("bob"), None).unwrap(), 200_001);
        assert_eq!(table.get(&folder, &user("ada"), Some(7)).unwrap(), 200_000);
        let mut again = UidTable::open(&folder, 200_000..200_003).unwrap();
        assert_eq!(again.get(&folder, &user("bob"), None).unwrap(), 200_001);
        assert_eq!(again.get(&folder, &user("eve"), None).unwrap(), 200_002);
        let full = again.get(&folder, &user("dan"), None).unwrap_err();
        assert_eq!(full.code, ErrorCode::Limit);
    }

    #[test]
    fn a_home_keeps_its_owner_but_not_another_users_or_a_foreign_one() {
        let mut uids = Uids::default();
        uids.users.insert(user("ada"), 200_000);
        assert_eq!(uids.assign(&user("bob"), &(200_000..200_100), Some(200_050)), Some(200_050));
        assert_eq!(uids.assign(&user("bob"), &(200_000..200_100), Some(200_000)), Some(200_001));
        assert_eq!(uids.assign(&user("bob"), &(200_000..200_100), Some(0)), Some(200_001));
    }

    #[test]
    fn a_damaged_table_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        let folder = OwnedFd::from(File::open(dir.path()).unwrap());
        assert!(UidTable::open(&folder, 200_000..200_003).is_err());
        assert!(UidTable::open(&folder, 0..3).is_err());
    }
}
