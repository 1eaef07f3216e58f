//! `carrel check`: one line for each thing that Carrel needs, with what to do if it is not there.

mod sandbox;

use crate::config::Config;
use crate::settings;
use crate::start::{Fatal, broker, folders, lock, network, privileges};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Less free space than this is worth a word.
const LOW_DISK: u64 = 2 << 30;

struct Report {
    failed: bool,
}

impl Report {
    fn good(&self, what: &str, detail: &str) {
        println!("ok      {what}: {detail}");
    }
    fn warn(&self, what: &str, detail: &str, fix: &str) {
        println!("missing {what}: {detail}\n          {fix}");
    }
    fn bad(&mut self, what: &str, detail: &str, fix: &str) {
        self.failed = true;
        println!("FAILED  {what}: {detail}\n          {fix}");
    }
    fn require(&mut self, yes: bool, what: &str, detail: &str, fix: &str) {
        if yes { self.good(what, detail) } else { self.bad(what, detail, fix) }
    }
}

/// Runs all checks; the exit code says whether a required one failed.
pub fn run(config: Result<Config, Fatal>) -> ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(e) => {
            println!("FAILED  configuration: {e}");
            return ExitCode::from(e.code);
        }
    };
    let mut r = Report { failed: false };
    r.good("configuration", &format!("{} is valid", config.state.join("carrel.toml").display()));
    programs(&mut r, &config);
    assets(&mut r, &config);
    state(&mut r, &config);
    port(&mut r, &config);
    disk(&mut r, &config);
    sandbox::check(&mut r, &config);
    hdfs(&mut r, &config);
    network(&mut r, &config);
    services(&mut r, &config);
    classic(&mut r, &config);
    if r.failed { ExitCode::from(69) } else { ExitCode::SUCCESS }
}

fn programs(r: &mut Report, config: &Config) {
    let bin = config.prefix().join("bin");
    for (name, needed) in [
        ("carrel-spawnd", true),
        ("carrel-shim", true),
        ("carrel-desk", true),
        ("carrel-broker", config.hdfs.config.is_some()),
        ("carrel-proxy", !config.allow.is_empty()),
        ("carrel-kernel", false),
        ("carrel-engine", false),
    ] {
        let path = bin.join(name);
        let there = fs::metadata(&path).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
        let shown = path.display().to_string();
        match (there, needed) {
            (true, _) => r.good(name, &shown),
            (false, true) => {
                r.bad(name, &format!("{shown} is not there"), "run `make install`, or set paths.prefix")
            }
            (false, false) => r.warn(
                name,
                &format!("{shown} is not there"),
                "the Carrel SQL kernel needs it: run `make install`",
            ),
        }
    }
}

fn assets(r: &mut Report, config: &Config) {
    let lab = config.prefix().join("share/lab");
    match crate::server::load_lab(config) {
        Ok(_) => r.good("JupyterLab", &lab.display().to_string()),
        Err(e) => r.bad(
            "JupyterLab",
            &crate::error::chain(&e),
            "run `deploy/lab/fetch-lab PREFIX/share/lab`, or set paths.prefix",
        ),
    }
    let specs = settings::kernelspecs(&config.prefix());
    let names: Vec<String> = specs.keys().map(ToString::to_string).collect();
    let default = names.contains(&config.kernels.default);
    let detail = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let fix = format!(
        "put kernels below {}; the default is {:?}",
        config.prefix().join("share/kernels").display(),
        config.kernels.default
    );
    r.require(default, "kernels", &detail, &fix);
}

fn state(r: &mut Report, config: &Config) {
    let mode = |p: &Path| fs::metadata(p).map(|m| m.permissions().mode() & 0o7777);
    match mode(&config.state) {
        Ok(m) if m & 0o022 == 0 => r.good("state folder", &config.state.display().to_string()),
        Ok(m) => r.bad(
            "state folder",
            &format!("others may write to it (mode {m:o})"),
            &format!("chmod 755 {}", config.state.display()),
        ),
        Err(e) => r.bad("state folder", &e.to_string(), "run `carrel init`"),
    }
    match mode(&config.private()) {
        Ok(m) if m & 0o077 == 0 => r.good("database folder", &config.private().display().to_string()),
        Ok(m) => r.bad(
            "database folder",
            &format!("others may read it (mode {m:o})"),
            &format!("chmod 700 {}", config.private().display()),
        ),
        Err(_) => r.good("database folder", "is made at the first start"),
    }
    if privileges::is_root()
        && let Err(e) = folders::check_reach(&config.state)
    {
        r.bad("state folder", &e.message, "see above");
    }
}

fn port(r: &mut Report, config: &Config) {
    let address = SocketAddr::new(config.gateway.host, config.gateway.port);
    match lock::holder(config) {
        Some(h) => r.good("port", &format!("this gateway runs: process {} on {}", h.pid, h.url)),
        None => match TcpListener::bind(address) {
            Ok(_) => r.good("port", &format!("{address} is free")),
            Err(e) => {
                r.bad("port", &format!("{address}: {e}"), "stop the other program, or set gateway.port")
            }
        },
    }
}

fn disk(r: &mut Report, config: &Config) {
    match rustix::fs::statvfs(&config.state) {
        Ok(s) => {
            let free = s.f_bavail.saturating_mul(s.f_frsize);
            let detail = format!("{:.1} GiB free below {}", gib(free), config.state.display());
            if free >= LOW_DISK {
                r.good("disk", &detail)
            } else {
                r.warn("disk", &detail, "make room: homes and session tables live there")
            }
        }
        Err(e) => r.warn("disk", &e.to_string(), "the state folder cannot be looked at"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Whether the cluster lets the broker in.
fn hdfs(r: &mut Report, config: &Config) {
    if config.hdfs.config.is_none() {
        return;
    }
    match broker::look(config) {
        Ok(said) => r.good("hdfs", &said),
        Err(e) => r.bad("hdfs", &e.message, "see [hdfs] in carrel.toml and docs/broker.md"),
    }
}

/// Whether the services' tokens can be read.
fn services(r: &mut Report, config: &Config) {
    if config.services.is_empty() {
        return;
    }
    match crate::services::configured::services(config) {
        Ok(all) => {
            let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
            r.good("services", &names.join(", "));
        }
        Err(e) => r.bad("services", &e, "see [[service]] in carrel.toml; as root it reads files of root"),
    }
}

/// Whether there is what classic servers run.
fn classic(r: &mut Report, config: &Config) {
    if !config.classic.enabled {
        return;
    }
    let program = config.classic.environment(&config.prefix()).join("bin/jupyterhub-singleuser");
    let there = fs::metadata(&program).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    let shown = program.display().to_string();
    if there {
        r.good("classic servers", &shown);
    } else {
        let fix =
            "run `make install`, or set classic.environment to an environment with jupyterhub and jupyterlab";
        r.bad("classic servers", &format!("{shown} is not there"), fix);
    }
}

/// Whether the proxy takes its list.
fn network(r: &mut Report, config: &Config) {
    if config.allow.is_empty() {
        return;
    }
    match network::look(config) {
        Ok(said) => r.good("network", &said),
        Err(e) => r.bad("network", &e.message, "see [network] and [[allow]] in carrel.toml"),
    }
}
