//! The command line, as spawnd writes it.

use std::path::{Component, Path, PathBuf};

use crate::kernel::Interrupt;
use crate::log::Bounds;
use crate::relay::Relay;

/// What `--help` and a usage error show.
pub(crate) const USAGE: &str =
    "usage: carrel-shim --interrupt message|signal --cwd DIR [options] -- ARGV... {connection_file}
The listening unix socket is descriptor 3.
  --cwd DIR            working directory of the kernel, relative to $HOME
  --runtime DIR        folder for ZeroMQ sockets and the connection file [/run/k]
  --scratch DIR        folder for messages that do not fit memory [/tmp]
  --relay PORT:SOCKET  a port of loopback that leads to a unix socket
  --memory-log BYTES   messages kept in memory [4194304]
  --scratch-log BYTES  messages kept in the scratch file [268435456]
       carrel-shim serve [options] -- ARGV...
A whole server instead of a kernel.
  --port PORT          where the server listens on 127.0.0.1, if it does
  --relay PORT:SOCKET  as above, any number of times";

/// The arguments of `carrel-shim serve`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerArgs {
    pub(crate) port: Option<u16>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) argv: Vec<String>,
}

impl ServerArgs {
    /// Reads the arguments after `serve`; the error is for people.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = args.into_iter();
        let mut parsed = Self::default();
        while let Some(name) = args.next() {
            if name == "--" {
                parsed.argv = args.by_ref().collect();
                break;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--port" => {
                    let port = value.parse().map_err(|_| format!("--port needs a port, not {value:?}"))?;
                    parsed.port = Some(port);
                }
                "--relay" => parsed.relays.push(value.parse()?),
                _ => return Err(format!("unknown option {name:?}")),
            }
        }
        if parsed.argv.is_empty() {
            return Err("the server's command is missing after --".to_owned());
        }
        Ok(parsed)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) interrupt: Interrupt,
    pub(crate) cwd: PathBuf,
    pub(crate) runtime: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) relay: Option<Relay>,
    pub(crate) memory_log: usize,
    pub(crate) scratch_log: u64,
    pub(crate) argv: Vec<String>,
}

impl Args {
    /// Reads the arguments after the program's name; the error is for people.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Args, String> {
        let mut args = args.into_iter();
        let mut interrupt = None;
        let mut parsed = Args {
            interrupt: Interrupt::Signal,
            cwd: PathBuf::new(),
            runtime: PathBuf::from("/run/k"),
            scratch: PathBuf::from("/tmp"),
            relay: None,
            memory_log: 4 * 1024 * 1024,
            scratch_log: 256 * 1024 * 1024,
            argv: Vec::new(),
        };
        while let Some(name) = args.next() {
            if name == "--" {
                parsed.argv = args.by_ref().collect();
                break;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value:?}"));
            match name.as_str() {
                "--interrupt" => {
                    interrupt = Some(match value.as_str() {
                        "message" => Interrupt::Message,
                        "signal" => Interrupt::Signal,
                        _ => return Err(format!("--interrupt is message or signal, not {value:?}")),
                    });
                }
                "--cwd" => parsed.cwd = relative(&value)?,
                "--runtime" => parsed.runtime = PathBuf::from(value),
                "--scratch" => parsed.scratch = PathBuf::from(value),
                "--relay" => parsed.relay = Some(value.parse()?),
                "--memory-log" => parsed.memory_log = usize::try_from(number()?).unwrap_or(usize::MAX),
                "--scratch-log" => parsed.scratch_log = number()?,
                _ => return Err(format!("unknown option {name:?}")),
            }
        }
        parsed.interrupt = interrupt.ok_or("--interrupt is missing")?;
        if parsed.argv.is_empty() {
            return Err("the kernel's command is missing after --".to_owned());
        }
        Ok(parsed)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { memory: self.memory_log, scratch: self.scratch_log }
    }
}

fn relative(path: &str) -> Result<PathBuf, String> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(path).components().all(plain) {
        Ok(PathBuf::from(path))
    } else {
        Err(format!("--cwd must be relative and without .., not {path:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn reads_what_spawnd_writes() {
        let args = parse("--interrupt message --cwd work/a -- k -f {connection_file} --").unwrap();
        assert_eq!(args.interrupt, Interrupt::Message);
        assert_eq!(args.cwd, Path::new("work/a"));
        assert_eq!(args.runtime, Path::new("/run/k"));
        assert_eq!(args.argv, ["k", "-f", "{connection_file}", "--"]);
        let home = Args::parse(["--interrupt", "signal", "--cwd", "", "--", "k"].map(str::to_owned)).unwrap();
        assert_eq!(home.cwd, Path::new(""));
    }

    #[test]
    fn a_server_has_a_port_and_relays() {
        let parse = |line: &str| ServerArgs::parse(line.split(' ').map(str::to_owned));
        let args = parse("--relay 8081:/run/hub/hub.sock --port 8888 -- jupyterhub-singleuser --x").unwrap();
        assert_eq!((args.port, args.relays.len()), (Some(8888), 1));
        assert_eq!(args.argv, ["jupyterhub-singleuser", "--x"]);
        for (line, why) in [
            ("--port x -- s", "needs a port"),
            ("--port 1", "command is missing"),
            ("--cwd a -- s", "unknown"),
        ] {
            assert!(parse(line).unwrap_err().contains(why), "{line}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (line, why) in [
            ("--cwd a -- k", "--interrupt is missing"),
            ("--interrupt signal", "command is missing"),
            ("--interrupt twice -- k", "message or signal"),
            ("--interrupt signal --cwd ../b -- k", "without .."),
            ("--interrupt signal --cwd /etc -- k", "relative"),
            ("--interrupt signal --memory-log much -- k", "a number"),
            ("--interrupt signal --relay 3128 -- k", "PORT:SOCKET"),
            ("--interrupt signal --colour red -- k", "unknown option"),
            ("--interrupt", "needs a value"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
