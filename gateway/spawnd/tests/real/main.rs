//! The real program on scratch folders: what jails hold back, and what the control socket answers.
#![cfg(test)]

#[cfg(test)]
mod common;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod jails;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod service;
#[cfg(test)]
mod turns;
