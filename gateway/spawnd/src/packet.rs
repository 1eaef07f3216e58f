//! Packets with descriptors over `SOCK_SEQPACKET`: one bounded read, one whole write.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::protocol::{MAX_FDS, MAX_PACKET};

/// What arrived.
#[derive(Debug)]
pub enum Received {
    /// The other side is gone.
    Closed,
    /// A packet and the descriptors that came with it.
    Packet(Vec<u8>, Vec<OwnedFd>),
    /// A packet over [`MAX_PACKET`] bytes or [`MAX_FDS`] descriptors; it is dropped, the connection is sound.
    TooLarge,
}

/// Takes one packet. Descriptors arrive close-on-exec.
pub fn receive(socket: impl AsFd) -> Result<Received, Errno> {
    receive_up_to(socket, MAX_PACKET)
}

/// The same where it is known to be short: a fresh process should not touch more memory than it must.
pub fn receive_up_to(socket: impl AsFd, most: usize) -> Result<Received, Errno> {
    let mut bytes = vec![0; most];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            got => break got?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Ok(Received::TooLarge);
    }
    if got.bytes == 0 && fds.is_empty() {
        return Ok(Received::Closed);
    }
    bytes.truncate(got.bytes);
    Ok(Received::Packet(bytes, fds))
}

/// Sends one packet; never raises SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>], dont_wait: bool) -> Result<(), Errno> {
    if bytes.is_empty() || bytes.len() > MAX_PACKET || fds.len() > MAX_FDS {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = if dont_wait { SendFlags::NOSIGNAL | SendFlags::DONTWAIT } else { SendFlags::NOSIGNAL };
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn bytes_and_descriptors_travel_together() {
        let (a, b) = pair();
        let (r, w) = rustix::pipe::pipe().unwrap();
        send(&a, b"hello", &[r.as_fd()], true).unwrap();
        drop(r);
        let Received::Packet(bytes, mut fds) = receive(&b).unwrap() else { panic!("no packet") };
        assert_eq!((bytes.as_slice(), fds.len()), (b"hello".as_slice(), 1));
        rustix::io::write(&w, b"x").unwrap();
        let mut one = [0u8; 4];
        assert_eq!(rustix::io::read(fds.remove(0), &mut one).unwrap(), 1);
        drop(a);
        assert!(matches!(receive(&b).unwrap(), Received::Closed));
    }

    #[test]
    fn too_large_is_dropped_and_the_next_one_arrives() {
        let (a, b) = pair();
        assert_eq!(send(&a, &vec![b'x'; MAX_PACKET + 1], &[], true), Err(Errno::MSGSIZE));
        rustix::net::send(&a, &vec![b'x'; MAX_PACKET + 1], SendFlags::empty()).unwrap();
        send(&a, b"next", &[], true).unwrap();
        assert!(matches!(receive(&b).unwrap(), Received::TooLarge));
        assert!(matches!(receive(&b).unwrap(), Received::Packet(bytes, _) if bytes == b"next"));
    }
}
