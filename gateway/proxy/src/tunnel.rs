//! One connection of a kernel's: its request, the verdict, the host, and the bytes between them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::journal::Entry;
use crate::policy::{Asker, Grant, usable};
use crate::refusal::Refusal;
use crate::relay::{Meter, relay};
use crate::request::{self, Bad, Head, MOST_HEAD, Request};
use crate::serve::{Place, Proxy};
use crate::target::{Host, Target};

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long the resolver may take.
const RESOLVE: Duration = Duration::from_secs(15);
/// How long one address may take to answer, and how many are tried.
const CONNECT: Duration = Duration::from_secs(10);
const MOST_TRIES: usize = 4;
/// A client that was refused may finish what it says, so that it reads why.
const FAREWELL: Duration = Duration::from_secs(1);
const MOST_FAREWELL: usize = 1 << 20;

/// Serves one connection to its end.
pub(crate) async fn serve(
    proxy: Arc<Proxy>,
    asker: Arc<Asker>,
    mut client: UnixStream,
    gone: CancellationToken,
) {
    let config = proxy.live.now();
    let mut asked = None;
    let judged = async {
        let place = proxy.enter(&asker.user, &config.bounds);
        // Who has too many connections still reads why, but is not waited for.
        let place = match place {
            Ok(place) => place,
            Err(refusal) => {
                proxy.ask(&asker.user, &config.bounds).map_err(Refusal::Spent)?;
                return Err(refusal);
            }
        };
        let Some((request, rest)) = read_request(&mut client, &proxy, &asker, &config).await? else {
            return Ok(None);
        };
        asked = Some(request.target().clone());
        let host = reach(&config, &asker, request.target()).await?;
        Ok(Some((place, request, rest, host)))
    };
    let judged = tokio::select! {
        judged = judged => judged,
        () = gone.cancelled() => return,
    };
    match judged {
        // A client that had nothing to say.
        Ok(None) => {}
        Ok(Some((place, request, rest, host))) => {
            let connection = Connection { proxy: &proxy, asker: &asker, config: &config, gone: &gone };
            connection.carry(place, client, request, &rest, host).await;
        }
        Err(refusal) => {
            refuse(&proxy, &asker, &config, client, asked.as_ref(), &refusal).await;
        }
    }
}

/// The request, and what came after it already.
async fn read_request(
    client: &mut UnixStream,
    proxy: &Proxy,
    asker: &Asker,
    config: &Config,
) -> Result<Option<(Request, Vec<u8>)>, Refusal> {
    let mut bytes = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            match request::parse(&bytes) {
                Ok(Head::Whole(request, used)) => return Ok(Some((request, used))),
                Ok(Head::Partial) if bytes.len() < MOST_HEAD => {}
                Ok(Head::Partial) => return Err(Refusal::Bad(Bad::TooLong)),
                Err(bad) => return Err(Refusal::Bad(bad)),
            }
            match client.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(length) => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
        }
    };
    let read = timeout(HEAD, reading).await.unwrap_or(Err(Refusal::Late));
    // Counted whatever it is: what is wrong is written down, too.
    if !matches!(read, Ok(None)) {
        proxy.ask(&asker.user, &config.bounds).map_err(Refusal::Spent)?;
    }
    Ok(read?.map(|(request, used)| (request, bytes.split_off(used))))
}

/// The verdict, and a connection to exactly the address that was judged.
async fn reach(config: &Config, asker: &Asker, target: &Target) -> Result<TcpStream, Refusal> {
    let (addresses, named) = match config.policy.grant(asker, target).ok_or(Refusal::NotAllowed)? {
        Grant::Fixed(addresses) => {
            (addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect(), true)
        }
        Grant::Resolve(networks) => {
            let found = resolve(target).await?;
            let good = usable(found, target.port, &networks).map_err(|bad| match bad {
                Some((address, what)) => Refusal::Special(address, what),
                None => Refusal::Unknown("it has no address".into()),
            })?;
            (good, false)
        }
    };
    let mut why = Refusal::Silent;
    for address in addresses.into_iter().take(MOST_TRIES) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A public address may be this very machine's, whose ports are nobody's business. Loopback was named if it got here.
                let here = stream.local_addr().is_ok_and(|own| own.ip() == address.ip());
                if here && !named && !address.ip().is_loopback() {
                    return Err(Refusal::Special(address.ip(), "this machine"));
                }
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = Refusal::Unreachable(error.to_string()),
            Err(_) => why = Refusal::Silent,
        }
    }
    Err(why)
}

async fn resolve(target: &Target) -> Result<Vec<IpAddr>, Refusal> {
    let name = match &target.host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name.as_str(),
    };
    match timeout(RESOLVE, lookup_host((name, target.port))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(Refusal::Unknown(error.to_string())),
        Err(_) => Err(Refusal::Unknown("the resolver does not answer".into())),
    }
}

/// A verdict that was yes.
struct Connection<'a> {
    proxy: &'a Proxy,
    asker: &'a Asker,
    config: &'a Config,
    gone: &'a CancellationToken,
}

impl Connection<'_> {
    /// Written down, answered, passed on, written down again.
    async fn carry(
        &self,
        place: Place,
        mut client: UnixStream,
        request: Request,
        rest: &[u8],
        mut host: TcpStream,
    ) {
        let target = request.target();
        let address = host.peer_addr().ok().map(|address| address.ip());
        let entry = Entry { event: "open", verdict: "allowed", address, ..Entry::about(Some(target)) };
        if self.write(&entry).is_err() {
            return refuse(self.proxy, self.asker, self.config, client, Some(target), &Refusal::NoJournal)
                .await;
        }
        let meter = Meter::new();
        let greeting = async {
            match &request {
                Request::Tunnel(_) => {
                    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?
                }
                Request::Plain(_, head) => host.write_all(head).await?,
            }
            host.write_all(rest).await
        };
        let greeted = tokio::select! {
            greeted = timeout(HEAD, greeting) => matches!(greeted, Ok(Ok(()))),
            () = self.gone.cancelled() => false,
        };
        let mut end = "broken off";
        if greeted {
            let spend = |bytes| self.proxy.spend(&self.asker.user, &self.config.bounds, bytes);
            end = relay(client, host, &meter, &self.config.bounds, &spend, self.gone).await.as_str();
        }
        let (sent, received) = meter.moved();
        let first = match &request {
            Request::Tunnel(_) => rest.len(),
            Request::Plain(_, head) => head.len() + rest.len(),
        };
        let sent = sent.saturating_add(u64::try_from(first).unwrap_or_default());
        let _ = self.write(&entry.closed(end.to_owned(), sent, received, meter.begun().elapsed()));
        drop(place);
    }

    fn write(&self, entry: &Entry) -> std::io::Result<()> {
        self.proxy.journal.write(&self.config.journal, self.asker, entry)
    }
}

/// A verdict that was no: written down, and said.
async fn refuse(
    proxy: &Proxy,
    asker: &Asker,
    config: &Config,
    mut client: UnixStream,
    target: Option<&Target>,
    refusal: &Refusal,
) {
    if refusal.is_news() {
        let address = match refusal {
            Refusal::Special(address, _) => Some(*address),
            _ => None,
        };
        let reason = refusal.text(target, &config.ask);
        let verdict = refusal.verdict();
        let entry = Entry { event: "refused", verdict, address, reason, ..Entry::about(target) };
        // A refusal stands, written down or not.
        let _ = proxy.journal.write(&config.journal, asker, &entry);
    }
    let farewell = async {
        client.write_all(&refusal.answer(target, &config.ask)).await?;
        client.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut heard = 0;
        while heard < MOST_FAREWELL {
            match client.read(&mut buffer).await? {
                0 => break,
                length => heard += length,
            }
        }
        std::io::Result::Ok(())
    };
    let _ = timeout(FAREWELL, farewell).await;
}
