//! Becoming an ordinary user, for good.

use super::Fatal;
use crate::settings::Identity;
use rustix::process::{Gid, Uid, geteuid, getgid, getuid};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs;

/// A user that does not exist on this machine.
const FALLBACK: u32 = 1500;

/// Whether we are root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Who the gateway is to be: for root the configured user, for anybody else oneself.
pub fn identity(user: &str) -> Result<Identity, Fatal> {
    if !is_root() {
        return Ok(Identity { uid: getuid().as_raw(), gid: getgid().as_raw() });
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = look_up(&passwd, user);
    let id = found.unwrap_or_else(|| {
        let uid = user.parse().unwrap_or(FALLBACK);
        tracing::warn!(user, uid, "this user is not in /etc/passwd; its number is used instead");
        Identity { uid, gid: uid }
    });
    if id.uid == 0 || id.gid == 0 {
        return Err(Fatal::usage("gateway.user must be an ordinary user, not root"));
    }
    Ok(id)
}

/// A user that must exist.
fn existing(user: &str) -> Option<Identity> {
    look_up(&fs::read_to_string("/etc/passwd").unwrap_or_default(), user)
}

/// Who a helper is to be that shares nothing with the gateway: for root a user of its own, which must exist; for anybody else oneself.
pub fn separate(key: &str, user: &str, gateway: Identity) -> Result<Identity, Fatal> {
    if !is_root() {
        return Ok(gateway);
    }
    let id = existing(user).ok_or_else(|| {
        Fatal::usage(format!(
            "{key} {user} does not exist; do: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
        ))
    })?;
    if id.uid == 0 || id.uid == gateway.uid {
        return Err(Fatal::usage(format!("{key} must be a user of its own: neither root nor gateway.user")));
    }
    Ok(id)
}

fn look_up(passwd: &str, user: &str) -> Option<Identity> {
    passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find_map(|fields| match fields.as_slice() {
        [name, _, uid, gid, ..] if *name == user => {
            Some(Identity { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        }
        _ => None,
    })
}

/// Gives up root: groups, gid, uid, and the way back. Must run while there is one thread, since the kernel keeps ids per thread.
pub fn drop(to: Identity) -> Result<(), Fatal> {
    let failed = |what: &str, e: rustix::io::Errno| {
        Fatal::internal(format!("cannot give up privileges ({what}): {e}"))
    };
    set_no_new_privs(true).map_err(|e| failed("no_new_privs", e))?;
    if !is_root() {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads > 1 {
        return Err(Fatal::internal(format!("{threads} threads run before privileges are given up")));
    }
    let (uid, gid) = (Uid::from_raw(to.uid), Gid::from_raw(to.gid));
    set_thread_groups(&[]).map_err(|e| failed("groups", e))?;
    set_thread_res_gid(gid, gid, gid).map_err(|e| failed("gid", e))?;
    set_thread_res_uid(uid, uid, uid).map_err(|e| failed("uid", e))?;
    if set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok()
        || set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).is_ok()
    {
        return Err(Fatal::internal("privileges could be regained"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_in_passwd() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\ncarrel:x:990:991::/nonexistent:/usr/sbin/nologin\nbad:x:y:z\n";
        assert_eq!(look_up(passwd, "carrel"), Some(Identity { uid: 990, gid: 991 }));
        assert_eq!(look_up(passwd, "bad"), None);
        assert_eq!(look_up(passwd, "nobody"), None);
    }
}
