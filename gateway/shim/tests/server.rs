//! The built `carrel-shim serve`: nothing runs before the environment has come, connections reach the server's port, an end in order, the exit code.
#![expect(clippy::unwrap_used, reason = "tests: what fails here is the finding")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const SERVER: &str = r#"
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT_TO_TAKE"])))
def end(*_):
    print("ends in order", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
while True:
    connection, _ = listener.accept()
    heard = connection.makefile("rb").read()
    connection.sendall(heard.upper() + os.environ["TOKEN"].encode() + os.environ["HOME"].encode())
    connection.close()
"#;

struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("main.sock")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<&0 0</dev/null; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_carrel-shim")]);
        command.args(["serve", "--port", &port.to_string(), "--", "python3", "-c", SERVER]);
        command.env("HOME", "/its-own").stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        Self { child: command.spawn().unwrap(), folder, port }
    }

    fn connect(&self, first: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect(self.folder.path().join("main.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(first).unwrap();
        stream
    }

    fn start(&self, env: &str) -> Vec<u8> {
        let mut stream = self.connect(b"s");
        let text = format!("{{\"env\":{env}}}");
        stream.write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    fn ask(&self, text: &[u8]) -> Vec<u8> {
        let mut stream = self.connect(b"c");
        // Where nobody listens the connection is closed.
        let _ = stream.write_all(text);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_server_begins_with_its_environment_answers_and_ends_in_order() {
    let mut server = Server::new();
    assert_eq!(server.ask(b"early"), b"", "nothing runs yet");
    let bad = server.start("{\"LD_PRELOAD\":\"/x\"}");
    assert_eq!(bad, b"", "such a name closes the connection");
    let env = format!("{{\"TOKEN\":\"secret\",\"PORT_TO_TAKE\":\"{}\",\"HOME\":\"/another\"}}", server.port);
    assert_eq!(server.start(&env), b"1");
    let again = server.start(&env);
    assert!(again.starts_with(b"0the server was started"), "{}", String::from_utf8_lossy(&again));
    let end = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        let answer = server.ask(b"hello ");
        if !answer.is_empty() {
            break answer;
        }
        assert!(Instant::now() < end, "the server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(
        answer, b"HELLO secret/its-own",
        "the gateway adds to the jail's environment and changes nothing"
    );
    let mut stop = server.connect(b"t");
    assert_eq!(stop.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(server.ended().code(), Some(7));
}

#[test]
fn a_stop_before_the_start_just_ends() {
    let mut server = Server::new();
    let mut stop = server.connect(b"t");
    assert_eq!(stop.read(&mut [0; 1]).unwrap(), 0);
    assert!(server.ended().success());
}
