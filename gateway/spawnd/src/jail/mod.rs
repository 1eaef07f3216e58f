//! Jails: what goes into one ([`plan`]), what every one of a kind sees ([`view`]), and how one is started ([`start`], inside: [`inside`]).

pub(crate) mod filter;
pub(crate) mod init;
pub(crate) mod inside;
pub(crate) mod kind;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod start;
pub(crate) mod trees;
pub(crate) mod view;
pub(crate) mod walls;
