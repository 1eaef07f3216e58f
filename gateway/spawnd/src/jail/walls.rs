//! Landlock: the second wall around files, and the one around signals and abstract sockets.

use std::path::{Path, PathBuf};

use gateway_spawnd::LayerState;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// What a path may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Look at names only.
    List,
    /// Read and execute.
    Read,
    /// Everything but device nodes.
    Write,
    /// Read, write and control what is there.
    Device,
}

/// Confines this process and its descendants for good.
pub(crate) fn confine(rules: &[(PathBuf, Use)]) -> Result<LayerState, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for (path, usage) in rules {
        // A path that is not there needs no rule.
        let Ok(fd) = PathFd::new(path) else { continue };
        let access = access(*usage, path);
        if !access.is_empty() {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => {
            LayerState::Off("this kernel has no Landlock (5.13 or newer, lsm=landlock)".into())
        }
        // Older kernels lack the newest rights; all that they have is in force.
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => LayerState::On,
    })
}

fn access(usage: Use, path: &Path) -> BitFlags<AccessFs> {
    let all = match usage {
        Use::List => AccessFs::ReadDir.into(),
        Use::Read => AccessFs::from_read(ABI::V5),
        Use::Write => {
            AccessFs::from_all(ABI::V5) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
        }
        Use::Device => {
            AccessFs::ReadDir
                | AccessFs::ReadFile
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::IoctlDev
        }
    };
    if path.is_dir() { all } else { all & AccessFs::from_file(ABI::V5) }
}
