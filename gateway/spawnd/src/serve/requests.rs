//! From a packet to an answer.

use std::os::fd::OwnedFd;

use gateway_spawnd::protocol::{Done, ErrorCode, JailList, MAX_PACKET, Remaining, Tags};
use gateway_spawnd::{JailId, Reason, Refusal, Request, ShutdownJails};

use rustix::process::Pid;
use serde_json::json;

use super::{KEPT_FD, Server};
use crate::host::internal;
use crate::host::process::birth;

impl Server {
    /// Does what a packet asks and answers it; a stop is answered later.
    pub(crate) fn answer(&mut self, key: u64, bytes: &[u8], mut fds: Vec<OwnedFd>) {
        let request = match serde_json::from_slice::<Request>(bytes) {
            Ok(request) => request,
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, format!("not a request: {error}"));
                return self.reply::<()>(key, Err(refusal), &[]);
            }
        };
        let wants = usize::from(matches!(request, Request::FdPut { .. }));
        if fds.len() != wants {
            let message = format!("this request takes {wants} descriptors, not {}", fds.len());
            return self.reply::<()>(key, Err(Refusal::new(ErrorCode::BadRequest, message)), &[]);
        }
        match request {
            Request::Hello {} => {
                self.draining = false;
                let hello = self.hello.clone();
                self.reply(key, Ok(hello), &[]);
            }
            Request::Start(start) => match self.start(start) {
                Ok((started, pidfd)) => self.reply(key, Ok(started), &[pidfd]),
                Err(refusal) => self.reply::<()>(key, Err(refusal), &[]),
            },
            Request::List { after } => {
                let list = self.list(after.as_ref());
                self.reply(key, Ok(list), &[]);
            }
            Request::Listener { id } => {
                let copied = self.listener_of(&id);
                match copied {
                    Ok(listener) => self.reply(key, Ok(Done {}), &[listener]),
                    Err(refusal) => self.reply::<()>(key, Err(refusal), &[]),
                }
            }
            Request::Stop { id } => self.stop(key, &id),
            Request::Stats { id } => {
                let stats = self.jails.get(&id).map(super::jails::Jail::stats).ok_or_else(|| no_jail(&id));
                self.reply(key, stats, &[]);
            }
            Request::Exit { id } => {
                let exited = self.exits.get(&id).cloned().ok_or_else(|| no_jail(&id));
                self.reply(key, exited, &[]);
            }
            Request::FdPut { tag } => {
                let owner = self.clients.get(&key).map_or(0, |client| client.pid);
                let put = fds.pop().map_or(Ok(()), |fd| self.put(owner, &tag, fd));
                self.reply(key, put.map(|()| Done {}), &[]);
            }
            Request::FdTake { prefix, max } => {
                let (tags, fds) = self.store.take(&prefix, max);
                for tag in &tags {
                    self.keeper.forget(&format!("{KEPT_FD}{tag}"));
                }
                self.reply(key, Ok(Tags { tags }), &fds);
            }
            Request::FdDrop { tag } => {
                self.store.discard(&tag);
                self.keeper.forget(&format!("{KEPT_FD}{tag}"));
                self.reply(key, Ok(Done {}), &[]);
            }
            Request::Limits { tables } => {
                let trusted = self.clients.get(&key).is_some_and(|client| client.trusted);
                let refusal =
                    Refusal::new(ErrorCode::Refused, "bounds are set by root or whoever runs spawnd");
                let bounded = if trusted { Ok(self.rebound(*tables)) } else { Err(refusal) };
                self.reply(key, bounded, &[]);
            }
            Request::Shutdown { jails } => {
                match jails {
                    ShutdownJails::KeepIfAny => self.draining = true,
                    ShutdownJails::Stop => self.stop_all(),
                }
                let jails = self.jails.len();
                self.reply(key, Ok(Remaining { jails }), &[]);
            }
        }
    }

    fn put(&mut self, owner: i32, tag: &str, fd: OwnedFd) -> Result<(), Refusal> {
        let copy = rustix::io::dup(&fd).map_err(|error| internal("copying a descriptor", &error))?;
        self.store.put(owner, tag.to_owned(), fd)?;
        let born = Pid::from_raw(owner).map_or(0, birth);
        self.keeper.hold(&format!("{KEPT_FD}{tag}"), &json!([owner, born]).to_string(), copy);
        Ok(())
    }

    fn listener_of(&self, id: &JailId) -> Result<OwnedFd, Refusal> {
        let hub = self.jails.get(id).and_then(|jail| jail.hub.as_ref());
        let hub = hub.ok_or_else(|| Refusal::new(ErrorCode::NotFound, format!("no server's jail {id}")))?;
        rustix::io::dup(&hub.listener).map_err(|error| internal("copying a listener", &error))
    }

    fn stop(&mut self, key: u64, id: &JailId) {
        let (Some(jail), Some(client)) = (self.jails.get_mut(id), self.clients.get_mut(&key)) else {
            return self.reply::<()>(key, Err(no_jail(id)), &[]);
        };
        jail.waiters.push(key);
        client.waiting = true;
        jail.kill(Some(Reason::Asked));
    }

    /// As many as fit into a packet.
    fn list(&self, after: Option<&JailId>) -> JailList {
        let mut list = JailList::default();
        let mut room = MAX_PACKET - 1024;
        for (id, jail) in self.jails.iter().filter(|(id, _)| after.is_none_or(|after| *id > after)) {
            let info = jail.info(id);
            let size = serde_json::to_vec(&info).map_or(0, |bytes| bytes.len() + 1);
            if size > room {
                list.more = true;
                break;
            }
            room -= size;
            list.jails.push(info);
        }
        list
    }
}

fn no_jail(id: &JailId) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("no jail {id}"))
}
