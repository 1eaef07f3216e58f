//! A port of the jail's own loopback that leads to a unix socket: programs know proxies by host and port, and a jail has no network but this.
//! A thread of its own, so that a download never keeps the kernel's messages waiting.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::setpriority_process;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

use crate::output;

/// Connections at a time; more wait to be taken.
const MAX_CONNECTIONS: usize = 256;
/// The socket's queue is full while whoever serves it is started again; then it is tried anew this often.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// `PORT:SOCKET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    pub(crate) socket: PathBuf,
}

impl FromStr for Relay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(port, socket)| {
            let port = port.parse().ok()?;
            Path::new(socket).is_absolute().then(|| Self { port, socket: socket.into() })
        });
        parsed.ok_or_else(|| format!("--relay is PORT:SOCKET with an absolute path, not {text:?}"))
    }
}

impl Relay {
    /// Listens from now on; fails if the port is taken.
    pub(crate) fn start(self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("relay".into()).stack_size(256 * 1024).spawn(move || {
            // The shim may run ahead of others; what only copies may not. (To the kernel a thread is a process.)
            setpriority_process(None, 0).ok();
            if let Err(why) = runtime.block_on(serve(listener, self.socket)) {
                output::note(&format!("the way to the network has ended: {why}"));
            }
        })?;
        Ok(())
    }
}

async fn serve(listener: TcpListener, socket: PathBuf) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let socket: Arc<Path> = socket.into();
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((client, _)) => {
                let socket = socket.clone();
                tokio::spawn(async move {
                    // Its client sees that it broke off; nobody else has to.
                    let _ = pass(client, &socket).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: it passes.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn pass(mut client: TcpStream, socket: &Path) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut other = connect(socket).await?;
    tokio::io::copy_bidirectional(&mut client, &mut other).await?;
    Ok(())
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    for _ in 1..TRIES {
        match UnixStream::connect(socket).await {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
    UnixStream::connect(socket).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_sockets_are_read() {
        let relay: Relay = "3128:/run/proxy/proxy.sock".parse().unwrap();
        assert_eq!((relay.port, relay.socket.as_path()), (3128, Path::new("/run/proxy/proxy.sock")));
        for bad in ["", "3128", "3128:", "3128:rel", "70000:/a", ":/a"] {
            assert!(bad.parse::<Relay>().unwrap_err().contains("PORT:SOCKET"), "{bad}");
        }
    }
}
