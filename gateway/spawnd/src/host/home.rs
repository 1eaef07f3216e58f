//! Homes: made on the first start, owned by their user, never entered by name.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, lchown};
use std::path::Path;

use gateway_spawnd::{Refusal, UserName};
use rustix::fs::{Mode, OFlags, fstat, openat, renameat};
use rustix::io::Errno;

use super::folders::{below, make_folder, remove_tree};
use super::{internal, quota, refused};

/// Who owns a user's home, if there is one.
pub(crate) fn owner(homes: &OwnedFd, user: &UserName) -> Option<u32> {
    open(homes, user).ok().and_then(|home| fstat(home).ok()).map(|stat| stat.st_uid)
}

/// Opens a user's home, making it from the skeleton if there is none, in the project of this number where quotas hold homes.
pub(crate) fn ensure(
    homes: &OwnedFd,
    user: &UserName,
    ids: (u32, u32),
    skeleton: Option<&Path>,
    project: Option<u32>,
) -> Result<OwnedFd, Refusal> {
    let home = match open(homes, user) {
        Err(Errno::NOENT) => {
            make(homes, user, ids, skeleton, project)
                .map_err(|error| internal(&format!("making the home of {user}"), &error))?;
            open(homes, user)
        }
        opened => opened,
    };
    let home = home.map_err(|error| internal(&format!("opening the home of {user}"), &error))?;
    let stat = fstat(&home).map_err(|error| internal(&format!("looking at the home of {user}"), &error))?;
    if stat.st_uid != ids.0 {
        return Err(refused(format!(
            "the home of {user} belongs to uid {} but the user has uid {}; change its owner with chown -R",
            stat.st_uid, ids.0
        )));
    }
    Ok(home)
}

fn open(homes: &OwnedFd, user: &UserName) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(homes, user.as_str(), flags, Mode::empty())
}

/// Under another name first, so that a home is whole or not there. (No user's name begins with a dot.)
fn make(
    homes: &OwnedFd,
    user: &UserName,
    ids: (u32, u32),
    skeleton: Option<&Path>,
    project: Option<u32>,
) -> io::Result<()> {
    let new = format!(".new-{user}");
    remove_tree(homes, &new);
    let home = make_folder(homes, &new, 0o700, Some(ids))?;
    if let Some(project) = project {
        quota::found(&home, project)?;
    }
    if let Some(skeleton) = skeleton {
        copy_below(skeleton, home.as_fd(), ids)?;
    }
    renameat(homes, new.as_str(), homes, user.as_str())?;
    Ok(())
}

/// Files and folders only: a link or a device in a skeleton is left out.
fn copy_below(from: &Path, to: impl AsFd, ids: (u32, u32)) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if kind.is_dir() {
            let folder = make_folder(&to, name, 0o700, Some(ids))?;
            copy_below(&entry.path(), folder.as_fd(), ids)?;
        } else if kind.is_file() {
            let target = below(&to, name);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
            io::copy(&mut fs::File::open(entry.path())?, &mut file)?;
            lchown(&target, Some(ids.0), Some(ids.1))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::super::folders::me;
    use super::*;

    #[test]
    fn a_home_is_made_once_from_the_skeleton_without_links() {
        let dir = tempfile::tempdir().unwrap();
        let skeleton = dir.path().join("skel");
        fs::create_dir_all(skeleton.join("sub")).unwrap();
        fs::write(skeleton.join("welcome.ipynb"), b"{}").unwrap();
        fs::write(skeleton.join("sub/x"), b"x").unwrap();
        symlink("/etc/passwd", skeleton.join("link")).unwrap();
        let homes_path = dir.path().join("homes");
        fs::create_dir(&homes_path).unwrap();
        let homes = OwnedFd::from(File::open(&homes_path).unwrap());
        let user: UserName = "ada".parse().unwrap();
        assert_eq!(owner(&homes, &user), None);
        drop(ensure(&homes, &user, me(), Some(&skeleton), None).unwrap());
        let home = homes_path.join("ada");
        assert_eq!(fs::metadata(&home).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::read(home.join("welcome.ipynb")).unwrap(), b"{}");
        assert_eq!(fs::read(home.join("sub/x")).unwrap(), b"x");
        assert!(fs::symlink_metadata(home.join("link")).is_err());
        assert_eq!(fs::read_dir(&homes_path).unwrap().count(), 1);
        fs::remove_file(home.join("welcome.ipynb")).unwrap();
        drop(ensure(&homes, &user, me(), Some(&skeleton), None).unwrap());
        assert!(!home.join("welcome.ipynb").exists(), "an existing home was touched");
    }

    #[test]
    fn a_link_or_a_foreign_owner_in_place_of_a_home_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let homes = OwnedFd::from(File::open(dir.path()).unwrap());
        symlink("/tmp", dir.path().join("eve")).unwrap();
        assert!(ensure(&homes, &"eve".parse().unwrap(), me(), None, None).is_err());
        fs::create_dir(dir.path().join("bob")).unwrap();
        let refusal = ensure(&homes, &"bob".parse().unwrap(), (me().0 + 1, me().1), None, None).unwrap_err();
        assert!(refusal.message.contains("belongs to uid"), "{refusal}");
    }
}
