//! What the jails of one user share: a group with bounds of its own.

use std::collections::BTreeMap;

use gateway_spawnd::{GroupName, LayerState, Limits, Together, UserName};

use super::Server;
use super::homes::{Count, Held};
use super::turns::Turn;
use crate::host::cgroup::{Bounds, Group};

/// A user with running jails.
pub(crate) struct User {
    /// At the Hub, as last told.
    pub(crate) groups: Vec<GroupName>,
    pub(crate) together: Together,
    pub(crate) bounds: Bounds,
    pub(crate) cgroup: Group,
    pub(crate) held: Held,
    pub(crate) count: Option<Count>,
    pub(crate) turn: Turn,
}

impl User {
    /// What holds the home, as a layer.
    pub(crate) fn disk(&self) -> LayerState {
        self.held.layer(&self.together)
    }

    /// The bounds of one of this user's jails.
    pub(crate) fn part(users: &BTreeMap<UserName, Self>, user: &UserName, limits: &Limits) -> Bounds {
        let whole = users.get(user).map(|user| user.bounds.clone()).unwrap_or_default();
        Bounds::of(limits, &whole)
    }
}

impl Server {
    /// Before a jail of this user is started.
    pub(crate) fn meet_user(&mut self, name: &UserName, groups: &[GroupName]) {
        let together = self.settings.limits.together(name, groups);
        let bounds = Bounds::whole(&together);
        if let Some(user) = self.users.get_mut(name) {
            groups.clone_into(&mut user.groups);
            if user.together != together {
                self.cgroups.rebound(name, None, &mut user.cgroup, &bounds);
                (user.together, user.bounds) = (together, bounds);
            }
            return;
        }
        let cgroup = self.cgroups.user(name, &bounds);
        let (held, count) = (Held::Unknown, None);
        let turn = Turn::default();
        let user = User { groups: groups.to_vec(), together, bounds, cgroup, held, count, turn };
        self.users.insert(name.clone(), user);
    }

    /// After a jail of this user has gone: with the last one the group goes too.
    pub(crate) fn forget_user(&mut self, name: &UserName) {
        if self.jails.values().any(|jail| jail.user == *name) {
            return;
        }
        if self.users.remove(name).is_some() {
            self.cgroups.forget(name);
        }
    }
}
