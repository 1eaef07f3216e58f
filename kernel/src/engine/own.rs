//! An engine of our own, under plain Jupyter: started when first needed and again after it ended, ended with the kernel.

use std::env;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::Failure;
use super::tether::tether;
use crate::KernelError;

/// How long an engine may take until it answers.
const START: Duration = Duration::from_secs(30);
/// How long an engine may take to end before it is killed.
const END: Duration = Duration::from_secs(3);

enum Ask {
    Ready(oneshot::Sender<Result<PathBuf, Failure>>),
    End(oneshot::Sender<()>),
}

/// A handle to the task that owns the engine's process.
pub struct OwnEngine {
    asks: mpsc::Sender<Ask>,
}

impl OwnEngine {
    /// Prepares a scratch folder; the engine itself is started when it is needed.
    ///
    /// # Errors
    /// When there is no place for the folder.
    pub fn prepare() -> Result<Self, KernelError> {
        let keeper = Keeper { program: program(), scratch: Scratch::make()?, child: None };
        let (asks, receiver) = mpsc::channel(16);
        tokio::spawn(keeper.run(receiver));
        Ok(Self { asks })
    }

    /// The socket of an engine that answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn ready(&self) -> Result<PathBuf, Failure> {
        let (sender, answer) = oneshot::channel();
        let gone = || Failure::NoStart("the kernel is ending".to_owned());
        self.asks.send(Ask::Ready(sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Ends the engine and removes its scratch folder.
    pub async fn end(&self) {
        let (sender, done) = oneshot::channel();
        if self.asks.send(Ask::End(sender)).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// The program that was named, or the one beside ours, or the one on the path.
fn program() -> PathBuf {
    if let Some(named) = env::var_os("CARREL_ENGINE_PROGRAM").filter(|named| !named.is_empty()) {
        return named.into();
    }
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("carrel-engine")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "carrel-engine".into())
}

/// The configuration that was named, or the user's; nothing means an empty catalog.
fn config() -> Option<PathBuf> {
    if let Some(named) = env::var_os("CARREL_CONFIG").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let folder = env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("carrel/engine.toml")).filter(|path| path.is_file())
}

/// A private folder that is gone when the kernel is.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, KernelError> {
        let base = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let base = base.unwrap_or_else(env::temp_dir);
        let path = base.join(format!("carrel-kernel-{}", uuid::Uuid::new_v4().simple()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| KernelError::Write { path: path.clone(), source })?;
        let data = path.join("scratch");
        let made = fs::create_dir(&data)
            .and_then(|()| fs::set_permissions(&data, fs::Permissions::from_mode(0o700)));
        made.map_err(|source| KernelError::Write { path: data, source })?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("engine.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Keeper {
    program: PathBuf,
    scratch: Scratch,
    child: Option<Child>,
}

impl Keeper {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Ready(answer) => {
                    let _ = answer.send(self.ready().await);
                }
                Ask::End(done) => {
                    self.end().await;
                    drop(self);
                    let _ = done.send(());
                    return;
                }
            }
        }
        self.end().await;
    }

    async fn ready(&mut self) -> Result<PathBuf, Failure> {
        let socket = self.scratch.socket();
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(socket);
        }
        let _ = fs::remove_file(&socket);
        let mut child = self.start(&socket).map_err(Failure::NoStart)?;
        let listening = tokio::time::timeout(START, listening(&socket, &mut child)).await;
        match listening {
            Ok(Ok(())) => {
                self.child = Some(child);
                Ok(socket)
            }
            Ok(Err(why)) => Err(Failure::NoStart(why)),
            Err(_elapsed) => Err(Failure::NoStart(format!("it did not answer within {} s", START.as_secs()))),
        }
    }

    fn start(&self, socket: &Path) -> Result<Child, String> {
        let config = match config() {
            Some(config) => config,
            None => {
                let empty = self.scratch.0.join("engine.toml");
                fs::write(&empty, "")
                    .map_err(|error| format!("cannot write {}: {error}", empty.display()))?;
                empty
            }
        };
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--listen").arg(format!("unix:{}", socket.display()));
        command.arg("--config").arg(config).arg("--scratch").arg(self.scratch.0.join("scratch"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        tether(&mut command);
        command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))
    }

    async fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(END, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

/// Waits until somebody takes connections there, or the program ended.
async fn listening(socket: &Path, child: &mut Child) -> Result<(), String> {
    loop {
        if UnixStream::connect(socket).await.is_ok() {
            return Ok(());
        }
        match tokio::time::timeout(Duration::from_millis(5), child.wait()).await {
            Ok(Ok(status)) => return Err(format!("it ended at once ({status}); its log says why")),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_elapsed) => {}
        }
    }
}
