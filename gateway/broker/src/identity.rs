//! Who asks, and as whom the cluster is asked. The name comes from spawnd with the engine's socket; nothing that an engine sends says it.

use std::collections::{BTreeMap, BTreeSet};

use carrel_source::{Code, Failure};

/// A user of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Carrel's user, by the name that the sandbox knows.
    pub(crate) user: String,
    /// The kernel whose engine asks.
    pub(crate) kernel: String,
    /// As whom the cluster is asked, or why not.
    pub(crate) hdfs_user: Result<String, Failure>,
}

/// How names translate.
#[derive(Debug)]
pub(crate) struct Names {
    users: BTreeMap<String, String>,
    never: BTreeSet<String>,
}

impl Names {
    /// The names of a configuration. Nobody is read as the broker's own principal.
    pub(crate) fn new(
        users: BTreeMap<String, String>,
        mut never: BTreeSet<String>,
        principal: Option<&str>,
    ) -> Self {
        let own = principal.and_then(|principal| principal.split(['/', '@']).next());
        never.extend(own.map(str::to_owned));
        Self { users, never }
    }

    /// Who asks over the socket of this kernel's engine.
    pub(crate) fn identify(&self, user: &str, kernel: &str) -> Identity {
        let name = match self.users.get(user) {
            Some(name) => Ok(name.clone()),
            None if !is_plain(user) => Err(refused(user, "this name cannot be one on the cluster")),
            None if is_digest(user) => Err(refused(
                user,
                "this name has no counterpart on the cluster; an administrator can give it one under [hdfs.users]",
            )),
            None => Ok(user.to_owned()),
        };
        let hdfs_user = name.and_then(|name| match self.never.contains(&name) {
            true => Err(refused(user, "the cluster is never read as this user")),
            false => Ok(name),
        });
        Identity { user: user.to_owned(), kernel: kernel.to_owned(), hdfs_user }
    }
}

fn refused(user: &str, why: &str) -> Failure {
    let user = user.to_owned();
    Failure {
        user: Some(user.clone()),
        ..Failure::new(Code::Denied, format!("{user} cannot read the cluster: {why}"))
    }
}

/// Nothing that `hadoop.security.auth_to_local` would make another name of, and not nobody, which is the broker.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-'))
}

/// A name that was shortened for the sandbox does not say any more whose it is.
fn is_digest(user: &str) -> bool {
    user.rsplit_once("--")
        .is_some_and(|(_, tail)| tail.len() == 20 && tail.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_and_some_are_never_used() {
        let users = [("ada--0123456789abcdef0123", "ada"), ("root-like", "hdfs")];
        let users = users.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        let names = Names::new(users, ["hdfs".to_owned()].into(), Some("carrel-broker/host@R"));
        let of = |user: &str| names.identify(user, "k").hdfs_user.map_err(|failure| failure.code);
        assert_eq!(of("bob"), Ok("bob".into()));
        assert_eq!(of("ada--0123456789abcdef0123"), Ok("ada".into()));
        assert_eq!(of("eve--ffffffffffffffffffff"), Err(Code::Denied));
        for bad in ["", "hdfs@R", "a/b", "A", "-x"] {
            assert_eq!(of(bad), Err(Code::Denied), "{bad}");
        }
        for never in ["hdfs", "root-like", "carrel-broker"] {
            assert_eq!(of(never), Err(Code::Denied), "{never}");
        }
    }
}
