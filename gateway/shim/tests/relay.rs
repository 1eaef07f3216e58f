//! The built `carrel-shim` with a relay: bytes go both ways, half-closed connections go on, and whoever serves the socket may be away for a while.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: what fails here is the finding"
)]

#[expect(dead_code, reason = "shared with the other tests")]
mod harness;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use harness::{LIMIT, Shim};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    let end = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn echo(listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: UnixStream = stream.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
        }
    });
}

#[test]
fn a_port_of_loopback_leads_to_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.sock");
    let port = free_port();
    let relay = format!("{port}:{}", path.display());
    let _shim = Shim::with_kernel(&["--relay", &relay]);
    // Nobody is there: the connection ends, nothing else does.
    let mut early = connect(port);
    let mut nothing = Vec::new();
    let _ = early.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    // Somebody is, but does not take connections yet.
    let listener = UnixListener::bind(&path).unwrap();
    let mut waiting: Vec<TcpStream> = (0..200).map(|_| connect(port)).collect();
    let text: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let first = waiting.first_mut().unwrap();
    let mut writer = first.try_clone().unwrap();
    let sent = text.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    for other in waiting.iter().skip(1) {
        other.shutdown(Shutdown::Write).unwrap();
    }
    echo(listener);
    let mut back = Vec::new();
    waiting.first_mut().unwrap().read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == text);
    for other in waiting.iter_mut().skip(1) {
        assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
    }
}
