//! The contract with `carrel-spawnd`: what may be asked, what is answered, and a blocking client for it.
//!
//! The program itself (`main.rs` and below) is the only privileged part of Carrel. This library is what the gateway links:
//! [`protocol`] holds the packets and [`settings`] what spawnd is told once, [`client`] speaks them over the control
//! socket, [`launch`] starts the program. Neither knows Jupyter or an async runtime; the client is meant for `spawn_blocking`.

pub mod advice;
pub mod client;
pub mod launch;
pub mod layers;
pub mod limits;
pub mod names;
pub mod packet;
pub mod priority;
pub mod profiles;
pub mod protocol;
pub mod settings;

pub use client::{Client, ClientError};
pub use launch::{LaunchError, launch};
pub use limits::{LimitTables, Limits, Together};
pub use names::{GroupName, JailId, RelPath, SpecId, UserName};
pub use profiles::{KernelProfile, ProfileRule};
pub use protocol::{
    ErrorCode, Exited, Hello, JailInfo, LayerName, LayerReport, LayerState, Mode, Profile, Reason, Refusal,
    Reply, Request, ShutdownJails, Start, Started, Stats,
};
pub use settings::{AideSettings, HUB_PORT, Kernelspec, ModePreference, Programs, ServerSpec, Settings};
