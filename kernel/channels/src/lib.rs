//! A Jupyter kernel framework that does not know its language.
//!
//! A language implements [`Kernel`]; [`serve`] does the rest: the five sockets, signatures, busy and idle around every request,
//! executes one after the other while completions and the like are answered beside them, interrupts, aborted queues, input
//! requests, and the panic of a cell that must not end the session.
//!
//! Nothing that a kernel says is lost: iopub is a publisher of our own ([`publish`]) that makes the speaker wait when a
//! subscriber is slow, instead of dropping messages. The other sockets are those of the `zeromq` crate.
//!
//! * [`kernel`]: what a language implements, and what it is given
//! * [`output`]: how a cell speaks while it runs
//! * [`server`]: [`serve`], its [`Handle`] and [`Options`]

mod control;
mod error;
mod history;
mod iopub;
pub mod kernel;
pub mod output;
pub mod publish;
mod request;
pub mod server;
mod shell;
mod sockets;
mod stdin;

pub use error::ChannelsError;
pub use kernel::{Cell, CompleteReply, ErrorOutput, IsComplete, Kernel, KernelInfo, Outcome};
pub use output::{InputError, Output};
pub use server::{Ended, Handle, Options, serve};
