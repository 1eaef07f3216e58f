//! The cluster's errors in words for people: Java's classes and stack traces stay in the log.

use std::io::ErrorKind;

use carrel_source::{Code, Failure};
use hdfs_native::HdfsError;

/// What went wrong, while something was done with `path` as `user`.
pub(crate) fn of(error: &HdfsError, user: &str, path: &str) -> Failure {
    let failure = match error {
        HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => {
            remote(class, text, user, path)
        }
        HdfsError::FileNotFound(_) => not_found(path),
        HdfsError::IsADirectoryError(_) => Failure::new(Code::BadRequest, format!("{path} is a folder")),
        HdfsError::ChecksumError => corrupt(path),
        HdfsError::BlocksNotFound(_) => {
            Failure::new(Code::Corrupt, format!("the cluster has lost blocks of {path}"))
        }
        HdfsError::ErasureCodingError(_) => {
            let text = format!(
                "too few parts of {path} to put it together: the others are damaged, or their nodes are away"
            );
            Failure::new(Code::Unavailable, text)
        }
        HdfsError::DataTransferError(_) => {
            let text = format!(
                "no data node gives a block of {path}: its copies are damaged, or their nodes are away"
            );
            Failure::new(Code::Unavailable, text)
        }
        HdfsError::UnsupportedErasureCodingPolicy(policy) => {
            Failure::new(Code::BadRequest, format!("{path} is stored with {policy}, which is not supported"))
        }
        HdfsError::IOError(error) => io(error, path),
        HdfsError::GSSAPIError(_, _, text) => login(text),
        HdfsError::SASLError(text) => login(text),
        HdfsError::NoSASLMechanism => login("no way of logging in is shared with the cluster"),
        other => {
            tracing::error!(error = %other, path, "an unexpected error of the cluster");
            fault(path)
        }
    };
    failure.about(path)
}

/// A fault of ours, which the log tells of.
pub(crate) fn fault(path: &str) -> Failure {
    Failure::new(Code::Internal, format!("{path} cannot be read: a fault of Carrel's, see the broker's log"))
}

/// Nothing came for too long.
pub(crate) fn timed_out(path: &str, seconds: u64) -> Failure {
    Failure::new(Code::TimedOut, format!("the cluster has not answered for {seconds} s about {path}"))
        .about(path)
}

/// The name node lets the broker in, but not as this user: it closes the connection without a word.
pub(crate) fn no_proxy(user: &str) -> Failure {
    let text = format!(
        "the cluster does not let Carrel read as {user}: hadoop.proxyuser of its configuration must allow it"
    );
    Failure { user: Some(user.to_owned()), ..Failure::new(Code::Login, text) }
}

/// The file is still being written.
pub(crate) fn unfinished(path: &str) -> Failure {
    Failure::new(Code::Changed, format!("{path} is still being written")).about(path)
}

/// The file is another one than when it was listed.
pub(crate) fn changed(path: &str) -> Failure {
    Failure::new(Code::Changed, format!("{path} was changed after it was listed")).about(path)
}

fn remote(class: &str, text: &str, user: &str, path: &str) -> Failure {
    let class = class.rsplit('.').next().unwrap_or(class);
    let line = text.lines().next().unwrap_or_default();
    match class {
        "AccessControlException" => denied(line, user, path),
        "FileNotFoundException" | "PathNotFoundException" => not_found(path),
        "AuthorizationException" => no_proxy(user),
        "StandbyException"
        | "RetriableException"
        | "SafeModeException"
        | "ObserverRetryOnActiveException" => Failure::new(Code::Unavailable, "the name node is not ready"),
        "SaslException" | "GSSException" | "InvalidToken" | "SecretManager$InvalidToken" => login(line),
        "UnresolvedLinkException" => Failure::new(Code::BadRequest, format!("{path} is a symbolic link")),
        "InvalidPathException" => {
            Failure::new(Code::BadRequest, format!("the cluster does not take the path {path}"))
        }
        _ => {
            tracing::warn!(class, text = line, path, "the name node refused");
            Failure::new(Code::Unavailable, format!("the name node refused to answer about {path} ({class})"))
        }
    }
}

/// `Permission denied: user=eve, access=READ_EXECUTE, inode="/data/ads":hdfs:ads:drwxr-x---`
fn denied(line: &str, user: &str, path: &str) -> Failure {
    let field = |name: &str| {
        let rest = line.split_once(name)?.1;
        Some(rest.split(',').next().unwrap_or(rest).trim())
    };
    let access = field("access=").map(words).unwrap_or_else(|| "access".to_owned());
    let inode = line.split_once("inode=\"").and_then(|(_, rest)| rest.split_once('"'));
    let text = match inode {
        Some((inode, about)) => {
            let mut about = about.trim_start_matches(':').split(':');
            let (owner, group, mode) = (about.next(), about.next(), about.next());
            let whose = match (owner, group, mode) {
                (Some(owner), Some(group), Some(mode)) => format!(" (owner {owner}, group {group}, {mode})"),
                _ => String::new(),
            };
            format!("{user} may not read {path}: lacks {access} on {inode}{whose}")
        }
        None => format!("{user} may not read {path}"),
    };
    Failure { user: Some(user.to_owned()), permission: Some(access), ..Failure::new(Code::Denied, text) }
}

fn words(access: &str) -> String {
    access.to_lowercase().replace("_", " and ")
}

fn not_found(path: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no {path} on the cluster"))
}

fn corrupt(path: &str) -> Failure {
    Failure::new(Code::Corrupt, format!("a block of {path} is damaged in every replica"))
}

fn io(error: &std::io::Error, path: &str) -> Failure {
    match error.kind() {
        ErrorKind::TimedOut => {
            Failure::new(Code::TimedOut, format!("a node of the cluster did not answer in time about {path}"))
        }
        ErrorKind::ConnectionRefused => Failure::new(Code::Unavailable, "the name node cannot be reached"),
        ErrorKind::InvalidData => corrupt(path),
        _ => Failure::new(Code::Unavailable, format!("the connection to the cluster broke off at {path}")),
    }
}

/// The broker itself is not let in. What to do differs.
fn login(text: &str) -> Failure {
    tracing::error!(text, "the cluster does not let the broker in");
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let why = if has(&["clock skew", "not yet valid", "skew"]) {
        "its clock and the cluster's differ too much"
    } else if has(&["cannot contact any kdc", "cannot resolve", "kdc"]) && !has(&["database"]) {
        return Failure::new(Code::Unavailable, "the Kerberos server cannot be reached");
    } else if has(&["preauthentication failed", "integrity check failed", "decrypt"]) {
        "the keytab does not fit its principal's key any more"
    } else if has(&["not found in kerberos database", "client not found"]) {
        "Kerberos does not know its principal"
    } else if has(&["keytab", "key table", "no credentials cache found"]) {
        "its keytab cannot be used"
    } else if has(&["expired"]) {
        "its ticket has expired and could not be renewed"
    } else {
        "the login failed"
    };
    Failure::new(Code::Login, format!("the cluster does not let Carrel in: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(class: &str, text: &str) -> Failure {
        of(&HdfsError::RPCError(class.to_owned(), text.to_owned()), "eve", "/data/ads/x")
    }

    #[test]
    fn a_denial_names_path_user_and_permission() {
        let failure = rpc(
            "org.apache.hadoop.security.AccessControlException",
            "Permission denied: user=eve, access=READ_EXECUTE, inode=\"/data/ads\":hdfs:ads:drwxr-x---\n\tat org.apache.hadoop.hdfs.Server",
        );
        assert_eq!(failure.code, Code::Denied);
        assert_eq!(
            failure.message,
            "eve may not read /data/ads/x: lacks read and execute on /data/ads (owner hdfs, group ads, drwxr-x---)"
        );
        assert_eq!(
            (failure.user.as_deref(), failure.permission.as_deref()),
            (Some("eve"), Some("read and execute"))
        );
        assert_eq!(failure.path.as_deref(), Some("/data/ads/x"));
    }

    #[test]
    fn nothing_of_java_is_shown() {
        for (class, code) in [
            ("java.io.FileNotFoundException", Code::NotFound),
            ("org.apache.hadoop.security.authorize.AuthorizationException", Code::Login),
            ("org.apache.hadoop.ipc.StandbyException", Code::Unavailable),
            ("org.apache.hadoop.hdfs.SomethingNew", Code::Unavailable),
            ("org.apache.hadoop.security.token.SecretManager$InvalidToken", Code::Login),
        ] {
            let failure = rpc(class, "text\n\tat org.apache.X(Y.java:1)");
            assert_eq!(failure.code, code, "{class}");
            assert!(!failure.message.contains("apache") && !failure.message.contains(".java"), "{failure}");
        }
    }

    #[test]
    fn logins_say_what_is_wrong() {
        for (text, says) in [
            ("Unspecified GSS failure: Clock skew too great", "clock"),
            ("Preauthentication failed", "keytab does not fit"),
            ("Client 'b@R' not found in Kerberos database", "does not know"),
            ("Keytab contains no suitable keys", "keytab"),
        ] {
            let failure = of(&HdfsError::SASLError(text.to_owned()), "ada", "/");
            assert_eq!(failure.code, Code::Login);
            assert!(failure.message.contains(says), "{failure}");
        }
        let away = of(&HdfsError::SASLError("Cannot contact any KDC for realm 'R'".to_owned()), "ada", "/");
        assert_eq!(away.code, Code::Unavailable);
    }
}
