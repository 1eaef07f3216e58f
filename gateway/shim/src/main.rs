//! `carrel-shim`: pid 1 of a kernel's jail, and of a server's ([`server`]). For a kernel it starts the process, reaps orphans, bridges its
//! ZeroMQ sockets to one unix socket, and numbers and keeps every message until the gateway acknowledged it.
//!
//! One thread (and one for [`relay`], where there is one). [`kernel::Supervisor`] owns the process, [`link::Link`] the ZeroMQ connections of one process,
//! [`connection::serve`] runs once per connection of the gateway, and [`shared::Shared`] is what they have in common.

mod args;
mod connection;
mod kernel;
mod link;
mod listener;
mod log;
mod memory;
mod outbox;
mod output;
mod relay;
mod server;
mod sessions;
mod shared;
mod zmtp;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use carrel_wire::ConnectionInfo;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use uuid::Uuid;

use args::{Args, ServerArgs};
use connection::Context;
use kernel::{Spec, Supervisor};
use log::Log;
use shared::Shared;

/// Most connections at a time: 64 sessions, watchers, and some that have yet to say HELLO.
const MAX_CONNECTIONS: usize = 160;
/// Usage, and internal, by the convention of sysexits.
const EX_USAGE: u8 = 64;
const EX_SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    // Kernels run as the same user: without this they could read this process's memory, environment and descriptors.
    if let Err(why) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        return fail(&why.into());
    }
    memory::stay_small();
    let mut words = std::env::args().skip(1).peekable();
    let served = words.next_if(|word| word == "serve").is_some();
    let wanted = if served {
        ServerArgs::parse(words).map(Wanted::Server)
    } else {
        Args::parse(words).map(Wanted::Kernel)
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("carrel-shim: {why}\n{}", args::USAGE);
            return ExitCode::from(EX_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return fail(&why),
    };
    let done = LocalSet::new().block_on(&runtime, async {
        match wanted {
            Wanted::Kernel(args) => run(args).await.map(|()| ExitCode::SUCCESS),
            Wanted::Server(args) => server::run(args).await,
        }
    });
    done.unwrap_or_else(|why| fail(&why))
}

/// What to run.
enum Wanted {
    Kernel(Args),
    Server(ServerArgs),
}

fn fail(why: &std::io::Error) -> ExitCode {
    eprintln!("carrel-shim: {why}");
    ExitCode::from(EX_SOFTWARE)
}

async fn run(args: Args) -> std::io::Result<()> {
    let listener = listener::take()?;
    if let Some(relay) = args.relay.clone() {
        relay.start()?;
    }
    // As pid 1 orphans come by themselves; anywhere else they are asked for.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
    let own = format!("shim-{}", Uuid::new_v4().simple());
    let prefix = args.runtime.join("kernel");
    let info = ConnectionInfo::ipc(&prefix.to_string_lossy(), &Uuid::new_v4().to_string(), "");
    let scratch = log::scratch_file(&args.scratch);
    if let Err(why) = &scratch {
        output::note(&format!(
            "no scratch file in {}, messages are kept in memory only: {why}",
            args.scratch.display()
        ));
    }
    let shared = Rc::new(Shared::new(Log::new(args.bounds(), scratch.ok()), info.signer(), own.clone()));
    let (orders, ordered) = mpsc::channel(8);
    let spec = Spec {
        argv: args.argv,
        cwd: args.cwd,
        connection_file: args.runtime.join("kernel.json"),
        info: info.clone(),
        identity: Bytes::from(own),
    };
    let supervisor = Supervisor::new(shared.clone(), spec, ordered)?;
    let context = Rc::new(Context { shared: shared.clone(), info, interrupt: args.interrupt, orders });
    let mut connections = JoinSet::new();
    tokio::select! {
        () = supervisor.run() => {}
        () = accept(&listener, &context, &mut connections) => {}
    }
    // Replies and last messages go out, then the jail ends.
    shared.close();
    let flushed = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(1), flushed).await.ok();
    Ok(())
}

async fn accept(listener: &UnixListener, context: &Rc<Context>, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    let context = context.clone();
                    connections.spawn_local(async move {
                        if let Err(why) = connection::serve(context, stream).await {
                            output::note(&format!("closed a connection: {why}"));
                        }
                    });
                }
                Ok(_) => output::note("closed a connection: too many"),
                // Out of descriptors, most likely: it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            // A panic ends its connection only; the runtime caught it.
            Some(_) = connections.join_next() => {}
        }
    }
}
