//! Serving a kernel: the sockets of a connection file, until somebody ends it.

use std::sync::Arc;
use std::time::Duration;

use carrel_wire::{Channel, ConnectionInfo};
use tokio::sync::watch;

use crate::history::History;
use crate::iopub::{Iopub, Stamp};
use crate::kernel::Kernel;
use crate::publish::{Bounds, PubSocket};
use crate::request::{Running, Shared};
use crate::stdin::Stdin;
use crate::{ChannelsError, control, shell, sockets};

/// How a kernel is served.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bounds of iopub.
    pub iopub: Bounds,
    /// How long the first request waits for somebody to listen on iopub.
    pub first_wait: Duration,
    /// How long a cell may go on after it was interrupted.
    pub cancel_grace: Duration,
    /// How long output may take to leave when the kernel ends.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            iopub: Bounds::default(),
            first_wait: Duration::from_secs(1),
            cancel_grace: Duration::from_millis(900),
            drain: Duration::from_secs(5),
        }
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The kernel is to be started again.
    pub restart: bool,
}

/// Lets signals and tests interrupt and end a kernel from outside of its sockets.
#[derive(Clone)]
pub struct Handle {
    running: Running,
    ended: watch::Sender<Option<Ended>>,
}

impl Handle {
    /// A handle to give to [`serve`].
    #[must_use]
    pub fn new() -> Self {
        Self { running: Running::default(), ended: watch::Sender::new(None) }
    }

    /// Cancels the cell that runs.
    pub fn interrupt(&self) {
        self.running.cancel();
    }

    /// Ends the kernel.
    pub fn stop(&self) {
        self.running.cancel();
        self.end(Ended { restart: false });
    }

    pub(crate) fn end(&self, ended: Ended) {
        self.ended.send_replace(Some(ended));
    }
}

impl Default for Handle {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves the kernel at the addresses of the connection file until a shutdown request or [`Handle::stop`].
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve<K: Kernel>(
    kernel: Arc<K>,
    connection: &ConnectionInfo,
    options: Options,
    handle: Handle,
) -> Result<Ended, ChannelsError> {
    let signer = connection.signer();
    let stamp = Stamp::new(&uuid::Uuid::new_v4().to_string(), signer.clone());
    let at = |channel| connection.endpoint(channel);
    let socket = PubSocket::bind(&at(Channel::Iopub), options.iopub, Some(stamp.welcome())).await?;
    let (stdin_in, stdin_out) = sockets::router(&at(Channel::Stdin), "stdin", &signer).await?;
    let (control_in, control_out) = sockets::router(&at(Channel::Control), "control", &signer).await?;
    let (shell_in, shell_out) = sockets::router(&at(Channel::Shell), "shell", &signer).await?;
    sockets::heartbeat(&at(Channel::Heartbeat)).await?;

    let iopub = Iopub::start(socket, stamp.clone(), options.first_wait);
    iopub.status(None, "starting").await;
    let shared = Arc::new(Shared {
        kernel,
        iopub: iopub.clone(),
        stdin: Stdin::start(stdin_in, stdin_out, stamp.clone()),
        stamp,
        history: History::default(),
        running: handle.running.clone(),
        handle: handle.clone(),
    });
    let control = tokio::spawn(control::run(Arc::clone(&shared), control_in, control_out));
    let shell = tokio::spawn(shell::run(shared, shell_in, shell_out, options.cancel_grace));

    let mut ending = handle.ended.subscribe();
    let ended = match ending.wait_for(Option::is_some).await {
        Ok(ended) => (*ended).unwrap_or(Ended { restart: false }),
        Err(_) => Ended { restart: false },
    };
    iopub.flush(options.drain).await;
    // The last reply is in the hands of the socket library, which has no way to wait for it.
    tokio::time::sleep(Duration::from_millis(20)).await;
    control.abort();
    shell.abort();
    Ok(ended)
}
