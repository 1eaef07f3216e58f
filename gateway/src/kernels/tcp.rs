//! How much of a TCP stream was taken, as the operating system counts it.
//!
//! This is how a message is known to have reached a browser: its bytes were acknowledged by the browser's host. The count lives in the
//! socket, so it can be asked of a socket whose writer was killed. Offsets count from a base: what had been sent before (the answer to
//! the upgrade request).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Where `tcpi_bytes_acked` lies in Linux' `struct tcp_info`; the structure only ever grows at its end.
const BYTES_ACKED: usize = 120;
/// Enough of `struct tcp_info` to hold it.
const INFO: usize = BYTES_ACKED + 8;
/// `tcpi_state` of a connection that is gone.
const CLOSED: u8 = 7;

/// A TCP socket seen from outside its writer.
#[derive(Debug)]
pub struct TcpWatch {
    socket: OwnedFd,
    base: u64,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that the peer's host acknowledged, from the base.
    pub acked: u64,
    /// Bytes that this host still holds for it.
    pub waiting: u64,
    /// Whether the connection is gone: nothing more will be acknowledged.
    pub closed: bool,
}

impl TcpWatch {
    /// Watches `socket` from now on: what was written before does not count.
    ///
    /// # Errors
    /// When it is not a TCP socket.
    pub fn new(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd().try_clone_to_owned()?;
        // Acknowledgements may come between the two reads; only a pair of equal counts around the queue's is exact.
        let base = loop {
            let before = info(socket.as_fd())?;
            let queued = queued(socket.as_fd())?;
            if info(socket.as_fd())?.1 == before.1 {
                break before.1 + queued;
            }
        };
        Ok(Self { socket, base })
    }

    /// Watches a socket whose base was noted earlier.
    #[must_use]
    pub fn with_base(socket: OwnedFd, base: u64) -> Self {
        Self { socket, base }
    }

    /// The base, to be noted for [`Self::with_base`].
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// How far the peer is now.
    ///
    /// # Errors
    /// When the socket cannot be asked.
    pub fn taken(&self) -> io::Result<Taken> {
        // The queue first: what is acknowledged in between is then counted as waiting, too, never as lost.
        let waiting = queued(self.socket.as_fd())?;
        let (state, acked) = info(self.socket.as_fd())?;
        Ok(Taken { acked: acked.saturating_sub(self.base), waiting, closed: state == CLOSED })
    }
}

/// State and acknowledged bytes.
fn info(socket: BorrowedFd<'_>) -> io::Result<(u8, u64)> {
    let mut bytes = [0u8; INFO];
    let mut length = libc::socklen_t::try_from(INFO).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "TCP_INFO has no safe wrapper")]
    // SAFETY: the descriptor is open for the call, the buffer is `length` bytes long and plain bytes, and the kernel writes at most that.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    match bytes.last_chunk::<8>() {
        Some(acked) if length as usize == INFO => Ok((bytes[0], u64::from_ne_bytes(*acked))),
        _ => Err(io::Error::other("this host does not count acknowledged bytes")),
    }
}

/// Bytes written to the socket and not acknowledged.
fn queued(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    #[expect(unsafe_code, reason = "SIOCOUTQ has no safe wrapper")]
    // SAFETY: the descriptor is open for the call and the kernel writes one int to the address given.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(u64::try_from(count).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    fn settled(watch: &TcpWatch) -> Taken {
        loop {
            let taken = watch.taken().unwrap();
            if taken.waiting == 0 || taken.closed {
                return watch.taken().unwrap();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn bytes_count_from_the_base() {
        let (mut server, mut client) = pair();
        server.write_all(b"before").unwrap();
        let watch = TcpWatch::new(&server).unwrap();
        assert_eq!(settled(&watch).acked, 0);
        server.write_all(&[7; 1000]).unwrap();
        client.read_exact(&mut [0; 1006]).unwrap();
        assert_eq!(settled(&watch), Taken { acked: 1000, waiting: 0, closed: false });
        // The writer may be gone: a duplicate still knows.
        let again = TcpWatch::with_base(server.as_fd().try_clone_to_owned().unwrap(), watch.base());
        drop(server);
        assert_eq!(settled(&again).acked, 1000);
    }

    #[test]
    fn a_full_receiver_leaves_bytes_waiting() {
        let (mut server, mut client) = pair();
        let watch = TcpWatch::new(&server).unwrap();
        server.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(n) = server.write(&[1; 65536]) {
            sent += n as u64;
        }
        let taken = watch.taken().unwrap();
        assert!(taken.waiting > 0, "{taken:?}");
        std::io::copy(&mut Read::by_ref(&mut client).take(sent), &mut std::io::sink()).unwrap();
        assert_eq!(settled(&watch).acked, sent);
    }

    #[test]
    fn only_tcp_is_watched() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(TcpWatch::new(&socket).is_err());
    }
}
